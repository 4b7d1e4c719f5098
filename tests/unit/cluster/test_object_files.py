"""What people write is read as they mean it, or not at all."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from chaosext.cluster.object_files import parse_yaml

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64)
    | st.text(st.characters(codec="ascii", exclude_categories=["Cc"])),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text(st.characters(codec="ascii", categories=["L"])), inner)
    ),
    max_leaves=20,
)


@given(VALUES)
def test_it_reads_what_yaml_and_json_write(value: Any) -> None:
    assert parse_yaml(yaml.safe_dump(value)) == value
    assert parse_yaml(json.dumps(value)) == value


@pytest.mark.parametrize(
    ("text", "key", "line"),
    [
        ("a: 1\na: 2\n", "a", 2),
        ("limits:\n  max_ttl_s: 60\n  'max_ttl_s': 3600\n", "max_ttl_s", 3),
        ('{"a": [{"b": 1, "b": 1}]}', "b", 1),
        ("a: &x {b: 1}\nc: *x\na: 2\n", "a", 3),
    ],
)
def test_a_key_that_stands_twice_is_an_error_that_names_it_and_its_line(
    text: str, key: str, line: int
) -> None:
    with pytest.raises(ValueError, match=f"key '{key}' occurs twice") as caught:
        parse_yaml(text)
    assert f"line {line}," in str(caught.value)


def test_a_merged_mapping_may_be_overridden_and_a_number_is_no_text() -> None:
    text = "base: &base {a: 1, b: 2}\nmore: &more {<<: *base, b: 3}\nmost: {<<: *base, <<: *more, a: 4}\n1: x\n'1': y\n"
    read = parse_yaml(text)
    assert read["more"] == {"a": 1, "b": 3}
    assert read["most"] == {"a": 4, "b": 3}
    assert (read[1], read["1"]) == ("x", "y")
