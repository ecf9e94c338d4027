"""Stage functions of the well job: leave a cell out and predict it; put the cells together as calibrated members."""

from dataclasses import dataclass

import numpy as np
import xarray as xr

from sciml.core.seeds import seed_for
from sciml.data.stores import Template, Variable, open_store
from sciml.grace import calibration
from sciml.grace.wells import models as well_models
from sciml.grace.wells.table import Wells, WellSetup, standardise

MEMBERS = 30


@dataclass(frozen=True)
class Fold:
    """Address of a region of wells in a block of years."""

    fold: int


@dataclass(frozen=True)
class Model:
    """Address of a model."""

    model: int


def fold_template(wells: Wells, models: tuple[str, ...]) -> Template:
    """Store of standardised predictions, a cell an object."""
    variables = {
        "point": Variable(("fold", "model", "well", "month"), "1", "standardised anomaly", may_be_missing=True),
        "sigma": Variable(("fold", "model"), "1", "standard error in inner folds", valid_range=(0.0, 100.0)),
        "inner_r": Variable(("fold", "model"), "1", "mean correlation in inner folds", valid_range=(-1.0, 1.0)),
        "choice": Variable(("fold",), "1", "number of the model that is 'selected'", dtype="int32"),
    }
    sizes = {"fold": len(wells.cells), "model": len(models), **_sizes(wells)}
    return Template(sizes, variables, {"fold": 1}, _coordinates(wells), {"models": ", ".join(models)})


def members_template(wells: Wells, models: tuple[str, ...]) -> Template:
    """Store of calibrated members, a model an object."""
    dims = ("model", "well", "member", "month")
    long_name = "predicted anomaly of groundwater level, positive upwards, season removed"
    variables = {"level": Variable(dims, "m", long_name, may_be_missing=True)}
    sizes = {"model": len(models), "member": MEMBERS, **_sizes(wells)}
    return Template(sizes, variables, {"model": 1}, _coordinates(wells), {"models": ", ".join(models)})


@dataclass(frozen=True)
class LeaveOut:
    """Stage function: settings from inner folds, then the prediction of the cell, by every model."""

    setup: WellSetup
    models: tuple[str, ...]
    members: int
    seed: int

    def __call__(self, item: Fold) -> dict[str, np.ndarray]:
        wells = self.setup.prepare()
        seed = seed_for(self.seed, "wells", item.fold)
        found = well_models.cell_result(wells, wells.cells[item.fold], self.models, self.members, seed)
        return {
            "point": found.point[None].astype(np.float32),
            "sigma": found.sigma[None].astype(np.float32),
            "inner_r": found.inner[None].astype(np.float32),
            "choice": np.array([self.models.index(found.choice)], np.int32),
        }


@dataclass(frozen=True)
class Assemble:
    """Stage function: one model's cells side by side in metres. A well's own training years scale its prediction; that
    they do enters no correlation."""

    setup: WellSetup
    folds_url: str
    seed: int

    def __call__(self, item: Model) -> dict[str, np.ndarray]:
        wells = self.setup.prepare()
        store = open_store(self.folds_url).isel(model=item.model).load()
        point = np.full(wells.level.shape, np.nan)
        sigma = point.copy()
        for number, cell in enumerate(wells.cells):
            place, scale = np.ix_(cell.wells, cell.months), standardise(wells, ~cell.months).scale
            point[place] = (store["point"].values[number] * scale[:, None])[place]
            sigma[place] = float(store["sigma"].values[number]) * scale[cell.wells, None]
        return {"level": calibration.members(point, sigma, MEMBERS, self.seed)[None]}


def _sizes(wells: Wells) -> dict[str, int]:
    return {"well": len(wells.names), "month": len(wells.months)}


def _coordinates(wells: Wells) -> dict[str, xr.Variable]:
    return {
        "month": xr.Variable("month", wells.months.astype("datetime64[s]")),
        "lat": xr.Variable("well", wells.latitude, {"units": "degrees_north"}),
        "lon": xr.Variable("well", wells.longitude, {"units": "degrees_east"}),
    }
