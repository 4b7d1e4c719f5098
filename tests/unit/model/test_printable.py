"""Text that leaves this process does nothing to whatever shows it."""

from __future__ import annotations

import io
import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaosext.model import redact
from chaosext.model.printable import json_text, one_line, printable, say, say_document, say_json

HOSTILE = (
    "\x1b]0;owned\x07", "\x1b[2J", "\x9b31m", "\x9d0;x\x9c", "\r", "\x08", "\x7f", "\x00", "\u202e", "\u2066", "\u200f",
    "\u200b", "\ufeff", "\u2028", "\u2029", "\u2060", "\u00ad", "\u3164", "\ufe0f", "\U000e0041", "\ud800", "\ufff9",
    "\x85", "\x0b", "\x0c",
)  # fmt: skip


def is_harmless(text: str, *, breaks: str = "") -> bool:
    """Whether every character is one that shows as itself."""
    return all(
        each in breaks or unicodedata.category(each) not in ("Cc", "Cf", "Cs", "Zl", "Zp") for each in text
    )


@pytest.mark.parametrize("text", HOSTILE)
def test_what_is_not_shown_becomes_its_escape(text: str) -> None:
    for made in (one_line(f"a{text}b"), printable(f"a{text}b")):
        assert made.startswith("a\\")
        assert made.endswith("b")
        assert is_harmless(made)


def test_line_breaks_belong_to_documents_only() -> None:
    assert one_line("passed\nverdict: passed\tx") == "passed\\nverdict: passed\tx"
    assert printable("a\nb\tc\r\n") == "a\nb\tc\\r\n"


def test_letters_of_every_script_stay() -> None:
    text = "Prüfung: 東京 (クラスター) café ✓ 🙂 − … §"
    assert one_line(text) == printable(text) == text


@given(st.text())
def test_no_text_leaves_anything_to_obey(text: str) -> None:
    assert is_harmless(one_line(text), breaks="\t")
    assert is_harmless(printable(text), breaks="\t\n")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(JSON)
def test_json_shows_as_what_it_is_and_keeps_its_value(value: object) -> None:
    text = json_text(value)
    assert is_harmless(text, breaks="\n")
    assert json.loads(text) == value


def test_what_is_said_has_no_secrets_and_is_flushed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redact, "_pattern", redact.pattern_of(["hunter22"]))
    for act in (lambda to: say("x hunter22", to=to), lambda to: say_document("x hunter22\n", to=to)):
        stream = io.StringIO()
        act(stream)
        assert stream.getvalue() == "x (redacted)\n"
    stream = io.StringIO()
    say_json({"x": "hunter22"}, to=stream)
    assert json.loads(stream.getvalue()) == {"x": "(redacted)"}


def test_a_terminal_that_knows_no_unicode_gets_escapes() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    say("Prüfung …", to=stream)
    stream.seek(0)
    assert stream.read() == "Pr\\xfcfung \\u2026\n"
