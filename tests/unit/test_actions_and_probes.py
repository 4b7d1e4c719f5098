"""What Chaos Toolkit sees: every activity is discovered, and says its arguments and what it returns."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any

import pytest

import chaosext
from chaosext import actions, controls, probes

if TYPE_CHECKING:
    from collections.abc import Callable

ACTIVITIES = {name: getattr(module, name) for module in (actions, probes) for name in module.__all__}
OUT_OF_BAND = ("configuration", "secrets")


def arguments(function: Callable[..., Any]) -> list[str]:
    return [name for name in inspect.signature(function).parameters if name not in OUT_OF_BAND]


def test_the_list_of_names_is_whole() -> None:
    for module in (actions, probes):
        own = {
            name
            for name, value in inspect.getmembers(module, inspect.isfunction)
            if value.__module__ == module.__name__ and not name.startswith("_")
        }
        assert own == set(module.__all__)


def test_every_activity_is_discovered() -> None:
    found = chaosext.discover(discover_system=False)
    assert (found["extension"]["name"], found["extension"]["version"]) == ("chaosext", chaosext.__version__)
    kinds = {each["name"]: each["type"] for each in found["activities"]}
    assert kinds == dict.fromkeys(actions.__all__, "action") | dict.fromkeys(probes.__all__, "probe")
    for each in found["activities"]:
        assert [argument["name"] for argument in each["arguments"]] == list(
            inspect.signature(ACTIVITIES[each["name"]]).parameters
        )
        assert each["doc"] == inspect.getdoc(ACTIVITIES[each["name"]])


@pytest.mark.parametrize("name", ACTIVITIES)
def test_an_activity_documents_its_arguments_and_what_it_returns(name: str) -> None:
    doc = inspect.getdoc(ACTIVITIES[name]) or ""
    assert re.search(r"\bReturns?\b|\bA finding\b", doc)
    for argument in arguments(ACTIVITIES[name]):
        assert re.search(rf"\b{argument}\b|\b{argument.removesuffix('s')}\b", doc), f"{name} hides {argument}"


@pytest.mark.parametrize("name", actions.__all__)
def test_an_action_documents_what_it_raises(name: str) -> None:
    assert "Raises" in (inspect.getdoc(ACTIVITIES[name]) or "")


@pytest.mark.parametrize("name", ACTIVITIES)
def test_an_activity_follows_chaos_toolkits_convention(name: str) -> None:
    signature = inspect.signature(ACTIVITIES[name])
    assert tuple(signature.parameters)[-2:] == OUT_OF_BAND
    assert all(signature.parameters[each].default is None for each in OUT_OF_BAND)
    assert all(each.annotation is not inspect.Parameter.empty for each in signature.parameters.values())


def test_the_control_has_the_names_that_chaoslib_calls() -> None:
    from chaoslib.control.python import _level_mapping

    own = {
        name
        for name, value in inspect.getmembers(controls, inspect.isfunction)
        if value.__module__ == controls.__name__ and not name.startswith("_")
    }
    assert own
    assert own <= {*_level_mapping.values(), "configure_control", "validate_control", "cleanup_control"}
