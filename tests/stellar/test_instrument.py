import io
from pathlib import Path

import numpy as np
import pytest

from sciml.core.errors import InputError
from sciml.stellar.instrument import HARPS_MISSING, Spectrograph, generated, harpsn

ORDERS = np.array([121, 120, 119, 118, 117, 116, 115, 114])


def write(path: Path, **arrays: np.ndarray) -> str:
    held = io.BytesIO()
    np.savez(held, **arrays)
    path.write_bytes(held.getvalue())
    return str(path)


def layout(shape: int = 64) -> dict[str, np.ndarray]:
    """Of HARPS-N's file, each order's blaze 1 at its peak and m / 1000 at its first pixel."""
    known = np.array([121, 120, 119, 118, 117, 116, 114, 113])
    wave = 600_000 / ORDERS[:, None] + np.linspace(0, 60, shape)
    blaze = np.full((8, shape), 0.7)
    blaze[:, 0], blaze[:, 1] = known / 1000, 1.0
    return {"wave": wave, "m": ORDERS, "blaze_harps_m121_120_119_118_117_116_114_113": blaze}


def test_blaze_goes_to_its_order_and_the_missing_one_between(tmp_path: Path) -> None:
    found = harpsn(write(tmp_path / "geometry.npz", **layout()))
    np.testing.assert_array_equal(found.orders, ORDERS)
    np.testing.assert_allclose(found.blaze[:, 0], ORDERS / 1000)
    assert HARPS_MISSING in found.orders
    np.testing.assert_array_equal(found.blaze.max(1), 1.0)


def test_rows_of_any_order(tmp_path: Path) -> None:
    given = layout()
    blaze = given.pop("blaze_harps_m121_120_119_118_117_116_114_113")
    mixed = [3, 0, 7, 2, 5, 1, 6, 4]
    name = "blaze_m" + "_".join(str([121, 120, 119, 118, 117, 116, 114, 113][row]) for row in mixed)
    found = harpsn(write(tmp_path / "geometry.npz", **given, **{name: blaze[mixed]}))
    np.testing.assert_allclose(found.blaze[:, 0], ORDERS / 1000)


def test_real_geometry(real_data: Path) -> None:
    found = harpsn(str(real_data / "stellar" / "harpsn_geometry.npz"))
    assert found.wave.shape == found.blaze.shape == (8, 4096)
    assert found.blaze.max() == 1.0 and found.blaze.min() > 0.1
    assert (np.abs(found.blaze.argmax(1) - 2048) < 100).all()
    neighbours = (found.blaze[5] + found.blaze[7]) / 2
    np.testing.assert_allclose(found.blaze[6], neighbours, atol=0.005)
    gratings = found.orders * found.wave[:, 2048]
    np.testing.assert_allclose(gratings, gratings.mean(), rtol=2e-3)  # m lambda is the grating's


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"wave": None}, "expected wave, m and one array named blaze"),
        ({"wave": np.ones((8, 50))}, "do not fit"),
        ({"m": np.arange(3)}, "do not fit"),
        ({"blaze_harps_m121_120_119_118_117_116_114_113": np.zeros((8, 64))}, "blaze of order 121"),
        ({"blaze_harps_m121_120_119_118_117_116_114_113": np.ones((7, 64))}, "names 8 orders and has 7 rows"),
    ],
)
def test_unfit_files_are_refused_in_one_line(tmp_path: Path, change: dict, says: str) -> None:
    given = {name: value for name, value in (layout() | change).items() if value is not None}
    with pytest.raises(InputError, match=says) as caught, np.errstate(invalid="ignore"):
        harpsn(write(tmp_path / "geometry.npz", **given))
    assert "\n" not in str(caught.value) and "geometry.npz" in str(caught.value)


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.npz").write_text("wave,blaze")
    (tmp_path / "cut.npz").write_bytes(Path(write(tmp_path / "whole.npz", **layout())).read_bytes()[:500])
    for name in ("text.npz", "cut.npz", "absent.npz"):
        with pytest.raises(InputError, match=name):
            harpsn(str(tmp_path / name))


@pytest.mark.parametrize(("orders", "pixels"), [(8, 4096), (3, 500), (1, 200)])
def test_generated_orders_overlap_and_fill_their_range(orders: int, pixels: int) -> None:
    made = generated(orders, pixels, 5100.0, 5200.0)
    assert made.pixels.shape == made.blaze.shape == (orders, pixels)
    assert made.wave.min() == pytest.approx(5100.0) and made.wave.max() == pytest.approx(5200.0)
    assert (made.wave[1:, 0] < made.wave[:-1, -1]).all()
    assert (np.diff(made.orders) == -1).all()
    assert (np.diff(made.wave, 2, axis=1) < 0).all()
    np.testing.assert_array_equal(made.blaze.max(1), 1.0)
    assert 0.2 < made.blaze.min() < 0.5


def test_generated_is_like_harps_n(real_data: Path) -> None:
    real = harpsn(str(real_data / "stellar" / "harpsn_geometry.npz"))
    made = generated()
    assert np.abs(made.wave[:, [0, -1]] - real.wave[:, [0, -1]]).max() < 3.0
    assert np.abs(np.diff(made.wave) / np.diff(real.wave) - 1).max() < 0.15


def test_shapes_must_agree() -> None:
    made = generated(2, 50)
    with pytest.raises(InputError, match="blaze have shape"):
        Spectrograph("one", made.orders, made.wave, made.blaze[:1], 1e5)
