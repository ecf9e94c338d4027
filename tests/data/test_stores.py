"""Stores: the schema before the work, whole objects, nothing that hides a hole."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr
from hypothesis import given
from hypothesis import strategies as st

from sciml.core.errors import InputError, RunError
from sciml.core.urls import list_sizes
from sciml.data.stores import Template, Variable, create_store, open_store, read_region, value_complaint, write_region


def template(mascons: int = 5, shard: int = 2, **change: object) -> Template:
    values = {
        "sizes": {"mascon": mascons, "month": 3},
        "variables": {
            "storage": Variable(("mascon", "month"), units="mm", long_name="water storage", valid_range=(-1e3, 1e3)),
            "count": Variable(("mascon",), dtype="int32"),
        },
        "shards": {"mascon": shard},
        "coordinates": {
            "month": xr.Variable("month", np.array(["2002-04", "2002-05", "2002-08"], dtype="datetime64[ns]")),
            "name": xr.Variable("mascon", np.array([f"m{i}" for i in range(mascons)], dtype=object)),
            "latitude": xr.Variable("mascon", np.linspace(-60, 60, mascons), {"units": "degrees_north"}),
        },
    }
    return Template(**(values | change))  # type: ignore[arg-type]


def address(start: int, stop: int) -> dict[str, int]:
    return {"mascon_start": start, "mascon_stop": stop}


def arrays(start: int, stop: int) -> dict[str, np.ndarray]:
    mascons = np.arange(start, stop)
    return {"storage": mascons[:, None] + np.array([0.0, 0.25, 0.5]), "count": mascons * 10}


def test_items_fill_a_store_that_xarray_understands(tmp_path: Path) -> None:
    url, schema = str(tmp_path / "store"), template()
    create_store(url, schema)
    for start in (4, 0, 2):
        write_region(url, schema, address(start, min(start + 2, 5)), arrays(start, min(start + 2, 5)))
    found = open_store(url)
    whole = arrays(0, 5)
    np.testing.assert_array_equal(found["storage"], whole["storage"])
    np.testing.assert_array_equal(found["count"], whole["count"])
    assert found["storage"].attrs == {
        "units": "mm",
        "long_name": "water storage",
        "valid_range": [-1e3, 1e3],
    }
    assert list(found["name"].values) == ["m0", "m1", "m2", "m3", "m4"]
    assert found["month"].values[2] == np.datetime64("2002-08-01")
    assert found.attrs["Conventions"] == "CF-1.11"
    assert found["storage"].dtype == np.float32
    part = read_region(url, schema, address(2, 4))
    np.testing.assert_array_equal(part["storage"], whole["storage"][2:4])


@given(st.integers(1, 40), st.integers(1, 12))
def test_every_object_belongs_to_one_item(mascons: int, shard: int) -> None:
    schema = template(mascons, shard, coordinates={})
    items = [address(start, min(start + shard, mascons)) for start in range(0, mascons, shard)]
    for item in items:
        schema.check_region(item)
    keys = [key for item in items for key in schema.keys(item)]
    assert len(keys) == len(set(keys)) == 2 * len(items)


def test_keys_are_the_objects_that_are_written_even_if_all_is_missing(tmp_path: Path) -> None:
    url = str(tmp_path / "store")
    schema = template(variables={"gap": Variable(("mascon", "month"), may_be_missing=True)})
    create_store(url, schema)
    before = set(list_sizes(url))
    write_region(url, schema, address(2, 4), {"gap": np.full((2, 3), np.nan)})
    assert set(list_sizes(url)) - before == set(schema.keys(address(2, 4))) == {"gap/c/1/0"}


@pytest.mark.parametrize(("start", "stop"), [(1, 3), (0, 3), (4, 6), (2, 2), (-2, 0)])
def test_a_region_that_shares_an_object_or_does_not_exist_is_refused(start: int, stop: int) -> None:
    with pytest.raises(RunError, match=r"does not cover whole shards of 2 in 0:5"):
        template().check_region(address(start, stop))


def test_a_store_is_made_once_and_a_half_made_one_finished(tmp_path: Path) -> None:
    url, schema = str(tmp_path / "store"), template()
    create_store(url, schema)
    write_region(url, schema, address(0, 2), arrays(0, 2))
    create_store(url, schema)
    np.testing.assert_array_equal(read_region(url, schema, address(0, 2))["count"], [0, 10])
    group = zarr.open_group(url)
    del group["count"]
    group.attrs.clear()  # as a driver leaves it that dies before the signature
    create_store(url, schema)
    write_region(url, schema, address(0, 2), arrays(0, 2))
    np.testing.assert_array_equal(open_store(url)["count"][:2], [0, 10])


def test_the_signature_follows_schema_and_coordinates() -> None:
    base = template()
    moved = template(coordinates=dict(base.coordinates) | {"latitude": xr.Variable("mascon", np.linspace(-60, 59, 5))})
    changed = [template(6), template(shard=1), moved, template(variables={"storage": Variable(("mascon", "month"))})]
    assert template().signature() == base.signature()
    assert len({base.signature(), *(other.signature() for other in changed)}) == 5


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"storage": np.zeros((2, 3))[:, :2]}, r"storage has shape \(2, 2\), expected \(2, 3\)"),
        (
            {"storage": np.array([[0, 0, 0], [0, np.nan, 0]])},
            r"storage: 1 values are not finite.*'mascon': 1, 'month': 1",
        ),
        ({"storage": np.full((2, 3), 1e4)}, r"storage: values from 10000 to 10000 mm, expected \(-1000.0, 1000.0\)"),
        ({"extra": np.zeros(2)}, r"found variables \['count', 'extra', 'storage'\], expected \['count', 'storage'\]"),
    ],
)
def test_arrays_that_break_the_promise_are_refused(change: dict[str, np.ndarray], complaint: str) -> None:
    with pytest.raises(RunError, match=complaint):
        template().validate(address(0, 2), arrays(0, 2) | change)
    template().validate(address(0, 2), arrays(0, 2))


def test_what_may_be_missing_may_be_missing_but_not_out_of_range() -> None:
    gap = Variable(("month",), may_be_missing=True, valid_range=(0, 1))
    assert value_complaint(gap, np.full(3, np.nan)) is None
    assert value_complaint(gap, np.array([np.nan, 2.0])) is not None
    assert value_complaint(Variable(("month",), dtype="int16"), np.array([1])) is None


def test_a_flipped_bit_raises(tmp_path: Path) -> None:
    url, schema = tmp_path / "store", template()
    create_store(str(url), schema)
    write_region(str(url), schema, address(0, 2), arrays(0, 2))
    shard = url / "storage/c/0/0"
    data = bytearray(shard.read_bytes())
    data[-6] ^= 1
    shard.write_bytes(bytes(data))
    with pytest.raises(ValueError, match="checksum"):
        read_region(str(url), schema, address(0, 2))


@pytest.mark.parametrize(("start", "stop"), [(0, 2), (0, 5), (4, 5)])  # one object, all, and one that is filled up
def test_objects_are_those_that_zarr_writes_itself(tmp_path: Path, start: int, stop: int) -> None:
    rng = np.random.default_rng(start + stop)
    schema = template(
        variables={
            "counts": Variable(("month", "mascon"), dtype="uint16", fill=7, zstd_level=1),
            "gap": Variable(("mascon", "month"), may_be_missing=True),
            "flag": Variable(("mascon",), dtype="int8"),
            "whole": Variable(("mascon", "month"), dtype="float64"),
        }
    )
    values = {
        "counts": rng.integers(0, 2**16, (stop - start, 3)).astype(">u2").T,  # neither contiguous nor little-endian
        "gap": np.full((stop - start, 3), np.nan),
        "flag": np.zeros(stop - start, int),
        "whole": np.repeat(rng.normal(size=(stop - start, 1)), 3, axis=1),
    }
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    for url in (ours, theirs):
        create_store(str(url), schema)
    write_region(str(ours), schema, address(start, stop), values)
    with zarr.config.set({"array.write_empty_chunks": True}):
        group = zarr.open_group(str(theirs))
        for name, variable in schema.variables.items():
            region = tuple(slice(start, stop) if dim == "mascon" else slice(None) for dim in variable.dims)
            group[name][region] = values[name]
    assert set(list_sizes(str(ours))) == set(list_sizes(str(theirs)))
    for key in schema.keys(address(start, stop)):
        assert (ours / key).read_bytes() == (theirs / key).read_bytes(), key


def test_what_would_spoil_a_store_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    url, schema = str(tmp_path / "store"), template()
    create_store(url, schema)
    before = list_sizes(url)
    with pytest.raises(RunError, match=r"found a store of template .*, expected .*; make it first"):
        write_region(url, template(shard=1), address(0, 1), arrays(0, 1))
    with pytest.raises(RunError, match=r"does not cover whole shards of 2"):
        write_region(url, schema, address(1, 3), arrays(1, 3))
    with pytest.raises(RunError, match=r"storage has shape \(1, 3\), expected \(2, 3\)"):
        write_region(url, schema, address(0, 2), arrays(0, 1))
    assert list_sizes(url) == before
    with pytest.raises(InputError, match=r"nothing: cannot write: no such file, folder or bucket"):
        write_region(str(tmp_path / "nothing"), schema, address(0, 2), arrays(0, 2))
    assert not (tmp_path / "nothing").exists()


def test_a_place_that_takes_no_object_is_one_line_and_leaves_no_litter(tmp_path: Path) -> None:
    url, schema = tmp_path / "store", template()
    create_store(str(url), schema)
    (url / "storage/c/0/0").mkdir(parents=True)  # a rename onto a folder fails
    with pytest.raises(InputError, match=r"store: cannot write: .*check access, free space and endpoint"):
        write_region(str(url), schema, address(0, 2), arrays(0, 2))
    assert not list(url.rglob("*.partial"))


def test_on_s3_as_on_a_disk(s3: str) -> None:
    schema = template()
    create_store(s3, schema)
    write_region(s3, schema, address(4, 5), arrays(4, 5))
    np.testing.assert_array_equal(open_store(s3)["storage"][4], [4, 4.25, 4.5])
    assert set(schema.keys(address(4, 5))) <= set(list_sizes(s3))


def test_no_store_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing: cannot read: no such file, folder or bucket"):
        open_store(str(tmp_path / "nothing"))


def test_size_is_that_of_the_numbers() -> None:
    assert template().nbytes() == 5 * 3 * 4 + 5 * 4
