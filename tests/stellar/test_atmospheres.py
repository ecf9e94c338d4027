"""Atmospheres between nodes: exact at nodes, exact for what is linear, nothing outside."""

from pathlib import Path

import numpy as np
import pytest

from sciml.core.errors import InputError
from sciml.data.readers.atlas9 import read_atmospheres
from sciml.stellar import labels
from sciml.stellar.atmospheres import BOLTZMANN, densities, load_grid
from tests.stellar.atlas9_files import layers, model_text, name_of

TEFF, LOGG, FEH = (5000.0, 5250.0, 5500.0, 5750.0, 6000.0), (3.5, 4.0, 4.5, 5.0), (-1.0, -0.5, 0.2, 0.5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small grid; its hottest column has no models of log g 3.5, as hot stars have none of low gravity."""
    made = tmp_path_factory.mktemp("atmospheres")
    for teff in TEFF:
        for logg in LOGG:
            for feh in FEH:
                if (teff, logg) != (6000.0, 3.5):
                    (made / name_of(teff, logg, feh)).write_text(model_text(teff, logg, feh))
    return made


def test_nodes_come_back(folder: Path) -> None:
    found = load_grid(str(folder)).at(5250, 4.5, -0.5)
    np.testing.assert_allclose(found, layers(5250, 4.5, -0.5), rtol=2e-3)


def test_what_is_linear_in_a_label_is_found_exactly(folder: Path) -> None:
    for point in ((5250, 4.25, -0.5), (5250, 4.0, -0.1), (5500, 3.7, 0.4)):
        np.testing.assert_allclose(load_grid(str(folder)).at(*point), layers(*point), rtol=2e-3)


def test_it_is_continuous_across_nodes(folder: Path) -> None:
    grid = load_grid(str(folder))
    for label in range(3):
        point = np.array([5500.0, 4.5, 0.2])
        sides = []
        for side in (-1e-7, 1e-7):
            beside = point.copy()
            beside[label] *= 1 + side
            sides.append(grid.at(*beside))
        np.testing.assert_allclose(*sides, rtol=1e-5)


def test_outside_is_refused(folder: Path) -> None:
    grid = load_grid(str(folder))
    for point, words in (
        ((4900, 4.0, 0.0), "teff 4900: outside the grid"),
        ((5500, 5.2, 0.0), "logg 5.2: outside"),
        ((5500, 4.0, -2.0), "feh -2: outside"),
        ((5900, 3.6, 0.0), "no model has so low a gravity there; expected at least 4"),
    ):
        with pytest.raises(InputError, match=words):
            grid.at(*point)
    assert np.isfinite(grid.at(5700, 3.6, 0.0)).all()


def test_other_turbulence_and_enhanced_models_are_left_out(folder: Path, tmp_path: Path) -> None:
    for file in folder.iterdir():
        (tmp_path / file.name).write_text(file.read_text())
    for teff in TEFF:
        (tmp_path / name_of(teff, 4.5, 0.0)).write_text(model_text(teff, 4.5, 0.0, vturb=0.0))
    (tmp_path / name_of(5500, 4.5, -0.5)).write_text(model_text(5500, 4.5, -0.5, alpha="a"))
    grid = load_grid(str(tmp_path))
    assert grid.feh.tolist() == [-1.0, -0.5, 0.2, 0.5]
    assert grid.vturb == 2.0
    np.testing.assert_allclose(grid.at(5500, 4.5, -0.5), layers(5500, 4.5, -0.5), rtol=2e-3)  # from its neighbours


def test_a_hole_with_nothing_beside_it_is_refused(folder: Path, tmp_path: Path) -> None:
    for file in folder.iterdir():
        if file.name != name_of(5000, 4.5, -0.5):
            (tmp_path / file.name).write_text(file.read_text())
    with pytest.raises(InputError, match=r"no model of teff 5000, logg 4.5, .M/H. -0.5"):
        load_grid(str(tmp_path))


def test_densities_are_those_of_an_ideal_gas() -> None:
    made = layers(5750, 4.5, 0.0)
    atoms, mass = densities(made, 2.1e-24)
    np.testing.assert_allclose((atoms + made[:, 3]) * BOLTZMANN * made[:, 1], made[:, 2])
    np.testing.assert_allclose(mass, 2.1e-24 * atoms)


def test_the_real_grid_covers_all_labels(real_data: Path) -> None:
    url = str(real_data / "stellar" / "atlas9_odfnew.tar.xz")
    grid = load_grid(url)
    assert {(model.teff, model.logg) for model in read_atmospheres(url)} == set(map(tuple, labels.nodes()[:, :2]))
    for point in labels.draw(64, 3, "nuisance"):
        found = grid.at(*point[:3])
        assert np.isfinite(found).all()
        assert (np.diff(found[:, 0]) > 0).all()
