"""What a node itself shows: its API server, what kube-proxy programmed, conntrack, BIRD, cuts of chaosext.

It needs no API server. Pure, but for `look_at`, which asks one node with one script.
"""

from __future__ import annotations

import re
from collections.abc import Mapping  # noqa: TC003  msgspec reads the types of fields
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Self

import msgspec

from chaosext.checks.tcp_reachability import Reach, classify
from chaosext.model.errors import Unreachable
from chaosext.nodes.bird import BIRD_SCRIPT
from chaosext.sentinel.bird_sessions import Session, parse_bird

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from chaosext.nodes.shell import NodeShell
    from chaosext.partition.reports import NodeTables

LOOK_S = 20.0
"""Seconds for one node: the script waits 4 s between two looks at conntrack, and up to 3 s for each connect."""

KNOWN_TABLES = re.compile(
    r"(ip6?|inet|arp|bridge|netdev) (filter|nat|mangle|raw|security|kube-proxy|calico|cali-.*|kindnet.*|chaosext_.*)"
)
"""Tables of the kernel's iptables, kube-proxy, Calico, kindnet and chaosext."""

SCRIPT = r"""
export LC_ALL=C
part() { printf '\n--%s\n' "$1"; }
part dns; sed -n '/^clusterDNS:/,/^[a-z]/p' /var/lib/kubelet/config.yaml 2>/dev/null | sed -n 's/^- *//p'
url=$(sed -n 's/^ *server: *//p' /etc/kubernetes/kubelet.conf 2>/dev/null | head -n 1 | tr -d "\"'")
part url; printf '%s\n' "$url"
host=${url#*://} host=${host%%/*}; [[ -z $host || $host == *:* ]] || host=$host:443
port=${host##*:} host=${host%:*} host=${host#\[} host=${host%\]}
part api
if [ -n "$host" ]; then
  said=$(timeout -k 1 3 bash -c 'exec 3<>"/dev/tcp/$1/$2" || exit 97' try "$host" "$port" 2>&1 </dev/null)
  printf '%s %s\n' "$?" "${said//$'\n'/ }"
fi
part ready
if [ -e /etc/kubernetes/manifests/kube-apiserver.yaml ]; then
  curl -sk -m 3 "https://127.0.0.1:${port:-6443}/readyz?verbose" 2>/dev/null | grep -v '^\[+\]' | head -n 20 || true
  printf '\nasked\n'
fi
stale() { timeout 3 conntrack -L -p udp --orig-port-dst 53 2>/dev/null | grep UNREPLIED; }
part conntrack; stale; part conntrack-again; sleep 4; stale
part nat
timeout 4 iptables-save -t nat 2>/dev/null |
  sed -n 's/^-A KUBE-SEP-.*--comment "\?\([^" ]*\)"\? .*--to-destination \([^ ]*\).*/\1 \2/p' | sort -u
timeout 4 nft list chains ip 2>/dev/null |
  sed -n 's|.*chain endpoint-[A-Z0-9]*-\([^/]*/[^/]*\)/[a-z]*/\([^_]*\)__\([^/]*\)/\([0-9]*\) {.*|\1:\2 \3:\4|p' |
  sort -u
part tables
nft list tables 2>/dev/null | sed -n 's/^table //p' | while read -r family table; do
  case "$table" in filter|nat|mangle|raw|security|kube-proxy|calico*|cali-*|kindnet*|chaosext_*) continue ;; esac
  drops=$(nft list table "$family" "$table" 2>/dev/null | grep -cE '\b(drop|reject)\b')
  [ "$drops" = 0 ] || printf '%s %s %s\n' "$drops" "$family" "$table"
done
part end
"""
"""Prints, part by part: kubelet's clusterDNS; its API server's URL; the exit status of a TCP connect to it, and bash's
message; the API server's own failed checks, on a node that runs one; conntrack's unanswered DNS flows, twice; what
kube-proxy forwards to, as "namespace/service:port address:port"; other people's nft tables that drop packets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnCut:
    """A cut of chaosext on a node: its run, for how long the kernel keeps it, and the packets that it has dropped."""

    run: str
    remaining_s: int
    dropped_packets: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """A UDP flow to a Service's DNS port that nothing answers: its client, and the endpoint that conntrack keeps."""

    client: str
    service: str
    endpoint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSight:
    """What a node shows. `api`: the result of a connect to kubelet's API server, `""` if there is none to ask.

    `api_server`: its URL. `failing`: checks that the node's own API server reports as failed; `serves`: whether it
    answered at all, None on a node without one. `nat`: "namespace/service:port" -> the addresses that kube-proxy
    forwards to. `stuck`: flows that were used twice within seconds, and are never answered. `sessions`: BIRD's, None
    if it did not answer. `cuts`: of chaosext, None if unknown. `others`: tables of others that drop packets.
    """

    node: str
    cluster_dns: tuple[str, ...] = ()
    api_server: str = ""
    api: str = ""
    serves: bool | None = None
    failing: tuple[str, ...] = ()
    nat: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    stuck: tuple[Flow, ...] = ()
    sessions: tuple[Session, ...] | None = None
    cuts: tuple[OwnCut, ...] | None = None
    others: tuple[str, ...] = ()

    @property
    def reaches_api(self) -> bool | None:
        """Whether kubelet's API server accepts connections from this node; None if that is unknown."""
        return None if self.api in ("", Reach.UNKNOWN.value) else self.api == Reach.OPEN.value

    def to_json(self) -> dict[str, Any]:
        said: dict[str, Any] = msgspec.to_builtins(self)
        return said

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Return what `to_json` wrote. Raises MALFORMED errors for anything else."""
        known = {each.name for each in fields(cls)}
        return msgspec.convert({key: item for key, item in value.items() if key in known}, cls)


def look_at(shell: NodeShell) -> NodeSight:
    """Ask a node. Raises `Unreachable` if it can't be entered."""
    said = shell.run(SCRIPT, timeout_s=LOOK_S)
    return parse_sight(shell.node, said.stdout, _sessions(shell))


def _sessions(shell: NodeShell) -> tuple[Session, ...] | None:
    try:
        said = shell.run(BIRD_SCRIPT, timeout_s=5.0)
    except Unreachable:
        return None
    return None if said.exit_code else parse_bird(said.stdout)


def parse_sight(node: str, stdout: str, sessions: tuple[Session, ...] | None = None) -> NodeSight:
    """Parse the output of `SCRIPT`. Raises `Unreachable` if it is not whole."""
    parts = {name: body.strip("\n").splitlines() for name, body in _parts(stdout)}
    if "end" not in parts:
        raise Unreachable(f"{node}: its answer broke off")
    ready = parts["ready"]
    return NodeSight(
        node=node,
        cluster_dns=tuple(parts["dns"]),
        api_server="".join(parts["url"][:1]),
        api=_reach(parts["api"]),
        serves=any("readyz" in line or line.startswith("[-]") for line in ready) if ready else None,
        failing=tuple(line[3:].split()[0] for line in ready if line.startswith("[-]")),
        nat=_nat(parts["nat"]),
        stuck=tuple(_stuck(parts["conntrack"], parts["conntrack-again"])),
        sessions=sessions,
        others=tuple(_others(parts["tables"])),
    )


def _parts(stdout: str) -> Iterator[tuple[str, str]]:
    pieces = re.split(r"^--([a-z-]+)$", stdout, flags=re.MULTILINE)
    yield from zip(pieces[1::2], pieces[2::2], strict=True)


def _reach(lines: Sequence[str]) -> str:
    if not lines:
        return ""
    status, _, said = lines[0].partition(" ")
    return classify(int(status), said).value if status.isdecimal() else ""


def _nat(lines: Sequence[str]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for line in lines:
        name, _, address = line.partition(" ")
        found[name] = (*found.get(name, ()), address)
    return found


_FLOW = re.compile(
    r"udp\s+17 (?P<left>\d+) src=(?P<client>\S+) dst=(?P<service>\S+) sport=(?P<port>\d+) dport=53 "
    r".*src=(?P<endpoint>\S+)"
)
"""A line of `conntrack -L`: seconds left, the original direction, and the source of the expected reply."""


def _stuck(before: Sequence[str], after: Sequence[str]) -> Iterator[Flow]:
    """Yield the unanswered flows whose timeout did not run down in between: packets still follow them."""
    first = {_key(match): int(match["left"]) for line in before if (match := _FLOW.search(line))}
    for line in after:
        match = _FLOW.search(line)
        if match and int(match["left"]) >= first.get(_key(match), 1 << 30):
            yield Flow(client=match["client"], service=match["service"], endpoint=match["endpoint"])


def _key(match: re.Match[str]) -> tuple[str, ...]:
    return match["client"], match["port"], match["service"], match["endpoint"]


def _others(lines: Sequence[str]) -> Iterator[str]:
    for line in lines:
        count, _, table = line.partition(" ")
        if not KNOWN_TABLES.fullmatch(table):
            yield f"table {table} ({count} rules that drop)"


def host_of(address: str) -> str:
    """Return the host of `10.244.0.5:53` or `[fd00::5]:53`."""
    return address.rpartition(":")[0].strip("[]")


def cuts_of(tables: NodeTables) -> tuple[OwnCut, ...] | None:
    """Return the live cuts of chaosext on a node; None if its tables could not be read."""
    if tables.problem:
        return None
    return tuple(
        OwnCut(run=each.run, remaining_s=each.remaining_s, dropped_packets=each.dropped_packets)
        for each in tables.tables
        if each.is_live
    )
