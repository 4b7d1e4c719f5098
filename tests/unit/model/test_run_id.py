"""The name of a run, wherever it was read."""

from __future__ import annotations

import json
import re

import pytest

from chaosext.model.names import RunId


@pytest.mark.parametrize("text", ["r", "20261123t230300ab12", "a" * 20])
def test_what_can_name_a_run_is_a_text(text: str) -> None:
    assert RunId(text) == text
    assert json.dumps({RunId(text): RunId(text)}) == json.dumps({text: text})


@pytest.mark.parametrize(
    "text", ["", "A", "a-b", "../x", "a/b", "a\n", "\nssh-rsa", "a" * 21, " a", "ａ", "é", None, 5, b"a"]
)
def test_what_can_not_name_a_run_is_an_error(text: object) -> None:
    with pytest.raises(ValueError, match="can not name a run"):
        RunId(text)


def test_a_new_one_tells_its_time() -> None:
    assert re.fullmatch(r"\d{8}t\d{6}[0-9a-f]{4}", RunId.new())
    assert RunId.new() != RunId.new()
