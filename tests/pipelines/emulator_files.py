"""A small fitted grid with its weather and rivers, as files: what `emulator_run` is given."""

import json
from pathlib import Path

import numpy as np
import xarray as xr

from sciml.data.stores import create_store, write_region
from sciml.generated.land import planted_theta
from sciml.land.forcing import saturation_humidity
from sciml.land.least_squares import Space
from sciml.land.registry import MODELS
from sciml.land.source import Layout
from sciml.land.steps import fit_template

LAT, LON = np.array([47.25, 47.75]), np.array([8.25, 8.75, 9.25])
DATES = np.arange(np.datetime64("1999-01-01"), np.datetime64("2002-01-01"))
NAME = "fit_sciml-0123456789ab"


def write(folder: Path, *, move: float = 0.0) -> list[str]:
    """Parameters R, forcing F.nc and network N.nc in a folder; the options that name them. move: parameters' latitudes
    by so many degrees."""
    weather(folder / "F.nc")
    parameters(folder / "R", move)
    network(folder / "N.nc", np.array([[6, 6, 5], [6, 6, 5]]))
    return ["--parameters", str(folder / "R"), "--forcing", str(folder / "F.nc"), "--network",
            f"{folder / 'N.nc'}:made_ldd", "--executor", "serial", "--cells-per-item", "4"]  # fmt: skip


def weather(file: Path) -> None:
    rng, shape = np.random.default_rng(5), (len(DATES), len(LAT), len(LON))
    season = np.cos(2 * np.pi * np.arange(len(DATES)) / 365.25)[:, None, None]
    tas = 281.0 - 11.0 * season + rng.normal(0, 3, shape)
    ps = np.full(shape, 9.5e4)
    values = {
        "pr": ((rng.random(shape) < 0.4) * rng.gamma(0.8, 9.0, shape) / 86400.0, "kg m-2 s-1"),
        "tas": (tas, "K"),
        "huss": (0.7 * saturation_humidity(tas, ps), "1"),
        "ps": (ps, "Pa"),
    }
    ds = xr.Dataset(
        {name: (("time", "lat", "lon"), v.astype(np.float32), {"units": u}) for name, (v, u) in values.items()},
        {"time": DATES.astype("datetime64[ns]"), "lat": ("lat", LAT, {"units": "degrees_north"}),
         "lon": ("lon", LON, {"units": "degrees_east"})},
    )  # fmt: skip
    ds.to_netcdf(file)


def parameters(run: Path, move: float) -> None:
    """What a finished `emulator_fit` leaves: theta about the prior, known to within a tenth of the prior."""
    model, (lat, lon) = MODELS["sciml"], (grid.ravel() for grid in np.meshgrid(LAT, LON, indexing="ij"))
    order = np.random.default_rng(1).permutation(len(lat))  # another order than the forcing's
    lat, lon = lat[order] + move, lon[order]
    names = tuple(f"cell {i}" for i in order)
    where = Layout(names, lat, lon, np.full(len(lat), 2e3), DATES, (), len(lat))
    template = fit_template(where, model)
    theta = planted_theta(model, names, 0).transpose(2, 1, 0)
    space, cells, months = Space.of(model.parameters), len(names), template.sizes["month"]
    theta = np.broadcast_to(theta[:, :1], (cells, months, theta.shape[2])).copy()
    arrays = {
        name: np.zeros([template.sizes[dim] for dim in variable.dims], variable.dtype)
        for name, variable in template.variables.items()
    }
    arrays["theta"], arrays["free"] = theta, space.free(theta)
    arrays["covariance"] += np.diag((0.1 * space.spread) ** 2)
    url = str(run / "stages" / NAME)
    create_store(url, template)
    write_region(url, template, {"cell_start": 0, "cell_stop": cells}, arrays)
    (run / "config.yaml").write_text("# pipeline: emulator_fit\nseed: 0\n")
    published = {"source": "grid", "demand": "auto", "demand_kind": "humidity_deficit", "scheme": "explicit",
                 "models": {"sciml": NAME}, "train": {"first": 1999, "last": 2001, "left_out": []}}  # fmt: skip
    (run / "models.json").write_text(json.dumps(published))


def network(file: Path, codes: np.ndarray) -> None:
    """PCRaster's keypad, rows from south to north; 0 is no land."""
    values = np.where(codes > 0, codes, np.nan)
    ds = xr.Dataset({"made_ldd": (("lat", "lon"), values)}, {"lat": LAT, "lon": LON})
    ds.to_netcdf(file)
