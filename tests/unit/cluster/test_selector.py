"""Calico's selectors decide which nodes should have a BGP session."""

from __future__ import annotations

import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaosext.cluster.selector import matches
from chaosext.model.errors import Refused

CONTROL_PLANE = {"node-role.kubernetes.io/control-plane": "", "rack": "a"}
WORKER = {"rack": "b", "kubernetes.io/hostname": "worker-1"}


@pytest.mark.parametrize(
    ("selector", "control_plane", "worker"),
    [
        ("", True, True),
        ("all()", True, True),
        ("global()", True, True),
        ("has(node-role.kubernetes.io/control-plane)", True, False),
        ("!has(node-role.kubernetes.io/control-plane)", False, True),
        ("! has( node-role.kubernetes.io/control-plane )", False, True),
        ("rack == 'a'", True, False),
        ('rack == "b"', False, True),
        ("rack != 'a'", False, True),
        ("nothing != 'a'", True, True),
        ("rack in {'a', 'c'}", True, False),
        ("rack in { 'a','b' }", True, True),
        ("rack not in {'a'}", False, True),
        ("nothing not in {'a'}", True, True),
        ("rack in {}", False, False),
        ("has(rack) && rack == 'b'", False, True),
        ("rack == 'a' || rack == 'b'", True, True),
        ("!(rack == 'a' || has(nothing))", False, True),
        ("rack == 'x' || rack == 'b' && has(nothing)", False, False),
        ("kubernetes.io/hostname starts with 'worker'", False, True),
        ("kubernetes.io/hostname ends with '-1'", False, True),
        ("kubernetes.io/hostname contains 'ork'", False, True),
    ],
)
def test_selectors_match_as_calico_says(selector: str, control_plane: bool, worker: bool) -> None:
    assert (matches(selector, CONTROL_PLANE), matches(selector, WORKER)) == (control_plane, worker)


@pytest.mark.parametrize(
    "selector",
    [
        "has(",
        "rack ==",
        "rack",
        "rack = 'a'",
        "rack == a",
        "(all()",
        "all() all()",
        "&& all()",
        "'a'",
        "rack in 'a'",
    ],
)
def test_what_cannot_be_read_is_refused_and_not_guessed(selector: str) -> None:
    with pytest.raises(Refused):
        matches(selector, WORKER)


@given(st.text(max_size=40))
def test_any_text_is_either_read_or_refused(selector: str) -> None:
    with suppress(Refused):
        assert matches(selector, WORKER) in (True, False)


@given(st.dictionaries(st.from_regex(r"\A[a-z]{1,3}\Z"), st.from_regex(r"\A[a-z]{0,3}\Z"), max_size=4))
def test_a_selector_and_its_negation_never_agree(labels: dict[str, str]) -> None:
    for selector in ("has(a)", "a == 'b'", "a in {'b', 'c'}", "a != 'b' && has(c)"):
        assert matches(selector, labels) != matches(f"!({selector})", labels)


@pytest.mark.parametrize(
    "selector", ["(" * 60 + "all()" + ")" * 60, "!" * 60 + "all()", "(" * 200_000, "!" * 200_000]
)
def test_a_selector_that_is_nested_too_deeply_is_refused(selector: str) -> None:
    with pytest.raises(Refused, match="can't read the Calico selector") as refused:
        matches(selector, {})
    assert len(refused.value.message) < 300


def test_a_long_selector_is_read_in_no_time() -> None:
    began_s = time.process_time()
    assert matches(" && ".join(["has(a)"] * 50_000), {"a": ""})
    assert time.process_time() - began_s < 5
