"""Query Istio sidecars from their node: whether they are ready, and whether they are connected to istiod.

Port 15021 returns 200 even without istiod, so the query goes to Envoy about its xDS stream (15090 passes it
to Envoy's admin interface). But Envoy's stream ends at the agent in its own Pod (a Unix socket), and the
agent accepts a stream even if it cannot forward it. Observed on Istio 1.31 with istiod scaled to 0, with its
packets dropped, and with DNS dead: such a stream stayed open for 20 s, was closed, and was soon reopened. It
carried at most 450 bytes (HTTP/2's own frames), whereas a stream to istiod carried 37 kB immediately. A
stream opened earlier stayed open for another 36 s after its packets were dropped. Counters such as
istiod_connection_terminations on 15020 increase, but do not show the current state.

So a sidecar counts as connected to istiod if Envoy has a stream, data arrived over it since it was opened,
and the node can connect to istiod over TCP in the same round. This does not detect a broken path from a
single Pod to istiod while the node's own path works: that shows when the agent's keepalive gives up (40 s),
just as Envoy itself notices it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from chaosext.model.signal import Mark
from chaosext.sentinel.sockets import SocketAddress, exchange, stream_socket

if TYPE_CHECKING:
    from chaosext.sentinel.socket_loop import Probe

READY_PORT, READY_PATH = 15021, "/healthz/ready"
"""Readiness port of a sidecar (istio.io, "Application Requirements", "Ports used by Istio")."""

STATS_PORT = 15090
STATS_PATH = "/stats/prometheus?filter=xds-grpc.*(rq_active%7Crq_total%7Crx_bytes_total)%24"
"""Envoy's own statistics, for the cluster `xds-grpc` only (Envoy's admin interface; `filter` is a regular
expression)."""

FRAMES_BYTES = 1024
"""A stream that does not reach istiod carries fewer bytes than this; istiod's first response is far larger."""

LARGEST = 1 << 16

_STAT = re.compile(rb"^envoy_cluster_upstream_(\w+)\{[^}]*\"xds-grpc\"[^}]*\} (\d{1,18})\b", re.MULTILINE)
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """Envoy's streams to its xDS server: open now, opened in total, and bytes received over all of them."""

    active: int
    opened: int
    received: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """Envoy's latest stream: its number, and how many bytes had been received before it."""

    number: int
    began_at: int

    def is_alive(self, stats: Stats) -> bool:
        return stats.active > 0 and stats.received - self.began_at > FRAMES_BYTES


def stream_of(stats: Stats, before: Stats | None, stream: Stream | None) -> Stream:
    """Return the stream that `stats` describe.

    For a stream that was already open at the first query (or after a restart of Envoy), all bytes ever
    received count.
    """
    if stream and before and stats.opened == stream.number and stats.received >= before.received:
        return stream
    is_new = before is not None and stats.opened > before.opened and stats.received >= before.received
    return Stream(number=stats.opened, began_at=before.received if is_new and before else 0)


def parse_stats(answer: bytes) -> Stats | None:
    """Parse Envoy's statistics; None if they are missing."""
    found = {name.decode(): int(value) for name, value in _STAT.findall(answer)}
    try:
        return Stats(active=found["rq_active"], opened=found["rq_total"], received=found["cx_rx_bytes_total"])
    except KeyError:
        return None


def synced(own: Mark, istiod: Mark) -> Mark:
    """Combine Envoy's view with the node's: without istiod, no sidecar is synced, whatever Envoy reports."""
    if istiod is Mark.GOOD or own is Mark.DOWN:
        return own
    return Mark.UNKNOWN if istiod is Mark.UNKNOWN else Mark.DOWN


def ready(host: str) -> Probe[Mark]:
    """Good for HTTP 200, error for any other answer."""
    answer = yield from _get(SocketAddress(host, READY_PORT), READY_PATH)
    status = _STATUS.match(answer)
    return Mark.GOOD if status and status[1] == b"200" else Mark.ERROR


@dataclass(slots=True)
class Streams:
    """The last known stream of each sidecar, by Pod."""

    _last: dict[str, tuple[Stats, Stream]] = field(default_factory=dict)

    def ask(self, pod: str, host: str) -> Probe[Mark]:
        """Good for a stream that carries data, else down. A Pod that refuses the connection has no running sidecar."""
        try:
            answer = yield from _get(SocketAddress(host, STATS_PORT), STATS_PATH)
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


def _get(address: SocketAddress, path: str) -> Probe[bytes]:
    """Return the whole response including headers; it is short enough for Envoy to send it in one piece."""
    shown = f"[{address.host}]" if ":" in address.host else address.host
    request = f"GET {path} HTTP/1.1\r\nHost: {shown}:{address.port}\r\nConnection: close\r\n\r\n"
    with stream_socket(address.family) as sock:
        return (yield from exchange(sock, address.pair, request.encode(), _never, LARGEST))


def _never(_answer: bytes) -> bool:
    return False
