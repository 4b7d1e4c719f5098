"""Map a node's signals to events: the kinds of events, their objects and their texts. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chaosext.model.result import Lane
from chaosext.model.signal import MEANING, Mark, Watched
from chaosext.model.timeline import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from chaosext.model.signal import Signal, StreamHead

Words = Callable[["Signal", Mark, Mark], str]
"""Formats a signal, its mark, and the mark of the related signal as text for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalKind:
    """How a kind of signal is reported: its lane, its kinds of events, and its texts."""

    lane: Lane
    lost: Kind
    restored: Kind
    words: Words
    first_sign: Kind | None = None
    """The kind of event for a single bad answer, if that is reported already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalQuestion:
    """Whether `signal` is good. `object`: the object of its events; `beside`: a related signal to consider too."""

    object: str
    signal: Signal
    manner: SignalKind
    beside: Signal | None = None

    @property
    def unseen(self) -> str:
        """The object of an event that this signal is no longer observed."""
        return f"{self.object} ({self.manner.lane.value})"

    def answer(self, mark: Mark, beside: Mark) -> Kind:
        """Return the kind of event for these marks if they persist; OBSERVATION_LOST if the state is unknown."""
        if self.signal.kind is Watched.DNS_UDP_KEPT:
            return _sockets(mark, beside)
        if mark is Mark.UNKNOWN:
            return Kind.OBSERVATION_LOST
        return self.manner.restored if mark is Mark.GOOD else self.manner.lost

    def words(self, mark: Mark, beside: Mark) -> str:
        return self.manner.words(self.signal, mark, beside)


def questions(head: StreamHead) -> Iterator[SignalQuestion]:
    """Yield a question per signal of the head, in order. The first DNS server is the Service address (`Plan`)."""
    known = {(signal.kind, signal.target): signal for signal in head.signals}
    service = next((each.target for each in head.signals if each.kind is Watched.DNS_UDP), None)
    for signal in head.signals:
        of_service = signal.kind in UDP and signal.target == service
        yield SignalQuestion(
            object=f"Node/{head.node}" if of_service else _object(head.node, signal),
            signal=signal,
            manner=DNS if of_service and signal.kind is Watched.DNS_UDP else MANNERS[signal.kind],
            beside=known.get((BESIDE[signal.kind], signal.target)) if signal.kind in BESIDE else None,
        )


def short(mark: Mark) -> str:
    """Describe a mark in a word or two."""
    return MEANING[mark].partition(":")[0]


def _object(node: str, signal: Signal) -> str:
    if signal.kind in BY_POD:
        return signal.target
    named = f"{signal.label} " if signal.label else ""
    return f"Node/{node} → {named}{_address(signal)}"


def _address(signal: Signal) -> str:
    protocol = PROTOCOLS.get(signal.kind)
    if not protocol:
        return signal.target
    host = f"[{signal.target}]" if ":" in signal.target else signal.target
    return f"{host}:53/{protocol}"


def _sockets(kept: Mark, fresh: Mark) -> Kind:
    if Mark.UNKNOWN in (kept, fresh):
        return Kind.OBSERVATION_LOST
    if (kept is Mark.GOOD) == (fresh is Mark.GOOD):
        return Kind.DNS_SOCKETS_AGREE
    return Kind.DNS_SOCKET_STALE if fresh is Mark.GOOD else Kind.DNS_ONLY_KEPT_SOCKET


def _plain(good: str, down: str = "down") -> Words:
    other = {Mark.GOOD: good, Mark.DOWN: down}
    return lambda _signal, mark, _beside: other.get(mark) or short(mark)


def _lookup(signal: Signal, mark: Mark, _beside: Mark) -> str:
    return f"{_address(signal)} {_answered(mark)}"


def _two_sockets(signal: Signal, kept: Mark, fresh: Mark) -> str:
    return f"{_address(signal)}: kept socket {_answered(kept)}, fresh socket {_answered(fresh)}"


def _answered(mark: Mark) -> str:
    return "answered" if mark is Mark.GOOD else short(mark)


def _xds(_signal: Signal, mark: Mark, ready: Mark) -> str:
    has = "has its istiod" if mark is Mark.GOOD else "not known" if mark is Mark.UNKNOWN else "without istiod"
    return f"{has}, {'though ' * (mark is not Mark.GOOD and ready is Mark.GOOD)}{_readiness(ready)}"


def _sidecar(_signal: Signal, mark: Mark, xds: Mark) -> str:
    falsely = mark is Mark.GOOD and xds is not Mark.GOOD and xds is not Mark.UNKNOWN
    return f"{_readiness(mark)}{', though it is without istiod' * falsely}"


def _readiness(mark: Mark) -> str:
    """Describe readiness. A server that answers anything but 200 is not ready."""
    answers = {Mark.GOOD: "15021 says ready", Mark.ERROR: "15021 says not ready", Mark.DOWN: "15021 is down"}
    return answers.get(mark) or f"15021 {short(mark)}"


UDP = (Watched.DNS_UDP, Watched.DNS_UDP_KEPT)
BY_POD = (Watched.SIDECAR_READY, Watched.SIDECAR_XDS)
PROTOCOLS: Mapping[Watched, str] = {
    Watched.DNS_UDP: "udp",
    Watched.DNS_UDP_KEPT: "udp",
    Watched.DNS_TCP: "tcp",
}
BESIDE: Mapping[Watched, Watched] = {
    Watched.DNS_UDP_KEPT: Watched.DNS_UDP,
    Watched.SIDECAR_XDS: Watched.SIDECAR_READY,
    Watched.SIDECAR_READY: Watched.SIDECAR_XDS,
}

DNS = SignalKind(
    lane=Lane.DNS,
    lost=Kind.DNS_DEAD,
    restored=Kind.DNS_RESTORED,
    words=_lookup,
    first_sign=Kind.DNS_DEGRADED,
)
"""Fresh lookups at the Service address, which represent the lookups of users."""

MANNERS: Mapping[Watched, SignalKind] = {
    Watched.DNS_UDP: SignalKind(
        lane=Lane.TARGETS, lost=Kind.TARGET_LOST, restored=Kind.TARGET_RESTORED, words=_plain("answered")
    ),
    Watched.DNS_UDP_KEPT: SignalKind(
        lane=Lane.DNS_KEPT_SOCKET,
        lost=Kind.DNS_SOCKET_STALE,
        restored=Kind.DNS_SOCKETS_AGREE,
        words=_two_sockets,
    ),
    Watched.DNS_TCP: SignalKind(
        lane=Lane.DNS_TCP, lost=Kind.TARGET_LOST, restored=Kind.TARGET_RESTORED, words=_plain("answered")
    ),
    Watched.TCP: SignalKind(
        lane=Lane.TARGETS, lost=Kind.TARGET_LOST, restored=Kind.TARGET_RESTORED, words=_plain("open")
    ),
    Watched.SIDECAR_READY: SignalKind(
        lane=Lane.SIDECAR_READY, lost=Kind.SIDECAR_NOT_READY, restored=Kind.SIDECAR_READY, words=_sidecar
    ),
    Watched.SIDECAR_XDS: SignalKind(
        lane=Lane.XDS, lost=Kind.XDS_LOST, restored=Kind.XDS_RESTORED, words=_xds
    ),
    Watched.BGP: SignalKind(
        lane=Lane.BGP,
        lost=Kind.BGP_LOST,
        restored=Kind.BGP_RESTORED,
        words=_plain("established", "not established"),
    ),
    Watched.ROUTE: SignalKind(
        lane=Lane.ROUTES,
        lost=Kind.ROUTE_LOST,
        restored=Kind.ROUTE_RESTORED,
        words=_plain("a route of its own leads there", "no route of its own leads there"),
    ),
    Watched.POD: SignalKind(
        lane=Lane.PODS, lost=Kind.TARGET_LOST, restored=Kind.TARGET_RESTORED, words=_plain("it answers")
    ),
}
