"""The flow of pairs: networks of another run sharpen 1 km to 250 m and are held against ASTER."""

import numpy as np

from cluster.job import Engine, Plan
from cluster.stages import Stage
from sciml.core.digest import fingerprint
from sciml.core.errors import ConfigError
from sciml.data.readers.aster_pairs import read_pairs
from sciml.data.stores import open_store
from sciml.modis import report
from sciml.modis.aster import BORDER_PIXELS, Pairs
from sciml.modis.config import ModisConfig
from sciml.modis.networks import NETS_VERSION, OURS
from sciml.modis.pair_steps import PAIRS_VERSION, SharpenPairs, pair_blocks, pair_template, prepared
from sciml.modis.sharpen import MODELS, checkpoint_files
from sciml.modis.steps import CLASSICAL
from sciml.report.page import provenance
from sciml.report.results import write_report

SECONDS_PER_PAIR = {"atprk": 0.4, OURS: 0.4}


def job(config: ModisConfig, engine: Engine) -> str:
    """Every method on both experiments, and their scores."""
    pairs, trials = prepared(config.pairs)
    methods = _methods(config, pairs.factor)
    findings = []
    for experiment in config.experiments:
        stores = _stages(config, engine, experiment, methods, pairs.aster.lst.shape)
        found = {}
        for name, url in stores.items():
            store = open_store(url)
            found[name] = store["lst"].values, store["sigma"].values
        trial = trials[experiment]
        text = _said(pairs, experiment, float(trial.mask.mean()))
        findings.append(
            report.scored(experiment, trial.images, trial.coarse, pairs.factor, found, text, mask=trial.mask)
        )
    facts = provenance(
        data={"pairs": config.pairs, "networks": config.checkpoint},
        split={"pairs": f"none is trained on; ASTER lies {pairs.shift.east} pixels east, {pairs.shift.south} south"},
        sample_size={"pairs": len(pairs)},
        seed=config.seed,
        stores=engine.run.stores,
        config=config.model_dump(mode="json"),
    )
    return write_report(engine.run.url, config.pipeline, "1 km sharpened to 250 m, against ASTER", findings, facts)


def plan(config: ModisConfig, planned: Plan) -> None:
    """Stages; the pairs are read to be counted."""
    pairs = read_pairs(config.pairs)
    methods = _methods(config, int(pairs.attrs["factor"]))
    for experiment in config.experiments:
        _stages(config, planned, experiment, methods, pairs["ndvi"].shape)


def _methods(config: ModisConfig, factor: int) -> tuple[str, ...]:
    """Those asked for by --models, else all that the checkpoint allows, back-projection and ours always."""
    said, named = checkpoint_files(config.checkpoint)
    if said["factor"] != factor:
        raise ConfigError(
            f"{config.checkpoint}/{MODELS}: a factor of {said['factor']} found, the pairs of {config.pairs}"
            f" need {factor}; train with --factor {factor}"
        )
    possible = tuple(dict.fromkeys((*CLASSICAL, *named, OURS)))
    if "models" not in config.model_fields_set:
        return possible
    return tuple(name for name in possible if name in (*config.methods, OURS))


def _stages(
    config: ModisConfig, engine: Engine | Plan, experiment: str, methods: tuple[str, ...], shape: tuple[int, ...]
) -> dict[str, str]:
    """Let every method sharpen the pairs: method -> store's URL."""
    said, named = checkpoint_files(config.checkpoint)
    inputs = {
        "pairs": fingerprint(config.pairs),
        "models": said,
        "checkpoints": {name: [fingerprint(url) for url in urls] for name, urls in named.items()},
        "versions": [NETS_VERSION, PAIRS_VERSION],
    }
    stores = {}
    for name in methods:
        stage = Stage(
            f"{name}_pairs_{experiment}",
            1,
            pair_blocks(shape[0]),
            pair_template((shape[0], shape[1], shape[2])),
            SharpenPairs(config.pairs, config.checkpoint, experiment, name),
            config={"experiment": experiment},
            inputs=inputs,
            seconds=8 * SECONDS_PER_PAIR.get(name, 0.1),
            memory_bytes=int(8 * np.prod(shape) + 5e8),
        )
        stores[name] = engine.stage(stage).url
    return stores


def _said(pairs: Pairs, experiment: str, share: float) -> list[str]:
    """What the page says of an experiment beside its scores."""
    given = "ASTER averaged to 1 km" if experiment == "aster_self" else "MODIS"
    return [
        f"{len(pairs)} pairs; {given} was sharpened to {pairs.aster.fine_pixel_m:.0f} m and compared with ASTER over"
        f" {share:.0%} of the pixels, those of valid ASTER {BORDER_PIXELS} pixels inside the frame. ASTER was moved"
        f" {pairs.shift.east} pixels west and {pairs.shift.south} north, which was found with bilinear"
        " interpolation before any other method was scored; nothing else was fitted on ASTER.",
        "Beyond the scale that networks were trained at, sciml carries the relation of temperature and NDVI over by the"
        " law of scale of MODIS itself, and gives back-projection by night, in snow and within 3 km of clouds. The"
        " standard deviations of the other methods are those calibrated at the scale they were trained at.",
    ]
