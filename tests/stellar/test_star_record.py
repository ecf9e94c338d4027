"""A measured star into its place of a store and back; who has a place keeps it."""

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from sciml.core.errors import InputError
from sciml.data.stores import create_store, open_store, write_region
from sciml.generated.spectra import LineModel
from sciml.stellar.apply import MEANING, doubts, measure
from sciml.stellar.emulator import Emulator
from sciml.stellar.star_files import StarFile, placed
from sciml.stellar.star_record import (
    FLAGS,
    ORDERS,
    PIXELS,
    PLACES,
    Record,
    arrays,
    read_record,
    record,
    template,
    unusable,
)
from tests.stellar.conftest import SUN, observed


@pytest.fixture(scope="module")
def star(emulator: Emulator, line_model: LineModel) -> Record:
    found = record(measure(observed(SUN, line_model, rv=7.0), emulator))
    (best,) = found.methods
    return replace(found, name="β Hyi", notes="one; two", methods=(replace(best, flags=FLAGS, vsini_limit=1.5),))


def stored(folder: Path, kept: dict[int, Record]) -> str:
    store = template(["chi2"])
    create_store(str(folder), store)
    for place, one in kept.items():
        made = arrays(one)
        store.validate({"star": place}, made)
        write_region(str(folder), store, {"star": place}, made)
    return str(folder)


def same(one: object, other: object) -> None:
    if isinstance(one, np.ndarray):
        np.testing.assert_allclose(other, one, rtol=1e-6, atol=1e-6)
    elif isinstance(one, float):
        assert other == pytest.approx(one, nan_ok=True)
    else:
        assert other == one


def test_what_is_kept_comes_back(star: Record, tmp_path: Path) -> None:
    lost = unusable("bad", "bad.txt: a flat line", ["chi2"])
    store = open_store(stored(tmp_path / "s", {3: star, 7: lost}))
    for place, expected in ((3, star), (7, lost)):
        found = read_record(store, place, spectra=True)
        for field in fields(Record):
            if field.name != "methods":
                same(getattr(expected, field.name), getattr(found, field.name))
        for one, other in zip(expected.methods, found.methods, strict=True):
            for field in fields(one):
                same(getattr(one, field.name), getattr(other, field.name))
    assert read_record(store, 3).wave.size == 0  # without being asked for spectra
    assert read_record(store, 7).method("chi2") is None
    assert read_record(store, 5).name == ""


def test_flags_are_one_bit_each_and_notices_are_no_doubts() -> None:
    assert len(FLAGS) < 31
    assert set(doubts(FLAGS)) < set(MEANING)
    assert doubts(("vsini_upper_limit", "cool")) == ("cool",)


def test_long_orders_are_thinned_and_too_many_refused(star: Record, tmp_path: Path) -> None:
    rows, pixels = 2, PIXELS + 100
    wave = np.linspace(5030.0, 5100.0, rows * pixels).reshape(rows, pixels)
    long = replace(star, wave=wave, flux=wave, model=wave, residual=wave, order_wave=wave[:, 0],
                   order_chi_square=wave[:, 0])  # fmt: skip
    found = read_record(open_store(stored(tmp_path / "s", {0: long})), 0, spectra=True)
    np.testing.assert_allclose(found.wave, wave[:, ::2])
    many = replace(star, wave=np.ones((ORDERS + 1, 10)))
    with pytest.raises(InputError, match=f"found {ORDERS + 1} orders"):
        arrays(many)


def test_places_are_kept_and_stores_are_filled_one_after_another() -> None:
    def given(*names: str) -> list[StarFile]:
        return [StarFile(0, name, "", "x") for name in names]

    stores, taken = placed(given("b", "a"), [])
    assert taken == [["b", ""], ["a", ""]]
    stores, taken = placed(given("a", "c", "b"), taken)
    assert [(one.file, one.star) for one in stores[0]] == [("a", 1), ("c", 2), ("b", 0)]
    full = [[f"star {number}", ""] for number in range(PLACES)]
    stores, taken = placed(given("star 5", "new"), full)
    assert [one.star for one in stores[0]] == [5]
    assert [(one.file, one.star) for one in stores[1]] == [("new", 0)]
    assert len(taken) == PLACES + 1
