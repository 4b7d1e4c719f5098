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


@dataclass(frozen=True, slots=True, kw_only=True)
class Lasting:
    """Milliseconds from now until the peers are not dropped any more (`armed`), and until they are dropped (`delay`).

    As they stand in the rules: `ON_NODE` leaves them to the script on the node, which knows how late it is.
    """

    armed: int | str
    delay: int | str

    @classmethod
    def of(cls, cut: Cut) -> Lasting:
        """As `cut` asks for it."""
        return cls(armed=round(cut.armed_for_s * 1000), delay=round(cut.delay_s * 1000))


ON_NODE = Lasting(armed="@armed@", delay="@delay@")


def arm_ruleset(
    cut: Cut, node: NodeCut, armed_at: datetime, *, lasting: Lasting | None = None, first: Iterable[str] = ()
) -> str:
    """The one transaction that puts `cut` on `node`. It fails as a whole when the run's table is there.

    It begins with the statements `first`: where one of them fails, nothing of it is applied.
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
    """The one transaction that starts the TTL anew. It fails as a whole when the cut was healed or has expired.

    The elements are exchanged within their sets: to make the table anew, although in one transaction, lets single
    packets through (0.7 per renewal at 30,000 packets/s, Linux 6.18). `first`: as for `arm_ruleset`.
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
    """The one transaction that leaves no table of `run`, whether or not there was one."""
    table = table_of(run)
    return transaction(f"add table inet {table}", f"delete table inet {table}")


def transaction(*statements: str) -> str:
    """The statements as one text that nft applies whole or not at all, closed by `END_OF_TRANSACTION`."""
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
    # Whole seconds, never too early.
    until = cut.expires_at(armed_at).astimezone(UTC) + timedelta(seconds=1)
    return f"chaosext run={cut.run} owner={cut.owner} until={until:%Y-%m-%dT%H:%M:%SZ}"


def _spell(network: Network) -> str:
    return str(network.network_address) if network.num_addresses == 1 else str(network)


def _quoted(name: str) -> str:
    return f'"{name}"'


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerFacts:
    """An element of a set as the kernel holds it: whole seconds, rounded down (nft's JSON has no finer).

    `timeout_s` is None for one that never expires.
    """

    network: Network
    timeout_s: int | None
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
    """A table with our prefix as found on a node. `owner` and `until` are "" and None when unreadable.

    `still_open` are the peers that a cut with a delay does not drop yet, `passes` the rules by which they pass.
    `is_marked`: a comment of it names this very run. `foreign_parts`: its chains and sets that no cut has, and
    `foreign_rules`: its rules that no cut has. A table that is `dormant` drops nothing.
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
        """Whether chaosext made it, and nothing else is in it. The name alone does not say so."""
        return self.is_marked and not self.foreign_parts

    @property
    def may_be_ours(self) -> bool:
        """Whether it has the mark of a run, or drops as a cut does."""
        return self.is_marked or bool(self.drops)

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What nft's text says of a table and its JSON leaves out (nft 1.0.6): its comment, and whether it is dormant."""

    table: str = ""
    comment: str = ""
    dormant: bool = False

    @classmethod
    def parse(cls, lines: Iterable[str]) -> Header:
        """From the first lines of `nft list table`: `table inet NAME {`, `flags dormant`, `comment "…"`."""
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
    """The tables with our prefix in the answer of `nft -j list ruleset` (or `list table`, with its `header`), by run.

    Raises ValueError for what is not nft's JSON. That of a dormant table is none (nft 1.0.6 writes no flags, and may
    end there): the header alone says what it is.
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
    """In which ways `facts`, read back right after arming, are not the cut. Empty: armed as asked.

    `lasting`: the timeouts that the node was to set, where they are not the cut's own.
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
    """What of a cut in force is not as it was planned any more, in words; empty: it is whole.

    `facts` is its table as it is now; None: there is none. Once it has `expired` its elements are gone by themselves.
    """
    if facts is None:
        return ("all rules of the cut were removed",)
    if facts.dormant:
        return ("the table of the cut was made dormant: it drops nothing",)
    return tuple(filter(None, (_lost_rules(cut, node, facts), "" if expired else _lost_peers(cut, facts))))


def drops_nothing(facts: TableFacts | None, *, expired: bool = False) -> bool:
    """Whether nothing is left of a cut in force; once it has `expired` it needs no addresses."""
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
"""What can be in a table beside rules and elements, as nft's JSON names it (libnftables-json(5))."""


def _table_facts(name: str, items: list[dict[str, Any]], header: Header) -> TableFacts:
    """Raises what `MALFORMED` names for contents that no cut has, where the table has the mark of a run."""
    run = name.removeprefix(TABLE_PREFIX)
    rules = _own(name, items, "rule")
    said = [*(str(rule.get("comment")) for rule in rules), header.comment]  # what was renewed first
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
    """The chains, sets, rules … of the table `name`."""
    parts = (item[kind] for item in items if kind in item)
    return [part for part in parts if (part["family"], part["table"]) == ("inet", name)]


def _tables_named(name: str, items: list[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    tables = (item["table"] for item in items if "table" in item)
    return (table for table in tables if (table["family"], table["name"]) == ("inet", name))


# nft 1.0.6 leaves a table's comment out of its JSON, so the rules carry it as well.
_SIGNATURE = re.compile(r"chaosext run=(?P<run>\S+) owner=(?P<owner>\S+) until=(?P<until>\S+Z)\b")


def _is_neighbours(expressions: list[dict[str, Any]]) -> bool:
    """Whether it is the rule by which IPv6 neighbours find each other: on uplinks, of these two types, accepted."""
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
    """The rule as ours of this direction and family, on the set `name`, if it is exactly that and rightly hooked."""
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
    """The values that this expression wants `left` to be one of; none when it is about something else."""
    match = expression.get("match", {})
    if match.get("left") != left or match.get("op") != "==":
        return ()
    right = match["right"]
    values = right["set"] if isinstance(right, dict) else [right]
    return tuple(sorted(str(value) for value in values))
