"""Spectra by PySME, where it and the real files are."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from sciml.core.errors import ConfigError
from sciml.stellar import synthesis
from sciml.stellar.synthesis import Atlas9Synthesis
from sciml.stellar.wavelengths import GRID

needs_pysme = pytest.mark.skipif(importlib.util.find_spec("pysme") is None, reason="PySME is not installed")


@pytest.fixture(scope="module")
def synthesise(real_data: Path) -> Atlas9Synthesis:
    folder = real_data / "stellar"
    return Atlas9Synthesis(
        str(folder / "atlas9_odfnew.tar.xz"), str(folder / "linelists" / "solar_calibrated_5030_5370.csv.gz")
    )


@needs_pysme
def test_the_sun_has_its_lines(synthesise: Atlas9Synthesis, real_data: Path) -> None:
    flux, epsilon = synthesise(np.array([5777.0, 4.44, 0.0, 1.0, 0.0]))
    assert flux.shape == (GRID.size,)
    assert 0.6 < epsilon < 0.8  # 0.70 at 5200 A (Neckel & Labs 1994)
    observed = np.load(real_data / "stellar" / "observed_s1d_5030_5410.npz")
    wave, seen = (observed[f"sun_harps_ganymede_2007_{name}"] for name in ("wave", "flux"))
    part = (wave > 5160) & (wave < 5190)
    model = np.interp(wave[part], GRID.wave, flux)
    assert np.corrcoef(model, seen[part])[0, 1] > 0.93  # unbroadened


@needs_pysme
def test_metals_mixture_and_enhancement_deepen_lines(synthesise: Atlas9Synthesis) -> None:
    sun = synthesise(np.array([5777.0, 4.44, 0.0, 1.0, 0.0]))[0]
    poor = synthesise(np.array([5777.0, 4.44, -1.0, 1.0, 0.0]))[0]
    enhanced = synthesise(np.array([5777.0, 4.44, -1.0, 1.0, 0.4]))[0]
    assert poor.mean() > sun.mean() + 0.02
    triplet = np.abs(GRID.wave - 5183.6) < 1.0
    iron = np.abs(GRID.wave - 5232.94) < 0.3
    assert enhanced[triplet].mean() < poor[triplet].mean() - 0.02
    assert abs(enhanced[iron].mean() - poor[iron].mean()) < 0.02


def test_without_pysme_one_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pysme.abund", None)
    synthesis._pysme.cache_clear()
    with pytest.raises(ConfigError, match=r"pip install 'sciml\[synthesis\]'"):
        synthesis.require_pysme()
    synthesis._pysme.cache_clear()
