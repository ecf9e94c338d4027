"""Measured stars as tables: a row a star and method, as CSV, FITS and Parquet, each written whole or not at all."""

import io
import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from astropy.io import fits
from astropy.table import Column, Table

from sciml.core.urls import join, write_bytes
from sciml.stellar.apply import MEANING, Measured
from sciml.stellar.labels import LABELS, LONG_NAMES, NUISANCES, UNITS
from sciml.stellar.star_record import Record

_DIGITS = {"teff": 1, "logg": 3, "feh": 3, "vsini": 2, "rv": 4, "vmic": 2, "alpha": 3, "vmac": 2}
PAIRS = tuple(itertools.combinations(range(len(LABELS)), 2))
DESCRIPTIONS = (
    {name: LONG_NAMES[name] for name in (*LABELS, *NUISANCES)}
    | {f"{name}_sigma": f"standard deviation of {name}, models' common errors included" for name in LABELS}
    | {
        "name": "star, as the file names it",
        "method": "chi2: best model; else a network",
        "vsini_is": "rotation, or total broadening",
        "vsini_limit": "95 % upper limit of vsini where it is not resolved",
        "rv": "radial velocity, barycentric where the file has the correction",
        "rv_sigma": "standard deviation of rv",
        "snr": "median signal to noise of a pixel, of photons",
        "misfit": "rms of the residual from the best model beyond noise, over the continuum",
        "pixels_together": "pixels that err together",
        "chi2": "reduced chi-square of the best model, photon noise alone",
        "chi2_orders": "the same of each order or stretch of 50 A",
        "flags": "see the table's header",
        "file": "where the spectrum came from",
    }
)


def table(stars: Sequence[Record], files: Sequence[str] = ()) -> pd.DataFrame:
    """Rows of all stars and methods. Columns: DESCRIPTIONS, and covariance_<label>_<label> of LABELS. files: of each
    star."""
    named = zip(stars, files or [""] * len(stars), strict=True)
    return pd.DataFrame([_row(star, measured, file) for star, file in named for measured in star.methods])


def write_labels(folder: str, stars: Sequence[Record], files: Sequence[str] = ()) -> list[str]:
    """labels.csv, labels.fits and labels.parquet in a folder, local or s3://; their URLs."""
    rows = table(stars, files)
    made = {"labels.csv": _csv(rows), "labels.fits": _fits(rows), "labels.parquet": _parquet(rows)}
    urls = [join(folder, name) for name in made]
    for url, data in zip(urls, made.values(), strict=True):
        write_bytes(url, data)
    return urls


def write_failed(folder: str, reasons: Mapping[str, str]) -> str:
    """failed.csv: file -> why it could not be measured. Its URL."""
    url = join(folder, "failed.csv")
    rows = pd.DataFrame({"file": list(reasons), "reason": list(reasons.values())})
    write_bytes(url, rows.to_csv(index=False).encode())
    return url


def _row(star: Record, measured: Measured, file: str) -> dict[str, object]:
    row: dict[str, object] = {"name": star.name, "method": measured.method}
    for label, mean, sigma in zip(LABELS, measured.mean, measured.sigma, strict=True):
        row |= {label: float(mean), f"{label}_sigma": float(sigma)}
    row |= {"vsini_is": measured.vsini_is, "vsini_limit": measured.vsini_limit}
    row |= {"rv": star.rv, "rv_sigma": star.rv_sigma}
    row |= dict(zip(NUISANCES, map(float, star.nuisances), strict=True))
    chi = star.order_chi_square
    row |= {
        "snr": star.snr,
        "misfit": star.misfit,
        "pixels_together": star.pixels_together,
        "chi2": float(np.nanmean(chi)) if np.isfinite(chi).any() else float("nan"),
        "chi2_orders": chi,
    }
    for i, j in PAIRS:
        row[f"covariance_{LABELS[i]}_{LABELS[j]}"] = float(measured.covariance[i, j])
    return row | {"flags": " ".join(measured.flags), "file": file}


def _csv(rows: pd.DataFrame) -> bytes:
    shown = rows.copy()
    for column in shown.columns:
        digits = _DIGITS.get(column.removesuffix("_sigma").removesuffix("_limit"))
        if digits is not None:
            shown[column] = shown[column].round(digits)
        elif shown[column].dtype.kind == "f":
            shown[column] = [float(f"{value:.6g}") for value in shown[column]]
    shown["chi2_orders"] = [" ".join(f"{value:.4g}" for value in chi) for chi in rows["chi2_orders"]]
    return shown.to_csv(index=False).encode()


def _parquet(rows: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    rows.to_parquet(buffer, index=False)
    return buffer.getvalue()


def _fits(rows: pd.DataFrame) -> bytes:
    """One table, units in its header; chi2_orders padded with NaN to the most orders; flags spelt out as comments."""
    made = Table()
    for name in rows.columns:
        values = list(rows[name])
        if name == "chi2_orders":
            most = max((len(chi) for chi in values), default=0)
            values = np.array([np.pad(chi, (0, most - len(chi)), constant_values=np.nan) for chi in values])
            if not most:
                continue
        made.add_column(Column(values, name=name, unit=_unit(name)))
    hdu = fits.table_to_hdu(made)
    hdu.name = "LABELS"
    used = sorted({flag for flags in rows["flags"] for flag in flags.split()})
    for flag in used:
        hdu.header["COMMENT"] = f"{flag}: {MEANING[flag]}"
    buffer = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(buffer)
    return buffer.getvalue()


def _unit(name: str) -> str | None:
    """As FITS spells it."""
    if name.startswith(("rv", "vsini")) and name != "vsini_is":
        return "km s-1"
    return {"K": "K", "km/s": "km s-1"}.get(UNITS.get(name.removesuffix("_sigma"), ""))
