"""Known secrets are taken out of every text, in whichever form it carries them."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote

import pytest

from chaosext.model import redact
from chaosext.model.redact import pattern_of, veiled, veiled_whole, without

SAID = 'p"a/ss wörd\\n'
KEY = "-----BEGIN KEY-----\nMHcCAQEEIIrYSSNQFaA2\n-----END KEY-----"


@pytest.fixture(autouse=True)
def _nothing_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redact, "_values", frozenset())
    monkeypatch.setattr(redact, "_pattern", None)


@pytest.mark.parametrize(
    "carried",
    [
        SAID,
        json.dumps(SAID)[1:-1],
        quote(SAID),
        quote(SAID, safe=""),
        base64.b64encode(SAID.encode()).decode(),
    ],
)
def test_a_secret_is_known_in_every_dress(carried: str) -> None:
    assert without(pattern_of([SAID]), f"a {carried} b").rstrip("= b") == "a (redacted)"


def test_of_a_key_each_line_is_hidden() -> None:
    assert "MHcCAQEE" not in without(pattern_of([KEY]), "line MHcCAQEEIIrYSSNQFaA2 of it")


def test_the_longer_of_two_goes_first() -> None:
    assert without(pattern_of(["tokentoken", "token"]), "tokentoken token") == "(redacted) (redacted)"


def test_what_is_too_short_to_be_a_secret_stays() -> None:
    assert pattern_of(["", "abc"]) is None
    assert without(None, "abc") == "abc"


def test_what_is_hidden_stays_hidden() -> None:
    redact.hide(["first-one"])
    redact.hide(["second-one"])
    assert veiled("first-one second-one") == "(redacted) (redacted)"
    assert veiled_whole({"first-one": [1, ("second-one", None)]}) == {"(redacted)": [1, ["(redacted)", None]]}
