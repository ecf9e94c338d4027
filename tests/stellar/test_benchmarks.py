"""Names of files find the stars they are of, and no others."""

import numpy as np
import pytest

from sciml.stellar.benchmarks import BENCHMARKS, benchmark, errors
from sciml.stellar.labels import PARAMETERS, RANGES, in_grid


@pytest.mark.parametrize(
    ("name", "star"),
    [
        ("sun_harps_ganymede_2007", "Sun"),
        ("R47000_ATLAS-Sun", "Sun"),
        ("Ganymede", "Sun"),
        ("R47000_UVES_betHyi-1", "bet Hyi"),
        ("HD 2151", "bet Hyi"),
        ("R47000_NARVAL_HD175305", "HD 175305"),
        ("HD189733", "HD 189733"),
        ("hd189733_harps_s1d", "HD 189733"),
        ("R47000_iraf-NARVAL_61CygB", "61 Cyg B"),
        ("aldebaran_harps_gbog", "Aldebaran"),
        ("alf Tau", "Aldebaran"),
    ],
)
def test_names_as_files_have_them(name: str, star: str) -> None:
    found = benchmark(name)
    assert found is not None
    assert found.name == star


@pytest.mark.parametrize("name", ["HD 1897331", "HD 21512", "Procyon", "", "61 Cyg A"])
def test_other_stars_are_no_benchmarks(name: str) -> None:
    assert benchmark(name) is None


def test_only_the_sun_calibrates() -> None:
    assert [star.name for star in BENCHMARKS if star.calibrates] == ["Sun"]


def test_all_lie_in_the_grid_and_sources_agree_within_reason() -> None:
    for star in BENCHMARKS:
        for known in (star.known, *star.others):
            usual = np.array([*known.values, 2.0, 1.5, 0.0, 3.0])
            assert in_grid(usual[None])[0]
            assert (np.abs(np.subtract(known.values, star.known.values)) < [200, 0.1, 0.2]).all()
            assert all(sigma > 0 for sigma in known.sigma)
            assert known.source
    assert len(PARAMETERS) == len(RANGES)


def test_errors_are_measured_less_known() -> None:
    sun = benchmark("Sun")
    assert sun is not None
    np.testing.assert_allclose(errors(sun, np.array([5800.0, 4.4, 0.1, 2.0])), [28.0, -0.038, 0.1])
