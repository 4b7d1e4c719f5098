"""Reports of arming, healing and inspecting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chaosext.model import clock
from chaosext.model.errors import Inconclusive, Unsafe
from chaosext.nodes.shell import BY_DOCKER, NAMESPACE, NodeAccess
from chaosext.partition.nft import TableFacts, table_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from chaosext.model.clock import Moment
    from chaosext.model.owner import LockFacts
    from chaosext.partition.cut import Cut
    from chaosext.partition.foreign_rules import ForeignChange


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmedNode:
    """What was read back on a node after arming.

    `armed_at`: when the runner received that the rules are in force (the runner's boot clock). `late_s`: how
    long nft took, and so by how much the rules may expire late. `elapsed_s` counts from the call.
    `foreign_changes`: how the rules of others changed meanwhile (empty: byte-identical). `expired_runs`: runs
    whose tables are still on the node but drop nothing any more.
    """

    node: str
    facts: TableFacts
    armed_at: Moment
    late_s: float
    elapsed_s: float
    foreign_changes: tuple[ForeignChange, ...]
    expired_runs: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmReport:
    """A cut that is active as requested on all its nodes. `elapsed_s`: from the call to the last read-back.

    `begins` and `ends`: when all nodes start (None: immediately) and stop dropping packets.
    """

    cut: Cut
    nodes: tuple[ArmedNode, ...]
    elapsed_s: float
    begins: Moment | None
    ends: Moment

    @property
    def armed_at(self) -> Moment:
        """When the first node was armed."""
        return min(node.armed_at for node in self.nodes)

    @property
    def cut_at(self) -> Moment:
        """When the first node was cut: for a cut with a delay, after the delay."""
        return self.begins or self.armed_at

    @property
    def all_cut_at(self) -> Moment:
        """When the last node was cut."""
        return self.begins.later(self._late_s) if self.begins else max(node.armed_at for node in self.nodes)

    @property
    def let_go(self) -> Moment:
        """When the rules of the last node expire at the latest, unless the cut is renewed."""
        return self.ends.later(self._late_s)

    @property
    def _late_s(self) -> float:
        return max(node.late_s for node in self.nodes)

    @property
    def foreign_identical(self) -> bool:
        """Whether the rules of others are byte-identical."""
        return not any(node.foreign_changes for node in self.nodes)


@dataclass(frozen=True, slots=True, kw_only=True)
class HealedNode:
    """Whether the run's table was confirmed as removed on a node; if not, `problem` says why.

    `found`: the table right before its removal; None: there was none, or it could not be read in time.
    `was_there`, `foreign_changes` (see `ArmedNode`) and `foreign_after` (nft's listing of all rules after the
    heal) are None if the rules could not be listed in time.
    """

    node: str
    gone: bool
    problem: str = ""
    was_there: bool | None = None
    found: TableFacts | None = None
    foreign_changes: tuple[ForeignChange, ...] | None = None
    foreign_after: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HealReport:
    """The result of healing a run, by node. `elapsed_s`: from the call to the last read-back."""

    run: str
    nodes: tuple[HealedNode, ...]
    elapsed_s: float
    way: NodeAccess = BY_DOCKER

    @property
    def left(self) -> tuple[str, ...]:
        """The nodes on which the run's table was not confirmed as removed."""
        return tuple(node.node for node in self.nodes if not node.gone)

    @property
    def foreign_identical(self) -> bool | None:
        """Whether the rules of others are byte-identical; None: unknown."""
        changes = [node.foreign_changes for node in self.nodes]
        if any(changes):
            return False
        return None if None in changes else True

    def may_cut(self, *, let_go: Moment | None = None) -> bool:
        """Whether the cut may still be active: its removal is not confirmed, and its TTL may not be over."""
        return bool(self.left) and not clock.is_over(let_go)

    def require_gone(self, *, let_go: Moment | None = None) -> None:
        """Raise `Unsafe`, saying what, where and how to remove it, if the cut may still be active.

        After `let_go` (see `ArmReport`) the kernel has removed it, confirmed or not.
        """
        if self.may_cut(let_go=let_go):
            what = f"the cut of run {self.run} may still be active on {self._unseen()}"
            raise Unsafe(f"{what}{_until(let_go)}", how_to_remove(self.run, self.left, self.way))

    def require_seen(self) -> None:
        """Raise `Inconclusive`, naming the nodes, if a removal was not confirmed. For use after the TTL."""
        if self.left:
            raise Inconclusive(
                f"the cut of run {self.run} could not be seen gone on {self._unseen()}; its TTL is over, so the kernel"
                " removed it",
                "check why the node does not answer; `chaosext cleanup` removes what is left",
            )

    def _unseen(self) -> str:
        return ", ".join(f"{node.node} ({node.problem})" for node in self.nodes if not node.gone)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeCutState:
    """A run's table on a node, as read during the cut (None: it is gone), with the node's boot ID and its interfaces.

    `links`: as printed by `ip -json address show`. `problem`: why the node could not be read ("" if it was).
    """

    node: str
    table: TableFacts | None = None
    boot: str = ""
    links: tuple[Mapping[str, Any], ...] = ()
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeTables:
    """The tables of chaosext on a node, and its lock; `problem`: why the node could not be read ("" if it was).

    `foreign`: tables with chaosext's name prefix that are not chaosext's.
    """

    node: str
    tables: tuple[TableFacts, ...] = ()
    lock: LockFacts | None = None
    foreign: tuple[str, ...] = ()
    problem: str = ""


def how_to_remove(run: str, nodes: Iterable[str], way: NodeAccess = BY_DOCKER) -> str:
    """The commands that remove the run's table by hand."""
    delete = f"nft delete table inet {table_of(run)}"
    if way.asks_the_api_server:
        return f"{how_to_clean_up(run, way)}; or by root on {', '.join(nodes)}: `{delete}`"
    return "; ".join(f"docker exec {node} {delete}" for node in nodes)


def how_to_clean_up(run: str, way: NodeAccess = BY_DOCKER) -> str:
    """The chaosext command that finds and removes the run's leftovers."""
    command = f"chaosext cleanup --run {run}"
    if not way.asks_the_api_server:
        return command
    elsewhere = way.namespace not in ("", NAMESPACE)
    where = f" --namespace {way.namespace}" if elsewhere else ""
    return f"{command} --transport {way.transport} --context {way.context}{where}"


def _until(let_go: Moment | None) -> str:
    return f", until {let_go.as_wall_clock():%Y-%m-%dT%H:%M:%SZ} at the latest" if let_go else ""
