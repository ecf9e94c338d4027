"""Settings of a network that a search found, read from what it left."""

import json
from collections.abc import Mapping
from typing import Any

from sciml.core.errors import ConfigError
from sciml.core.urls import read_bytes


def read_result(url: str, network: str, default: Mapping[str, Any]) -> dict[str, Any]:
    """Searched settings of the best trial. default: what a search may draw, as it is without one. Raises ConfigError
    where the file is no result of this network's search."""
    try:
        found = json.loads(read_bytes(url))[network]
        best = {name: found["best"]["settings"][name] for name in found["space"]}
        int(found.get("seed", 0))
        wrong = [name for name, value in best.items() if type(value) is not type(default[name])]
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"--search-result {url}: not the result of a search of {network} ({type(error).__name__}: {error}); give"
            " the search.json of a --search run"
        ) from error
    if wrong:
        raise ConfigError(
            f"--search-result {url}: {wrong[0]} {best[wrong[0]]!r} found, expected a"
            f" {type(default[wrong[0]]).__name__}; search again"
        )
    return best
