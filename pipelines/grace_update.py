"""`--update`: new GRACE months and predictors appended to the product of a finished gridded run.

Scores and report stay those of the whole run; its metrics.json lists what was appended since, under `updates`.
"""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import xarray as xr

from cluster.executors import SerialExecutor
from cluster.job import Engine
from cluster.ledger import Ledger, read_json
from cluster.run import Run
from cluster.stages import Stage, StoreRef
from pipelines import grace_gridded
from sciml.core.digest import fingerprint
from sciml.core.errors import InputError, RunError
from sciml.core.urls import exists, join
from sciml.data.months import MONTH
from sciml.data.stores import open_store
from sciml.grace import ingest
from sciml.grace.config import GraceConfig
from sciml.grace.gridded import predictors, product, steps, update
from sciml.grace.gridded.layout import Layout, pack
from sciml.grace.gridded.steps import Problem
from sciml.grace.gridded.update import Growth
from sciml.grace.gridded.world import Target, World, open_predictors, records_of, with_predictors

LINEAGE = "lineage.json"
METRICS = "metrics.json"
FEW_VALUES = 200_000  # cells x members x new windows: done here in less time than workers take to start
TARGET = Target("twsa", "downscale", "twsa", "twsa_uncertainty")


@dataclass(frozen=True)
class Standing:
    """A run as it stands: the store of each role (series, predictors, coarse, map, basins), the trained model of the
    product with its predicted and share stores, what was appended so far, and fingerprints of all files in it."""

    run: Run
    model: str
    predicted: str
    share: str
    roles: Mapping[str, str]
    entries: list[dict[str, Any]]
    seen: list[dict[str, Any]]

    def url(self, role: str) -> str:
        return self.run.store_url(self.roles[role])


def job(config: GraceConfig, engine: Engine) -> str:
    """Append what is new to the product, or say that nothing is."""
    standing = _standing(engine.run)
    inputs = {"twsa": fingerprint(config.twsa), "predictors": fingerprint(config.predictors)}
    if inputs in standing.seen:
        newest = standing.entries[-1].get("files", {}) if standing.entries else {}
        return _as_it_stands(config.model_copy(update=newest), standing, "these files are in the product")
    mascons = ingest.read_mascons(config.twsa)
    daily = open_predictors(config.predictors, float(mascons.attrs["resolution_degrees"]))
    mascons = with_predictors(mascons, daily)
    records, stored = records_of(mascons), open_store(standing.url("predictors"))
    months, windows = update.reach(stored["month"].values.astype(MONTH), daily, records)
    grown = update.growth(open_store(standing.url("series")), stored, open_store(standing.url("map")), mascons, windows)
    if grown is None:
        return _as_it_stands(config, standing, f"GRACE ends in {records.month[-1]}, predictors in {months[-1]}")
    layout = pack(mascons, config.mascons_per_item)
    ensemble = len(layout.cells.parent) * max(config.members, config.global_members)
    if ensemble * (len(windows) - grown.window) < FEW_VALUES:
        engine = dataclasses.replace(engine, executor=SerialExecutor())
    names = tuple(name for name in daily.data_vars if name in stored)
    if missing := [name for name in stored.data_vars if not str(name).endswith("_record") and name not in names]:
        raise InputError(f"{config.predictors}: variable {missing[0]!r} missing; the run's models need it")
    after = inputs | {"roles": dict(standing.roles)}
    series = engine.stage(_series(mascons, after))
    world = World(mascons, records, tuple(map(str, names)), months, windows, lambda: daily, series.url, "", (TARGET,))
    fine, coarse = _predictors(config, engine, standing, world, layout, grown, after)
    problem = grace_gridded.problem_of(config, world, TARGET, layout, fine, coarse)
    members = _members(config, engine, standing, problem, grown.window, after)
    files = {"twsa": config.twsa, "predictors": config.predictors}
    when = datetime.now(UTC).isoformat(timespec="seconds")
    line = update.lineage_entry(windows, grown.window, inputs, files, when)
    entries = [*standing.entries, line]
    mapped, basins = _append(config, engine, standing, problem, grown.window, members, entries)
    roles = {"series": series, "predictors": fine, "coarse": coarse, "map": mapped, "basins": basins}
    stores = {role: ref.url.rsplit("/", 1)[-1] for role, ref in roles.items()}
    root = engine.run.stores["map_downscale"]
    engine.run.write_json(LINEAGE, {"root": root, "stores": stores, "entries": entries})
    _record(config, engine.run, entries)
    return _product(engine.run)


def _as_it_stands(config: GraceConfig, standing: Standing, why: str) -> str:
    """The files of the product, which a whole run may have written its own over since."""
    run = standing.run
    for store in standing.roles.values():
        run.register(store.rsplit("-", 1)[0], store)
    _write_product(run, standing.url("map"), standing.url("basins"))
    _record(config, run, standing.entries)
    return f"nothing new: {why}; {_product(run)}"


def _product(run: Run) -> str:
    return join(run.url, "downscale.nc")


def _write_product(run: Run, map_url: str, basins_url: str) -> None:
    for url, name in ((map_url, "downscale"), (basins_url, "basin_means")):
        product.write_netcdf(url, join(run.url, f"{name}.nc"))


def _record(config: GraceConfig, run: Run, entries: list[dict[str, Any]]) -> None:
    """The files of the product as it stands, and what was appended, beside the scores that know nothing of it.

    The configuration recorded is of a whole run, not of an update.
    """
    run.record(config.model_copy(update={"update": False}))
    if entries:
        run.write_json(METRICS, read_json(join(run.url, METRICS)) | {"updates": entries})
    for line in entries:
        print(f"appended {line['windows']} windows, {line['first_month']} to {line['last_month']}", flush=True)
    if entries:
        print("scores and report are of the whole run, without what was appended", flush=True)


def _standing(run: Run) -> Standing:
    """What the run's own files say; an update that was killed has not changed it."""
    stores = read_json(join(run.url, "stores.json")) if exists(join(run.url, "stores.json")) else {}
    run.stores.update(stores)
    if "map_downscale" not in stores or not all(exists(url) for url in (_product(run), join(run.url, METRICS))):
        raise RunError(f"--update {run.url}: no finished product of --source gridded in it; finish a whole run first")
    made_of = Ledger(run.ledger_url(stores["map_downscale"])).manifest()["inputs"]["store"]
    name = next(name for name, store in stores.items() if store == f"{name}-{made_of[:12]}")
    model = name.removeprefix("downscaled_").removesuffix(f"_{TARGET.name}")
    roles = {
        "series": stores["mascons"],
        "predictors": next(store for name, store in stores.items() if name.startswith("predictors_")),
        "coarse": next(store for name, store in stores.items() if name.startswith("coarse_")),
        "map": stores["map_downscale"],
        "basins": stores["basins_downscale"],
    }
    entries: list[dict[str, Any]] = []
    if exists(join(run.url, LINEAGE)):
        lineage = read_json(join(run.url, LINEAGE))
        if lineage["root"] == stores["map_downscale"]:  # else a whole run has been made since
            roles, entries = lineage["stores"], lineage["entries"]
    seen = [Ledger(run.ledger_url(stores["mascons"])).manifest()["inputs"], *(line["inputs"] for line in entries)]
    predicted, share = (stores[f"{prefix}{model}_{TARGET.name}"] for prefix in ("", "share_"))
    return Standing(run, model, predicted, share, roles, entries, seen)


def _series(mascons: xr.Dataset, inputs: Mapping[str, Any]) -> Stage:
    size = ingest.MASCONS_PER_ITEM
    items, template = ingest.blocks(mascons.sizes["mascon"], size), ingest.template(mascons, size)
    return Stage("update_series", 1, items, template, ingest.Ingest(mascons), config={}, inputs=inputs)


def _predictors(
    config: GraceConfig,
    engine: Engine,
    standing: Standing,
    world: World,
    layout: Layout,
    grown: Growth,
    inputs: Mapping[str, Any],
) -> tuple[StoreRef, StoreRef]:
    """Window means of the new months alone, and the stores of cells and mascons made longer by them."""
    months, records = world.months[grown.month :], world.records.after(grown.record)
    begin = min(months[0].astype(records.start.dtype), records.start.min())
    daily = world.daily()
    if daily["time"].values[0] > begin:
        raise InputError(
            f"{config.predictors}: found {daily['time'].values[0]} as its first time, expected {begin} or before: the"
            " first new GRACE record begins there; add the month before"
        )
    last = world.months[grown.month - 1]
    held = daily["time"].values[0] <= last.astype(records.start.dtype)
    daily = daily.sel(time=slice(min(begin, last.astype(records.start.dtype)) if held else begin, None))
    if held:
        found = predictors.packed_windows(
            daily[list(world.names)], layout, np.array([last]), records.after(len(records))
        )
        stored = open_store(standing.url("predictors")).isel(month=[grown.month - 1])
        update.refuse_other_predictors(stored, found[list(world.names)].load(), world.names, config.predictors)
    fresh = engine.step(
        "update_windows",
        1,
        lambda: predictors.packed_windows(daily[list(world.names)], layout, months, records),
        inputs=inputs,
    )
    template = predictors.coarse_template(world.names, layout, len(months), len(records))
    function = predictors.Coarse(fresh.url, layout, config.smoothing_km)
    smooth = config.result_fields("smoothing_km")
    seen = engine.stage(Stage("update_means", 1, layout.blocks, template, function, smooth, {"fine": fresh.digest}))
    first = {"month": grown.month, "record": grown.record}
    return (
        _longer(engine, "update_predictors", standing.url("predictors"), fresh, first, {"cell": layout.slot}),
        _longer(engine, "update_coarse", standing.url("coarse"), seen, first, {"mascon": layout.mascons_per_item}),
    )


def _longer(
    engine: Engine,
    name: str,
    old_url: str,
    new: StoreRef,
    first: dict[str, int],
    chunks: dict[str, int],
    attributes: Mapping[str, str] | None = None,
) -> StoreRef:
    inputs = {"old": old_url.rsplit("/", 1)[-1], "new": new.digest, "first": first}

    def build() -> xr.Dataset:
        return update.appended(old_url, new.url, first, chunks).assign_attrs(attributes or {})

    return engine.step(name, 1, build, inputs=inputs)


def _members(
    config: GraceConfig, engine: Engine, standing: Standing, problem: Problem, first: int, inputs: Mapping[str, Any]
) -> StoreRef:
    """The new windows' downscaled members, by the networks and the share that the run learned."""
    model, learned = standing.model, Ledger(engine.run.ledger_url(standing.predicted)).manifest()
    own, trained_on = learned["config"], learned["inputs"]  # the same digest finds the same checkpoints
    count, function = grace_gridded.model_of(
        config, problem, engine, model, TARGET.name, trained_on, own, own.get("settings")
    )
    fresh = dataclasses.replace(problem, windows=problem.windows.select(np.arange(first, len(problem.windows))))
    kept = {"learned_url": engine.run.store_url(standing.predicted)} if model == "lstm" else {}
    predict: Any = dataclasses.replace(function, first=first, **kept)  # type: ignore[type-var]
    template, blocks = steps.prediction_template(fresh, count), problem.layout.blocks
    after = dict(inputs) | {"model": learned["digest"], "first": first}
    predicted = engine.stage(Stage(f"update_{model}", 1, blocks, template, predict, own, after))
    size = grace_gridded.windows_per_item(problem, count)
    share = engine.run.store_url(standing.share)
    return engine.stage(
        Stage(
            "update_downscaled",
            1,
            steps.window_blocks(len(fresh.windows), size),
            steps.downscaled_template(fresh, count, size),
            steps.Downscale(problem, count, predicted.url, share, first),
            config={"members": count},
            inputs={"predicted": predicted.digest},
        )
    )


def _append(
    config: GraceConfig,
    engine: Engine,
    standing: Standing,
    problem: Problem,
    first: int,
    members: StoreRef,
    lineage: list[dict[str, Any]],
) -> tuple[StoreRef, StoreRef]:
    """The map and the basins' means made longer; the NetCDF files follow once both stores stand."""
    fresh = dataclasses.replace(problem, windows=problem.windows.select(np.arange(first, len(problem.windows))))
    seen = np.isfinite(problem.anomaly()[:, first:])
    basins = grace_gridded.basins_of(config, problem.layout.cells)
    mapped = engine.stage(grace_gridded.map_stage("update_map_new", fresh, members))
    means = engine.stage(grace_gridded.basin_stage("update_basins_new", fresh, basins, members, seen))
    text = {"lineage": json.dumps(lineage)}
    rows, time = {"lat": grace_gridded.MAP_ROWS}, {"time": first}
    refs = (
        _longer(engine, "update_map", standing.url("map"), mapped, time, rows, text),
        _longer(engine, "update_basins", standing.url("basins"), means, time, {}, text),
    )
    _write_product(engine.run, *(ref.url for ref in refs))
    return refs
