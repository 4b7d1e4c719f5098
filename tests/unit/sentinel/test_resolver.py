"""Which bytes count as a good answer to a DNS query, checked against replies that dnspython makes."""

from __future__ import annotations

import pytest
from dns.flags import QR
from dns.message import Message, from_wire, make_response
from dns.rcode import NXDOMAIN, REFUSED, SERVFAIL, Rcode
from dns.rrset import from_text
from hypothesis import given
from hypothesis import strategies as st

from chaosext.model.signal import Mark
from chaosext.sentinel.resolver import DnsQuestion

NAME, ADDRESS, OTHER = "istiod.istio-system.svc.cluster.local", "10.2.112.10", "10.2.112.11"
QUESTION = DnsQuestion.make(NAME, (ADDRESS,), ipv6=False)
ID = 0x1234


def reply(
    *records: tuple[str, str, str], rcode: Rcode | None = None, question: DnsQuestion = QUESTION
) -> Message:
    made = make_response(from_wire(question.wire(ID)))
    for name, rdtype, text in records:
        made.answer.append(from_text(f"{name.rstrip('.')}.", 5, "IN", rdtype, text))
    if rcode is not None:
        made.set_rcode(rcode)
    return made


def test_the_query_asks_for_the_name_and_wants_recursion() -> None:
    query = from_wire(QUESTION.wire(ID))
    assert (query.id, query.question[0].to_text()) == (ID, f"{NAME}. IN A")
    assert query.to_wire() == QUESTION.wire(ID)


@pytest.mark.parametrize(
    ("message", "mark"),
    [
        (reply((NAME, "A", ADDRESS)), Mark.GOOD),
        (reply((NAME, "A", OTHER), (NAME, "A", ADDRESS)), Mark.GOOD),
        (reply((NAME, "CNAME", "x.test."), ("x.test.", "A", ADDRESS)), Mark.GOOD),
        (reply((NAME, "A", OTHER)), Mark.ERROR),
        (reply((NAME, "CNAME", "x.test.")), Mark.ERROR),
        (reply(), Mark.ERROR),
        (reply((NAME, "A", ADDRESS), rcode=NXDOMAIN), Mark.ERROR),
        (reply(rcode=SERVFAIL), Mark.ERROR),
        (reply(rcode=REFUSED), Mark.ERROR),
    ],
)
def test_only_an_expected_address_is_good(message: Message, mark: Mark) -> None:
    wire = message.to_wire()
    assert QUESTION.is_answered_by(wire, ID)
    assert QUESTION.mark(wire) is mark


def test_where_nothing_is_expected_any_address_is_good() -> None:
    question = DnsQuestion.make(NAME, (), ipv6=True)
    assert from_wire(question.wire(ID)).question[0].to_text() == f"{NAME}. IN AAAA"
    assert question.mark(reply((NAME, "AAAA", "fd00::1"), question=question).to_wire()) is Mark.GOOD
    assert question.mark(reply((NAME, "A", ADDRESS), question=question).to_wire()) is Mark.ERROR


def test_what_is_expected_says_which_family_to_ask_for() -> None:
    assert DnsQuestion.make(NAME, ("fd00::1",), ipv6=False).rdtype == 28
    assert DnsQuestion.make(NAME, (ADDRESS,), ipv6=True).rdtype == 1


def test_a_reply_to_an_older_query_a_query_or_anothers_question_is_no_answer() -> None:
    wire = reply((NAME, "A", ADDRESS)).to_wire()
    assert not QUESTION.is_answered_by(wire, ID + 1)
    assert not QUESTION.is_answered_by(QUESTION.wire(ID), ID)
    assert not DnsQuestion.make("else.test", (), ipv6=False).is_answered_by(wire, ID)
    assert not QUESTION.is_answered_by(wire[:11], ID)


def test_a_server_may_spell_the_name_in_other_letters() -> None:
    assert QUESTION.is_answered_by(reply().to_wire().replace(b"istiod", b"IstioD"), ID)


def test_an_error_without_the_question_is_an_answer_still() -> None:
    bare = ID.to_bytes(2) + (0x8000 | 5).to_bytes(2) + bytes(8)
    assert QUESTION.is_answered_by(bare, ID)
    assert QUESTION.mark(bare) is Mark.ERROR


@given(st.binary(max_size=200), st.integers(0, 120))
def test_no_bytes_at_all_are_too_much_for_it(noise: bytes, at: int) -> None:
    """A torn reply, or one with nonsense in it, is an error and never an exception; only all of it is good."""
    wire = reply((NAME, "A", ADDRESS)).to_wire()
    assert QUESTION.mark(wire[:12] + noise) in (Mark.ERROR, Mark.GOOD)
    if at < len(wire):
        assert QUESTION.mark(wire[: max(at, 4)]) is Mark.ERROR
    assert QUESTION.is_answered_by(noise, ID) in (True, False)


@pytest.mark.parametrize("name", ["", "a..b", "x" * 64, "é.test", ".".join(["abcdefgh"] * 30)])
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError):
        DnsQuestion.make(name, (), ipv6=False)


def test_the_flag_that_tells_a_reply_is_the_one_of_the_standard() -> None:
    assert QR == 0x8000
