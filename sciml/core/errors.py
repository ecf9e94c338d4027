"""Errors that are written for the person who started the job.

Each carries one clear line; a pipeline prints it and ends with exit status 2. Anything else that escapes is a defect
of ours and keeps its traceback.
"""


class ScimlError(Exception):
    """A refusal whose text is one line for the user."""

    def __str__(self) -> str:
        return " ".join(super().__str__().split())


class ConfigError(ScimlError):
    """An option or a configuration file that cannot be used."""


class InputError(ScimlError):
    """Input data that are not what they should be.

    The text names file, variable, place, what was found, what was expected and what to do.
    """


class RunError(ScimlError):
    """A run directory or stage that cannot go on, or a stage that ended incomplete."""
