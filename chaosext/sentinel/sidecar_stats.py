"""Istio's sidecars, asked from their node: whether they are ready, and whether they have their istiod.

15021 says 200 while istiod is gone, so it is Envoy that is asked for its xDS stream (15090 hands the question on to
its admin interface). But Envoy's stream ends at the agent in its own Pod (a Unix socket), which accepts one that it
cannot pass on: seen on Istio 1.31 with istiod scaled to 0, with its packets dropped, and with DNS dead, such a stream
stood for 20 s at a time, was ended, and was soon opened anew; it brought 450 bytes at the most (HTTP/2's own frames),
where one that reaches istiod brought 37 kB at once. And a stream from before stood for another 36 s after its packets
were dropped. istiod_connection_terminations and the like on 15020 count up, but don't say how it stands now.

So a sidecar has its istiod when Envoy has a stream, something came over it since it was opened, and istiod can be
reached over TCP from the node in this very round. What this doesn't tell: the way from one Pod to istiod is dead where
the node's own isn't; then it is seen when the agent's keepalive gives up (40 s), as by Envoy itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from chaosext.model.signal import Mark
from chaosext.sentinel.sockets import Address, exchange, stream_socket

if TYPE_CHECKING:
    from chaosext.sentinel.socket_loop import Probe

READY_PORT, READY_PATH = 15021, "/healthz/ready"
"""Istio's readiness of a sidecar (istio.io, "Application Requirements", "Ports used by Istio")."""

STATS_PORT = 15090
STATS_PATH = "/stats/prometheus?filter=xds-grpc.*(rq_active%7Crq_total%7Crx_bytes_total)%24"
"""Envoy's own statistics, of the cluster `xds-grpc` only (Envoy's admin interface, `filter`: a regular expression)."""

FRAMES_BYTES = 1024
"""What comes over a stream that reaches nobody is less, and what istiod sends first is far more."""

LARGEST = 1 << 16

_STAT = re.compile(rb"^envoy_cluster_upstream_(\w+)\{[^}]*\"xds-grpc\"[^}]*\} (\d{1,18})\b", re.MULTILINE)
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """Of Envoy's streams to its xDS server: how many are open, how many ever were, bytes received over all of them."""

    active: int
    opened: int
    received: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """Envoy's latest stream: the how manyth, and how many bytes had been received before it."""

    number: int
    began_at: int

    def is_alive(self, stats: Stats) -> bool:
        return stats.active > 0 and stats.received - self.began_at > FRAMES_BYTES


def stream_of(stats: Stats, before: Stats | None, stream: Stream | None) -> Stream:
    """The stream that `stats` are about. Of one that was there at the first look (or after a restart of Envoy) all
    that was ever received counts.
    """
    if stream and before and stats.opened == stream.number and stats.received >= before.received:
        return stream
    is_new = before is not None and stats.opened > before.opened and stats.received >= before.received
    return Stream(number=stats.opened, began_at=before.received if is_new and before else 0)


def parse_stats(answer: bytes) -> Stats | None:
    """None where the answer doesn't say it."""
    found = {name.decode(): int(value) for name, value in _STAT.findall(answer)}
    try:
        return Stats(active=found["rq_active"], opened=found["rq_total"], received=found["cx_rx_bytes_total"])
    except KeyError:
        return None


def synced(own: Mark, istiod: Mark) -> Mark:
    """What Envoy says, and what its node says: without istiod nobody is synced, whatever Envoy still believes."""
    if istiod is Mark.GOOD or own is Mark.DOWN:
        return own
    return Mark.UNKNOWN if istiod is Mark.UNKNOWN else Mark.DOWN


def ready(host: str) -> Probe[Mark]:
    """Good is HTTP 200, and an error any other answer."""
    answer = yield from _get(Address(host, READY_PORT), READY_PATH)
    status = _STATUS.match(answer)
    return Mark.GOOD if status and status[1] == b"200" else Mark.ERROR


@dataclass(slots=True)
class Streams:
    """What is remembered of each sidecar's stream, by its Pod."""

    _last: dict[str, tuple[Stats, Stream]] = field(default_factory=dict)

    def ask(self, pod: str, host: str) -> Probe[Mark]:
        """Good for a stream that carries something, down for none; a Pod that refuses has no sidecar running."""
        try:
            answer = yield from _get(Address(host, STATS_PORT), STATS_PATH)
        except ConnectionRefusedError:
            return Mark.DOWN
        except OSError:
            return Mark.UNKNOWN
        stats = parse_stats(answer)
        return Mark.UNKNOWN if stats is None else self.judge(pod, stats)

    def judge(self, pod: str, stats: Stats) -> Mark:
        before, stream = self._last.get(pod, (None, None))
        stream = stream_of(stats, before, stream)
        self._last[pod] = stats, stream
        return Mark.GOOD if stream.is_alive(stats) else Mark.DOWN


def _get(address: Address, path: str) -> Probe[bytes]:
    """The answer's bytes, head and all: short enough for Envoy to send it as one piece."""
    shown = f"[{address.host}]" if ":" in address.host else address.host
    request = f"GET {path} HTTP/1.1\r\nHost: {shown}:{address.port}\r\nConnection: close\r\n\r\n"
    with stream_socket(address.family) as sock:
        return (yield from exchange(sock, address.pair, request.encode(), _never, LARGEST))


def _never(_answer: bytes) -> bool:
    return False
