"""What the run's event handlers make of chaoslib's events."""

from __future__ import annotations

import json
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
from chaoslib.activity import execute_activity
from chaoslib.run import EventHandlerRegistry

from chaosext.model.errors import ChaosextError, Inconclusive, Refused, Unsafe
from chaosext.run.hooks import Scribe
from chaosext.run.providers import bound_providers, take_error
from chaosext.run.session.run_directory import RunDirectory
from chaosext.run.verdict.facts import facts_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

UNSAFE = Unsafe("cp may be cut\nstill", "nft delete table inet chaosext_x")


@pytest.fixture
def played(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Plays Python activities in a run; each raises an error, or returns. Returns the journal that was written."""
    bound_providers()
    directory = RunDirectory("r", tmp_path)

    def play(*errors: Exception | None) -> dict[str, Any]:
        journal: dict[str, Any] = {"run": [], "rollbacks": []}
        registry = EventHandlerRegistry()
        registry.register(Scribe(directory, journal))
        for error in errors:
            monkeypatch.setitem(sys.modules, "chaosext.played", _module(error))
            provider = {"type": "python", "module": "chaosext.played", "func": "act"}
            activity = {"type": "action", "name": "act", "provider": provider}
            execute_activity({}, activity, {}, {}, None, registry, journal["run"])
        written: dict[str, Any] = json.loads((directory.path / "journal.json").read_text())
        return written

    return play


def _module(error: Exception | None) -> ModuleType:
    def act() -> None:
        if error:
            raise error

    module = ModuleType("chaosext.played")
    module.act = act  # type: ignore[attr-defined]
    return module


@pytest.mark.parametrize(
    "error", [Refused("no peers", "name them"), Inconclusive("no answer"), UNSAFE], ids=repr
)
def test_the_error_of_an_activity_is_recorded_as_a_value(
    played: Callable[..., dict[str, Any]], error: ChaosextError
) -> None:
    (run,) = played(error)["run"]
    assert run["raised"] == {"error": type(error).__name__, "message": str(error)}


def test_no_error_is_recorded_of_an_activity_that_succeeded_or_raised_another_one(
    played: Callable[..., dict[str, Any]],
) -> None:
    journal = played(UNSAFE, None, ValueError("chaosext.model.errors.Unsafe: quoted"))
    assert ["raised" in each for each in journal["run"]] == [True, False, False]


def test_the_verdict_reads_what_was_recorded(played: Callable[..., dict[str, Any]]) -> None:
    assert facts_of(played(UNSAFE)).left_behind == (str(UNSAFE),)
    assert facts_of(played(Refused("no peers", "name them"))).refusals == ("no peers: name them",)


def test_an_error_belongs_to_one_activity(played: Callable[..., dict[str, Any]]) -> None:
    played(UNSAFE)
    assert take_error() is None
