"""The built-in HARPS-N against the instrument's own files."""

from pathlib import Path

import numpy as np

from sciml.stellar import instrument
from sciml.stellar.harpsn import harpsn


def test_it_is_the_instrument(real_data: Path) -> None:
    real = instrument.harpsn(str(real_data / "stellar" / "harpsn_geometry.npz"))
    assert harpsn().orders.tolist() == real.orders.tolist()
    assert np.abs(harpsn().wave - real.wave).max() < 1e-5  # [A], a thousandth of a pixel
    assert np.abs(harpsn().blaze - real.blaze).max() < 0.015


def test_pixels_are_of_the_published_size() -> None:
    width = np.diff(harpsn().wave, axis=1)
    assert harpsn().wave.shape == (8, 4096)
    assert 0.011 < width.min() < width.max() < 0.0172
