"""Spectra from files to labels: planted stars come back from any format, bad files are named and lose no other."""

import csv
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from astropy.io import fits

from pipelines.stellar_parameters import main
from sciml.data.readers.harps_e2ds import theoretical_blaze
from sciml.data.spectrum import LIGHT, Spectrum, air_to_vacuum
from sciml.data.stores import open_store
from sciml.generated.spectra import LineModel
from sciml.nn.checkpoint import load_checkpoint, save_checkpoint
from sciml.report import page
from sciml.stellar import consistency, experiments, flag_steps, networks, steps
from sciml.stellar.labels import LABELS, PARAMETERS
from sciml.stellar.sampling import PixelGrid, Sampler
from tests.data.readers.spectrum_fixtures import PIXELS, observatory_wave, write_e2ds, write_image
from tests.stellar.conftest import SUN, observed, spectra_of

RV = -31.4
LINES = LineModel(0)  # those of the training run, whose seed is 0 too


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A small training run on generated lines, with a network."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    made = networks.PRESETS["generated"]
    quick = replace(made.estimating, epochs=2, spectra=2048)
    settings = replace(made, estimating=quick, drawn=120, derivatives=16, bank=500)
    words = "--node-step 5 --sobol-points 150 --test-points 6 --components 60 --calibration-spectra 100"
    words += " --strangers 2 --models sciml --executor serial"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(networks.PRESETS, "generated", settings)  # type: ignore[arg-type]
        patch.setattr(consistency, "FEWEST", 60)
        patch.setattr(steps, "_TRIED", 64)
        patch.setattr(flag_steps, "_LIBRARY", 32)
        patch.setattr(experiments, "ROTATIONS", 1)
        patch.setattr(experiments, "OTHER_SNR", (50.0,))
        patch.setattr(page, "figure_bytes", lambda *_: b"")
        assert main([*words.split(), "--run-dir", str(folder)]) == 0
        yield folder


def planted(**changes: float) -> np.ndarray:
    star = SUN.copy()
    for name, value in changes.items():
        star[PARAMETERS.index(name)] = value
    return star


def seen(star: np.ndarray, **options: float) -> Spectrum:
    return observed(star, LINES, rv=RV, merged=True, snr=options.pop("snr", 150.0), **options)  # type: ignore[arg-type]


def write_text(path: Path, spectrum: Spectrum, head: str = "# R = 115000\n# medium = air\n") -> Path:
    assert spectrum.sigma is not None
    rows = zip(spectrum.wave[0], spectrum.flux[0], spectrum.sigma[0], strict=True)
    path.write_text(head + "".join(f"{w:.5f} {f:.5f} {s:.5f}\n" for w, f, s in rows))
    return path


def write_orders(path: Path, star: np.ndarray, berv: float = 12.0) -> Path:
    """An e2ds of a planted star, photon noise alone."""
    wave = observatory_wave()
    rest = wave * (1 + berv / LIGHT) / (1 + RV / LIGHT)
    models = spectra_of(star[None], LINES)
    sampler = Sampler(PixelGrid(rest, 115_000.0))
    fourier, epsilon = torch.fft.rfft(torch.from_numpy(models.flux)), torch.tensor(models.epsilon).float()
    flux = sampler.observe(fourier, torch.from_numpy(star[None]).float(), epsilon)[0].double().numpy()
    counts = np.random.default_rng(0).poisson(20_000 * np.clip(flux, 0, 2) * theoretical_blaze(wave)).astype(float)
    counts[12, 900:905] = 1e7  # saturated
    write_e2ds(path, berv=berv, counts=counts, OBJECT="by order")
    return path


def apply(trained: Path, spectra: object, folder: Path, *words: object, serial: bool = True) -> int:
    engine = ("--executor", "serial") if serial else ("--workers", "2")
    return main([str(w) for w in ("--apply", spectra, "--checkpoint", trained, *engine, "--run-dir", folder, *words)])


def labels(folder: Path, method: str = "chi2") -> pd.DataFrame:
    rows = pd.read_csv(folder / "labels.csv").fillna({"flags": ""})
    return rows[rows["method"] == method].set_index("name")


def objects(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in (folder / "stages").rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def stars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of three planted stars in three formats."""
    folder = tmp_path_factory.mktemp("spectra")
    write_text(folder / "warm.txt", seen(planted(teff=6300.0, logg=4.1, feh=-0.4, vsini=9.0)))
    giant = seen(planted(teff=4900.0, logg=2.8, feh=-0.2, vsini=3.0))
    np.savez(folder / "two.npz", giant_wave=giant.wave[0], giant_flux=giant.flux[0], giant_sigma=giant.sigma[0])
    write_orders(folder / "orders.fits", SUN)
    return folder


@pytest.fixture(scope="module")
def measured(trained: Path, stars: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("measured") / "run"
    assert apply(trained, stars, folder) == 0
    return folder


def test_planted_stars_come_back_from_three_formats(measured: Path) -> None:
    found = labels(measured)
    truth = {
        "warm": (6300.0, 4.1, -0.4, 9.0),
        "giant": (4900.0, 2.8, -0.2, 3.0),
        "by order": tuple(SUN[:4]),
    }
    assert set(found.index) == set(truth)
    for name, expected in truth.items():
        row = found.loc[name]
        for label, value in zip(LABELS, expected, strict=True):
            assert abs(row[label] - value) < 2.5 * row[f"{label}_sigma"], (name, label)
        assert row["rv"] == pytest.approx(RV, abs=0.05)
        assert row["teff_sigma"] < 120
        assert row["flags"] in ("", "vsini_upper_limit")


def test_networks_answer_beside_the_fit_and_the_page_says_which(measured: Path) -> None:
    found = labels(measured, "sciml")
    assert len(found) == 3
    assert np.isfinite(found.loc["by order", "teff"])
    assert (found["vsini_is"][np.isfinite(found["teff"])] == "total").all()  # its stars had no macroturbulence
    said = (measured / "report.html").read_text()
    assert "of experiment snr20" in said
    assert "no more than noise" in said
    assert "no star" in said  # can be measured with generated lines
    metrics = json.loads((measured / "metrics.json").read_text())
    assert metrics["scores"]["stars"]["chi2"]["n"] == 3
    assert (measured / "labels.fits").exists()
    assert len(pd.read_parquet(measured / "labels.parquet")) == 6


def test_the_store_is_cf_and_flags_are_bits(measured: Path) -> None:
    (url,) = (measured / "stages").glob("stars_000-*")
    store = open_store(str(url))
    attributes = store["flags"].attrs
    meanings = attributes["flag_meanings"].split()
    assert len(meanings) == len(attributes["flag_masks"])
    assert attributes["flag_masks"][meanings.index("low_snr")] == 1 << meanings.index("low_snr")
    assert list(store["method"].values) == ["chi2", "sciml"]


def test_a_second_run_does_nothing_and_more_files_are_measured_alone(
    trained: Path, stars: Path, measured: Path, tmp_path: Path
) -> None:
    before, table = objects(measured), (measured / "labels.csv").read_bytes()
    assert apply(trained, stars, measured) == 0
    assert objects(measured) == before
    assert (measured / "labels.csv").read_bytes() == table
    more = write_text(tmp_path / "a_fourth.txt", seen(planted(teff=5300.0)))
    assert apply(trained, f"{more},{stars}", measured) == 0  # first in the list, last in the store
    assert {name: when for name, when in objects(measured).items() if name in before} == before
    assert next(iter(labels(measured).index)) == "a_fourth"
    assert len(labels(measured)) == 4
    assert apply(trained, stars, measured) == 0
    assert (measured / "labels.csv").read_bytes() == table


def test_a_changed_file_is_measured_again(trained: Path, tmp_path: Path) -> None:
    for teff in (5300.0, 6100.0):
        write_text(tmp_path / "star.txt", seen(planted(teff=teff)))
        assert apply(trained, tmp_path / "star.txt", tmp_path / "run") == 0
        assert labels(tmp_path / "run").loc["star", "teff"] == pytest.approx(teff, abs=150)


def test_ray_and_serial_agree_wherever_the_training_lies(
    trained: Path, stars: Path, measured: Path, tmp_path: Path, ray_local: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(trained, tmp_path / "moved")
    shutil.copytree(stars, tmp_path / "spectra")
    monkeypatch.chdir(tmp_path)  # relative names: workers work elsewhere
    assert apply(Path("moved"), "spectra/*", Path("run"), serial=False) == 0
    (theirs,), (ours,) = (list((folder / "stages").glob("stars_*")) for folder in (measured, tmp_path / "run"))
    assert theirs.name == ours.name
    one, other = (labels(folder).drop(columns="file") for folder in (measured, tmp_path / "run"))
    pd.testing.assert_frame_equal(one.sort_index(), other.sort_index())


BAD = {
    "no_keywords.fits": "no keyword 'HIERARCH ESO|TNG DRS CAL TH DEG LL'",
    "wrong_orders.fits": "found 16 orders and 60 wavelength coefficients",
    "other_window.fits": "expected some within 5020 .. 5402 A",
    "truncated.fits": "no readable FITS file",
    "holes.txt": "cannot be used",
    "flat.txt": "a flat line",
    "unresolved.txt": "resolving power unknown",
    "prose.txt": "line 2: found",
    "others.npz": "expected <name>_flux",
}


def write_bad(folder: Path) -> None:
    """One file of every kind in BAD."""
    folder.mkdir()
    wave = observatory_wave()
    write_image(folder / "no_keywords.fits", np.ones((16, PIXELS)), {"INSTRUME": "HARPS", "OBJECT": "star"})
    write_e2ds(folder / "wrong_orders.fits", coefficients=np.ones(60))
    shifted = np.stack([wave[:, 0] + 900, np.full(16, 0.02), np.zeros(16), np.zeros(16)], 1)
    write_e2ds(folder / "other_window.fits", coefficients=shifted)
    write_e2ds(folder / "whole.fits")
    (folder / "truncated.fits").write_bytes((folder / "whole.fits").read_bytes()[:2000])
    (folder / "whole.fits").unlink()
    spectrum = seen(SUN)
    write_text(
        folder / "holes.txt", replace(spectrum, flux=np.where(np.arange(spectrum.flux.size) % 3, np.nan, 1.0)[None])
    )
    write_text(folder / "flat.txt", replace(spectrum, flux=np.full_like(spectrum.flux, 3.0)))
    write_text(folder / "unresolved.txt", spectrum, head="")
    (folder / "prose.txt").write_text("wavelength flux\na spectrum of mine\n5100 1\n")
    np.savez(folder / "others.npz", temperature=np.ones(3))


def test_bad_files_lose_no_other_and_each_is_one_line(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_bad(tmp_path / "bad")
    good = write_text(tmp_path / "bad" / "good.txt", seen(SUN))
    assert apply(trained, tmp_path / "bad", tmp_path / "run") == 2
    error = capsys.readouterr().err.strip()
    assert f"{len(BAD)} of {len(BAD) + 1} spectra could not be measured" in error
    assert "failed.csv" in error and "\n" not in error
    with (tmp_path / "run" / "failed.csv").open() as file:
        reasons = {Path(row["file"]).name: row["reason"] for row in csv.DictReader(file)}
    assert reasons.keys() == BAD.keys()
    for name, said in BAD.items():
        assert said in reasons[name]
        assert str(tmp_path / "bad" / name) in reasons[name]
        assert "\n" not in reasons[name]
    assert list(labels(tmp_path / "run").index) == ["good"]
    assert "flat.txt" in (tmp_path / "run" / "report.html").read_text()
    assert apply(trained, good, tmp_path / "run") == 0
    assert not (tmp_path / "run" / "failed.csv").exists()


@pytest.mark.parametrize("name", ["flat.txt", "wrong_orders.fits"])
def test_a_single_bad_file_fails_and_leaves_no_page(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    write_bad(tmp_path / "bad")
    assert apply(trained, tmp_path / "bad" / name, tmp_path / "run") == 2
    error = capsys.readouterr().err.strip()
    assert BAD[name] in error
    assert name in error
    assert "\n" not in error
    assert not (tmp_path / "run" / "report.html").exists()


def test_one_bad_spectrum_of_an_npz_loses_no_other(trained: Path, tmp_path: Path) -> None:
    good = seen(SUN)
    flat = np.ones_like(good.flux[0])
    np.savez(
        tmp_path / "all.npz",
        bad_wave=good.wave[0],
        bad_flux=flat,
        good_wave=good.wave[0],
        good_flux=good.flux[0],
        good_sigma=good.sigma[0],
    )
    assert apply(trained, tmp_path / "all.npz", tmp_path / "run") == 2
    assert list(labels(tmp_path / "run").index) == ["good"]


def test_what_is_no_usual_star_is_flagged(trained: Path, tmp_path: Path) -> None:
    sun = seen(SUN)
    level = np.percentile(sun.flux, 95)
    write_text(tmp_path / "emission.txt", replace(sun, flux=np.maximum(2 * level - sun.flux, 1.0)))
    write_text(tmp_path / "faint.txt", seen(SUN, snr=2.0))
    write_text(tmp_path / "fast.txt", seen(planted(teff=6500.0, vsini=60.0)))
    write_text(tmp_path / "vacuum.txt", replace(sun, wave=air_to_vacuum(sun.wave)))
    assert apply(trained, tmp_path / "*.txt", tmp_path / "run", "--expected-rv", RV) == 0
    found = labels(tmp_path / "run")["flags"]
    assert "emission" in found["emission"]
    assert "low_snr" in found["faint"]
    assert {"outside_grid", "poor_fit"} & set(found["fast"].split())
    assert "vacuum" in found["vacuum"].split()
    assert np.isnan(labels(tmp_path / "run").loc["emission", "teff"])
    assert labels(tmp_path / "run").loc["vacuum", "rv"] == pytest.approx(RV, abs=0.1)


def test_resolving_power_and_blaze_can_be_given(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_text(tmp_path / "said.txt", seen(SUN, power=60_000.0), head="")
    assert apply(trained, file, tmp_path / "run", "--resolving-power", 60000) == 0
    row = labels(tmp_path / "run").loc["said"]
    assert abs(row["vsini"] - SUN[3]) < 2.5 * row["vsini_sigma"]
    orders = write_orders(tmp_path / "orders.fits", SUN)
    fits.PrimaryHDU(np.ones((3, 4))).writeto(tmp_path / "blaze.fits")
    assert apply(trained, orders, tmp_path / "run", "--blaze", tmp_path / "blaze.fits") == 2
    assert "blaze.fits: found a blaze of shape (3, 4)" in capsys.readouterr().err
    assert apply(trained, orders, tmp_path / "run", "--blaze", tmp_path / "none.fits") == 2
    assert "none.fits: no such file" in capsys.readouterr().err


def test_the_plan_lists_spectra_and_makes_nothing(
    trained: Path, stars: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert apply(trained, stars, tmp_path / "run", "--dry-run") == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["stars_000", "3"] in [row[:2] for row in rows]
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--apply", "x.fits"), "--apply needs --checkpoint"),
        (("--checkpoint", "r"), "--checkpoint would not be read; it needs --apply"),
        (("--expected-rv", "3"), "--expected-rv would not be read; it needs --apply"),
        (("--apply", "x", "--checkpoint", "r", "--store", "g"), "--store would not be read with --apply"),
        (("--apply", "x", "--checkpoint", "r", "--preset", "small"), "--preset would not be read with --apply"),
        (("--apply", "x", "--checkpoint", "r", "--models", "chi2"), "--models would not be read with --apply"),
        (("--apply", "x", "--checkpoint", "run"), "is the training's own"),
        (("--apply", "x", "--checkpoint", "r", "--resolving-power", "3"), "greater than 1000"),
        (("--apply", "nothing*.fits", "--checkpoint", "r"), "no file matches"),
    ],
)
def test_options_that_contradict_are_refused_in_one_line(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*words, "--executor", "serial", "--run-dir", "run", "--dry-run"]) == 2
    error = capsys.readouterr().err.strip()
    assert said in error
    assert "\n" not in error


def test_a_checkpoint_that_is_none_is_refused_in_one_line(
    trained: Path, stars: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(folder: Path) -> str:
        assert apply(folder, stars, tmp_path / "run", "--dry-run") == 2
        error = capsys.readouterr().err.strip()
        assert "\n" not in error
        return error

    assert "no models.json found" in refused(tmp_path)
    moved = tmp_path / "moved"
    shutil.copytree(trained, moved)
    said = json.loads((moved / "models.json").read_text())
    (moved / "models.json").write_text(json.dumps(said | {"version": 99}))
    assert "found version 99, expected" in refused(moved)
    (moved / "models.json").write_text(json.dumps(said | {"experiments": 3}))
    assert "experiments" in refused(moved)
    (moved / "models.json").write_text("{")
    assert "not readable as JSON" in refused(moved)
    (moved / "models.json").write_text(json.dumps(said))
    for file, name in ((said["emulator"], "mean"), (said["experiments"][0]["networks"][0]["checkpoints"][0], None)):
        whole = (moved / file).read_bytes()
        state = load_checkpoint(str(moved / file))
        tensors = state["model"]
        tensors[name or next(iter(tensors))] = torch.zeros(3)
        save_checkpoint(str(moved / file), state)
        assert apply(moved, stars, tmp_path / "run") == 2
        error = capsys.readouterr().err.strip()
        assert file in error and "train again" in error and "\n" not in error
        assert not (tmp_path / "run" / "stages").exists()
        (moved / file).write_bytes(whole)
    (moved / said["emulator"]).unlink()
    assert "no such file, but" in refused(moved)


def test_a_real_star_is_not_measured_in_silence_with_generated_lines(
    trained: Path, real_data: Path, tmp_path: Path
) -> None:
    assert apply(trained, real_data / "stellar" / "harps_e2ds_5030_5440.npz", tmp_path / "run") == 0
    row = labels(tmp_path / "run").iloc[0]
    assert {"no_lines", "poor_fit", "outside_grid"} & set(row["flags"].split())
    assert "no star" in (tmp_path / "run" / "report.html").read_text()
