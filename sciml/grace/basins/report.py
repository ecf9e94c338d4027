"""Scores and the report of the basin job: every experiment on the same test months."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from sciml.core.grid import unit_vectors
from sciml.data.stores import open_store
from sciml.grace import baselines, figures
from sciml.grace.basins.nets import Prepared
from sciml.grace.config import GraceConfig
from sciml.grace.ingest import read_mascons
from sciml.metrics.seasonal import climatology
from sciml.metrics.table import score_units, summarise_all, yearly_statistics
from sciml.report.maps import Cells
from sciml.report.page import Illustration, Section, provenance
from sciml.report.results import Finding

CEILING = "mascon_ceiling"
NOTES = {
    "basins": [
        "All basins' training years are known to the global net; the test years are new to every model. Storage is the"
        " anomaly to each basin's mean over the training months.",
    ],
    "basins_region_out": [
        "The global net never saw the basin, basins nested with it, or any basin within 500 km; only the basin's own"
        " training-year mean and deviation scale its output. The baselines did see the basin's training years.",
    ],
    "basins_cross_validation": [
        "The paper's cross-validation: each block of training years by models that were trained on the other blocks."
        " Years before and after a block are known, so this is no forecast and does not compare with test months.",
    ],
    "regroup": [
        "Models know the storage of neighbourhoods and never that of a basin; in the test years storage enters only as"
        " the neighbourhood's mean. This validates downscaling at about 3 degrees, not at half a degree.",
        "How much of a contrast to believe, by season, fast and slow part, is learned for the global net alone. The"
        " contrasts of ridge and of the LSTM are believed whole, so what the global net gains over them is the net and"
        " that weighing together.",
    ],
}


def finding(ready: Prepared, experiment: str, models: tuple[str, ...], members_url: str, mascons_url: str) -> Finding:
    """Every model of one experiment on the test months.

    members_url: store of `sciml.grace.basin_models.Assemble`; mascons_url: store of all mascons, which gives the
    ceiling, or "".
    """
    frames, yearly = [], {}
    for model, members, options in _predictions(ready, experiment, models, members_url, mascons_url):
        frames.append(score_units(members=members, experiment=experiment, model=model, **options))
        shared = {k: options[k] for k in ("observed", "time", "climatology", "mask", "uncertainty")}
        yearly[experiment, model] = yearly_statistics(members=members, **shared)
    table = pd.concat(frames, ignore_index=True)
    scores = summarise_all(table, yearly=yearly)[experiment]
    section = figures.comparison_section(
        experiment,
        table,
        scores,
        reference="group_mean" if experiment == "regroup" else "ridge",
        ceilings=[name for name in (CEILING,) if name in scores],
        paragraphs=NOTES[experiment] + ([_alone(ready)] if experiment == "regroup" else []),
        illustrations=_illustrations(ready, experiment, models, members_url),
    )
    return Finding(experiment, table, scores, [section])


def cross_validation(ready: Prepared, models: tuple[str, ...], members_url: str) -> Finding:
    """The paper's score of `basins`: training months by models that did not see their block of years.

    One number a month and no band, so CRPS is the mean absolute error there.
    """
    name, data, time = "basins_cross_validation", ready.data, ready.data.windows.middle[ready.data.train]
    apart = open_store(members_url)["out_of_fold"].values[..., data.train]
    observed = data.storage[:, data.train]
    mask = np.isfinite(observed) & np.isfinite(apart).all(axis=0)
    options: dict[str, Any] = {"climatology": _cycle(ready), "mask": mask, "experiment": name}
    options |= {"unit": data.names, "region": _regions(ready)}
    table = pd.concat(
        [
            score_units(observed, rows[:, None], time, model=model, **options)
            for model, rows in zip(models, apart, strict=True)
        ],
        ignore_index=True,
    )
    scores = summarise_all(table)[name]
    section = figures.comparison_section(name, table, scores, reference="ridge", paragraphs=NOTES[name])
    return Finding(name, table, scores, [section])


def mascon_section(url: str) -> Section:
    """Trend and amplitude of all land mascons of a file."""
    mascons = read_mascons(url)
    cells = Cells(mascons["cell_lat"].values, mascons["cell_lon"].values, float(mascons.attrs["resolution_degrees"]))
    values = mascons["twsa"].values
    figure = figures.trend_amplitude_maps(
        cells, values, mascons["time"].values, mascons["cell_parent"].values, mask=np.isfinite(values)
    )
    return Section("All land mascons", [f"{len(values)} land mascons with {values.shape[1]} records."], [figure])


def facts(config: GraceConfig, ready: Prepared, stores: Mapping[str, str]) -> dict[str, Any]:
    """Provenance of the page and of metrics.json. stores: stage -> store."""
    drought = "{} to the last month with predictors and Drought Monitor, whatever the last test month is"
    return provenance(
        data={"storage": f"{config.twsa} {config.twsa_variable}", "predictors": ", ".join(config.predictor_family)},
        split={
            "training": f"{config.train_first} to {config.train_last}",
            "test": f"{config.test_first} to {config.test_last}",
        }
        | ({"drought": drought.format(config.test_first)} if "drought" in config.experiments else {}),
        sample_size={
            "basins": len(ready.data.names),
            "basins with a place": len(ready.placed),
            "training months": int(ready.data.train.sum()),
            "test months": int(ready.data.test.sum()),
        },
        seed=config.seed,
        stores=stores,
        config=config.model_dump(mode="json"),
    )


def _predictions(
    ready: Prepared,
    experiment: str,
    models: tuple[str, ...],
    members_url: str,
    mascons_url: str,
) -> Iterator[tuple[str, np.ndarray, dict[str, Any]]]:
    """Model, members (basin, member, month) and arguments of scoring, all on the same test months and basins.

    Basins without a record in the test months are left out.
    """
    data = ready.data
    stored = ready.placed if experiment == "regroup" else np.arange(len(data.names))
    rows = np.isfinite(data.storage[np.ix_(stored, data.test)]).any(axis=1)
    rows &= (experiment == "basins") | np.isin(stored, ready.placed)
    units = stored[rows]
    test = data.test
    time = data.windows.middle
    store = open_store(members_url)
    options = {
        "observed": data.storage[np.ix_(units, test)],
        "time": time[test],
        "climatology": _cycle(ready)[units],
        "unit": data.names[units],
        "mask": np.isfinite(data.storage[np.ix_(units, test)]),
        "uncertainty": data.uncertainty[np.ix_(units, test)],
        "region": _regions(ready)[units],
    }
    for number, model in enumerate(models):
        yield model, store["storage"].isel(model=number).values[rows][..., test], options
    if mascons_url and experiment != "basins":
        yield CEILING, mascon_storage(ready, mascons_url, units)[:, None, test], options


def _alone(ready: Prepared) -> str:
    assert ready.grouped is not None
    label = ready.grouped.grouping.label
    alone = int((np.bincount(label) == 1).sum())
    return (
        f"{alone} of {len(label)} basins are alone in their neighbourhood. Every model says the neighbourhood's mean of"
        " them, so they count as not better than it."
    )


def _cycle(ready: Prepared) -> np.ndarray:
    """Mean seasonal cycle of the training months: (basin, 12) [mm].

    A calendar month in which a basin was never observed takes the value of two harmonics fitted to the others.
    """
    data, time = ready.data, ready.data.windows.middle[ready.data.train]
    storage, calendar = data.storage[:, data.train], data.months[data.train].astype(int) % 12
    fitted = baselines.climatology_trend(data.storage, data.months, data.train)[:, data.train]
    for month in range(12):
        never = ~np.isfinite(storage[:, calendar == month]).any(axis=1)
        storage = np.where(never[:, None] & (calendar == month), fitted, storage)
    return climatology(np.nan_to_num(storage), time, np.isfinite(storage))


def _regions(ready: Prepared) -> np.ndarray:
    """Block of the bootstrap of each basin: its fold of places, or itself where it has none."""
    label = np.array([f"basin {unit}" for unit in range(len(ready.data.names))], dtype=object)
    for number, (_, valid) in enumerate(ready.regions):
        label[valid] = f"region {number}"
    return label


def mascon_storage(ready: Prepared, mascons_url: str, units: np.ndarray) -> np.ndarray:
    """Gridded storage averaged over basins, anomalies to the training months: (unit, month) [mm], NaN in gaps.

    GRACE again: where storage is predicted, what no model can be asked to beat.
    """
    table, store = ready.table, open_store(mascons_url).load()
    weights = unit_vectors(table["cell_lat"].values, table["cell_lon"].values)
    nearest = cKDTree(unit_vectors(store["lat"].values, store["lon"].values)).query(weights)[1]
    series = store["twsa"].values[nearest]
    area, parent = table["cell_area_km2"].values, table["cell_parent"].values
    mean = np.stack([np.average(series[parent == unit], axis=0, weights=area[parent == unit]) for unit in units])
    start = store["record_start"].values
    month = (start + (store["record_end"].values - start) / 2).astype("datetime64[M]")
    out = np.full((len(units), len(ready.data.months)), np.nan, np.float32)
    for place, when in enumerate(ready.data.months):
        if (month == when).any():
            out[:, place] = mean[:, month == when].mean(axis=1)
    return out - np.nanmean(np.where(ready.data.train, out, np.nan), axis=1, keepdims=True)


def _illustrations(ready: Prepared, experiment: str, models: tuple[str, ...], members_url: str) -> list[Illustration]:
    data, label = ready.data, experiment.replace("_", "-")
    units = np.arange(len(data.names)) if experiment == "basins" else ready.placed
    store, shown = open_store(members_url), [name for name in ("global_lstm", "ridge", "group_mean") if name in models]
    members = {}
    for name in shown:
        values = store["storage"].isel(model=models.index(name)).values
        members[name] = values if len(values) == len(units) else values[units]
    period = data.months >= data.months[data.train].min()
    period &= data.months <= data.months[data.test].max()
    largest = np.argsort(-np.nanstd(data.storage[units], axis=1))[[0, len(units) // 3, 2 * len(units) // 3]]
    first = shown[0]
    observed = data.storage[units]
    found = [
        figures.basin_series(
            [str(data.names[units[k]]).title() for k in largest],
            data.windows.middle[period],
            observed[largest][:, period],
            {name: values[largest][..., period] for name, values in members.items() if name in shown[:2]},
            gaps=data.months[period & ~np.isfinite(observed).any(axis=0)],
            split=data.months[data.test].min(),
            name=f"series-{label}",
        ),
        figures.calibration(
            observed[:, data.test],
            {name: values[..., data.test] for name, values in members.items()},
            np.isfinite(observed[:, data.test]),
            name=f"calibration-{label}",
        ),
    ]
    if "climate" in ready.table:
        found.append(
            figures.coverage_by_group(
                observed[:, data.test],
                members[first][..., data.test],
                np.isfinite(observed[:, data.test]),
                climate=figures.climate_class(ready.table["climate"].values[units]),
                model=first,
                name=f"coverage-{label}",
            )
        )
    return found
