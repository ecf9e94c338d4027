"""Equal content, equal digest; what cannot be compared is refused."""

import dataclasses
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sciml.core.digest import canonical_json, digest, fingerprint
from sciml.core.errors import InputError
from sciml.core.seeds import seed_for
from sciml.core.urls import write_bytes

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@dataclasses.dataclass(frozen=True)
class Item:
    start: int
    names: tuple[str, ...] = ("a",)


@given(st.dictionaries(st.text(), JSON, min_size=2))
def test_order_of_keys_does_not_matter(value: dict[str, object]) -> None:
    assert digest(value) == digest(dict(reversed(list(value.items()))))


@given(JSON, JSON)
def test_equal_text_means_equal_digest_and_only_that(a: object, b: object) -> None:
    assert (canonical_json(a) == canonical_json(b)) == (digest(a) == digest(b))


def test_a_dataclass_is_its_fields() -> None:
    assert canonical_json(Item(3)) == '{"names":["a"],"start":3}'
    assert digest(Item(3)) == digest({"start": 3, "names": ["a"]}) != digest(Item(4))
    assert len(digest(None)) == 64


@pytest.mark.parametrize("value", [math.nan, math.inf, [{"deep": -math.inf}]])
def test_a_number_that_is_none_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="a digest cannot hold"):
        digest(value)


def test_an_unknown_type_is_refused() -> None:
    with pytest.raises(TypeError, match="cannot hold set"):
        digest({"a": {1, 2}})


def test_fingerprints_follow_content_not_place(tmp_path: Path) -> None:
    for name, data in {"a": b"12345", "b": b"12345", "c": b"12346", "d/x": b"1", "d/y": b"2", "e/x": b"1"}.items():
        write_bytes(tmp_path / name, data)
    a, b, c, d, e = (fingerprint(tmp_path / name) for name in "abcde")
    assert a == b != c and a["size"] == c["size"] == 5
    assert d["files"] == 2 and d != e
    write_bytes(tmp_path / "e/y", b"2")
    assert fingerprint(tmp_path / "e") == d


def test_fingerprint_on_s3_changes_with_the_object(s3: str) -> None:
    write_bytes(f"{s3}/a", b"12345")
    before = fingerprint(f"{s3}/a")
    write_bytes(f"{s3}/a", b"12346")
    after = fingerprint(f"{s3}/a")
    assert before["size"] == after["size"] == 5 and before["etag"] != after["etag"]


def test_fingerprint_of_nothing_names_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing\.nc: cannot read: no such file"):
        fingerprint(tmp_path / "nothing.nc")


@given(st.integers(0, 2**63), st.lists(st.integers() | st.text(), max_size=3))
def test_seeds_are_non_negative_and_repeatable(root: int, content: list[int | str]) -> None:
    assert seed_for(root, *content) == seed_for(root, *content)
    assert 0 <= seed_for(root, *content) < 2**63


def test_seeds_tell_content_apart() -> None:
    drawn = {seed_for(root, part, member) for root in (0, 1) for part in ("a", "1", 1) for member in range(200)}
    assert len(drawn) == 1200
    assert seed_for(0, "ab", "c") != seed_for(0, "a", "bc")
