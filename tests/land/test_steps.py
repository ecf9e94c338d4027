"""Stage functions of the emulator: a fit sees its training years alone, a free run is a plain simulation."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from sciml.core.errors import InputError
from sciml.generated import land as generated
from sciml.land.forcing import Forcing, Record, Targets, saturation_humidity
from sciml.land.models import with_potential_evaporation
from sciml.land.registry import MODELS
from sciml.land.run import simulate, step_days
from sciml.land.source import CellBlock, LandSource, layout
from sciml.land.steps import (
    SPIN_UPS,
    FitCells,
    RunCells,
    Years,
    fit_template,
    free_run,
    model_for,
    run_template,
    warmer,
)

FIRST, LAST = 1996, 2001  # of the record
SOURCE = LandSource("unused")


@pytest.fixture(scope="module")
def whole() -> Record:
    """Two cells of the generated Earth's model A, six years."""
    config = generated.LandConfig(cells=1, first=f"{FIRST}-01", stop=f"{LAST + 1}-01")
    return generated.record(config).select(slice(0, 2))


def fitting(model: str = "linear_reservoir", **options: object) -> FitCells:
    return FitCells(SOURCE, model, **({"years": Years(1997, 1999), "method": "descent", "starts": 1} | options))


def spoilt(record: Record, years: tuple[int, ...], sky: bool = False) -> Record:
    """Nonsense in the targets, and the weather too, of some years."""
    of = np.isin(record.forcing.year, years)[:, None]
    values = {name: np.where(of, 1e4 - v, v) for name, v in record.targets.values.items()}
    record = replace(record, targets=replace(record.targets, values=values))
    if not sky:
        return record
    fields = {name: np.where(of, 3.0 * getattr(record.forcing, name), getattr(record.forcing, name))
              for name in ("rain", "temperature", "demand")}  # fmt: skip
    return replace(record, forcing=replace(record.forcing, **fields))


def test_a_fit_sees_nothing_outside_its_years(whole: Record) -> None:
    found = fitting().fit(whole)
    other = fitting().fit(spoilt(whole, (1996, 2000, 2001), sky=True))
    for name in ("theta", "standard_error", "ratio", "spread", "free", "covariance", "wsse"):
        np.testing.assert_array_equal(getattr(found, name), getattr(other, name), err_msg=name)
    changed = fitting().fit(spoilt(whole, (1998,)))
    assert (changed.theta != found.theta).any()  # what it does see, it feels


def test_years_left_out_give_weather_alone(whole: Record) -> None:
    step = fitting(years=Years(1996, 1999, (1998,)))
    found, other = step.fit(whole), step.fit(spoilt(whole, (1998,)))
    np.testing.assert_array_equal(found.theta, other.theta)
    np.testing.assert_array_equal(found.covariance, other.covariance)
    assert (step.fit(spoilt(whole, (1999,))).theta != found.theta).any()


def test_months_apart_see_nothing_of_other_years_either(whole: Record) -> None:
    record = whole.select(slice(0, 1))
    step = fitting("paper", years=Years(1996, 1999, (1998,)))
    found, other = step.fit(record), step.fit(spoilt(record, (1998, 2000, 2001)))
    assert found.theta.shape == (len(MODELS["paper"].parameters), 12, 1)
    np.testing.assert_array_equal(found.theta, other.theta)


def test_weights_leave_variables_out(whole: Record) -> None:
    step = fitting(weights=(("soil_upper", 0.0),))
    values = dict(whole.targets.values) | {"soil_upper": whole.targets.values["soil_upper"] ** 2}
    other = replace(whole, targets=replace(whole.targets, values=values))
    np.testing.assert_array_equal(step.fit(whole).theta, step.fit(other).theta)


def test_too_few_years_are_refused(whole: Record) -> None:
    with pytest.raises(InputError, match=r"0 days of 1996-01-01 .. 2001-12-31 lie in the training years 1980:1990"):
        fitting(years=Years(1980, 1990)).fit(whole)


@pytest.mark.parametrize("name", ["closed", "sciml", "paper"])
def test_a_fit_fills_its_template_and_runs(name: str, whole: Record, tmp_path: Path) -> None:
    """One set of parameters for all year where a free run is fitted, twelve where months are."""
    source, model = LandSource("made", made=made, settings=whole.select(slice(0, 1))), MODELS[name]
    where = layout(source, 1)
    found = replace(fitting(name, years=Years(1996, 1998)), source=source)(where.items[0])
    template = fit_template(where, model)
    for key, variable in template.variables.items():
        assert found[key].shape == tuple(template.sizes[d] for d in variable.dims), key
    url = str(tmp_path / "fit.zarr")
    xr.Dataset({"theta": (("cell", "month", "parameter"), found["theta"])}).to_zarr(url, consolidated=False)
    stored = RunCells(source, name, url, len(where.dates), str(where.dates[0]))(where.items[0])
    assert set(stored) == set(run_template(where, model).variables)
    assert all(np.isfinite(values).all() for values in stored.values())


def made(record: Record) -> list[Record]:
    return [record]


def test_blocks_are_fitted_as_cells_alone_and_fill_their_template(whole: Record) -> None:
    source = LandSource("made", made=made, settings=whole)
    where = layout(LandSource("whole", made=lambda _: [whole]), 2)
    model = MODELS["linear_reservoir"]
    block = replace(fitting(), source=source)(CellBlock(0, 2, 0, 0))
    alone = replace(fitting(), source=source)(CellBlock(1, 2, 0, 1))
    template = fit_template(where, model)
    for name, variable in template.variables.items():
        assert block[name].shape == tuple({"cell": 2, **template.sizes}[d] for d in variable.dims), name
        np.testing.assert_array_equal(block[name][1], alone[name][0], err_msg=name)
    low, high = (np.array([getattr(p, end) for p in model.parameters]) for end in ("low", "high"))
    assert ((block["theta"] >= low) & (block["theta"] <= high)).all()


@pytest.mark.parametrize("name", ["sciml", "linear_reservoir", "closed", "paper"])
def test_a_free_run_is_a_simulation_after_its_first_year_again_and_again(name: str, whole: Record) -> None:
    model = MODELS[name]
    theta = model.prior(2, 12 if name == "paper" else 1)
    found = free_run(model, whole.forcing, theta)
    assert set(found) == set(model.outputs)
    year = whole.forcing.days(slice(0, 365))
    state = model.start(2)
    for _ in range(SPIN_UPS):
        _, state = simulate(model, year, theta, state)
    values, _ = simulate(model, whole.forcing, theta, state)
    for row, output in enumerate(model.outputs):
        np.testing.assert_array_equal(found[output], values[:, row])


def test_warming_is_warmer_weather(whole: Record) -> None:
    model = MODELS["sciml"]
    theta = model.prior(2)
    hot = warmer(whole.forcing, 2.0)
    np.testing.assert_array_equal(hot.temperature, whole.forcing.temperature + 2.0)
    one, two = free_run(model, whole.forcing, theta, warming=2.0), free_run(model, hot, theta)
    for name in one:
        np.testing.assert_array_equal(one[name], two[name])
    assert one["snow"].mean() < free_run(model, whole.forcing, theta)["snow"].mean()


def test_a_warmer_sky_keeps_its_relative_humidity_and_a_given_potential_evaporation(whole: Record) -> None:
    relative, pressure = 0.6, 9e4
    saturated = [saturation_humidity(whole.forcing.temperature + more, np.full(1, pressure)) for more in (0.0, 2.0)]
    damp = replace(whole.forcing, demand=(1.0 - relative) * saturated[0], demand_kind="humidity_deficit")
    # q is not quite in proportion to the vapour's pressure
    np.testing.assert_allclose(warmer(damp, 2.0).demand, (1.0 - relative) * saturated[1], rtol=0.01)
    given = replace(damp, demand_kind="potential_evaporation")
    np.testing.assert_array_equal(warmer(given, 2.0).demand, given.demand)


def test_a_stored_run_stands_on_the_days_of_its_record(whole: Record, tmp_path: Path) -> None:
    short = whole.select(slice(0, 1)).days(slice(0, 3 * 365))
    late = replace(whole.select(slice(1, 2)).days(slice(400, None)), names=("late",))
    records = [short, late]
    where = layout(LandSource("records", made=lambda _: records), 4)
    assert len(where.items) == 2 and len(where.dates) == len(whole.forcing.dates)
    model = MODELS["linear_reservoir"]
    theta = model.prior(2)
    theta[model.index("reservoir_days"), 0, 1] = 20.0
    url = f"{tmp_path}/fit.zarr"
    xr.Dataset({"theta": (("cell", "month", "parameter"), theta.transpose(2, 1, 0))}).to_zarr(url, consolidated=False)
    source = LandSource("made", made=lambda _: records, settings="two")
    run = RunCells(source, "linear_reservoir", url, len(where.dates), str(where.dates[0]))
    for number, (item, record) in enumerate(zip(where.items, records, strict=True)):
        stored = run(item)
        expected = free_run(model, record.forcing, theta[:, :, number : number + 1])
        inside = np.isin(where.dates, record.forcing.dates)
        for name, values in stored.items():
            assert name in run_template(where, model).variables and values.dtype == np.float32
            np.testing.assert_allclose(values[0, inside], expected[name][:, 0], rtol=1e-6)
            assert np.isnan(values[0, ~inside]).all()


def test_potential_evaporation_has_its_own_bounds(whole: Record) -> None:
    forcing: Forcing = replace(whole.forcing, demand_kind="potential_evaporation")
    assert model_for("sciml", whole.forcing) is MODELS["sciml"]
    found = model_for("sciml", forcing)
    assert found.parameters == with_potential_evaporation(MODELS["sciml"]).parameters != MODELS["sciml"].parameters


def test_targets_a_model_does_not_give_are_not_fitted(whole: Record) -> None:
    values = {**whole.targets.values, "groundwater": np.full_like(whole.forcing.rain, 1e9)}
    other = replace(whole, targets=Targets(whole.targets.dates, values, whole.targets.stamp))
    np.testing.assert_array_equal(fitting().fit(whole).theta, fitting().fit(other).theta)


def test_a_calendar_without_leap_days_is_fitted_run_and_placed(whole: Record, tmp_path: Path) -> None:
    dates = whole.forcing.dates
    leap = dates == np.datetime64("2000-02-29")
    assert leap.any()
    kept = np.flatnonzero(~leap)
    part = whole.select(slice(0, 1))
    values = {name: series[kept] for name, series in part.targets.values.items()}
    fields = {name: getattr(part.forcing, name)[kept] for name in ("rain", "snowfall", "temperature", "demand")}
    short = Record(
        replace(part.forcing, dates=dates[kept], calendar="noleap", **fields), Targets(dates[kept], values), part.names
    )
    assert step_days(short.forcing.dates) == 1.0
    source = LandSource("without 29 February", made=lambda _: [short])
    model = MODELS["linear_reservoir"]
    theta = model.prior(1).transpose(2, 1, 0)
    xr.Dataset({"theta": (("cell", "month", "parameter"), theta)}).to_zarr(tmp_path / "theta.zarr")
    run = RunCells(source, "linear_reservoir", str(tmp_path / "theta.zarr"), len(dates), str(dates[0]))
    found = run(CellBlock(0, 1, 0, 0))["runoff"][0]
    assert np.isnan(found[leap]).all()
    assert np.isfinite(found[~leap]).all()


def test_a_hole_in_a_month_is_still_a_gap() -> None:
    dates = np.arange(np.datetime64("2000-02-20"), np.datetime64("2000-03-10"))
    with pytest.raises(InputError, match="2000-02-28 follows 2000-02-26"):
        step_days(np.delete(dates, 7))
