"""Defaults of options: flag > environment > file > built in; what is unknown, or decides about safety, is refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click
import pytest
import yaml
from example_counts import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chaosext.cli import rehearse
from chaosext.cli.defaults import NEVER, settable
from chaosext.cli.main import COMMANDS, cli, invoke

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "config.yaml"
    monkeypatch.setenv("CHAOSEXT_CONFIG", str(path))
    return path


@pytest.fixture
def seed(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The seeds that rehearsals were called with."""
    seen: list[Any] = []

    def called(**options: Any) -> int:
        seen.append(options["seed"])
        return 0

    monkeypatch.setattr(rehearse.rehearse, "callback", called)
    return seen


def test_each_source_outdoes_the_next(file: Path, seed: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text("rehearse: {seed: 3}\n")
    assert invoke(["rehearse", "example:story"]) == 0
    monkeypatch.setenv("CHAOSEXT_REHEARSE_SEED", "4")
    assert invoke(["rehearse", "example:story"]) == 0
    assert invoke(["rehearse", "example:story", "--seed", "5"]) == 0
    monkeypatch.delenv("CHAOSEXT_REHEARSE_SEED")
    file.write_text("{}")
    assert invoke(["rehearse", "example:story"]) == 0
    assert seed == [3, 4, 5, 0]


@pytest.mark.parametrize(
    ("text", "said", "fix"),
    [
        ("rehears: {seed: 1}", "rehears: no such command", "did you mean rehearse?"),
        ("testbed: {upp: {}}", "testbed.upp: no such command", "did you mean up?"),
        ("rehearse: {sead: 1}", "rehearse.sead: no such option", "did you mean seed?"),
        ("rehearse: {seed: many}", "rehearse.seed: 'many' is not a valid integer", "change it"),
        ("rehearse: {cut-for: soon}", "rehearse.cut-for: 'soon' is not a duration", "write e.g. 480s or 8m"),
        ("rehearse: {advice: maybe}", "rehearse.advice: 'maybe' is not a valid value", "true or false"),
        ("rehearse: {cut-for: {a: 1}}", "rehearse.cut-for: {'a': 1} is not a valid value", "a text or a number"),
        ("rehearse: {fail-on: [deviatd]}", "rehearse.fail-on: unknown name 'deviatd'", "did you mean deviated?"),
        ("rehearse: {snapshot: [a]}", "rehearse.snapshot: can't be set here", "write --snapshot"),
        ("rehearse: {fabric-hears: all}", "rehearse.fabric-hears: can't be set here", "write --fabric-hears"),
        ("approve: {until: 30d}", "approve.until: can't be set here", "write --until"),
        ("pin: {replace: true}", "pin.replace: can't be set here", "write --replace"),
        ("testbed: {down: {force: true}}", "testbed.down.force: can't be set here", "write --force"),
        ("check: {context: prod}", "check.context: can't be set here", "write --context"),
        ("run: {expect: deviated}", "run.expect: can't be set here", "write --expect"),
        ("rehearse: 5", "rehearse: a mapping is expected", "write e.g."),
        ("[1]", "a mapping of commands is expected", "write e.g."),
    ],
)  # fmt: skip
def test_what_is_unknown_or_decides_about_safety_is_refused(
    file: Path, capsys: pytest.CaptureFixture[str], text: str, said: str, fix: str
) -> None:
    file.write_text(text)
    assert invoke(["config", "show"]) == 20
    error = capsys.readouterr().err
    assert f"chaosext: {file}: {said}" in error
    assert fix in error.splitlines()[1]


def test_a_file_named_in_vain_is_refused(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["examples"]) == 20
    assert f"CHAOSEXT_CONFIG {file}: No such file" in capsys.readouterr().err


def test_a_faulty_section_concerns_its_command_only(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text("gate: {sead: 1}\n")
    assert invoke(["examples"]) == 0
    assert invoke(["gate", "--cutover", "example:all-workers"]) == 20
    assert "gate.sead" in capsys.readouterr().err


def test_a_faulty_file_does_not_stop_who_ends_a_cut(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text("abort: {wait: soon}\n")
    assert invoke(["abort", "--context", ""]) == 20
    error = capsys.readouterr().err
    assert "abort.wait: 'soon' is not a valid float" in error
    assert "built-in defaults are used" in error
    assert "the cluster is ambiguous or unknown" in error


def test_a_faulty_file_does_not_stop_who_asks_for_help(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text("rehearse: {seed: many}\n")
    assert invoke(["rehearse", "--help"]) == 0
    assert "built-in defaults are used" in capsys.readouterr().err


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
SECTIONS = st.dictionaries(
    st.sampled_from(["seed", "cut-for", "advice", "fail-on", "output", "up", "x"]), VALUES
)


@given(
    st.dictionaries(
        st.sampled_from(["rehearse", "gate", "testbed", "audit", "x"]), SECTIONS | VALUES, max_size=3
    )
)
@settings(max_examples=examples(40), suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_file_is_understood_or_refused(file: Path, value: Any) -> None:
    file.write_text(yaml.safe_dump(value))
    assert invoke(["config", "show", "rehearse"]) in (0, 20)


def test_every_default_is_shown_with_its_source(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text("rehearse: {cut-for: 5m}\n")
    monkeypatch.setenv("CHAOSEXT_REHEARSE_SEED", "4")
    assert invoke(["config", "show", "rehearse", "-o", "json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["file"], said["exists"]) == (str(file), True)
    found = {each["option"]: (each["value"], each["source"]) for each in said["defaults"]}
    assert found["cut-for"] == ("5m", str(file))
    assert found["seed"] == ("4", "$CHAOSEXT_REHEARSE_SEED")
    assert found["time-budget"] == ("5m", "built in")
    assert found["output"] == ("text", "built in")
    assert invoke(["config", "show", "rehearse"]) == 0
    assert "rehearse --cut-for      5m" in capsys.readouterr().out


@pytest.mark.parametrize("name", COMMANDS)
def test_no_default_decides_about_safety(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    assert not {option.name for option in settable(command, name).values()} & set(NEVER)
    if name in ("approve", "pin"):
        assert settable(command, name) == {}


def test_the_environment_sets_nothing_about_safety(
    seed: list[Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CHAOSEXT_PIN_PRODUCTION", "maybe")
    monkeypatch.setenv("CHAOSEXT_PIN_REPLACE", "1")
    monkeypatch.setenv("CHAOSEXT_VERSION", "0.1.0")
    assert invoke(["pin", "--list"]) == 0
