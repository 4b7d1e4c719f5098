"""GoBGP's answer, as gRPC sends it: sessions with their states, or no answer at all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaosext.model.signal import Mark
from chaosext.sentinel.bird_sessions import Session, marks
from chaosext.sentinel.gobgp_sessions import METHOD, QUESTION, STATES, is_whole, parse_gobgp

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY = 0, 1, 3, 4, 6, 7
END_STREAM = 1


def frame(kind: int, payload: bytes = b"", *, flags: int = 0, stream: int = 1) -> bytes:
    return len(payload).to_bytes(3) + bytes((kind, flags)) + stream.to_bytes(4) + payload


def varint(number: int) -> bytes:
    head = bytes((number & 0x7F | (0x80 if number > 0x7F else 0),))
    return head + (varint(number >> 7) if number > 0x7F else b"")


def field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def peer(address: str, state: int) -> bytes:
    conf = field(3, 64512) + field(4, address.encode()) + field(5, 64512)
    said = field(5, address.encode()) + (field(13, state) if state else b"") + field(14, 1)
    message = field(1, field(2, conf) + field(5, said) + field(6, field(1, b"x" * 200)))
    return b"\0" + len(message).to_bytes(4) + message


def answer(*messages: bytes, end: bytes = frame(HEADERS, b"\x88", flags=5)) -> bytes:
    whole = frame(SETTINGS, stream=0) + frame(SETTINGS, stream=0, flags=1) + frame(HEADERS, b"\x88", flags=4)
    return whole + b"".join(frame(DATA, each) for each in messages) + frame(PING, bytes(8), stream=0) + end


def test_sessions_are_read_with_their_states() -> None:
    said = answer(peer("172.18.0.3", 6), peer("172.18.0.4", 3), peer("fc00::5", 0))
    assert is_whole(said)
    assert parse_gobgp(said) == (
        Session(peer="172.18.0.3", established=True, state="Established"),
        Session(peer="172.18.0.4", established=False, state="Active"),
        Session(peer="fc00::5", established=False, state="unknown"),
    )
    assert marks(parse_gobgp(said), ["172.18.0.3", "172.18.0.4", "172.18.0.9"]) == [
        Mark.GOOD,
        Mark.DOWN,
        Mark.DOWN,
    ]


def test_a_message_may_span_frames_and_a_frame_may_hold_several() -> None:
    both = peer("172.18.0.3", 6) + peer("172.18.0.4", 6)
    assert len(parse_gobgp(answer(both[:50], both[50:]))) == 2


@pytest.mark.parametrize(
    "said",
    [
        b"",
        answer(peer("172.18.0.3", 6), end=b""),
        answer(),
        answer(peer("172.18.0.3", 6), end=frame(RST_STREAM, bytes(4))),
        answer(peer("172.18.0.3", 6), end=frame(GOAWAY, bytes(8), stream=0)),
        answer(peer("172.18.0.3", 6)[:-3]),
        answer(b"\1" + peer("172.18.0.3", 6)[1:]),
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
    ],
)
def test_anything_else_is_no_answer(said: bytes) -> None:
    with pytest.raises(ValueError):
        parse_gobgp(said)


@given(st.binary(max_size=200), st.integers(0, 400))
def test_no_answer_of_any_kind_makes_a_session_up(noise: bytes, cut: int) -> None:
    for said in (noise, answer(noise), answer(peer("172.18.0.3", 3))[:cut] + noise):
        try:
            found = parse_gobgp(said)
        except (ValueError, LookupError):
            continue
        assert not any(each.established and each.peer == "172.18.0.3" for each in found)


@given(st.lists(st.tuples(st.ip_addresses(v=4).map(str), st.integers(0, 6)), min_size=1, max_size=5))
def test_every_session_is_read_as_it_is(sessions: list[tuple[str, int]]) -> None:
    found = parse_gobgp(answer(*(peer(*each) for each in sessions)))
    assert [(each.peer, each.state) for each in found] == [(ip, STATES[at]) for ip, at in sessions]
    assert all(each.established == (each.state == "Established") for each in found)


def test_the_question_is_one_call_of_one_method() -> None:
    assert QUESTION.startswith(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    assert METHOD in QUESTION
    assert QUESTION.endswith(frame(DATA, bytes(5), flags=END_STREAM))
