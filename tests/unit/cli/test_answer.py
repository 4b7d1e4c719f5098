"""One way to choose how an answer is printed, and the same data in each of them."""

from __future__ import annotations

import json
from io import StringIO
from typing import TYPE_CHECKING, Any

import click
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from chaosext.cli.answer import Form, answers, say_answer, say_data, table
from chaosext.cli.main import cli, invoke

if TYPE_CHECKING:
    from collections.abc import Iterator

WRITES_FILES = {"matrix page", "snapshot", "report", "schedule", "baseline save"}
"""Commands whose -o names a file: what they make is a document, not an answer."""

DOCUMENTS = {"testbed kubeconfig", "abort", "completion", "examples show"}
"""Commands that print a document of another format, or progress only."""


def leaves(group: click.Group = cli, name: str = "") -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for each in group.list_commands(context):
        command = group.get_command(context, each)
        assert command is not None
        if isinstance(command, click.Group):
            yield from leaves(command, f"{name}{each} ")
        else:
            yield f"{name}{each}", command


@pytest.mark.parametrize("name", [name for name, _ in leaves()])
def test_every_command_answers_in_every_form(name: str) -> None:
    options = {option: each for each in dict(leaves())[name].params for option in each.opts}
    if name in DOCUMENTS:
        return
    if name in WRITES_FILES:
        assert not isinstance(options["-o"].type, click.Choice)
        return
    assert isinstance(options["-o"].type, click.Choice), f"decorate {name} with chaosext.cli.answer.answers"
    assert set(options["-o"].type.choices) == set(Form)
    assert "--json" in options


@click.command()
@answers()
def answer(form: Form) -> None:
    say_answer({"zone": "b"}, [f"zone b, {form}"], form)


@pytest.mark.parametrize(
    ("arguments", "printed"),
    [
        ([], "zone b, text\n"),
        (["-o", "wide"], "zone b, wide\n"),
        (["--json"], '{\n  "zone": "b"\n}\n'),
        (["--output", "json"], '{\n  "zone": "b"\n}\n'),
        (["-o", "yaml"], "zone: b\n"),
    ],
)
def test_an_answer_has_the_chosen_form(
    arguments: list[str], printed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke(arguments, answer) == 0
    assert capsys.readouterr().out == printed


def test_two_forms_at_once_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["--json", "-o", "yaml"], answer) == 20
    assert "--json and --output are both set" in capsys.readouterr().err


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)


def printed(value: Any, form: Form) -> str:
    stream = StringIO()
    say_data(value, form, to=stream)
    return stream.getvalue()


@given(JSON)
def test_yaml_has_the_same_data_as_json(value: Any) -> None:
    assert yaml.safe_load(printed(value, Form.YAML)) == json.loads(printed(value, Form.JSON))


def test_yaml_shows_what_a_terminal_would_hide() -> None:
    text = printed({"pod": "a\x1b[31m\u202eb", "how": "one\ntwo\n"}, Form.YAML)
    assert text == 'pod: "a\\e[31m\\u202eb"\nhow: |\n  one\n  two\n'


def test_a_table_is_aligned() -> None:
    assert list(table(("name", "from"), [("larger", "file"), ("a", "default")])) == [
        "NAME    FROM",
        "larger  file",
        "a       default",
    ]
