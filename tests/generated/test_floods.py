"""Planted floods: as rare as asked, caused by water and not by an index, the same whoever makes them."""

import numpy as np
import pytest

from sciml.generated import earth, earth_store, floods
from sciml.generated.earth import EarthConfig

CONFIG = EarthConfig(tiles=2, mascon_rows=2, mascon_columns=2)
MONTHS, MONTH_OF_DAY = np.unique(CONFIG.days.astype("M8[M]"), return_inverse=True)


@pytest.fixture(scope="module")
def reported() -> dict[str, np.ndarray]:
    return floods.reports(CONFIG, 1)


def test_floods_are_rare_and_everywhere(reported: dict[str, np.ndarray]) -> None:
    cells, months = int(earth.geometry(CONFIG, 1).land.sum()), len(MONTHS)
    for kind, told in reported.items():
        assert told.shape == (cells, months) and told.dtype == bool
        assert 0.01 < told.mean() < 0.08, kind
        assert told.any(axis=1).mean() > 0.95


def test_floods_come_with_much_water_and_flash_floods_with_much_rain(reported: dict[str, np.ndarray]) -> None:
    nature = earth.plant(CONFIG, 1)
    river, runoff = (
        np.stack([nature.fields[name][MONTH_OF_DAY == m].mean(axis=0) for m in range(len(MONTHS))], axis=-1)
        for name in ("river", "mrros")
    )
    for water, kind in ((river, "flood"), (runoff, "flash_flood")):
        rank = water.argsort(axis=1).argsort(axis=1) / (len(MONTHS) - 1)
        assert rank[reported[kind]].mean() > 0.85, kind


def test_some_floods_go_unreported_and_some_reports_have_other_causes(monkeypatch: pytest.MonkeyPatch) -> None:
    said = floods.reports(CONFIG, 0)["flood"]
    monkeypatch.setattr(floods, "REPORTED", 1.0)
    monkeypatch.setattr(floods, "OTHER_CAUSES", 0.0)
    happened = floods.reports(CONFIG, 0)["flood"]
    assert 0.65 < said[happened].mean() < 0.85
    assert 0 < (said & ~happened).mean() < 0.005


def test_items_pack_what_a_tile_reports(reported: dict[str, np.ndarray]) -> None:
    item = earth_store.tiles(CONFIG)[1]
    packed = floods.PlantFloods(CONFIG)(item)
    for kind, told in reported.items():
        np.testing.assert_array_equal(packed[kind][: len(told)], told)
        assert np.isnan(packed[kind][len(told) :]).all()
