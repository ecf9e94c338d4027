"""What a training run publishes: the same value comes back, another version does not, `observed` is preferred."""

import json
from dataclasses import replace

import pytest

from sciml.core.errors import InputError
from sciml.stellar.networks import PRESETS
from sciml.stellar.trained import Network, Trained, TrainedRun

NETWORK = Network("sciml", PRESETS["generated"], ("checkpoints/sciml.pt",), {"features": ["1"], "blend": 0.1})
WHOLE = Trained("snr20", True, False, (5020.0, 5402.0), (3500.0, 9000.0), (20.0, 20.0), (5.0, 300.0), (NETWORK,))
OBSERVED = replace(WHOLE, experiment="observed", total=False, renormalise=True)
RUN = TrainedRun("generated", "checkpoints/emulator.pt", "harpsn", (5031.0, 5369.0), (WHOLE, OBSERVED))


def test_what_is_written_is_read() -> None:
    values = json.loads(json.dumps(RUN.to_json()))
    assert TrainedRun.from_json(values, "models.json") == RUN


def test_observed_is_asked_about_real_stars_else_what_there_is() -> None:
    assert RUN.chosen == OBSERVED
    assert replace(RUN, experiments=(WHOLE,)).chosen == WHOLE
    assert replace(RUN, experiments=(WHOLE, replace(OBSERVED, networks=()))).chosen == WHOLE
    assert replace(RUN, experiments=(replace(WHOLE, networks=()),)).chosen is None


def test_all_files_are_named_and_a_file_of_a_spectrograph_is_one() -> None:
    assert set(RUN.files) == {"checkpoints/emulator.pt", "checkpoints/sciml.pt"}
    assert "spectrograph.npz" in replace(RUN, spectrograph="spectrograph.npz").files


def test_others_are_refused_in_one_line_that_names_the_place() -> None:
    values = json.loads(json.dumps(RUN.to_json()))
    deeper = json.loads(json.dumps(values))
    deeper["experiments"][0]["networks"][0]["settings"]["bank"] = "many"
    more = json.loads(json.dumps(values))
    more["experiments"][1]["networks"][0]["settings"]["invented"] = 1
    less = {key: value for key, value in values.items() if key != "emulator"}
    for wrong, said in (
        (values | {"version": 2}, "found version 2, expected 1"),
        ({}, "found version None"),
        ([], "found version 'list'"),
        (less, "emulator"),
        (deeper, "experiments.0.networks.0.settings.bank"),
        (more, "experiments.1.networks.0.settings.invented"),
    ):
        with pytest.raises(InputError) as caught:
            TrainedRun.from_json(wrong, "R/models.json")
        assert said in str(caught.value)
        assert str(caught.value).startswith("R/models.json: ")
        assert "\n" not in str(caught.value)
