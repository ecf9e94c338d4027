"""Tables of PCR-GLOBWB and Caravan with known values, whole or damaged."""

import gzip
from collections.abc import Mapping
from pathlib import Path

import numpy as np

DATES = np.arange("1991-12-01", "1993-03-01", dtype="M8[D]")  # holds 29 February 1992


def weather(dates: np.ndarray = DATES) -> tuple[np.ndarray, np.ndarray]:
    """Precipitation [mm day-1] that averages 2.5, temperature [degC] from -5 to 20."""
    step = np.arange(len(dates))
    return 2.5 * (step % 3 == 0) * 3, 7.5 - 12.5 * np.cos(2 * np.pi * (step - 45) / 365.25)


def pcrglobwb_columns() -> dict[str, np.ndarray]:
    rain, celsius = weather()
    flat = np.ones(len(DATES))
    return {
        "p": rain / 1000, "t": celsius, "et": 0.0018 * flat, "snowCoverSWE": 0.03 * flat, "snowFreeWater": 0.002 * flat,
        "storUppTotal": 0.06 * flat, "storLowTotal": 0.22 * flat, "storGroundwater": 0.07 * flat,
        "directRunoff": 0.0002 * flat, "interflowTotal": 0.0003 * flat, "baseflow": 0.0008 * flat,
        "totalEvaporation": 0.001 * flat, "channelStorage": 2e7 * flat,
    }  # fmt: skip


def caravan_columns() -> dict[str, np.ndarray]:
    rain, celsius = weather()
    flat = np.ones(len(DATES))
    layers = {f"volumetric_soil_water_layer_{i}_mean": 0.1 * i * flat for i in range(1, 5)}
    return {
        "total_precipitation_sum": rain, "temperature_2m_mean": celsius, "dewpoint_temperature_2m_mean": celsius - 4,
        "surface_pressure_mean": 95.0 * flat, "snow_depth_water_equivalent_mean": 20.0 * flat, **layers,
        "potential_evaporation_sum": 1.9 * flat, "streamflow": 1.5 * flat, "eobs": -1.0 * flat,
    }  # fmt: skip


def write_table(file: Path, columns: Mapping[str, np.ndarray], date: str, dates: np.ndarray = DATES) -> Path:
    """NaN becomes an empty field; gzip where the name ends so."""
    rows = [",".join([date, *columns])]
    for i, day in enumerate(dates):
        rows.append(",".join([str(day), *("" if np.isnan(v[i]) else f"{v[i]:.9g}" for v in columns.values())]))
    text = ("\n".join(rows) + "\n").encode()
    file.write_bytes(gzip.compress(text) if file.suffix == ".gz" else text)
    return file
