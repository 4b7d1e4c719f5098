"""tcp_reachability: what does a TCP connect return, and what does that mean?

"Refused" comes from a host that is reachable, "timed out" from a missing route. A ping misleads, because a
ClusterIP does not answer ICMP.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address
from typing import TYPE_CHECKING

from chaosext.checks.check_names import TCP
from chaosext.checks.fan_out import LANES, ask_all, budget_s
from chaosext.model.errors import Refused, Unreachable
from chaosext.model.findings import Evidence, Finding, Status, worst

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from chaosext.nodes.shell import NodeShell

CONNECT_TIMEOUT_S = 2.0
"""Seconds after which a connect counts as timed out.

A lost SYN is sent again after 1 s (RFC 6298); a second loss is hardly an accident.
"""

LINGER_S = 0.1
"""Seconds for which an open connection is watched for a reset."""


class Reach(StrEnum):
    """The result of a connect, in a network engineer's terms."""

    OPEN = "open"
    REFUSED = "refused"
    TIMED_OUT = "timed out"
    RESET = "reset"
    NO_ROUTE = "no route"
    UNRESOLVED = "name not resolvable"
    UNKNOWN = "not measured"


MEANING = {
    Reach.OPEN: "something accepts connections there",
    Reach.REFUSED: "the host is there, nothing listens on the port (or a firewall rejects)",
    Reach.TIMED_OUT: "no answer at all: no route there or back, or packets are dropped",
    Reach.RESET: "accepted, then reset: a proxy without a way on, or a server that rejects the connection",
    Reach.NO_ROUTE: "a router or the node itself reports no route",
    Reach.UNRESOLVED: "DNS gave no address: nothing was connected to",
    Reach.UNKNOWN: "the node could not be asked",
}
"""Result -> its meaning."""

ISTIO_PORTS = {
    15000: "Envoy's admin interface",
    15001: "Envoy outbound",
    15002: "istio-proxy's listen port for failure detection",
    15004: "debug port of Envoy or istiod",
    15006: "Envoy inbound",
    15008: "HBONE mTLS tunnel",
    15010: "istiod XDS, plaintext",
    15012: "istiod XDS and CA, mTLS",
    15014: "istiod monitoring",
    15017: "istiod webhook",
    15020: "istio-agent's merged metrics and probes",
    15021: "istio-proxy's health (stays 200 when xDS is lost)",
    15053: "istio-agent's DNS proxy",
    15090: "Envoy's Prometheus telemetry",
}
"""Port -> Istio's use of it. Source: istio.io, "Application Requirements", "Ports used by Istio"."""


@dataclass(frozen=True, slots=True, order=True)
class Target:
    """A host (IPv4, IPv6 or a name) and a TCP port. Raises `Refused` for anything else."""

    host: str
    port: int

    def __post_init__(self) -> None:
        if not re.fullmatch(r"(::)?[A-Za-z0-9]([A-Za-z0-9._:-]*[A-Za-z0-9.:])?|::", self.host):
            raise Refused(f"target host {self.host!r} is neither an address nor a name", "write HOST:PORT")
        if not 0 < self.port < 65536:
            raise Refused(f"target port {self.port} is out of range", "use 1-65535")

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_target(text: str) -> Target:
    """Parse `10.2.112.10:53`, `[fc00::2]:6443` or `istiod.istio-system.svc:15012`. Raises `Refused` for other text."""
    host, _, port = text.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    if not port.isdecimal() or (":" in bare and bare == host):
        raise Refused(f"target {text!r} is not HOST:PORT", "write e.g. 10.2.112.10:53 or [fc00::2]:6443")
    return Target(bare, int(port))


@dataclass(frozen=True, slots=True, kw_only=True)
class Connect:
    """One measured connect from a node to a target."""

    node: str
    target: Target
    reach: Reach
    detail: str = ""

    @property
    def subject(self) -> str:
        return f"Node/{self.node} → {self.target}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpEvidence:
    """All connects, in order of node and target."""

    connects: tuple[Connect, ...]


SCRIPT = r"""
# stdin: a first line "TIMEOUT LANES LINGER REQUEST", then a line "INDEX HOST PORT" each; stdout: "INDEX STATUS
# MESSAGE" each
export LC_ALL=C
read -r limit lanes linger request
body='
case $1 in *[!0-9.]*) case $1 in *:*) ;; *) getent ahosts "$1" >/dev/null || exit 98 ;; esac ;; esac
exec 3<>"/dev/tcp/$1/$2" || exit 97
if [ "$4" = request ]; then
  trap "" PIPE
  printf "GET / HTTP/1.0\r\n\r\n" >&3
  IFS= read -r -N 1 -u 3 _ && exit 0
  exit 96
fi
IFS= read -r -t "$3" -N 1 -u 3 _
exit 0'
try() {
  local said
  said=$(timeout -k 1 "$limit" bash -c "$body" try "$2" "$3" "$linger" "$request" 2>&1 </dev/null)
  printf '%s %s %s\n' "$1" "$?" "${said//$'\n'/ }"
}
running=0
while read -r index host port; do
  try "$index" "$host" "$port" &
  if (( ++running % lanes == 0 )); then wait; fi
done
wait
"""
"""Runs on the node, `lanes` connects at a time.

It waits for each batch as a whole: if many processes end at the same time, `wait -n` misses some (bash 5.2)
and then waits for later ones. Exit 96: closed without an answer; 97: the connect failed (bash reports why);
98: no address; 124: timed out.
"""


def gather(
    shells: Mapping[str, NodeShell], targets: Iterable[Target], *, timeout_s: float = CONNECT_TIMEOUT_S
) -> TcpEvidence:
    """Connect from every shell's node to every target; a node that can't be entered gives `UNKNOWN` connects."""
    wanted = tuple(targets)
    return gather_pairs(shells, dict.fromkeys(shells, wanted), timeout_s=timeout_s)


def gather_pairs(
    shells: Mapping[str, NodeShell],
    wanted: Mapping[str, Sequence[Target]],
    *,
    timeout_s: float = CONNECT_TIMEOUT_S,
    request: bool = False,
    lanes: int = LANES,
) -> TcpEvidence:
    """Connect from each node of `wanted` to its own targets, with one shell call per node.

    `lanes` connects of a node run in parallel. With `request`, a target is open only if it answers an HTTP
    request (a TLS server does too, with 400 or an alert), because a load balancer accepts connections even
    without a backend.
    """
    asked = {node: shells[node] for node in wanted if node in shells and wanted[node]}
    answers = ask_all(
        asked,
        lambda shell: _connect_from(shell, wanted[shell.node], timeout_s, request=request, lanes=lanes),
    )
    missing = Unreachable("no shell on the node")
    return TcpEvidence(
        connects=tuple(
            connect
            for node, targets in wanted.items()
            for connect in _connects(node, targets, answers.get(node, missing))
        )
    )


def _connect_from(
    shell: NodeShell, targets: Sequence[Target], timeout_s: float, *, request: bool, lanes: int
) -> dict[int, tuple[int, str]]:
    rows = [f"{timeout_s:g} {lanes} {LINGER_S:g} {'request' if request else '-'}"]
    rows += [f"{index} {target.host} {target.port}" for index, target in enumerate(targets)]
    within_s = budget_s(len(targets), timeout_s, lanes=lanes)
    result = shell.run(SCRIPT, stdin="\n".join(rows) + "\n", timeout_s=within_s)
    return parse_statuses(result.stdout)


def parse_statuses(stdout: str) -> dict[int, tuple[int, str]]:
    """Parse the lines of `SCRIPT` into index -> (exit status, bash's message)."""
    found: dict[int, tuple[int, str]] = {}
    for line in stdout.splitlines():
        if match := _STATUS_LINE.fullmatch(line):
            found[int(match[1])] = (int(match[2]), match[3] or "")
    return found


_STATUS_LINE = re.compile(r"(\d{1,9}) (\d{1,3})(?: (.*))?")


def _connects(
    node: str, targets: Sequence[Target], answer: dict[int, tuple[int, str]] | Unreachable
) -> Iterable[Connect]:
    for index, target in enumerate(targets):
        if isinstance(answer, Unreachable):
            yield Connect(node=node, target=target, reach=Reach.UNKNOWN, detail=str(answer))
        elif index not in answer:
            yield Connect(node=node, target=target, reach=Reach.UNKNOWN, detail="the node gave no result")
        else:
            status, said = answer[index]
            yield Connect(node=node, target=target, reach=classify(status, said), detail=said)


PHRASES = (
    ("Connection refused", Reach.REFUSED),
    ("Connection timed out", Reach.TIMED_OUT),
    ("No route to host", Reach.NO_ROUTE),
    ("Network is unreachable", Reach.NO_ROUTE),
    ("Connection reset by peer", Reach.RESET),
    ("Name or service not known", Reach.UNRESOLVED),
    ("Temporary failure in name resolution", Reach.UNRESOLVED),
    ("No address associated with hostname", Reach.UNRESOLVED),
)
"""Message of the C library (in LC_ALL=C) -> result."""


def classify(status: int, said: str) -> Reach:
    """Return the result for an exit status of `SCRIPT` (96, 97, 98, 124, …) and bash's message."""
    if status in (124, 137):
        return Reach.TIMED_OUT
    if status in (96, 98):
        return Reach.RESET if status == 96 else Reach.UNRESOLVED
    phrase = next((reach for phrase, reach in PHRASES if phrase in said), None)
    return phrase or (Reach.OPEN if status == 0 else Reach.UNKNOWN)


def explain(connect: Connect) -> str:
    """Describe the result, with its meaning and Istio's use of the port."""
    known = ISTIO_PORTS.get(connect.target.port)
    port = f" (port {connect.target.port}: {known})" if known else ""
    odd = f": {connect.detail}" if connect.reach is Reach.UNKNOWN and connect.detail else ""
    return f"{connect.reach}{odd}: {MEANING[connect.reach]}{port}"


def judge(evidence: TcpEvidence) -> Finding:
    """Judge: healthy if every connect is open; connects that were not measured are unknown."""
    rows = tuple(
        Evidence(subject=each.subject, status=_status(each.reach), detail=explain(each))
        for each in evidence.connects
    )
    opened = sum(each.reach is Reach.OPEN for each in evidence.connects)
    bad = [each for each in evidence.connects if each.reach is not Reach.OPEN]
    first = f"; {bad[0].subject} {bad[0].reach}" if bad else ""
    summary = f"{opened} of {len(rows)} connects open{first}" if rows else "no target was named"
    return Finding(check=TCP, status=worst(row.status for row in rows), summary=summary, evidence=rows)


def _status(reach: Reach) -> Status:
    if reach is Reach.UNKNOWN:
        return Status.UNKNOWN
    return Status.HEALTHY if reach is Reach.OPEN else Status.UNHEALTHY


def family(host: str) -> str:
    """Return "IPv4" or "IPv6". Raises `ValueError` for a name."""
    return f"IPv{ip_address(host).version}"
