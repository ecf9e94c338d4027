"""Routing as stages: years in a chain are one run, water adds up at every cell, masks that do not match are refused."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from sciml.core.errors import InputError
from sciml.data.readers.river_network import SEA, Directions
from sciml.data.stores import Template, Variable, create_store, write_region
from sciml.rivers.channel import channel, normal_depth
from sciml.rivers.inertial import route_inertial, steady
from sciml.rivers.linear import MEANDER, balanced, reservoirs, route_linear
from sciml.rivers.network import Network, accumulate, build, open_network, water_input
from sciml.rivers.stations import watched
from sciml.rivers.steps import (
    MeanRunoff,
    NetworkSource,
    RiverYear,
    RouteYear,
    RunYears,
    balance_error,
    by_month,
    cut,
    mean_template,
    rating_fraction,
    rivers_of,
    stays_of,
)

YEARS = (2000, 2001)


def comb(settings: int = 0) -> Network:
    """Two basins on a grid of 2 x 4: each row flows east to the sea, all columns."""
    row, column = np.divmod(np.arange(8), 4)
    target = np.where(column < 3, np.arange(1, 9), SEA)
    area = 1e9 * (1.0 + 0.1 * np.arange(8))
    return build(Directions("comb", np.array([10.25, 10.75]), 0.25 + 0.5 * np.arange(4), row, column, target, area))


def runoff_store(folder: Path, network: Network, members: int = 1) -> tuple[str, np.ndarray]:
    """Two years of showers on all cells, in another order than the network's; (day, member, network cell)."""
    rng = np.random.default_rng(3)
    order = rng.permutation(len(network))
    values = rng.gamma(0.3, 4.0, (731, members, len(network))).astype(np.float32)
    dims = ("year", "member", "day", "cell")
    template = Template(
        {"year": 2, "member": members, "day": 366, "cell": len(network)},
        {"runoff": Variable(dims, "kg m-2 day-1", may_be_missing=True)},
        {"year": 1},
        {
            "year": xr.Variable("year", np.array(YEARS)),
            "lat": xr.Variable("cell", network.lat[order]),
            "lon": xr.Variable("cell", network.lon[order]),
        },
    )
    url = str(folder / "runoff")
    create_store(url, template)
    for year, days in enumerate((slice(0, 366), slice(366, 731))):
        block = np.full((1, members, 366, len(network)), np.nan, np.float32)
        block[0, :, : days.stop - days.start] = values[days][:, :, order].swapaxes(0, 1)
        write_region(url, template, {"year": year}, {"runoff": block})
    return url, values


def mean_store(folder: Path, runoff: str, cells: int) -> str:
    url = str(folder / "mean")
    create_store(url, mean_template(cells))
    write_region(url, mean_template(cells), {}, MeanRunoff(runoff)(RunYears(*YEARS)))
    return url


def chained(route: RouteYear) -> list[dict[str, Any]]:
    first = route(RiverYear(0), None)
    return [first, route(RiverYear(1), first)]


@pytest.mark.parametrize("routing", ["linear", "inertial"])
def test_a_chain_of_years_is_one_run(routing: str, tmp_path: Path) -> None:
    network = comb()
    url, values = runoff_store(tmp_path, network, members=2)
    mean = mean_store(tmp_path, url, len(network))
    years = chained(RouteYear(NetworkSource(made=comb, settings=0), url, mean, (3, 7), routing))
    flow = accumulate(network, water_input(network, values[:, 0].mean(axis=0, dtype=np.float64)))
    for member in range(2):
        water = values[:, member].astype(np.float64)
        begin = water[:366].mean(axis=0)
        if routing == "linear":
            stays = reservoirs(network)
            whole = route_linear(network, water, stays, balanced(network, begin, stays))
            end = whole.stores.river
        else:
            made = channel(network, flow)
            whole = route_inertial(network, water, made, steady(network, made, begin))
            end = whole.state.storage
        got = np.concatenate([years[0]["discharge"][0, member], years[1]["discharge"][0, member, :365]])
        np.testing.assert_allclose(got, whole.discharge[:, [3, 7]], rtol=1e-12)
        np.testing.assert_allclose(years[1]["storage"][0, member], end, rtol=1e-12)
    assert np.isnan(years[1]["discharge"][0, :, 365]).all()
    assert max(float(year[name].max()) for year in years for name in ("mass_error", "balance_error")) < 1e-12


def test_the_long_term_mean_is_the_runoff_above_at_every_cell() -> None:
    network = comb()
    runoff = np.linspace(0.5, 3.0, len(network))
    stays = reservoirs(network)
    run = route_linear(network, np.tile(runoff, (40, 1)), stays, balanced(network, runoff, stays))
    expected = accumulate(network, water_input(network, runoff))
    np.testing.assert_allclose(run.discharge.mean(axis=0), expected, rtol=1e-9)


def test_a_cell_that_loses_water_is_found() -> None:
    network = comb()
    runoff, stays = np.full((40, len(network)), 2.0), reservoirs(network)
    run = route_linear(network, runoff, stays)
    nothing = np.zeros(len(network))
    assert balance_error(network, runoff, run.discharge, nothing, run.stores.river) < 1e-12
    run.discharge[:, 5] *= 1.0 - 1e-6
    assert balance_error(network, runoff, run.discharge, nothing, run.stores.river) > 1e-7


def test_cells_that_the_network_lacks_are_refused_or_counted() -> None:
    network = comb()
    keep = np.arange(8) != 7  # the network loses its last mouth: its row ends one cell earlier
    row, column = np.divmod(np.arange(8), 4)
    target = np.where((column < 3) & (np.arange(8) != 6), np.arange(1, 9), SEA)
    short = build(
        Directions("short", network.axis_lat, network.axis_lon, row[keep], column[keep], target[keep], np.full(7, 1e9))
    )
    lat, lon = 10.25 + 0.5 * row, 0.25 + 0.5 * column
    with pytest.raises(InputError, match=r"short: 1 of 8 cells .* first at 10.75N 1.75E.*--unrouted 0.125") as caught:
        cut(short, lat, lon)
    assert "\n" not in str(caught.value)
    rivers = cut(short, lat, lon, unrouted=0.125)
    assert rivers.left_out == 1 and "their water is lost" in " ".join(rivers.notes)
    with pytest.raises(InputError, match="no cells of short"):
        cut(short, lat + 0.1, lon)


def test_basins_without_runoff_are_left_out_and_dry_cells_are_counted() -> None:
    network = comb()
    some = np.flatnonzero(network.lat < 10.5)[1:]  # one row, without its first cell
    rivers = cut(network, network.lat[some], network.lon[some])
    assert len(rivers.network) == 4 and len(rivers.network.outlet) == 1
    assert "1 of 4 cells of these basins" in " ".join(rivers.notes)
    np.testing.assert_allclose(rivers.network.upstream_area, accumulate(rivers.network, rivers.network.area))
    given = np.arange(1.0, len(some) + 1)
    placed = rivers.runoff(given)
    for value, lat, lon in zip(given, network.lat[some], network.lon[some], strict=True):
        assert placed[(rivers.network.lat == lat) & (rivers.network.lon == lon)] == value
    assert (placed == 0).sum() == 1


@pytest.mark.parametrize(("year", "days"), [(2000, 366), (2001, 365), (2000, 365)])
def test_months_are_whole(year: int, days: int) -> None:
    values = np.ones((days, 2), np.float32)
    values[31 + 10] = 5.0  # in February
    mean, most = by_month(values, year)
    february = days - 337
    np.testing.assert_allclose(mean[1], (february + 4.0) / february, rtol=1e-6)
    assert (most[1] == 5.0).all() and (np.delete(most, 1, axis=0) == 1.0).all()


def test_the_flooded_share_of_a_discharge_is_where_normal_flow_stands() -> None:
    network = comb()
    flow = np.linspace(50.0, 400.0, len(network))
    made = channel(network, flow)
    slope = np.maximum(made.slope, 1e-5)

    def discharge(depth: np.ndarray) -> np.ndarray:
        """Manning, the inverse of normal_depth."""
        return depth ** (5 / 3) * made.width * np.sqrt(slope) / made.manning

    np.testing.assert_allclose(normal_depth(made, discharge(made.depth), slope), made.depth, rtol=1e-12)
    layers = made.height.shape[1] - 1
    levels = np.stack([discharge(made.depth * 0.99), *(discharge(made.depth + made.height[:, k]) for k in (3, 7))])
    found = rating_fraction(made, levels)
    assert (found[0] == 0).all()
    np.testing.assert_allclose(found[1], 3 / layers, rtol=1e-5)
    np.testing.assert_allclose(found[2], 7 / layers, rtol=1e-5)


def test_mouths_are_watched_largest_first() -> None:
    network = comb()
    found = watched(network, None, 5)
    assert [gauge.cell for gauge in found] == sorted(network.outlet, key=lambda i: -network.upstream_area[i])
    assert len(watched(network, None, 1)) == 1


def test_runoff_of_another_store_has_its_own_rivers(tmp_path: Path) -> None:
    network = comb()
    url, _ = runoff_store(tmp_path, network)
    rivers = rivers_of(NetworkSource(made=comb, settings=0), url)
    assert (np.sort(rivers.land) == np.arange(8)).all()


def test_a_region_of_a_real_network_keeps_its_rivers(real_data: Path) -> None:
    network = open_network(f"{real_data}/hydro/river_network/river_networks_0p5deg.nc:ddm30_ldd")
    near = (np.abs(network.lat - 51.25) < 0.1) & (np.abs(network.lon - 6.75) < 0.1)  # on the Rhine
    rhine = network.basin == network.basin[np.flatnonzero(near)[0]]
    rivers = cut(network, network.lat[rhine], network.lon[rhine])
    assert len(rivers.network) == rhine.sum() and len(rivers.network.outlet) == 1
    assert rivers.network.upstream_area.max() == network.upstream_area[rhine].max()
    assert 1.5e11 < rivers.network.upstream_area.max() < 2.5e11  # the Rhine has 185,000 km2
    np.testing.assert_allclose(
        accumulate(rivers.network, rivers.network.area), rivers.network.upstream_area, rtol=1e-12
    )


def test_a_channel_of_the_file_is_not_made_longer() -> None:
    network = comb()
    straight = network.length / (0.5 * 86400.0)
    np.testing.assert_allclose(stays_of(network, 0.5).river_days / straight, MEANDER)
    own = replace(network, channel_length=network.length)
    np.testing.assert_allclose(stays_of(own, 0.5).river_days, straight)
