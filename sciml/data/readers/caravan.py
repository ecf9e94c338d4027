"""Tables of Caravan: a basin's daily ERA5-Land and its observed streamflow, `DATASET_GAUGE.csv[.gz]`.

mm, mm day-1, degC, kPa and m3 m-3, days in local time, states as means over the day. `attributes_other_DATASET.csv`
(gauge_id, gauge_name, gauge_lat, gauge_lon, area [km2]) lies beside the tables or where Caravan puts it. ERA5-Land's
evaporation and runoff are not in these tables; columns that others added (E-OBS, EMO-1) are not looked at. Reference:
Kratzert et al. 2023, doi:10.1038/s41597-023-01975-w; soil layers of ERA5-Land: 0-7, 7-28, 28-100, 100-289 cm.
"""

from pathlib import PurePosixPath

import numpy as np
import pandas as pd
import xarray as xr

from sciml.core.errors import InputError
from sciml.core.urls import exists, join, members
from sciml.data.catalogue import WATER
from sciml.data.readers.common import require_file
from sciml.data.readers.counties import read_csv
from sciml.data.readers.daily import checked, read_table, series, unit_name, whole_days
from sciml.data.readers.era5_land import LAYER_METRES

LAYOUT = "a table of Caravan"
DATE = "date"
# catalogue name -> column and unit
FORCING = {"pr": ("total_precipitation_sum", "mm/day"), "tas": ("temperature_2m_mean", "degC")}
DEMAND = {
    "tdps": ("dewpoint_temperature_2m_mean", "degC"),
    "ps": ("surface_pressure_mean", "kPa"),
    "evspsblpot": ("potential_evaporation_sum", "mm/day"),
}
SNOW = "snow_depth_water_equivalent_mean"
LAYERS = tuple(f"volumetric_soil_water_layer_{i}_mean" for i in range(1, 5))
STREAMFLOW = "streamflow"
_STORES = {"soil_upper": LAYERS[:2], "soil_lower": LAYERS[2:]}


def open_caravan(files: str, *, attributes: str | None = None) -> tuple[xr.Dataset, ...]:
    """Tables, each a dataset (time, cell 1): `pr tas` and of `tdps ps evspsblpot snw soil_upper soil_lower` those that
    are there, `streamflow` (observed, NaN where missing) [kg m-2 s-1], where the area is known `dis` [m3 s-1] too.

    files: one, a list separated by commas or a pattern. attributes: the file or folder of attributes. Days without
    weather at either end are left out. Units of the catalogue, float64. Raises InputError for a damaged table or one of
    another kind, gaps, and values that cannot be what the format says.
    """
    return tuple(_open_one(file, attributes) for file in members(files))


def _open_one(file: str, attributes: str | None) -> xr.Dataset:
    require_file(file)
    optional = [*(column for column, _ in DEMAND.values()), SNOW, *LAYERS, STREAMFLOW]
    required = [column for column, _ in FORCING.values()]
    dates, columns = read_table(file, date=DATE, required=required, optional=optional, layout=LAYOUT)
    columns = {name: values for name, values in columns.items() if name in required or np.isfinite(values).any()}
    wanted = {**FORCING, **{name: entry for name, entry in DEMAND.items() if entry[0] in columns}}
    # what does not drive the model may have holes
    driving = {*FORCING, *({"tdps", "ps"} if {"tdps", "ps"} <= set(wanted) else {"evspsblpot"})} & set(wanted)
    steps, calendar = whole_days(dates, {wanted[name][0]: columns[wanted[name][0]] for name in driving}, file=file)
    notes = []
    if cut := len(dates) - (steps.stop - steps.start):
        notes.append(f"{file}: {cut} days without weather at the ends of the table are left out")
    dates = dates[steps]
    out = {
        name: checked(name, columns[column][steps], dates, file=file, units=units, what=column)
        for name, (column, units) in wanted.items()
    }
    if SNOW in columns:
        out["snw"] = checked("snw", columns[SNOW][steps], dates, file=file, units="mm", what=SNOW)
    for name, layers in _STORES.items():
        if all(layer in columns for layer in layers):
            out[name] = _soil(layers, {layer: columns[layer][steps] for layer in layers}, dates, file)
    gauge = unit_name(file)
    place, label = _place(gauge, file, attributes)
    if STREAMFLOW in columns:
        flow = checked("mrro", columns[STREAMFLOW][steps], dates, file=file, units="mm/day", what=STREAMFLOW)
        out["streamflow"] = flow
        if np.isfinite(place[2]):
            out["dis"] = flow * place[2] * 1e6 / WATER
    if not np.isfinite(place[2]):
        notes.append(
            f"{file}: no area of '{gauge}' in attributes_other_{gauge.split('_')[0]}.csv: no discharge in m3 s-1"
        )
    described = {"source": file, "layout": LAYOUT, "calendar": calendar, "stamp": "mean", "notes": notes}
    return series(out, dates, cell=gauge, place=place, attributes={**described, "label": label})


def _soil(layers: tuple[str, ...], columns: dict[str, np.ndarray], dates: np.ndarray, file: str) -> np.ndarray:
    """Water of some layers [kg m-2]: density of water x volume fraction x thickness."""
    total = np.zeros(len(dates))
    for layer in layers:
        values = columns[layer]
        wrong = np.flatnonzero((values < 0.0) | (values > 1.0))
        if len(wrong):
            raise InputError(
                f"{file}: '{layer}': found {values[wrong[0]]:.4g} on {dates[wrong[0]]}, expected 0 .. 1 m3 m-3;"
                " per cent or kg m-2? divide, or mend the file"
            )
        total += WATER * LAYER_METRES[f"swvl{layer.split('_')[4]}"] * values
    return total


def _place(gauge: str, file: str, attributes: str | None) -> tuple[tuple[float, float, float], str]:
    """Latitude, longitude [degrees] and area [km2] of a gauge, NaN where no table names it, and its name."""
    dataset = gauge.split("_")[0]
    name = f"attributes_other_{dataset}.csv"
    folder = str(PurePosixPath(file).parent) if "://" not in file else file.rsplit("/", 1)[0]
    above = folder.split("/timeseries/")[0]
    places = [join(folder, name), join(above, "attributes", dataset, name)]
    if attributes is not None:
        require_file(attributes)
        places = [attributes if attributes.endswith(".csv") else join(attributes, name)]
    for path in places:
        if exists(path):
            return _row(path, gauge)
    return (np.nan, np.nan, np.nan), gauge


def _row(path: str, gauge: str) -> tuple[tuple[float, float, float], str]:
    table = read_csv(path)
    columns = ("gauge_id", "gauge_lat", "gauge_lon", "area")
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise InputError(f"{path}: column {', '.join(missing)} missing; Caravan's attributes have {', '.join(columns)}")
    rows = np.flatnonzero(table["gauge_id"] == gauge)
    if not len(rows):
        return (np.nan, np.nan, np.nan), gauge
    found = table.iloc[int(rows[0])]
    lat, lon, area = (float(pd.to_numeric(found[name], errors="coerce")) for name in columns[1:])
    if not area > 0:
        raise InputError(f"{path}: gauge '{gauge}': found area {found['area']!r}, expected km2 above 0")
    return (lat, lon, area), str(found.get("gauge_name", gauge)) or gauge
