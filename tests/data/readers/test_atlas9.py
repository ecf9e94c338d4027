"""ATLAS9 files: what is read, and one line for each thing that cannot be."""

import tarfile
from pathlib import Path

import numpy as np
import pytest

from sciml.core.errors import InputError
from sciml.data.readers.atlas9 import read_atmospheres
from tests.stellar.atlas9_files import layers, model_text, name_of

SUN = (5750.0, 4.5, 0.0)


def written(folder: Path, text: str, name: str = "p00_5750_4.5.dat") -> str:
    (folder / name).write_text(text)
    return str(folder / name)


def test_a_model_is_read_as_written(tmp_path: Path) -> None:
    (model,) = read_atmospheres(written(tmp_path, model_text(*SUN, vturb=0.0)))
    assert (model.teff, model.logg, model.feh, model.vturb, model.alpha_enhanced) == (5750, 4.5, 0, 0, False)
    np.testing.assert_allclose(model.layers, layers(*SUN), rtol=2e-3)
    assert np.abs(model.layers[:, 0] / layers(*SUN)[:, 0] - 1).max() < 1e-7


def test_an_archive_and_a_folder_hold_the_same_models(tmp_path: Path) -> None:
    folder = tmp_path / "models" / "gridp00"
    folder.mkdir(parents=True)
    for teff in (5500.0, 5750.0):
        written(folder, model_text(teff, 4.5, 0.0), name_of(teff, 4.5, 0.0))
    written(folder, "notes", "README.dat")
    with tarfile.open(tmp_path / "models.tar.xz", "w:xz") as archive:
        archive.add(folder, "gridp00")
    found = [read_atmospheres(str(url)) for url in (tmp_path / "models", tmp_path / "models.tar.xz")]
    assert [[model.teff for model in models] for models in found] == [[5500, 5750]] * 2


def test_alpha_enhancement_in_the_title_is_seen(tmp_path: Path) -> None:
    (model,) = read_atmospheres(written(tmp_path, model_text(8000, 5.0, -1.5, alpha="A"), "m15_8000_5.0.dat"))
    assert model.alpha_enhanced


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (model_text(*SUN) + model_text(9000, 4.5, 0.0), "2 models in one file: after 5750. K / 4.50000 come 9000."),
        (model_text(*SUN, count=50), "layer 50: table ends; expected 72 layers"),
        (model_text(*SUN)[200:], "no line TEFF"),
        (model_text(*SUN).replace("READ DECK6", "DECK"), "no line READ DECK6"),
    ],
)
def test_bad_files_are_refused_in_one_line(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(InputError) as refusal:
        read_atmospheres(written(tmp_path, text))
    assert words in str(refusal.value)
    assert "p00_5750_4.5.dat" in str(refusal.value)


def test_layers_out_of_order_are_refused(tmp_path: Path) -> None:
    lines = model_text(*SUN).splitlines()
    lines[10], lines[11] = lines[11], lines[10]
    with pytest.raises(InputError, match="does not grow with depth"):
        read_atmospheres(written(tmp_path, "\n".join(lines)))


def test_a_damaged_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "models.tar.xz").write_bytes(b"no archive at all")
    with pytest.raises(InputError, match=r"archive of model atmospheres|cannot be read"):
        read_atmospheres(str(tmp_path / "models.tar.xz"))


def test_the_real_archive_holds_the_papers_grid(real_data: Path) -> None:
    models = read_atmospheres(str(real_data / "stellar" / "atlas9_odfnew.tar.xz"))
    assert len(models) == 8 * 253
    assert sum(model.alpha_enhanced for model in models) == 1
    assert {model.vturb for model in models if model.feh != 0} == {2.0}
