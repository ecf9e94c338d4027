"""Grids of model spectra: points, blocks, stores, and what is refused."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from sciml.core.errors import InputError
from sciml.data.stores import create_store, write_region
from sciml.generated.spectra import LineModel
from sciml.stellar import labels
from sciml.stellar.grid import ModelBlock, PointSet, Synthesise, blocks, read_models, read_parameters, template

POINTS = PointSet("test", 16, 5)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    url = str(tmp_path_factory.mktemp("grid") / "test")
    made, synthesise = template(POINTS), Synthesise(POINTS, LineModel(0))
    create_store(url, made)
    for item in blocks(POINTS):
        address = {"model_start": item.model_start, "model_stop": item.model_stop}
        write_region(url, made, address, synthesise(item))
    return url


def test_blocks_cover_a_set_once() -> None:
    spans = [(item.model_start, item.model_stop) for item in blocks(PointSet("nodes"))]
    assert spans[0][0] == 0
    assert spans[-1][1] == 1771
    assert all(left[1] == right[0] for left, right in pairwise(spans))


def test_the_test_set_has_a_half_as_the_paper_and_a_half_with_nuisances() -> None:
    parameters = POINTS.parameters()
    assert (parameters[:16, 4:] == [2.0, 0.0, 0.0]).all()
    assert len(np.unique(parameters[16:, 4])) > 8
    sobol = PointSet("sobol", 16, 5).parameters()
    assert not np.isin(sobol[:, 0], parameters[:, 0]).any()


def test_a_block_does_not_depend_on_its_neighbours() -> None:
    synthesise = Synthesise(POINTS, LineModel(0))
    whole, part = synthesise(ModelBlock(0, 4)), synthesise(ModelBlock(2, 4))
    np.testing.assert_array_equal(whole["flux"][2:], part["flux"])


def test_what_is_written_is_read(store: str) -> None:
    models = read_models([store])
    np.testing.assert_array_equal(models.parameters, POINTS.parameters())
    np.testing.assert_array_equal(read_parameters(store), POINTS.parameters())
    columns = [labels.PARAMETERS.index(name) for name in labels.ATMOSPHERIC]
    flux, epsilon = LineModel(0)(models.parameters[7, columns])
    np.testing.assert_array_equal(models.flux[7], flux)
    assert models.epsilon[7] == pytest.approx(epsilon, rel=1e-6)
    assert len(read_models([store, store])) == 2 * len(models)


def test_holes_and_other_stores_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no store of model spectra"):
        read_models([str(tmp_path / "nothing")])
    create_store(str(tmp_path / "empty"), template(POINTS))
    with pytest.raises(InputError, match="flux: a hole at model 0"):
        read_models([str(tmp_path / "empty")])
    xr.Dataset({"flux": ("x", [1.0])}).to_zarr(tmp_path / "other", zarr_format=3)
    with pytest.raises(InputError, match=r"variables .*limb_darkening.* missing"):
        read_models([str(tmp_path / "other")])
