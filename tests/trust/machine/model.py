"""What must be true of the nodes: the model that the kernel is held against. Pure; times are monotonic seconds.

Where the kernel alone knows better (when exactly it let go, how far a process came before it was killed), the model
holds what is allowed, and takes over what was seen.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from chaosext.partition.apply import ARMING_S

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from chaosext.partition.cut import Cut

SLACK_S = 0.05
"""By how much the kernel's timers may be late: a few ticks (4 ms at CONFIG_HZ=250)."""

Span = tuple[float, float]
"""Between these two moments it happened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A table on a node: of which cut, and between which moments the kernel lets go of its peers."""

    cut: Cut
    lets_go: Span

    def cuts_surely(self, span: Span) -> bool:
        return span[1] < self.lets_go[0]

    def may_cut(self, span: Span) -> bool:
        return span[0] <= self.lets_go[1] + SLACK_S

    @property
    def elements(self) -> frozenset[str]:
        peers = (peer for family in self.cut.families for peer in self.cut.peers_in(family))
        return frozenset(
            str(peer.network_address) if peer.num_addresses == 1 else str(peer) for peer in peers
        )

    @property
    def drop_rules(self) -> int:
        return 2 * sum(bool(self.cut.peers_in(family)) for family in self.cut.families)


@dataclass(frozen=True, slots=True, kw_only=True)
class Meant:
    """An intent on disk: for which nodes it is not yet seen gone, and whether the process that wrote it lives."""

    nodes: frozenset[str]
    alive: bool
    over: Span


@dataclass(frozen=True, slots=True, kw_only=True)
class Locked:
    """A node's lock: whose run's, whether the process that took it lives, and when the kernel lets go of it."""

    run: str
    alive: bool
    lets_go: Span

    def keeps_out(self, run: str, span: Span) -> set[bool]:
        """Whether it keeps `run` out."""
        if not self.alive or run == self.run or span[0] > self.lets_go[1] + SLACK_S:
            return {False}
        return {True} if span[1] < self.lets_go[0] else {True, False}

    def holds(self, span: Span) -> set[bool]:
        if span[0] > self.lets_go[1] + SLACK_S:
            return {False}
        return {True} if span[1] < self.lets_go[0] else {True, False}


@dataclass(slots=True)
class Model:
    """Every node's tables by run, its lock, its foreign tables, and the intent log."""

    locks: dict[str, Locked] = field(default_factory=dict)
    held: dict[str, dict[str, Held]] = field(default_factory=dict)
    foreign: dict[str, dict[tuple[str, str], str]] = field(default_factory=dict)
    meant: dict[str, Meant] = field(default_factory=dict)

    def tables_on(self, nodes: Iterable[str]) -> list[Held]:
        return [held for node in nodes for held in self.held[node].values()]

    def may_arm(self, cut: Cut, span: Span) -> set[bool]:
        """What may come of arming within `span`: one live table, or one of the same run, on any node refuses it."""
        on = self.tables_on(node.node for node in cut.nodes)
        if any(held.cut.run == cut.run or held.cuts_surely(span) for held in on):
            return {False}
        return {True, False} if any(held.may_cut(span) for held in on) else {True}

    def may_renew(self, cut: Cut, span: Span) -> set[bool]:
        own = [self.held[node.node].get(cut.run) for node in cut.nodes]
        if any(held is None or not held.may_cut(span) for held in own):
            return {False}
        return {True} if all(held is not None and held.cuts_surely(span) for held in own) else {True, False}

    def may_clean_up(self, held: Held, span: Span) -> set[bool]:
        """What the dead have left goes, live or not; what the living have put there when it has expired."""
        if not self.meant[held.cut.run].alive or not held.may_cut(span):
            return {True}
        return {False} if held.cuts_surely(span) else {True, False}

    def may_finish(self, run: str, span: Span) -> set[frozenset[str]]:
        """On which nodes a cleanup, which has taken away what it may, can write down that an intended run is over."""
        meant = self.meant[run]
        clean = frozenset(node for node in meant.nodes if run not in self.held[node])
        if not meant.alive or span[0] > meant.over[1]:
            return {clean}
        return {frozenset()} if span[1] < meant.over[0] else {frozenset(), clean}

    def may_lock(self, run: str, nodes: Iterable[str], span: Span) -> set[bool]:
        """What may come of locking: one other's lock that holds, of a process that lives, is enough to refuse it."""
        kept_out = [self.locks[node].keeps_out(run, span) for node in nodes if node in self.locks]
        if {True} in kept_out:
            return {False}
        return {True, False} if {True, False} in kept_out else {True}

    def locks_on(self, run: str, nodes: Iterable[str], span: Span, ttl_s: float, *, alive: bool) -> None:
        """A lock that is the run's already, and holds, is as good; any other is made anew."""
        for node in nodes:
            there = self.locks.get(node)
            lets_go = (span[0] + ttl_s, span[1] + ttl_s)
            if there and there.run == run and True in there.holds(span):
                anew = lets_go if False in there.holds(span) else there.lets_go
                lets_go = (min(there.lets_go[0], anew[0]), max(there.lets_go[1], anew[1]))
            self.locks[node] = Locked(run=run, alive=alive, lets_go=lets_go)

    def intends(self, cut: Cut, span: Span, *, alive: bool) -> None:
        """Of several intents of a run that are not yet seen gone, the one counts whose cut lasts longest."""
        over = (span[0] + ARMING_S + cut.ttl_s, span[1] + ARMING_S + cut.ttl_s)
        meant = Meant(nodes=frozenset(node.node for node in cut.nodes), alive=alive, over=over)
        if before := self.outstanding().get(cut.run):
            longest = meant if over[0] >= before.over[0] else before
            meant = replace(longest, nodes=before.nodes | meant.nodes)
        self.meant[cut.run] = meant

    def arms(self, cut: Cut, span: Span, nodes: Iterable[str] | None = None) -> None:
        lets_go = (span[0] + cut.ttl_s, span[1] + cut.ttl_s)
        for node in [node.node for node in cut.nodes] if nodes is None else nodes:
            self.held[node][cut.run] = Held(cut=cut, lets_go=lets_go)

    def may_have_renewed(self, cut: Cut, span: Span) -> None:
        """Killed in the middle: on each node either the old time counts or the new."""
        for node in cut.nodes:
            old = self.held[node.node][cut.run]
            latest = max(old.lets_go[1], span[1] + cut.ttl_s)
            self.held[node.node][cut.run] = replace(old, lets_go=(old.lets_go[0], latest))

    def goes(self, run: str, nodes: Iterable[str]) -> None:
        for node in nodes:
            self.held[node].pop(run, None)

    def seen_gone(self, run: str, nodes: Iterable[str]) -> None:
        """Gone from the nodes, and that is on disk."""
        nodes = frozenset(nodes)
        self.goes(run, nodes)
        if run in self.meant:
            left = self.meant[run].nodes - nodes
            self.meant[run] = replace(self.meant[run], nodes=left)

    def outstanding(self) -> dict[str, Meant]:
        return {run: meant for run, meant in self.meant.items() if meant.nodes}


def differences(
    held: Mapping[str, Held],
    foreign: Mapping[tuple[str, str], str],
    dropping: Mapping[str, frozenset[str]],
    drop_rules: Mapping[str, int],
    foreign_seen: Mapping[tuple[str, str], str],
    span: Span,
) -> list[str]:
    """In which ways what was seen within `span` is not what the model holds. Empty: equal."""
    wrong = []
    if dict(foreign) != dict(foreign_seen):
        wrong.append(f"foreign tables {sorted(foreign_seen)}, expected {sorted(foreign)}, or one was changed")
    if set(held) != set(dropping):
        wrong.append(f"tables of runs {sorted(dropping)}, expected {sorted(held)}")
    for run in set(held) & set(dropping):
        wrong += _wrong_in_table(held[run], dropping[run], drop_rules[run], span)
    return wrong


def _wrong_in_table(held: Held, elements: frozenset[str], drop_rules: int, span: Span) -> list[str]:
    wrong = []
    if elements and not held.may_cut(span):
        wrong.append(
            f"run {held.cut.run} drops {sorted(elements)} {span[0] - held.lets_go[1]:.3f} s after its TTL"
        )
    if not elements <= held.elements or (held.cuts_surely(span) and elements != held.elements):
        wrong.append(f"run {held.cut.run} drops {sorted(elements)}, expected {sorted(held.elements)}")
    if drop_rules != held.drop_rules:
        wrong.append(f"run {held.cut.run} has {drop_rules} rules that drop, expected {held.drop_rules}")
    return wrong
