"""A search to be killed: where is the valley? `python -m tests.fault.search_job --run-dir R --calls DIR`."""

import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from cluster.ray_session import executor_session
from cluster.run import open_run
from cluster.tune import Search, search
from sciml.core.config import Config
from sciml.core.errors import ScimlError

SPACE = {
    "place": ("uniform", -1.0, 1.0),
    "scale": ("loguniform", 0.1, 10.0),
    "width": ("integer", 1, 3),
    "kind": ("choice", ["valley", "plain"]),
}


class SearchConfig(Config):
    pipeline: ClassVar[str] = "search_job"
    calls: str = Field(description="folder with a file for each trial that began")
    seconds: float = Field(0.0, description="how long a step takes")


def valley(config: Mapping[str, Any], settings: Mapping[str, Any], report: Callable[[float], None]) -> None:
    """Lowest at place 0.3 of the valley; more steps help a little."""
    (Path(config["calls"]) / f"{settings['place']!r}").open("a").write("x")
    assert 1 <= settings["width"] <= 3 and 0.1 <= settings["scale"] <= 10
    for step in range(1, 5):
        time.sleep(config["seconds"])
        report((settings["place"] - 0.3) ** 2 + (settings["kind"] == "plain") + 0.01 / step)


def task(calls: object, **change: Any) -> Search:
    config = {"calls": str(calls), "seconds": change.pop("seconds", 0.0)}
    values = {"digest": "0123456789abcdef", "space": SPACE, "function": valley, "trials": 6, "steps": 4} | change
    return Search("valley", config=config, **values)


def main(argv: list[str] | None = None) -> int:
    try:
        config = SearchConfig.parse(argv)
        with open_run(config) as run, executor_session(config) as executor:
            search(task(config.calls, seconds=config.seconds), run, executor)
    except ScimlError as error:
        print(f"search_job: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
