"""When BGP sessions across a cut end, and when they return: for BIRD (Calico) and GoBGP (kube-router, Cilium).

A session ends when its hold time expires, at both ends, and returns with the first attempt after the heal that gets
through.

Source: BIRD 1.6.8, proto/bgp, and Calico's bird.cfg.template; GoBGP, pkg/server/fsm.go; RFC 4271, RFC 4724.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from chaosext.model.duration_text import short_duration
from chaosext.rehearsal.snapshot.world import Doubt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from chaosext.rehearsal.network.routes import Periods

KEEPALIVES = 3
"""Keepalives per hold time (BIRD's packets.c: `hold_time / 3`; GoBGP the same), so the last one is up to that old."""

LONGEST_PAUSE_S = 120.0
"""TCP retransmits at intervals that double up to this (Linux: TCP_RTO_MAX)."""


class BgpDaemon(NamedTuple):
    """A program that speaks BGP. `shortest_timer`: the share of a hold time after which it may take it for expired.

    `jitter_s`: by how much its timers, at both ends, may be off. `returns_within_s`: when a lost session is back
    after the heal; with probability `SOON` within `usually_s` of its begin, where that is known. `lingers_s`: for how
    long graceful restart may keep a lost session's routes.
    """

    shortest_timer: float
    jitter_s: float
    returns_within_s: tuple[float, float]
    lingers_s: float = 0.0
    usually_s: float | None = None

    def returns_s(self, between: Callable[[float, float], float]) -> float:
        """Draw when a lost session returns, in seconds from the heal."""
        low, high = self.returns_within_s
        if self.usually_s is None:
            return between(low, high)
        usual = low + self.usually_s
        return between(low, usual) if between(0.0, 1.0) < SOON else between(usual, high)

    def ends_within_s(self, hold_s: float) -> tuple[float, float]:
        """Return when routes end after the begin of a cut: the hold timer, less the age of the last keepalive."""
        earliest_s = hold_s * self.shortest_timer - hold_s / KEEPALIVES - self.jitter_s
        return earliest_s, hold_s + self.jitter_s + self.lingers_s


SOON = 0.9
"""Share of lost sessions that return within `BgpDaemon.usually_s`: nearly all, as seen."""

BIRD = BgpDaemon(shortest_timer=0.75, jitter_s=2.0, returns_within_s=(0.0, 40.0), usually_s=5.0)
"""BIRD takes up to a quarter off its timers, at random (bgp.c, `bgp_start_timer`), and counts whole seconds.

It attempts to connect each 5 s, after an error wait of 5 to 30 s (the template). Seen: in the lab, a session is nearly
always back within 1 s; on the testbed, four of four ends were within 2.5 s. Where both ends open a connection
(BGPPeers; the mesh lets one end wait), each may take the other's for a restart and drop its own: then it took up to
19 s, and a route came and went meanwhile.
"""

GOBGP = BgpDaemon(shortest_timer=1.0, jitter_s=2.0, returns_within_s=(0.0, 300.0))
"""After a failed attempt GoBGP waits 120 to 239 s (DEFAULT_CONNECT_RETRY, and as much again at random) before the next
one; an attempt lasts up to 119 s, and TCP's last packet in it leaves 56 s before its end (`connectLoop`, v3.23.0).

Seen with three GoBGP 3.23.0 (hold time 90 s): routes ended 63 and 64 s after the cut began; with graceful restart
(90 s) 158 to 170 s after it, in cuts of 100 and 150 s after the heal as well. Sessions were back 30 to 149 s after the
heal; one whose graceful restart ended after the heal, within 15 s of that. A cut of 60 s ended none.
"""


def changes_s(
    speaker: BgpDaemon,
    hold_s: float,
    silences: Iterable[tuple[float, float] | Doubt],
    between: Callable[[float, float], float],
) -> tuple[float, ...]:
    """Return the times at which the routes of sessions across the cut end and return, in turns.

    A session may end after the heal, before the next retransmission would have got through.
    """
    found: list[float] = []
    for silence in silences:
        if isinstance(silence, Doubt):
            continue
        begin, end = silence
        lost_s = begin + between(*speaker.ends_within_s(hold_s))
        heard_s = end + between(0.0, _heard_within_s(speaker, end - begin))
        if found and found[-1] > begin:  # the next cut comes before the sessions have returned
            found[-1] = end + speaker.returns_s(between)
        elif lost_s < heard_s:
            found += (lost_s, max(lost_s, end) + speaker.returns_s(between))
    return tuple(found)


def silences(speaker: BgpDaemon, periods: Periods, hold_s: float) -> tuple[tuple[float, float] | Doubt, ...]:
    """Return the periods that may outlast a hold time, with the pause that TCP makes after them.

    A session survives several short cuts if a keepalive, or a retransmitted packet, gets through between
    them. That is certain only if the gap is longer than the interval of keepalives and than that pause.
    """
    shortest = speaker.ends_within_s(hold_s)[0]
    joined: list[tuple[float, float, int]] = []
    for begin, end in periods:
        if joined:
            first, last, count = joined[-1]
            if begin - last <= max(hold_s / KEEPALIVES, _pause_s(last - first)):
                joined[-1] = (first, end, count + 1)
                continue
        joined.append((begin, end, 1))
    long = [each for each in joined if each[1] - each[0] + _pause_s(each[1] - each[0]) > shortest]
    return tuple((begin, end) if count == 1 else _several(begin, end, count) for begin, end, count in long)


def _heard_within_s(speaker: BgpDaemon, cut_s: float) -> float:
    """Return how long after a cut of this length a session is heard of again, at the latest.

    Where routes linger, it has ended before they do, and must return first.
    """
    return max(_pause_s(cut_s), speaker.returns_within_s[1]) if speaker.lingers_s else _pause_s(cut_s)


def _pause_s(cut_s: float) -> float:
    """Return for how long after a cut of this length TCP may still wait with its next retransmission.

    It doubles its intervals, so it waits at most as long again as it was cut off.
    """
    return min(cut_s, LONGEST_PAUSE_S)


def _several(begin_s: float, end_s: float, count: int) -> Doubt:
    within = short_duration(round(end_s - begin_s))
    why = f"{count} cuts within {within}: whether BGP sessions across them outlast the gaps between them isn't modelled"
    return Doubt(subject="the plan's cuts", why=why)
