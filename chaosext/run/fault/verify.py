"""Verifies that the cut is active and complete, and that it is healed: after arming, while it lasts, after its heal.

The same paths are measured before the cut. While it lasts, its rules and interfaces are read again and again on the
nodes that carry it, and some paths are measured each time. A deviation from the plan is a loss: observations from then
on prove nothing.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from ipaddress import ip_address
from itertools import groupby
from typing import TYPE_CHECKING

from chaosext.checks import cut_effective as cut_check
from chaosext.checks.check_names import HEALED
from chaosext.checks.suite import unknown
from chaosext.checks.tcp_reachability import Reach, Target, gather_pairs
from chaosext.model import clock
from chaosext.model.errors import ChaosextError, Inconclusive
from chaosext.model.timeline import Kind
from chaosext.nodes.node_network import is_up, read_addresses
from chaosext.nodes.transport import shells
from chaosext.partition.apply import verify
from chaosext.partition.cut import Side
from chaosext.partition.nft import drops_nothing, lost
from chaosext.run.fault.state import fault_of
from chaosext.run.session.run_context import Key

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from chaosext.checks.cut_effective import CutEvidence, Path
    from chaosext.cluster.objects import Node
    from chaosext.model.clock import Moment
    from chaosext.model.findings import Finding
    from chaosext.partition.cut import Cut, NodeCut
    from chaosext.partition.nft import TableFacts
    from chaosext.partition.reports import HealReport, NodeCutState
    from chaosext.run.fault.cut_plan import Topology
    from chaosext.run.session.run_context import RunContext

VERIFY_S = 5.0
"""Timeout for reading a node while the cut lasts, seconds."""

LAST_LOOK_S = 2.0
"""The same right before the heal, which waits for it."""

MARGIN_S = 1.0
"""A cut that is gone this close to its end may have expired: nft shows whole seconds."""

AT_A_TIME, ALL_AFTER = 8, 6
"""Nodes whose paths are measured at a time: all of them after six times, but at most so many."""

MOST_NODES, PROBERS = 64, 3
"""Nodes whose addresses are read at a time, and nodes from which each new address is tried."""

ANSWERS = (Reach.OPEN, Reach.REFUSED, Reach.RESET)
"""Results of a connect that reached the host."""

BY_OTHERS = ", by something other than this run of chaosext"


def proof(context: RunContext) -> Finding:
    """Check that paths that were open before the cut are blocked, and that those to keep are open.

    Raises `Inconclusive` if no path was measured before the cut.
    """
    fault = fault_of(context)
    if fault.before is None:
        raise Inconclusive(
            "no path was measured before the cut", "run the cut in a run that measures its paths first"
        )
    return cut_check.judge(fault.before, _paths_now(fault.before, context))


def healed_finding(context: RunContext) -> Finding | None:
    """Check that the paths that were open before the cut are open again; unknown if they can't be measured.

    Returns None if this run cut nothing, or nothing was measured before it.
    """
    fault = fault_of(context)
    if fault.before is None or not fault.cuts:
        return None
    try:
        return cut_check.judge_healed(fault.before, _paths_now(fault.before, context))
    except ChaosextError as error:  # the cut is healed whatever the paths say
        return unknown(HEALED, str(error))


def _paths_now(before: CutEvidence, context: RunContext) -> CutEvidence:
    """The same paths, measured now, from the nodes themselves."""
    fault = fault_of(context)
    nodes = cut_check.entered((*before.paths, *before.kept))
    shut = fault.shut(nodes) or cut_check.NOTHING_SHUT
    return cut_check.gather_again(before, shells(nodes, fault.access), shut=shut)


def look_before_heal(context: RunContext) -> None:
    """The last look at an active cut: notes what is lost by now."""
    if watch := context.stash[CUT_WATCH]:
        watch.look_before_heal()


# While the cut lasts.


@dataclass(frozen=True, slots=True, order=True)
class CutLoss:
    """A deviation from the plan: `what`, in words; `node`: where. `whole`: nothing is left of the cut there.

    `by_others`: the rules were changed, and not by chaosext.
    """

    what: str
    whole: bool
    node: str
    by_others: bool = False


@dataclass(slots=True)
class CutWatch:
    """Watches `cut`, armed just now, as planned on the topology `ground`, until it is healed or over.

    A loss is in the timeline, and in the run's `lost`, once. `ask_nodes` asks an API server for the nodes.
    """

    context: RunContext
    cut: Cut
    ground: Topology
    ask_nodes: Callable[[], Sequence[Node]]
    _first: dict[str, NodeCutState] = field(default_factory=dict)
    _whole_s: dict[str, float] = field(default_factory=dict)
    _said: set[CutLoss] = field(default_factory=set)
    _turn: int = 0
    _saying: threading.Lock = field(default_factory=threading.Lock)

    def look_at_rules(self) -> tuple[str, ...]:
        """Read the cut on its nodes; returns a sentence for each loss. A node that can't be read adds none."""
        if not self._is_to_be_whole:
            return ()
        found = (*self._renewal(), *self._on_nodes())
        if found:  # seen twice: nft shows a table piece by piece while it is replaced
            again = (*self._renewal(), *self._on_nodes())
            found = tuple(each for each in again if each.node in {first.node for first in found})
        return self._tell(found) if self._is_to_be_whole else ()

    def look_at_paths(self) -> tuple[str, ...]:
        """Measure some paths, and look for nodes and addresses that the plan lacks; returns the losses.

        Where rules are lost, that is why a path is open, and the loss to report.
        """
        if not self._is_to_be_whole:
            return ()
        nodes = self._next_nodes()
        open_paths = tuple(self._open_paths(nodes))
        if open_paths and (cause := self.look_at_rules()):
            return cause
        found = (*open_paths, *self._reported(), *self._moved(nodes))
        return self._tell(found) if self._is_to_be_whole else ()

    def look_before_heal(self) -> None:
        """What can be seen at once, without an API server: addresses that the plan lacks."""
        if self._is_to_be_whole:
            found = tuple(self._moved(self.ground.workers, LAST_LOOK_S))
            if self._is_to_be_whole:
                self._tell(found)

    def look_at_heal(self, report: HealReport) -> None:
        """What the heal has found on its nodes."""
        self._tell(
            (*self._renewal(), *(loss for node in self.cut.nodes for loss in self._healed(node, report)))
        )

    @property
    def _carriers(self) -> tuple[str, ...]:
        return tuple(node.node for node in self.cut.nodes)

    @property
    def _is_to_be_whole(self) -> bool:
        """Whether it is active, and no heal has begun. A cut whose nodes can't be entered is checked later."""
        fault, watch = fault_of(self.context), self.context.stash[CUT_WATCH]
        is_over = fault.expires_at is not None and fault.expires_at.later(-MARGIN_S).has_passed
        return fault.in_force and watch is self and fault.sealed_until is None and not is_over

    @property
    def _has_expired(self) -> bool:
        """Whether its addresses may have expired in the kernel: they were not renewed in time, or its TTL is over."""
        fault = fault_of(self.context)
        renewing = fault.keepalive
        until: Moment | None = renewing.held if renewing else fault.expires_at
        return clock.is_over(until.later(-MARGIN_S) if until else None)

    # Rules and interfaces.

    def _on_nodes(self) -> tuple[CutLoss, ...]:
        looked_s, found = time.monotonic(), list[CutLoss]()
        nodes = {node.node: node for node in self.cut.nodes}
        for state in verify(self.cut, shells(nodes, fault_of(self.context).access), timeout_s=VERIFY_S):
            if not state.problem:
                losses = tuple(self._on_node(nodes[state.node], state))
                self._whole_s |= {} if losses else {state.node: looked_s}
                found += losses
        return tuple(found)

    def _on_node(self, node: NodeCut, state: NodeCutState) -> Iterator[CutLoss]:
        first = self._first.setdefault(node.node, state)
        if state.boot != first.boot:
            yield CutLoss("was restarted, which ended the cut on it", True, node.node)
            return
        yield from self._lost(node, state.table)
        for name in node.uplinks:
            if is_up(name, first.links) and not is_up(name, state.links):
                there = any(link.get("ifname") == name for link in state.links)
                what = f"is {'down' if there else 'gone'}"
                yield CutLoss(f"the cut's interface {name} {what}", False, node.node)

    def _renewal(self) -> Iterator[CutLoss]:
        if (renewing := fault_of(self.context).keepalive) and renewing.lost:
            yield CutLoss(f"the cut could not be renewed ({renewing.lost})", True, "")

    def _healed(self, node: NodeCut, report: HealReport) -> Iterator[CutLoss]:
        healed = next((each for each in report.nodes if each.node == node.node), None)
        is_over = clock.is_over(fault_of(self.context).expires_at) and not self.cut.delay_s
        if healed is None or (healed.found is None and healed.was_there is not False):
            return
        if healed.found is None and is_over:  # an expired cut is cleaned up
            return
        yield from self._lost(node, healed.found)

    def _lost(self, node: NodeCut, found: TableFacts | None) -> Iterator[CutLoss]:
        expired = self._has_expired
        for what in lost(self.cut, node, found, expired=expired):
            yield CutLoss(what, drops_nothing(found, expired=expired), node.node, by_others=True)

    # Paths, nodes and addresses.

    def _next_nodes(self) -> tuple[str, ...]:
        names = sorted(self.ground.workers)
        count = min(AT_A_TIME, -(-len(names) // ALL_AFTER))
        begin = self._turn * count % len(names)
        self._turn += 1
        return tuple((names + names)[begin : begin + count])

    def _open_paths(self, nodes: Collection[str]) -> Iterator[CutLoss]:
        before = fault_of(self.context).before
        if before is None:
            return
        tried = [path for path in before.paths if path.source and {path.source, path.towards} & set(nodes)]
        kept = [path for path in before.kept if cut_check.was_open(before, path)]
        wrong = self._wrong(before, tried, kept)
        if any(wrong):  # seen twice: a single connect may be unlucky
            wrong = self._wrong(before, *wrong)
        for path in wrong[0]:
            yield CutLoss(f"{path.target} answers again", False, path.source)
        for path in wrong[1]:
            yield CutLoss(f"{cut_check.CUT_APART}: {path.target} does not answer", False, path.source)

    def _wrong(
        self, before: CutEvidence, tried: Sequence[Path], kept: Sequence[Path]
    ) -> tuple[Sequence[Path], Sequence[Path]]:
        """Paths that are open although they are cut, and closed although they are to stay open."""
        fault = fault_of(self.context)
        nodes = cut_check.entered((*tried, *kept))
        shut = fault.shut(nodes) or cut_check.NOTHING_SHUT
        on = shells(nodes - shut.nodes, fault.access)
        now = cut_check.gather(tried, on, shut=shut, kept=kept)
        return cut_check.answering(now), cut_check.closed(before, now)

    def _reported(self) -> Iterator[CutLoss]:
        """Nodes and addresses that are newer than the plan, and that are not cut off."""
        try:
            nodes = self.ask_nodes()
        except ChaosextError:
            return  # unknown for now
        known = {node.name for node in self.ground.nodes}
        for node in nodes:
            new = [each for each in node.internal_ips if each not in self._known and not self._drops(each)]
            if node.name not in known and not self._parts(node):
                yield CutLoss("is new in the cluster and not cut off", False, node.name)
            elif node.name in known and self._is_dropped_side(node):
                yield from (
                    CutLoss(f"its new address {each} is not cut off", False, node.name) for each in new
                )

    def _is_dropped_side(self, node: Node) -> bool:
        """Whether the node's addresses are dropped, and it does not carry the rules."""
        return node.is_control_plane is (self.cut.side is Side.NODES)

    def _parts(self, node: Node) -> bool:
        """Whether the cut separates a new node as it should, or leaves it alone as requested."""
        if self._is_dropped_side(node):
            return bool(node.internal_ips) and all(map(self._drops, node.internal_ips))
        chosen = set(self.ground.workers) != {each.name for each in self.ground.others}
        return self.cut.side is Side.NODES and chosen

    @property
    def _known(self) -> frozenset[str]:
        """All node addresses in the plan."""
        planned = self.ground.networks.values()
        return frozenset(each for network in planned for each in (*network.own, *network.addresses))

    def _moved(self, nodes: Collection[str], timeout_s: float = VERIFY_S) -> Iterator[CutLoss]:
        """New addresses of these nodes and the control plane's at which the other side reaches them."""
        fault = fault_of(self.context)
        masters = {node.name for node in self.ground.control_plane}
        names = tuple(dict.fromkeys((*sorted(masters), *nodes)))[:MOST_NODES]
        shut = fault.shut(names)
        now = read_addresses(
            shells((name for name in names if shut is None or name not in shut.nodes), fault.access),
            timeout_s=timeout_s,
        )
        for name, found in now.items():
            new = [each for each in sorted(found - self._known) if not self._drops(each)]
            others = [each for each in now if (each in masters) != (name in masters)]
            port = cut_check.API_SERVER_PORT if name in masters else cut_check.KUBELET_PORT
            wanted = {
                other: [Target(each, port) for each in new if each not in now[other]]
                for other in others[:PROBERS]
            }
            for address in self._reached(wanted):
                yield CutLoss(f"its new address {address} is reached", False, name)

    def _reached(self, wanted: Mapping[str, Sequence[Target]]) -> Sequence[str]:
        """Targets that answer any of the nodes that connect to them."""
        asked = {name: targets for name, targets in wanted.items() if targets}
        connects = gather_pairs(shells(asked, fault_of(self.context).access), asked).connects if asked else ()
        return sorted({each.target.host for each in connects if each.reach in ANSWERS})

    def _drops(self, address: str) -> bool:
        return any(ip_address(address) in network for network in self.cut.dropped)

    # Reporting losses.

    def _tell(self, losses: Iterable[CutLoss]) -> tuple[str, ...]:
        """Each loss once, similar ones in one sentence."""
        with self._saying:
            new = sorted(set(losses) - self._said)
            self._said.update(new)
        alike = groupby(new, key=lambda loss: (loss.what, loss.whole, loss.by_others))
        return tuple(self._say(*kind, [loss.node for loss in found]) for kind, found in alike)

    def _say(self, what: str, whole: bool, by_others: bool, nodes: Sequence[str]) -> str:
        named = [node for node in nodes if node]
        seen = [self._whole_s[node] for node in named if node in self._whole_s]
        last = f" (last seen complete at {self._since_cut_s(min(seen)):.1f} s)" if seen else ""
        by = BY_OTHERS if by_others else ""
        kind = Kind.CUT_LOST if whole else Kind.CUT_WEAKENED
        self.context.recorder.say(kind, f"Node/{','.join(named or self._carriers)}", f"{what}{by}{last}")
        where = f"{', '.join(named)}: " if named else ""
        sentence = f"{where}{what} at {self._since_cut_s(time.monotonic()):.1f} s{by}{last}"
        fault_of(self.context).lost.append(sentence)
        return sentence

    def _since_cut_s(self, at_s: float) -> float:
        return at_s - (self.context.recorder.zero_s or at_s)


CUT_WATCH: Key[CutWatch | None] = Key(lambda: None)
"""Watches the cut that is in force."""
