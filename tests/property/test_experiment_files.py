"""An experiment file may hold anything: it is understood, or refused by place and name, and never a traceback."""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from example_counts import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chaosext.experiment.load import load_experiment
from chaosext.experiment.resolve import resolve
from chaosext.model.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLE = Path(__file__).parents[2] / "experiments" / "control-plane-partition.yaml"

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-9, 9)
    | st.floats()
    | st.text("ab${}:-# \n\t\"'[]{}é", max_size=8)
)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(scalars, inner, max_size=3),
    max_leaves=6,
)
quick = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith("CHAOSEXT_")]:
        monkeypatch.delenv(name)
    return tmp_path / "experiment.yaml"


def understood_or_refused(path: Path, text: str | bytes) -> bool:
    """True where the file was understood, all the way to what it wants to cut."""
    path.write_bytes(text.encode(errors="surrogatepass") if isinstance(text, str) else text)
    try:
        list(resolve(load_experiment(path)).wishes())
    except Refused as refused:
        if not (refused.message and refused.fix):
            pytest.fail(f"{refused!r} names no fault or no fix")
        return False
    return True


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every member of a nested value."""
    members = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, member in members:
        yield (*at, key)
        yield from places(member, (*at, key))


def replaced(value: Any, place: tuple[Any, ...], by: Any) -> Any:
    changed = copy.deepcopy(value)
    inner = changed
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = by
    return changed


GOOD = yaml.safe_load(EXAMPLE.read_text())


def test_the_example_is_understood(path: Path) -> None:
    assert understood_or_refused(path, EXAMPLE.read_text())


@quick
@given(text=st.text(max_size=40) | st.binary(max_size=40))
def test_any_text(path: Path, text: str | bytes) -> None:
    assert not understood_or_refused(path, text)


@quick
@given(value=anything)
def test_any_value(path: Path, value: Any) -> None:
    assert not understood_or_refused(path, yaml.safe_dump(value))


@settings(quick, max_examples=examples(80))
@given(place=st.sampled_from(sorted(places(GOOD), key=str)), by=anything)
def test_the_example_with_anything_in_any_place(path: Path, place: tuple[Any, ...], by: Any) -> None:
    understood_or_refused(path, yaml.safe_dump(replaced(GOOD, place, by)))


@settings(quick, max_examples=examples(40))
@given(place=st.sampled_from(sorted(places(GOOD), key=str)), key=scalars, value=anything)
def test_the_example_with_anything_added(path: Path, place: tuple[Any, ...], key: Any, value: Any) -> None:
    changed = copy.deepcopy(GOOD)
    inner = changed
    for step in place:
        inner = inner[step]
    if isinstance(inner, dict):
        inner[key] = value
    understood_or_refused(path, yaml.safe_dump(changed))


TRAPS = (
    "a: 2001-99-99",
    "a: 0x_",
    "a: !!bool maybe",
    "a: !!timestamp soon",
    "!!python/object:os.system x",
    "a: [",
    "&a [*a]",
    "\0",
    "[" * 2000,
)


@pytest.mark.parametrize("text", TRAPS, ids=lambda text: text[:12])
def test_what_the_parser_trips_over_is_refused(path: Path, text: str) -> None:
    assert not understood_or_refused(path, text)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.yaml", tmp_path / "x" / "y"):
        with pytest.raises(Refused, match=r"experiment .*: (No such file|is a directory|Not a directory)"):
            load_experiment(path)
