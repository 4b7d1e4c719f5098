"""A cut as nftables rules, and nft's output as facts. Pure: texts in, texts out.

One table per run, `inet chaosext_<run>`, holds everything. Its chains hook at priority -350, before
connection tracking (-200, see linux/netfilter_ipv4.h) and everything else, so that established flows are cut
too:

- inbound at prerouting sees incoming packets, for the node or to be forwarded, with the peer as their source;
- outbound at postrouting sees outgoing packets, the node's own or forwarded, after a Service's address was
  translated into the peer's (an output hook would still see the Service's address).

The peers are set elements with a timeout: the kernel removes them even if everything else has died. A cut
with a delay also has its peers in a second set, whose rules accept their packets until the elements expire:
so the kernel starts the cut by itself, too.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any, Literal

from chaosext.model.errors import MALFORMED
from chaosext.partition.cut import FAMILIES, Cut, Family, Network, NodeCut, check_run, merged, without

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Direction = Literal["in", "out"]

PRIORITY = -350
TABLE_PREFIX = "chaosext_"
LOCK_TABLE = "chaosext.lock"
"""The table of the node lock. It lacks the prefix, so it does not look like a run's (see lock_table.py)."""

END_OF_TRANSACTION = "# end of transaction"
"""The last line of every transaction: a text without it was truncated and must not be applied."""


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
"""The sets of peers that are dropped (`PEERS`), and of those that are not dropped yet (`OPEN`)."""

# A cutover interrupts the routed network, not the link layer. An inet table does not see ARP, but would drop
# its IPv6 counterpart, and a neighbor that expired during the cut would delay recovery by its retransmission
# timer (RFC 4861).
_NEIGHBOURS = "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept"


def table_of(run: str) -> str:
    """The name of the run's table. Raises `Refused` for an invalid run ID."""
    return TABLE_PREFIX + check_run(run)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lasting:
    """Milliseconds from now until the peers are no longer dropped (`armed`), and until they are dropped (`delay`).

    As written into the rules. `ON_NODE` has placeholders that the script on the node replaces, because only
    the node knows how much time has passed.
    """

    armed: int | str
    delay: int | str

    @classmethod
    def of(cls, cut: Cut) -> Lasting:
        """The timeouts that `cut` asks for."""
        return cls(armed=round(cut.armed_for_s * 1000), delay=round(cut.delay_s * 1000))


ON_NODE = Lasting(armed="@armed@", delay="@delay@")


def arm_ruleset(
    cut: Cut, node: NodeCut, armed_at: datetime, *, lasting: Lasting | None = None, first: Iterable[str] = ()
) -> str:
    """Return the transaction that arms `cut` on `node`. It fails as a whole if the run's table exists.

    It begins with the statements `first`: if one of them fails, nothing is applied.
    """
    table, label, lasting = table_of(cut.run), _label(cut, armed_at), lasting or Lasting.of(cut)
    return transaction(
        *first,
        f'create table inet {table} {{ comment "{label} unless renewed"; }}',
        f"table inet {table} {{",
        *(line for family in _families(cut) for line in _set(cut, family, lasting)),
        *_chains(cut, node, label),
        "}",
    )


def renew_ruleset(
    cut: Cut, node: NodeCut, armed_at: datetime, *, lasting: Lasting | None = None, first: Iterable[str] = ()
) -> str:
    """Return the transaction that restarts the TTL. It fails as a whole if the cut was healed or has expired.

    It replaces the elements within their sets: recreating the table, even in one transaction, would let
    single packets through (0.7 per renewal at 30,000 packets/s, Linux 6.18). `first`: as for `arm_ruleset`.
    """
    table, lasting = table_of(cut.run), lasting or Lasting.of(cut)
    return transaction(
        *first,
        *(line for family in _families(cut) for line in _exchange(cut, family, lasting)),
        *(f"flush chain inet {table} {way.chain}" for way in _WAYS.values()),
        f"table inet {table} {{",
        *_chains(cut, node, _label(cut, armed_at)),
        "}",
    )


def disarm_ruleset(run: str) -> str:
    """Return the transaction that removes the table of `run`, whether or not it exists."""
    table = table_of(run)
    return transaction(f"add table inet {table}", f"delete table inet {table}")


def transaction(*statements: str) -> str:
    """Join the statements into one text that nft applies completely or not at all, ending with `END_OF_TRANSACTION`."""
    return "\n".join((*statements, END_OF_TRANSACTION, ""))


def _families(cut: Cut) -> list[Family]:
    return [family for family in FAMILIES if cut.peers_in(family)]


def _set(cut: Cut, family: Family, lasting: Lasting) -> Iterable[str]:
    dialect = _DIALECTS[family]
    for name, timeout_ms in ((dialect.set, lasting.armed), (dialect.open, lasting.delay)):
        if name == dialect.set or cut.delay_s:
            yield f"  set {name} {{"
            yield f"    type {dialect.type}; flags interval, timeout;"
            yield f"    elements = {{ {_timed(cut, family, timeout_ms)} }}"
            yield "  }"


def _exchange(cut: Cut, family: Family, lasting: Lasting) -> Iterable[str]:
    where = f"element inet {table_of(cut.run)} {_DIALECTS[family].set}"
    yield f"delete {where} {{ {', '.join(map(_spell, cut.peers_in(family)))} }}"
    yield f"add {where} {{ {_timed(cut, family, lasting.armed)} }}"


def _timed(cut: Cut, family: Family, timeout_ms: int | str) -> str:
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
    # Round up to whole seconds, so that the text never shows too early a time.
    until = cut.expires_at(armed_at).astimezone(UTC) + timedelta(seconds=1)
    return f"chaosext run={cut.run} owner={cut.owner} until={until:%Y-%m-%dT%H:%M:%SZ}"


def _spell(network: Network) -> str:
    return str(network.network_address) if network.num_addresses == 1 else str(network)


def _quoted(name: str) -> str:
    return f'"{name}"'


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerFacts:
    """A set element in the kernel, in whole seconds, rounded down (nft's JSON has no finer resolution).

    `timeout_s` is None if it never expires.
    """

    network: Network
    timeout_s: int | None
    remaining_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleFacts:
    """A rule of a cut, at the expected hook, that drops or accepts; with the number of packets it matched."""

    direction: Direction
    family: Family
    uplinks: tuple[str, ...]
    packets: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TableFacts:
    """A table with chaosext's prefix, as found on a node. `owner` ("") and `until` (None) are empty if unreadable.

    `still_open`: peers that a cut with a delay does not drop yet; `passes`: the rules that accept their
    packets. `is_marked`: a comment in it names this run. `foreign_parts` and `foreign_rules`: chains and
    sets, and rules, that no cut has. A `dormant` table drops nothing.
    """

    run: str
    owner: str
    until: datetime | None
    peers: tuple[PeerFacts, ...]
    drops: tuple[RuleFacts, ...]
    still_open: tuple[PeerFacts, ...] = ()
    passes: tuple[RuleFacts, ...] = ()
    is_marked: bool = True
    foreign_parts: tuple[str, ...] = ()
    foreign_rules: int = 0
    dormant: bool = False

    @property
    def is_ours(self) -> bool:
        """Whether chaosext made it and it contains nothing else. The name alone does not prove that."""
        return self.is_marked and not self.foreign_parts

    @property
    def may_be_ours(self) -> bool:
        """Whether it has the comment of a run, or drops packets as a cut does."""
        return self.is_marked or bool(self.drops)

    @property
    def is_live(self) -> bool:
        """Whether it drops packets, or is about to. After the TTL, the rules remain, but their sets are empty."""
        return bool(self.peers)

    @property
    def remaining_s(self) -> int:
        """Seconds until the rules expire, rounded down; 0 if they have expired."""
        return max((peer.remaining_s for peer in self.peers), default=0)

    @property
    def dropped_packets(self) -> int:
        return sum(drop.packets for drop in self.drops)


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """Parts of a table that only nft's text output has (nft 1.0.6): its comment, and whether it is dormant."""

    table: str = ""
    comment: str = ""
    dormant: bool = False

    @classmethod
    def parse(cls, lines: Iterable[str]) -> Header:
        """Parse the first lines of `nft list table`: `table inet NAME {`, `flags dormant`, `comment "…"`."""
        table, comment, dormant = "", "", False
        for line in map(str.strip, lines):
            if line.startswith("table inet "):
                table = line.removeprefix("table inet ").removesuffix(" {")
            elif line.startswith("flags "):
                dormant = "dormant" in re.split(r"[,\s]+", line)
            elif line.startswith('comment "'):
                comment = line.removeprefix('comment "').removesuffix('"')
        return cls(table=table, comment=comment, dormant=dormant)


def parse_tables(json_text: str, header: Header | None = None) -> tuple[TableFacts, ...]:
    """Parse the tables with chaosext's prefix from `nft -j list ruleset` (or `list table`, with its `header`), by run.

    Raises ValueError for anything but nft's JSON. For a dormant table, the header is enough: nft 1.0.6 writes
    no flags into the JSON, and may truncate it there.
    """
    header = header or Header()
    try:
        items = json.loads(json_text)["nftables"]
        return tuple(_table_facts(name, items, header) for name in sorted(_our_tables(items)))
    except MALFORMED as error:
        if header.dormant and header.table.startswith(TABLE_PREFIX):
            return (_table_facts(header.table, [], header),)
        raise ValueError(f"not an answer of nft -j: {error!r:.200}") from error


def discrepancies(
    cut: Cut, node: NodeCut, facts: TableFacts, lasting: Lasting | None = None
) -> tuple[str, ...]:
    """List how `facts`, read back right after arming, differ from the cut. Empty: armed as requested.

    `lasting`: the timeouts that the node was to set, if they are not the cut's own.
    """
    return tuple(
        f"{what}: wanted {_shown(wanted)}, found {_shown(found)}"
        for what, wanted, found in _compared(cut, node, facts, lasting or Lasting.of(cut))
        if wanted != found
    )


def _compared(
    cut: Cut, node: NodeCut, facts: TableFacts, lasting: Lasting
) -> Iterable[tuple[str, object, object]]:
    yield "run", cut.run, facts.run
    yield "owner", cut.owner, facts.owner
    wanted = _wanted_peers(cut)
    yield "peers", wanted, set(merged(peer.network for peer in facts.peers))
    yield "timeouts", {int(lasting.armed) // 1000}, {peer.timeout_s for peer in facts.peers}
    yield "rules", _wanted_rules(cut, node), _found_rules(facts.drops)
    late = bool(cut.delay_s)
    passing = set(merged(peer.network for peer in facts.still_open))
    yield "delayed peers", wanted if late else set(), passing
    yield (
        "delays",
        {int(lasting.delay) // 1000} if late else set(),
        {peer.timeout_s for peer in facts.still_open},
    )
    yield "delaying rules", _wanted_rules(cut, node) if late else set(), _found_rules(facts.passes)
    yield "other rules", 0, facts.foreign_rules
    yield "other parts", set(), set(facts.foreign_parts)
    yield "dormant", False, facts.dormant


_RuleKey = tuple[Direction, Family, tuple[str, ...]]


def _wanted_peers(cut: Cut) -> set[Network]:
    return {peer for family in FAMILIES for peer in cut.peers_in(family)}


def _wanted_rules(cut: Cut, node: NodeCut) -> set[_RuleKey]:
    return {(way, family, node.uplinks) for way in _WAYS for family in FAMILIES if cut.peers_in(family)}


def _found_rules(rules: Iterable[RuleFacts]) -> set[_RuleKey]:
    return {(rule.direction, rule.family, rule.uplinks) for rule in rules}


def _shown(value: object) -> str:
    return ", ".join(sorted(map(str, value))) or "nothing" if isinstance(value, set) else str(value)


def lost(cut: Cut, node: NodeCut, facts: TableFacts | None, *, expired: bool = False) -> tuple[str, ...]:
    """Describe how an active cut differs from its plan; empty: it is complete.

    `facts` is the current table; None: it is gone. Once the cut has `expired`, its elements are expected to
    be gone.
    """
    if facts is None:
        return ("all rules of the cut were removed",)
    if facts.dormant:
        return ("the table of the cut was made dormant: it drops nothing",)
    return tuple(filter(None, (_lost_rules(cut, node, facts), "" if expired else _lost_peers(cut, facts))))


def drops_nothing(facts: TableFacts | None, *, expired: bool = False) -> bool:
    """Whether nothing is left of an active cut. Once it has `expired`, it needs no addresses."""
    return facts is None or facts.dormant or not facts.drops or not (facts.peers or expired)


def _lost_rules(cut: Cut, node: NodeCut, facts: TableFacts) -> str:
    wanted, found = _wanted_rules(cut, node), _found_rules(facts.drops)
    if gone := len(wanted - found):
        return f"{gone} of {len(wanted)} rules of the cut were removed or changed"
    if facts.foreign_rules or facts.foreign_parts or found - wanted:
        return "rules were added to the table of the cut"
    return ""


def _lost_peers(cut: Cut, facts: TableFacts) -> str:
    wanted, found = _wanted_peers(cut), {peer.network for peer in facts.peers}
    if not found:
        return "all addresses were removed from the cut"
    if gone := without(wanted, found):
        return (
            f"{len(gone)} of {len(wanted)} addresses and prefixes were removed from the cut ({_some(gone)})"
        )
    if more := without(found, wanted):
        return f"addresses and prefixes were added to the cut ({_some(more)})"
    longest_s = int(cut.armed_for_s) + 1
    if endless := [
        each.network for each in facts.peers if each.timeout_s is None or each.timeout_s > longest_s
    ]:
        return f"the time at which the cut ends was changed ({_some(endless)})"
    return ""


def _some(networks: Iterable[Network]) -> str:
    first, *rest = map(_spell, networks)
    return f"{first} and {len(rest)} more" if rest else first


def _our_tables(items: list[dict[str, Any]]) -> Iterable[str]:
    tables = (item["table"] for item in items if "table" in item)
    return [t["name"] for t in tables if t["family"] == "inet" and t["name"].startswith(TABLE_PREFIX)]


_PARTS = frozenset((*(way.chain for way in _WAYS.values()), *PEERS.values(), *OPEN.values()))
"""The names of all chains and sets that a cut may have."""

_KINDS = (
    "chain",
    "set",
    "map",
    "flowtable",
    "counter",
    "quota",
    "limit",
    "ct helper",
    "ct timeout",
    "secmark",
)
"""What a table can contain besides rules and elements, as named in nft's JSON (libnftables-json(5))."""


def _table_facts(name: str, items: list[dict[str, Any]], header: Header) -> TableFacts:
    """Read one table. Raises the errors in `MALFORMED` if it has the comment of a run but is not readable as a cut."""
    run = name.removeprefix(TABLE_PREFIX)
    rules = _own(name, items, "rule")
    said = [*(str(rule.get("comment")) for rule in rules), header.comment]  # renewals rewrite only the rules
    mark = next((mark for text in said if (mark := _SIGNATURE.match(text)) and mark["run"] == run), None)
    facts = TableFacts(
        run=run,
        owner=mark["owner"] if mark else "",
        until=datetime.fromisoformat(mark["until"]) if mark else None,
        peers=(),
        drops=(),
        is_marked=mark is not None,
        dormant=header.dormant or any("flags" in table for table in _tables_named(name, items)),
    )
    try:
        return _with_contents(facts, name, items, rules)
    except MALFORMED:
        if mark:
            raise
        return facts


def _with_contents(
    facts: TableFacts, name: str, items: list[dict[str, Any]], rules: list[dict[str, Any]]
) -> TableFacts:
    chains, sets = {chain["name"]: chain for chain in _own(name, items, "chain")}, _own(name, items, "set")
    drops, passes = _rules(rules, chains, PEERS, "drop"), _rules(rules, chains, OPEN, "accept")
    known = len(drops) + len(passes) + sum(_is_neighbours(rule["expr"]) for rule in rules)
    return replace(
        facts,
        peers=_peers(each for each in sets if each["name"] in PEERS.values()),
        drops=drops,
        still_open=_peers(each for each in sets if each["name"] in OPEN.values()),
        passes=passes,
        foreign_parts=tuple(
            f"{kind} {each['name']}"
            for kind in _KINDS
            for each in _own(name, items, kind)
            if each["name"] not in _PARTS
        ),
        foreign_rules=len(rules) - known,
    )


def _own(name: str, items: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    """Return the objects of one kind (chain, set, rule …) in the table `name`."""
    parts = (item[kind] for item in items if kind in item)
    return [part for part in parts if (part["family"], part["table"]) == ("inet", name)]


def _tables_named(name: str, items: list[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    tables = (item["table"] for item in items if "table" in item)
    return (table for table in tables if (table["family"], table["name"]) == ("inet", name))


# nft 1.0.6 omits a table's comment from its JSON, so the rules carry it as well.
_SIGNATURE = re.compile(r"chaosext run=(?P<run>\S+) owner=(?P<owner>\S+) until=(?P<until>\S+Z)\b")


def _is_neighbours(expressions: list[dict[str, Any]]) -> bool:
    """Whether this is the rule that accepts IPv6 neighbor discovery (these two types) on uplinks."""
    if len(expressions) != 3 or "accept" not in expressions[2]:
        return False
    uplinks = any(_matched(expressions[0], {"meta": {"key": way.interface}}) for way in _WAYS.values())
    types = _matched(expressions[1], {"payload": {"protocol": "icmpv6", "field": "type"}})
    return uplinks and types == ("nd-neighbor-advert", "nd-neighbor-solicit")


def _peers(sets: Iterable[dict[str, Any]]) -> tuple[PeerFacts, ...]:
    return tuple(_peer(element) for each in sets for element in each.get("elem", ()))


def _peer(element: Any) -> PeerFacts:
    timed = element.get("elem", {}) if isinstance(element, dict) else {}
    network = _element_network(timed.get("val", element))
    timeout_s = _whole(timed["timeout"]) if "timeout" in timed else None
    return PeerFacts(network=network, timeout_s=timeout_s, remaining_s=_whole(timed.get("expires", 0)))


def _whole(value: Any) -> int:
    if not isinstance(value, int):
        raise TypeError(f"{value!r:.80} is not a whole number")
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
    """Parse a rule of a cut: this direction and family, the set `name`, at the right hook. None for any other rule."""
    way, dialect = _WAYS[direction], _DIALECTS[family]
    hooked = (chain.get("hook"), chain.get("prio"), chain.get("policy", "accept"), len(expressions))
    if hooked != (way.hook, PRIORITY, "accept", 4):
        return None
    interface, address, counter, verdict = expressions
    uplinks = _matched(interface, {"meta": {"key": way.interface}})
    peers = _matched(address, {"payload": {"protocol": dialect.protocol, "field": way.address}})
    if not uplinks or peers != (f"@{name}",) or wanted not in verdict:
        return None
    packets = _whole(counter["counter"]["packets"])
    return RuleFacts(direction=direction, family=family, uplinks=uplinks, packets=packets)


def _matched(expression: dict[str, Any], left: dict[str, Any]) -> tuple[str, ...]:
    """Return the values that the expression compares `left` with; empty if it compares something else."""
    match = expression.get("match", {})
    if match.get("left") != left or match.get("op") != "==":
        return ()
    right = match["right"]
    values = right["set"] if isinstance(right, dict) else [right]
    return tuple(sorted(str(value) for value in values))
