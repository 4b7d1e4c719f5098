"""What a sentinel watches and records: one character per signal and second, shared by writer, reader and report."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Self

from chaosext.model.findings import Status

if TYPE_CHECKING:
    from collections.abc import Mapping


class Watched(StrEnum):
    """The kinds of signal, and the form of each one's `target`."""

    DNS_UDP = "dns_udp"
    """A lookup over UDP from a fresh socket; target: the DNS server's address."""
    DNS_UDP_KEPT = "dns_udp_kept"
    """A lookup over UDP from a kept socket, which conntrack keeps sending to the endpoint of its first lookup."""
    DNS_TCP = "dns_tcp"
    TCP = "tcp"
    """A TCP connect; target: `host:port`."""
    SIDECAR_READY = "sidecar_ready"
    """Istio's 15021 on a local Pod; target: `Pod/<namespace>/<name>`. It stays 200 when xDS is lost."""
    SIDECAR_XDS = "sidecar_xds"
    """Whether a local Pod's sidecar is connected to istiod."""
    BGP = "bgp"
    """A BGP session of the node; target: the peer's address."""
    ROUTE = "route"
    """Whether the node has a specific route (not the default route) to an address."""
    POD = "pod"
    """Whether a TCP connect to a Pod on another node gets any answer from it; target: `host:port`."""


class Mark(StrEnum):
    """The state of one signal in one second."""

    GOOD = "+"
    REFUSED = "r"
    TIMED_OUT = "t"
    RESET = "x"
    NO_ROUTE = "n"
    ERROR = "e"
    DOWN = "-"
    UNKNOWN = "?"

    @property
    def status(self) -> Status:
        """The finding status of a mark. Unknown is never healthy."""
        if self is Mark.GOOD:
            return Status.HEALTHY
        return Status.UNKNOWN if self is Mark.UNKNOWN else Status.UNHEALTHY


MEANING: Mapping[Mark, str] = {
    Mark.GOOD: "good: answered, open, ready, established, or a route of its own",
    Mark.REFUSED: "refused: the host is there, nothing listens on the port",
    Mark.TIMED_OUT: "timed out: no answer at all, no route there or back, or packets are dropped",
    Mark.RESET: "reset: accepted, then reset",
    Mark.NO_ROUTE: "no route: a router or the node itself reports no route",
    Mark.ERROR: "an answer, but a wrong one: an error of the server, a wrong address, not HTTP 200",
    Mark.DOWN: "down: not established, not synced, no route but the default one",
    Mark.UNKNOWN: "not measured",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """One thing that is watched every second. `label` names the target for people, such as `kube-dns`."""

    kind: Watched
    target: str
    label: str = ""

    def __str__(self) -> str:
        named = f"{self.label} " if self.label else ""
        return f"{self.kind.value} {named}{self.target}"

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind.value, "target": self.target, "label": self.label}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Parse the output of `to_json`. Raises KeyError, TypeError or ValueError for anything else."""
        return cls(
            kind=Watched(value["kind"]), target=str(value["target"]), label=str(value.get("label", ""))
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamHead:
    """Context of the samples after it, up to the next head. Written at a sentinel's start and for each new plan.

    `boot` and `mono_s` as in `model.clock.Moment`; `wall_s` is the node's own wall clock at `mono_s` (Unix
    time). `lost` says which earlier part of the record could not be kept (a full disk); "" for nothing.
    """

    run: str
    node: str
    boot: str
    mono_s: float
    wall_s: float
    signals: tuple[Signal, ...]
    interval_s: float = 1.0
    lost: str = ""


@dataclass(frozen=True, slots=True)
class Sample:
    """One second: its number, its start on the node's monotonic clock, and a `Mark` for each of the head's signals."""

    n: int
    mono_s: float
    marks: str
