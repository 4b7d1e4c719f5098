"""What a function takes is read from its source: a module that is not to be imported yet is not."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

from chaosext.experiment.signatures import misfit

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

EXPLODES = "raise SystemExit('imported')\n"
"""At the end of each module: whoever imports it hears of it."""

PLAIN = """
def act(a, b=1, *, c, d=None, configuration=None, secrets=None): ...
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    monkeypatch.syspath_prepend(str(tmp_path))

    def written(source: str, name: str = "of_an_experiment") -> str:
        path = tmp_path.joinpath(*name.split(".")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source + EXPLODES)
        return name

    return written


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["a", "c"], ""),
        (["a", "b", "c", "d"], ""),
        (["a"], "required argument c is missing"),
        ([], "required argument a, c is missing"),
        (["a", "c", "e"], "it takes no argument e"),
    ],
)
def test_arguments_are_held_against_the_parameters(
    module: Callable[..., str], arguments: list[str], said: str
) -> None:
    assert misfit(module(PLAIN), "act", arguments) == said


def test_what_chaos_toolkit_gives_by_itself_is_not_missing(module: Callable[..., str]) -> None:
    assert misfit(module("def act(configuration, secrets): ...\n"), "act", []) == ""


def test_a_function_that_takes_anything_takes_anything(module: Callable[..., str]) -> None:
    assert misfit(module("def act(a, **more): ...\n"), "act", ["a", "x", "y"]) == ""


NOT_KNOWN = {
    "imported": "from elsewhere import act\n",
    "imported by another name": "from elsewhere import other as act\n",
    "imported with all else": "from elsewhere import *\n",
    "assigned": "act = make()\n",
    "decorated": "@wrapped\ndef act(a): ...\n",
    "written twice": "def act(a): ...\ndef act(b): ...\n",
    "written where it depends": "if here:\n    def act(a): ...\nelse:\n    def act(b): ...\n",
    "given by the module": "def __getattr__(name): ...\n",
    "positional": "def act(a, /): ...\n",
    "asynchronous": "async def act(a): ...\n",
    "a class": "class act: ...\n",
}


@pytest.mark.parametrize("source", NOT_KNOWN.values(), ids=NOT_KNOWN)
def test_what_the_source_does_not_tell_is_not_held_against_it(
    module: Callable[..., str], source: str
) -> None:
    assert misfit(module(source), "act", ["whatever"]) == ""


NOT_THERE = {
    "nothing": "",
    "inside another": "def other():\n    def act(): ...\n",
    "inside a class": "class Other:\n    def act(self): ...\n",
    "an argument's name": "def other(act): ...\n",
    "only read": "print(act)\n",
}


@pytest.mark.parametrize("source", NOT_THERE.values(), ids=NOT_THERE)
def test_a_function_that_is_not_there_is_missed(module: Callable[..., str], source: str) -> None:
    assert "does not expose a function called 'act'" in misfit(module(source), "act", [])


def test_modules_in_packages_are_found_without_importing_the_packages(module: Callable[..., str]) -> None:
    module("", "a_package.__init__")
    module("", "a_package.inner.__init__")
    assert misfit(module(PLAIN, "a_package.inner.deep"), "act", ["a", "c"]) == ""
    assert misfit("a_package.inner.shallow", "act", []) == "no Python module 'a_package.inner.shallow'"
    assert misfit("a_package.inner.deep.deeper", "act", []).startswith("no Python module")
    assert not {"a_package", "a_package.inner", "a_package.inner.deep"} & sys.modules.keys()


@pytest.mark.parametrize("name", ["nowhere_at_all", "", ".", "a..b", "../x", "os.path.nope", "a b", "-c"])
def test_a_module_that_is_not_there_is_named(name: str) -> None:
    assert misfit(name, "act", []) == f"no Python module {name!r}"


def test_a_source_that_can_not_be_read_is_said(module: Callable[..., str]) -> None:
    assert "can't be read (SyntaxError)" in misfit(module("def ("), "act", [])
    assert "can't be read" in misfit(module("\0"), "act", [])
    assert misfit(module("x = " + "(" * 5000), "act", []).startswith("the Python module")


def test_modules_without_source_are_not_known() -> None:
    assert misfit("sys", "getsizeof", ["x"]) == ""
    assert misfit("math", "floor", ["x"]) == ""
    assert misfit("os.path", "exists", ["path"]) == ""


def test_our_own_functions_and_those_of_chaostoolkit_kubernetes_are_known() -> None:
    assert misfit("chaosext.actions", "sever_control_plane", ["ttl_s"]) == ""
    assert misfit("chaosext.actions", "sever_control_plane", ["ttl"]) == "required argument ttl_s is missing"
    assert misfit("chaosk8s.pod.actions", "delete_pods", ["nam"]) == "it takes no argument nam"


def test_a_module_that_was_loaded_by_a_stranger_is_read_all_the_same(
    module: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as pytest, which changes what it loads, and then has no source to give."""
    name = module(PLAIN)
    stranger = type(sys)(name)
    found = find_spec(name)
    assert found
    found.loader = None
    stranger.__spec__ = found
    monkeypatch.setitem(sys.modules, name, stranger)
    assert "nobody" in misfit(name, "act", ["a", "c", "nobody"])
