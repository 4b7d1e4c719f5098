"""Texts of other people are shown in Markdown as what they are: they link, notify, draw and structure nothing."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chaosext.report.render.markdown import fenced, plain, row


def prose(markdown: str) -> str:
    """What of it is neither escaped, which means itself, nor in a code span, in which nothing means anything."""
    return re.sub(r"\\[!-/:-@\[-`{-~]|`[^`]+`", " ", markdown)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("# Passed", r"\# Passed"),
        ("1. first", r"1\. first"),
        ("- item", r"\- item"),
        ("+ item", r"\+ item"),
        ("> quoted", r"\> quoted"),
        ("---", r"\---"),
        ("===", r"\==="),
        ("[x](javascript:alert(1))", r"\[x](javascript:alert(1))"),
        ("<script>alert(1)</script>", r"\<script>alert(1)\</script>"),
        ("&lt;", r"\&lt;"),
        ("a|b", r"a\|b"),
        ("**bold** _it_ ~~gone~~ $x$", r"\*\*bold\*\* \_it\_ \~\~gone\~\~ \$x\$"),
        ("node_not_ready", "node_not_ready"),
        ("10.2.112.10:53/udp timed out", "10.2.112.10:53/udp timed out"),
        ("ask @octo-org/ops, now", "ask `@octo-org/ops`, now"),
        ("by alice@laptop.", "by `alice@laptop`."),
        (
            "see https://evil.example/x, or www.evil.example",
            "see `https://evil.example/x`, or `www.evil.example`",
        ),
        ("fixes #12 and owner/repo#3 and GH-4", "fixes `#12` and `owner/repo#3` and `GH-4`"),
        (":white_check_mark: passed", "`:white_check_mark`: passed"),
        ("a|b@c", r"`a\|b@c`"),
        ("one `code` two", "one `code` two"),
        ("one ` two", r"one \` two"),
        ("```` rest", r"\`\`\`\` rest"),
        ("x\n\n# y\r\u2028z", "x # y z"),
    ],
)
def test_a_text_is_shown_as_it_is(text: str, shown: str) -> None:
    assert plain(text) == shown


@given(st.text(st.sampled_from("`@#:/|<>[]()*_~$&\\-+=.1aw \n") | st.characters(), max_size=40))
@example("`@a")
@example("``@a`b@c")
@example("a`https://x`` y")
def test_no_text_means_anything(text: str) -> None:
    made = plain(text)
    assert "\n" not in made
    told = prose(made)
    assert not re.search(r"@\w|://|www\.|#\d|[<\[*~$|`]", told, re.IGNORECASE), (made, told)
    assert not re.match(r"(#{1,6}|[-+*]|\d+[.)])(\s|$)|>|(-+|=+)$", made), made
    assert len(re.findall(r"(?<!\\)\|", row([made, "b"]))) == 3


@given(st.lists(st.text(st.sampled_from("`~ ab\n"))))
def test_nothing_ends_a_block_of_code_before_its_end(lines: list[str]) -> None:
    begin, *inner, end = fenced(lines)
    assert begin == f"{end}text"
    assert set(end) == {"`"}
    assert not any(end in line for line in inner)
