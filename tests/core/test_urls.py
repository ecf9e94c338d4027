"""One set of verbs for disk and object store: whole or nothing, exclusive once, refusals in one line."""

import threading
from pathlib import Path

import pytest

from sciml.core.errors import InputError
from sciml.core.urls import (
    exists,
    files_in,
    is_folder,
    is_remote,
    join,
    list_sizes,
    members,
    read_bytes,
    remove,
    write_bytes,
)


@pytest.fixture(params=["disk", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A folder on a disk and one on an object store."""
    return str(tmp_path / "place") if request.param == "disk" else request.getfixturevalue("s3")


def test_write_read_list_remove(place: str) -> None:
    assert list_sizes(place) == {} and not exists(join(place, "a/b"))
    write_bytes(join(place, "a/b"), b"123")
    write_bytes(join(place, "c"), b"")
    write_bytes(join(place, "a/b"), b"12345")
    assert read_bytes(join(place, "a/b")) == b"12345" and exists(join(place, "c"))
    assert list_sizes(place) == {"a/b": 5, "c": 0}
    remove(join(place, "a"))
    assert list_sizes(place) == {"c": 0}
    remove(join(place, "never there"))


def test_of_many_exclusive_writers_one_wins(place: str) -> None:
    won, lost = [], []

    def claim(number: int) -> None:
        try:
            write_bytes(join(place, "lock"), str(number).encode(), exclusive=True)
            won.append(number)
        except FileExistsError:
            lost.append(number)

    threads = [threading.Thread(target=claim, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1 and len(lost) == 5
    assert read_bytes(join(place, "lock")) == str(won[0]).encode()
    assert set(list_sizes(place)) == {"lock"}


def test_reading_what_is_not_there_is_one_line(place: str) -> None:
    with pytest.raises(InputError, match=r"nothing: cannot read: no such file, folder or bucket") as caught:
        read_bytes(join(place, "nothing"))
    assert "\n" not in str(caught.value)


def test_a_write_that_fails_leaves_nothing_and_keeps_what_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_bytes(tmp_path / "a", b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(InputError, match=r"/a: cannot write: .*No space left on device"):
        write_bytes(tmp_path / "a", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert read_bytes(tmp_path / "a") == b"old"


def test_names() -> None:
    assert join("s3://bucket/", "/a/", "b") == "s3://bucket/a/b" and join("/x", "y") == "/x/y"
    assert is_remote("s3://b/k") and not is_remote("/a/b") and not is_remote("file:///a") and not is_remote(Path("a"))


def test_files_by_pattern_list_and_folder(place: str) -> None:
    for name in ("b.nc", "a.nc", "c.txt", "x,y.nc"):
        write_bytes(join(place, name), b"1")

    def names(found: list[str]) -> list[str]:
        return [name.rsplit("/", 1)[-1] for name in found]

    assert names(members(join(place, "?.nc"))) == ["a.nc", "b.nc"]
    assert names(members(f"{join(place, 'b.nc')}, {join(place, 'c.txt')}")) == ["b.nc", "c.txt"]
    assert names(members(join(place, "x,y.nc"))) == ["x,y.nc"]
    assert members(place) == [place] and is_folder(place)
    assert names(files_in(place, (".txt",))) == ["c.txt"]
    assert all(exists(name) for name in [*members(join(place, "*.nc")), *files_in(place, (".nc",))])
    with pytest.raises(InputError, match="no file matches; check the path or the pattern"):
        members(join(place, "*.zip"))
    with pytest.raises(InputError, match=r"no file ends in \.h5"):
        files_in(place, (".h5",))
