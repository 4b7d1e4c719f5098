"""kube-router: who its nodes have BGP sessions with, by the arguments of its agents and the annotations of nodes.

By default every node has a session with every other (`--nodes-full-mesh`), and each announces its Pods.

Source: kube-router, docs/bgp.md, docs/user-guide.md, pkg/options (defaults of flags) and, of v2.1.0,
pkg/controllers/routing/bgp_peers.go (sessions between nodes have no timers of their own).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from chaosext.rehearsal.snapshot.networks.signs import Shown, agents_missing, few
from chaosext.rehearsal.snapshot.world import Doubt, Plugin

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from chaosext.rehearsal.snapshot.networks.signs import NetworkSigns

PROGRAM = "kube-router"

PEER_IPS, PEERS = "kube-router.io/peer.ips", "kube-router.io/peers"
NODE_ASN = "kube-router.io/node.asn"
REFLECTS, REFLECTED = "kube-router.io/rr.server", "kube-router.io/rr.client"
ANNOTATIONS = (PEER_IPS, PEERS, NODE_ASN, REFLECTS, REFLECTED)
"""Annotations of a node that decide which sessions it has. `PEERS` has passwords: only its presence is read."""

_SWITCHES: Mapping[str, bool] = {
    "run-router": True,
    "enable-ibgp": True,
    "nodes-full-mesh": True,
    "advertise-pod-cidr": True,
    "bgp-graceful-restart": False,
}
"""Flag -> its default."""

_VALUES = ("bgp-graceful-restart-time", "peer-router-ips")

HOLD_S = 90.0
"""Hold time of sessions between nodes, in seconds: GoBGP's default, as `--bgp-holdtime` is for peers outside only."""

RESTART_S = 90.0
"""Default of `--bgp-graceful-restart-time`, in seconds."""

_FLAG, _PART = re.compile(r"--([a-z-]+)(?:=(.*))?"), re.compile(r"(\d+(?:\.\d+)?)(ms|h|m|s)")
_UNITS_S = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


def kept_words(words: Sequence[str]) -> list[str]:
    """Return the program and those of its flags that are read; nothing for another program."""
    if not any(word.rpartition("/")[2] == PROGRAM or word.startswith("--run-router") for word in words):
        return []
    return [PROGRAM, *(f"--{name}={value}" for name, value in sorted(_flags(words).items()))]


def routes_nothing(seen: NetworkSigns) -> bool:
    """Whether kube-router leaves Pod traffic to another plugin, as the arguments of all its agents say."""
    found = [_flags(words) for words in seen.arguments.values()]
    return bool(found) and not any(_is_on(flags, "run-router") for flags in found)


def kube_router(seen: NetworkSigns) -> Shown:
    """Return kube-router's sessions, with the doubts about them."""
    found = [words for words in seen.arguments.values() if words]
    flags = _flags(found[0]) if found else {}
    doubts = (
        *agents_missing(seen, PROGRAM),
        *_unreadable(found),
        *_unmodelled(flags),
        *_of_nodes(seen),
    )
    announcing = _announcing(seen, flags)
    restart = _is_on(flags, "bgp-graceful-restart")
    meshed = _is_on(flags, "enable-ibgp")
    if not meshed and not announcing:
        why = "is false, and no node has a peer outside the cluster, so it is unknown how routes are learned"
        doubts = (*doubts, Doubt(subject=f"DaemonSet {PROGRAM}", key="--enable-ibgp", why=why))
    return Shown(
        plugin=Plugin.KUBE_ROUTER,
        shown=_said(meshed, announcing),
        doubts=doubts,
        announcing=announcing,
        meshed=meshed,
        hold_s=HOLD_S,
        lingers_s=_seconds(flags.get("bgp-graceful-restart-time", ""), RESTART_S) if restart else 0.0,
    )


def _said(meshed: bool, announcing: Iterable[str]) -> str:
    sessions = ["between all nodes"] * meshed + ["with the fabric"] * bool(announcing)
    return f"kube-router's BGP sessions {' and '.join(sessions)} (its docs/bgp.md, and GoBGP's source)"


def _unreadable(found: Sequence[Sequence[str]]) -> Iterator[Doubt]:
    subject, key = f"DaemonSet {PROGRAM}", "its arguments"
    if not found:
        why = "are not in the snapshot, so it is unknown which sessions its nodes have"
        yield Doubt(subject=subject, key=key, why=why)
    elif len({tuple(sorted(_flags(words).items())) for words in found}) > 1:
        yield Doubt(subject=subject, key=key, why="differ from node to node, which isn't modelled")


def _unmodelled(flags: Mapping[str, str]) -> Iterator[Doubt]:
    subject = f"DaemonSet {PROGRAM}"
    said = {
        "run-router": "another plugin carries Pod traffic",
        "advertise-pod-cidr": "it is unknown what routes Pod addresses",
        "nodes-full-mesh": f"which nodes have sessions with each other depends on {NODE_ASN}, and isn't modelled",
    }
    for name, why in said.items():
        if not _is_on(flags, name):
            yield Doubt(subject=subject, key=f"--{name}", why=f"is false: {why}")


def _of_nodes(seen: NetworkSigns) -> Iterator[Doubt]:
    reasons = {
        REFLECTS: "makes it a route reflector, and kube-router's aren't modelled",
        REFLECTED: "makes it a route reflector's client, and kube-router's reflectors aren't modelled",
        PEERS: f"has peers with settings that aren't read; {PEER_IPS} would show them",
    }
    for key, why in reasons.items():
        if names := sorted(name for name, notes in seen.notes.items() if key in notes):
            yield Doubt(subject=f"Node/{few(names)}", key=f"annotation {key}", why=why)
    own = {ip for node in seen.nodes for ip in node.addresses}
    for name, notes in sorted(seen.notes.items()):
        if inside := [ip for ip in _listed(notes.get(PEER_IPS, "")) if ip in own]:
            why = f"names {inside[0]}, a node of the cluster: sessions with single nodes aren't modelled"
            yield Doubt(subject=f"Node/{name}", key=f"annotation {PEER_IPS}", why=why)


def _announcing(seen: NetworkSigns, flags: Mapping[str, str]) -> frozenset[str]:
    """Return the nodes with a peer outside the cluster."""
    if _listed(flags.get("peer-router-ips", "")):
        return frozenset(node.name for node in seen.nodes)
    return frozenset(name for name, notes in seen.notes.items() if _listed(notes.get(PEER_IPS, "")))


def _flags(words: Sequence[str]) -> dict[str, str]:
    """Return the flags that are read; a switch without a value is on."""
    found: dict[str, str] = {}
    for word, following in zip(words, (*words[1:], ""), strict=True):
        match = _FLAG.fullmatch(word)
        if match is None or (match[1] not in _SWITCHES and match[1] not in _VALUES):
            continue
        bare = "true" if match[1] in _SWITCHES else following
        found[match[1]] = bare if match[2] is None else match[2]
    return found


def _is_on(flags: Mapping[str, str], name: str) -> bool:
    return flags.get(name, str(_SWITCHES[name])).strip("\"'").lower() in ("true", "t", "1")


def _listed(text: str) -> list[str]:
    return [part for part in re.split(r"[\s,\"'\[\]]+", text) if part]


def _seconds(text: str, default_s: float) -> float:
    """Parse a Go duration such as "1m30s"; the default if there is none."""
    parts = _PART.findall(text)
    return sum(float(number) * _UNITS_S[unit] for number, unit in parts) if parts else default_s
