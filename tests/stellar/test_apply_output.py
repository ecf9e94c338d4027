"""Tables of measured stars: the same rows in CSV, FITS and Parquet."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from astropy.io import fits
from astropy.table import Table

from sciml.core.urls import read_bytes
from sciml.data.spectrum import Spectrum
from sciml.generated.spectra import LineModel
from sciml.stellar.apply import MEANING, measure
from sciml.stellar.apply_output import DESCRIPTIONS, PAIRS, table, write_labels
from sciml.stellar.emulator import Emulator
from sciml.stellar.instrument import generated
from sciml.stellar.labels import LABELS
from sciml.stellar.network_view import TrainedNetwork
from sciml.stellar.star_record import Record, record
from tests.stellar.conftest import SUN, observed


@pytest.fixture(scope="module")
def stars(emulator: Emulator, line_model: LineModel) -> list[Record]:
    def ask(flux: np.ndarray, snr: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return SUN[None, :4] + 0.01, np.diag([900.0, 0.01, 0.002, 0.1])[None]

    networks = [TrainedNetwork("sciml", ask, generated(8, 512))]
    noise = np.random.default_rng(0).normal(1.0, 0.05, (1, 18000))
    nothing = Spectrum("no, star", np.linspace(5025.0, 5390.0, 18000)[None], noise, None, 115_000.0)
    sun = replace(observed(SUN, line_model, rv=5.5), name="planted sun")
    return [record(measure(spectrum, emulator, networks)) for spectrum in (sun, nothing)]


def test_a_row_a_star_and_method(stars: list[Record]) -> None:
    rows = table(stars)
    assert list(rows["name"]) == 2 * ["planted sun"] + 2 * ["no, star"]
    assert list(rows["method"]) == 2 * ["chi2", "sciml"]
    assert rows["rv"][0] == pytest.approx(5.5, abs=0.05)
    assert rows.loc[2:, [*LABELS, "rv", "rv_sigma", "chi2", "vmic"]].isna().all(None)
    assert list(rows["flags"][2:]) == ["no_lines"] * 2
    assert set(rows.columns) == set(DESCRIPTIONS) | {f"covariance_{LABELS[i]}_{LABELS[j]}" for i, j in PAIRS}


def test_covariance_columns_are_the_matrix(stars: list[Record]) -> None:
    row, measured = table(stars).iloc[0], stars[0].methods[0]
    matrix = np.diag([row[f"{name}_sigma"] ** 2 for name in LABELS])
    for i, j in PAIRS:
        matrix[i, j] = matrix[j, i] = row[f"covariance_{LABELS[i]}_{LABELS[j]}"]
    np.testing.assert_allclose(matrix, measured.covariance)
    assert (np.linalg.eigvalsh(matrix) > 0).all()


def test_three_files_say_the_same(stars: list[Record], tmp_path: Path) -> None:
    csv, image, parquet = write_labels(str(tmp_path), stars)
    rows = table(stars)
    text, columns = pd.read_csv(csv), pd.read_parquet(io.BytesIO(read_bytes(parquet)))
    binary = Table.read(image, hdu=1)
    for name in ("teff", "logg_sigma", "rv", "covariance_teff_feh", "snr", "vsini_limit"):
        np.testing.assert_allclose(text[name], rows[name], rtol=1e-3, atol=6e-3)
        np.testing.assert_array_equal(columns[name], rows[name])
        np.testing.assert_array_equal(np.ma.filled(binary[name], np.nan), rows[name])
    assert list(binary["name"]) == list(text["name"]) == list(columns["name"]) == list(rows["name"])
    assert [float(x) for x in text["chi2_orders"][0].split()] == pytest.approx(list(rows["chi2_orders"][0]), rel=1e-3)
    np.testing.assert_array_equal(columns["chi2_orders"][0], rows["chi2_orders"][0])
    np.testing.assert_array_equal(binary["chi2_orders"][0], rows["chi2_orders"][0])
    assert np.isnan(np.ma.filled(binary["chi2_orders"][2], np.nan)).all()


def test_fits_has_units_and_spells_out_flags(stars: list[Record], tmp_path: Path) -> None:
    image = write_labels(str(tmp_path), stars)[1]
    with fits.open(image) as hdus:
        header = hdus["LABELS"].header
        units = {column.name: column.unit for column in hdus["LABELS"].columns}
    assert units["teff"] == units["teff_sigma"] == "K"
    assert units["rv"] == units["vsini_sigma"] == units["vmac"] == "km s-1"
    assert MEANING["no_lines"][:40] in " ".join(str(header["COMMENT"]).split("\n"))


def test_nothing_measured_at_all_is_still_a_table(stars: list[Record], tmp_path: Path) -> None:
    csv, image, _ = write_labels(str(tmp_path), stars[1:])
    assert len(pd.read_csv(csv)) == 2
    assert len(Table.read(image, hdu=1)) == 2


def test_written_to_an_object_store(stars: list[Record], s3: str) -> None:
    urls = write_labels(f"{s3}/labels", stars)
    assert [url.rsplit("/", 1)[1] for url in urls] == ["labels.csv", "labels.fits", "labels.parquet"]
    assert read_bytes(urls[0]).startswith(b"name,method,teff,teff_sigma")
