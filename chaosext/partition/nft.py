"""A cut as nftables rules, and nftables' answers as facts. Pure: texts in, texts out.

One table per run, `inet chaosext_<run>`, holds everything. Its chains hook at priority -350, before
connection tracking (-200, see linux/netfilter_ipv4.h) and all else, so that established flows are cut too:

- inbound at prerouting sees what comes in, for the node or to be forwarded, with the peer as its source;
- outbound at postrouting sees what goes out, the node's own or forwarded, after a Service's address was
  translated into the peer's (an output hook would still see the Service's address).

The peers are set elements with a timeout: the kernel lets go of them whatever has died. Where the cut has a delay,
they are in a second set as well, by which they pass until they expire there: so the kernel begins by itself, too.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any, Literal

from chaosext.model.malformed import MALFORMED
from chaosext.partition.cut import FAMILIES, Cut, Family, Network, NodeCut, check_run, merged

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Direction = Literal["in", "out"]

PRIORITY = -350
TABLE_PREFIX = "chaosext_"
LOCK_TABLE = "chaosext.lock"
"""Not a run's: its name lacks the prefix (see locktable.py)."""

END_OF_TRANSACTION = "# end of transaction"
"""The last line of every transaction: a text without it was torn on its way and must not be applied."""


@dataclass(frozen=True, slots=True)
class _Way:
    chain: str
    hook: str
    interface: str
    address: str


@dataclass(frozen=True, slots=True)
class _Dialect:
    protocol: str
    type: str
    set: str
    open: str


_WAYS: dict[Direction, _Way] = {
    "in": _Way("inbound", "prerouting", "iifname", "saddr"),
    "out": _Way("outbound", "postrouting", "oifname", "daddr"),
}
_DIALECTS: dict[Family, _Dialect] = {
    "ipv4": _Dialect("ip", "ipv4_addr", "peers4", "open4"),
    "ipv6": _Dialect("ip6", "ipv6_addr", "peers6", "open6"),
}

PEERS: Mapping[Family, str] = {family: dialect.set for family, dialect in _DIALECTS.items()}
OPEN: Mapping[Family, str] = {family: dialect.open for family, dialect in _DIALECTS.items()}
"""The sets of what is dropped, and of what is not dropped yet."""

# A cutover takes the routed network, not the wire. ARP passes by an inet table, its IPv6 sibling would not,
# and a neighbour forgotten during the cut would delay the recovery by its retransmission timer (RFC 4861).
_NEIGHBOURS = "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept"


def table_of(run: str) -> str:
    """The name of the run's table. Raises `Refused` when `run` can not name one."""
    return TABLE_PREFIX + check_run(run)


def arm_ruleset(cut: Cut, node: NodeCut, armed_at: datetime) -> str:
    """The one transaction that puts `cut` on `node`. It fails as a whole when the run's table is there."""
    table, label = table_of(cut.run), _label(cut, armed_at)
    return transaction(
        f'create table inet {table} {{ comment "{label} unless renewed"; }}',
        f"table inet {table} {{",
        *(line for family in _families(cut) for line in _set(cut, family)),
        *_chains(cut, node, label),
        "}",
    )


def renew_ruleset(cut: Cut, node: NodeCut, armed_at: datetime) -> str:
    """The one transaction that starts the TTL anew. It fails as a whole when the cut was healed or has expired.

    The elements are exchanged within their sets: to make the table anew, although in one transaction, lets single
    packets through (0.7 per renewal at 30,000 packets/s, Linux 6.18).
    """
    table = table_of(cut.run)
    return transaction(
        *(line for family in _families(cut) for line in _exchange(cut, family)),
        *(f"flush chain inet {table} {way.chain}" for way in _WAYS.values()),
        f"table inet {table} {{",
        *_chains(cut, node, _label(cut, armed_at)),
        "}",
    )


def disarm_ruleset(run: str) -> str:
    """The one transaction that leaves no table of `run`, whether or not there was one."""
    table = table_of(run)
    return transaction(f"add table inet {table}", f"delete table inet {table}")


def transaction(*statements: str) -> str:
    """The statements as one text that nft applies whole or not at all, closed by `END_OF_TRANSACTION`."""
    return "\n".join((*statements, END_OF_TRANSACTION, ""))


def _families(cut: Cut) -> list[Family]:
    return [family for family in FAMILIES if cut.peers_in(family)]


def _set(cut: Cut, family: Family) -> Iterable[str]:
    dialect = _DIALECTS[family]
    for name, timeout_s in ((dialect.set, cut.armed_for_s), (dialect.open, cut.delay_s)):
        if timeout_s:
            yield f"  set {name} {{"
            yield f"    type {dialect.type}; flags interval, timeout;"
            yield f"    elements = {{ {_timed(cut, family, timeout_s)} }}"
            yield "  }"


def _exchange(cut: Cut, family: Family) -> Iterable[str]:
    where = f"element inet {table_of(cut.run)} {_DIALECTS[family].set}"
    yield f"delete {where} {{ {', '.join(map(_spell, cut.peers_in(family)))} }}"
    yield f"add {where} {{ {_timed(cut, family, cut.step_s)} }}"


def _timed(cut: Cut, family: Family, timeout_s: float) -> str:
    timeout_ms = round(timeout_s * 1000)
    return ", ".join(f"{_spell(peer)} timeout {timeout_ms}ms" for peer in cut.peers_in(family))


def _chains(cut: Cut, node: NodeCut, label: str) -> Iterable[str]:
    return (line for direction in _WAYS for line in _chain(direction, cut, node, label))


def _chain(direction: Direction, cut: Cut, node: NodeCut, label: str) -> Iterable[str]:
    way, families = _WAYS[direction], _families(cut)
    uplinks = f"{way.interface} {{ {', '.join(_quoted(uplink) for uplink in node.uplinks)} }}"
    yield f"  chain {way.chain} {{"
    yield f"    type filter hook {way.hook} priority {PRIORITY}; policy accept;"
    if "ipv6" in families:
        yield f"    {uplinks} {_NEIGHBOURS}"
    for family in families:
        dialect = _DIALECTS[family]
        match = f"{uplinks} {dialect.protocol} {way.address}"
        if cut.delay_s:
            yield f"    {match} @{dialect.open} counter accept"
        yield f'    {match} @{dialect.set} counter drop comment "{label} {direction} {family}"'
    yield "  }"


def _label(cut: Cut, armed_at: datetime) -> str:
    # Whole seconds, never too early.
    until = cut.expires_at(armed_at).astimezone(UTC) + timedelta(seconds=1)
    return f"chaosext run={cut.run} owner={cut.owner} until={until:%Y-%m-%dT%H:%M:%SZ}"


def _spell(network: Network) -> str:
    return str(network.network_address) if network.num_addresses == 1 else str(network)


def _quoted(name: str) -> str:
    return f'"{name}"'


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerFacts:
    """An element of a set as the kernel holds it: whole seconds, rounded down (nft's JSON has no finer)."""

    network: Network
    timeout_s: int
    remaining_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleFacts:
    """A rule that drops, or lets pass, hooked where it must be, and how many packets it has met so far."""

    direction: Direction
    family: Family
    uplinks: tuple[str, ...]
    packets: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TableFacts:
    """A table of ours as found on a node. `owner` and `until` are "" and None when unreadable.

    `still_open` are the peers that a cut with a delay does not drop yet, `passes` the rules by which they pass.
    """

    run: str
    owner: str
    until: datetime | None
    peers: tuple[PeerFacts, ...]
    drops: tuple[RuleFacts, ...]
    still_open: tuple[PeerFacts, ...] = ()
    passes: tuple[RuleFacts, ...] = ()

    @property
    def is_live(self) -> bool:
        """Whether it still cuts, or is about to: after the TTL the rules stay, but the kernel has emptied the sets."""
        return bool(self.peers)

    @property
    def remaining_s(self) -> int:
        """Seconds until the kernel lets go, rounded down; 0 when it has."""
        return max((peer.remaining_s for peer in self.peers), default=0)

    @property
    def dropped_packets(self) -> int:
        return sum(drop.packets for drop in self.drops)


def parse_tables(json_text: str) -> tuple[TableFacts, ...]:
    """Our tables in the answer of `nft -j list ruleset` (or `list table`), by run.

    Raises ValueError for what is not nft's JSON.
    """
    try:
        items = json.loads(json_text)["nftables"]
        return tuple(_table_facts(name, items) for name in sorted(_our_tables(items)))
    except MALFORMED as error:
        raise ValueError(f"not an answer of nft -j: {error!r:.200}") from error


def discrepancies(cut: Cut, node: NodeCut, facts: TableFacts) -> tuple[str, ...]:
    """In which ways `facts`, read back right after arming, are not the cut. Empty: armed as asked."""
    return tuple(
        f"{what}: wanted {_shown(wanted)}, found {_shown(found)}"
        for what, wanted, found in _compared(cut, node, facts)
        if wanted != found
    )


def _compared(cut: Cut, node: NodeCut, facts: TableFacts) -> Iterable[tuple[str, object, object]]:
    yield "run", cut.run, facts.run
    yield "owner", cut.owner, facts.owner
    wanted = {peer for family in FAMILIES for peer in cut.peers_in(family)}
    yield "peers", wanted, set(merged(peer.network for peer in facts.peers))
    yield "timeouts", {_in_whole_s(cut.armed_for_s)}, {peer.timeout_s for peer in facts.peers}
    rules = {(way, family, node.uplinks) for way in _WAYS for family in FAMILIES if cut.peers_in(family)}
    yield "rules", rules, {(drop.direction, drop.family, drop.uplinks) for drop in facts.drops}
    late = bool(cut.delay_s)
    passing = set(merged(peer.network for peer in facts.still_open))
    yield "delayed peers", wanted if late else set(), passing
    yield (
        "delays",
        {_in_whole_s(cut.delay_s)} if late else set(),
        {peer.timeout_s for peer in facts.still_open},
    )
    passes = {(each.direction, each.family, each.uplinks) for each in facts.passes}
    yield "delaying rules", rules if late else set(), passes


def _in_whole_s(seconds: float) -> int:
    return int(round(seconds * 1000) / 1000)


def _shown(value: object) -> str:
    return ", ".join(sorted(map(str, value))) or "nothing" if isinstance(value, set) else str(value)


def _our_tables(items: list[dict[str, Any]]) -> Iterable[str]:
    tables = (item["table"] for item in items if "table" in item)
    return [t["name"] for t in tables if t["family"] == "inet" and t["name"].startswith(TABLE_PREFIX)]


def _table_facts(name: str, items: list[dict[str, Any]]) -> TableFacts:
    def own(kind: str) -> list[dict[str, Any]]:
        parts = (item[kind] for item in items if kind in item)
        return [part for part in parts if part["family"] == "inet" and part["table"] == name]

    rules, chains = own("rule"), {chain["name"]: chain for chain in own("chain")}
    owner, until = _signature(rules)
    return TableFacts(
        run=name.removeprefix(TABLE_PREFIX),
        owner=owner,
        until=until,
        peers=_peers(each for each in own("set") if each["name"] not in OPEN.values()),
        drops=_rules(rules, chains, PEERS, "drop"),
        still_open=_peers(each for each in own("set") if each["name"] in OPEN.values()),
        passes=_rules(rules, chains, OPEN, "accept"),
    )


_SIGNATURE = re.compile(r"chaosext run=\S+ owner=(?P<owner>\S+) until=(?P<until>\S+Z)\b")


def _signature(rules: list[dict[str, Any]]) -> tuple[str, datetime | None]:
    # nft 1.0.6 leaves a table's comment out of its JSON, so the rules carry it as well.
    for rule in rules:
        if found := _SIGNATURE.match(rule.get("comment", "")):
            return found["owner"], datetime.fromisoformat(found["until"])
    return "", None


def _peers(sets: Iterable[dict[str, Any]]) -> tuple[PeerFacts, ...]:
    return tuple(_peer(element) for each in sets for element in each.get("elem", ()))


def _peer(element: Any) -> PeerFacts:
    timed = element.get("elem", {}) if isinstance(element, dict) else {}
    network = _element_network(timed.get("val", element))
    timeout_s, remaining_s = (_whole(timed.get(key, 0)) for key in ("timeout", "expires"))
    return PeerFacts(network=network, timeout_s=timeout_s, remaining_s=remaining_s)


def _whole(value: Any) -> int:
    if not isinstance(value, int):
        raise TypeError(f"{value!r:.80} is no whole number")
    return value


def _element_network(value: Any) -> Network:
    if isinstance(value, dict):
        return ip_network(f"{value['prefix']['addr']}/{value['prefix']['len']}")
    return ip_network(value)


def _rules(
    rules: list[dict[str, Any]],
    chains: Mapping[str, dict[str, Any]],
    sets: Mapping[Family, str],
    verdict: str,
) -> tuple[RuleFacts, ...]:
    found = (
        _rule(rule["expr"], chains[rule["chain"]], direction, family, sets[family], verdict)
        for rule in rules
        for direction in _WAYS
        for family in FAMILIES
    )
    return tuple(rule for rule in found if rule)


def _rule(
    expressions: list[dict[str, Any]],
    chain: dict[str, Any],
    direction: Direction,
    family: Family,
    name: str,
    wanted: str,
) -> RuleFacts | None:
    """The rule as ours of this direction and family, on the set `name`, if it is exactly that and rightly hooked."""
    way, dialect = _WAYS[direction], _DIALECTS[family]
    if (chain.get("hook"), chain.get("prio"), len(expressions)) != (way.hook, PRIORITY, 4):
        return None
    interface, address, counter, verdict = expressions
    uplinks = _matched(interface, {"meta": {"key": way.interface}})
    peers = _matched(address, {"payload": {"protocol": dialect.protocol, "field": way.address}})
    if not uplinks or peers != (f"@{name}",) or wanted not in verdict:
        return None
    packets = _whole(counter["counter"]["packets"])
    return RuleFacts(direction=direction, family=family, uplinks=uplinks, packets=packets)


def _matched(expression: dict[str, Any], left: dict[str, Any]) -> tuple[str, ...]:
    """The values that this expression wants `left` to be one of; none when it is about something else."""
    match = expression.get("match", {})
    if match.get("left") != left or match.get("op") != "==":
        return ()
    right = match["right"]
    values = right["set"] if isinstance(right, dict) else [right]
    return tuple(sorted(str(value) for value in values))
