"""The drought part of `grace_downscale`: storage of cells from basins and mascons, against the Drought Monitor."""

import functools

import xarray as xr

from cluster.job import Engine, Plan
from cluster.stages import Stage, StoreRef
from sciml.core.digest import fingerprint
from sciml.data.readers import counties, usdm
from sciml.grace.basins.models import Whole
from sciml.grace.basins.nets import Setup
from sciml.grace.config import GraceConfig
from sciml.grace.drought import report, scores, storage
from sciml.grace.drought.scores import Observed
from sciml.grace.drought.storage import BASELINES, DroughtSetup
from sciml.report.results import Finding


def check(config: GraceConfig, basins: Setup) -> None:
    """Read what only this experiment needs, before hours are spent on the networks. Says what is left out."""
    ready = _setup(config, basins).prepare()
    observed = _observed(config, basins)
    for note in (*_table(config.usdm, config.county_centers).attrs.get("notes", []), *observed.notes):
        print(note, flush=True)
    scores.check(ready, observed, basins.test.first)


def stage(config: GraceConfig, engine: Engine | Plan, basins: Setup, members: StoreRef) -> StoreRef:
    """Anomalies of all cells, one model an item. members: store of the experiment `basins`."""
    setup = _setup(config, basins)
    ready, models = setup.prepare(), _models(config)
    # the table, its mask and its months stand behind the digest of the members
    files = {"mascons": config.mascons, "county_centers": config.county_centers}
    work = Stage(
        "drought",
        1,
        [Whole(number) for number in range(len(models))],
        storage.template(ready, models),
        storage.Downscale(setup, models, members.url),
        config=config.result_fields("train_first", "train_last") | {"models": models},
        inputs={name: fingerprint(url) for name, url in files.items()} | {"members": members.digest},
        seconds=10.0,
        memory_bytes=int(1e9),
    )
    return engine.stage(work)


def finding(config: GraceConfig, basins: Setup, store: StoreRef) -> Finding:
    """Scores and sections. store: from `stage`."""
    return report.finding(_setup(config, basins), _observed(config, basins), store.url, config.seed)


def _observed(config: GraceConfig, basins: Setup) -> Observed:
    table = _table(config.usdm, config.county_centers)
    return scores.observe(_setup(config, basins).prepare(), table, basins.prepare().data.names)


@functools.lru_cache(maxsize=1)
def _table(file: str, centres: str) -> xr.Dataset:
    return usdm.at_centres(usdm.read(file), counties.read(centres), file)


def _setup(config: GraceConfig, basins: Setup) -> DroughtSetup:
    return DroughtSetup(basins, config.mascons, config.county_centers)


def _models(config: GraceConfig) -> tuple[str, ...]:
    """Baselines, ridge (whose reconstruction they are held against), and the trained models that were asked for."""
    return (*BASELINES, "ridge", *(name for name in config.models if name != "ridge"))
