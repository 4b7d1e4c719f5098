"""What arming, healing and inspecting answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chaosext.model import clock
from chaosext.model.errors import Inconclusive, Unsafe
from chaosext.nodes.access import BY_DOCKER, NAMESPACE, NodeAccess
from chaosext.partition.nft import TableFacts, table_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from chaosext.model.clock import Moment
    from chaosext.model.owner import LockFacts
    from chaosext.partition.cut import Cut
    from chaosext.partition.foreign_rules import Change


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmedNode:
    """What was read back on a node after arming.

    `armed_at` is the runner's boot clock when the node said that the rules were in force, `elapsed_s` counts from
    the call, `late_s` is how long nft took: by so much may the kernel let go late. `foreign_changes` says how the rules
    that aren't ours changed meanwhile (none: byte-identical), `expired_runs` whose tables are left on the node and cut
    nothing any more.
    """

    node: str
    facts: TableFacts
    armed_at: Moment
    late_s: float
    elapsed_s: float
    foreign_changes: tuple[Change, ...]
    expired_runs: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmReport:
    """A cut in force, as asked, on all its nodes. `elapsed_s` is from the call to the last read-back.

    `begins` and `ends` are when all nodes are to begin (None: at once) and to let go.
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
        """When the first node was cut: where the cut has a delay, after that."""
        return self.begins or self.armed_at

    @property
    def all_cut_at(self) -> Moment:
        """When the last node was cut."""
        return self.begins.later(self._late_s) if self.begins else max(node.armed_at for node in self.nodes)

    @property
    def let_go(self) -> Moment:
        """When the kernel of the last node lets go, at the latest, unless the cut is renewed."""
        return self.ends.later(self._late_s)

    @property
    def _late_s(self) -> float:
        return max(node.late_s for node in self.nodes)

    @property
    def foreign_identical(self) -> bool:
        """Whether the rules that aren't ours are byte for byte what they were."""
        return not any(node.foreign_changes for node in self.nodes)


@dataclass(frozen=True, slots=True, kw_only=True)
class HealedNode:
    """Whether the run's table was seen gone on a node; if not, `problem` says why.

    `found` is the table as it was right before; None: there was none, or it could not be read in time. `was_there`,
    `foreign_changes` (see `ArmedNode`) and `foreign_after`, nft's listing of all rules after the heal, are
    None where the rules could not be listed in time.
    """

    node: str
    gone: bool
    problem: str = ""
    was_there: bool | None = None
    found: TableFacts | None = None
    foreign_changes: tuple[Change, ...] | None = None
    foreign_after: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HealReport:
    """What healing a run came to, node by node. `elapsed_s` is from the call to the last read-back."""

    run: str
    nodes: tuple[HealedNode, ...]
    elapsed_s: float
    way: NodeAccess = BY_DOCKER

    @property
    def left(self) -> tuple[str, ...]:
        """The nodes on which the run's table was not seen gone."""
        return tuple(node.node for node in self.nodes if not node.gone)

    @property
    def foreign_identical(self) -> bool | None:
        """Whether the rules that aren't ours are byte for byte what they were; None: not known."""
        changes = [node.foreign_changes for node in self.nodes]
        if any(changes):
            return False
        return None if None in changes else True

    def may_cut(self, *, let_go: Moment | None = None) -> bool:
        """Whether something of ours may still cut: not seen gone, and its TTL is not known to be over."""
        return bool(self.left) and not clock.is_over(let_go)

    def require_gone(self, *, let_go: Moment | None = None) -> None:
        """Raise `Unsafe`, saying what, where and how to remove it, when something of ours may still cut.

        After `let_go` (see `ArmReport`) the kernel has let go, seen or not.
        """
        if self.may_cut(let_go=let_go):
            what = f"the cut of run {self.run} may still be active on {self._unseen()}"
            raise Unsafe(f"{what}{_until(let_go)}", how_to_remove(self.run, self.left, self.way))

    def require_seen(self) -> None:
        """Raise `Inconclusive`, naming the nodes, when the kernel has let go of what could not be seen gone."""
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
    """A run's table on a node while it lasts (None: there is none), the node's boot, and its interfaces as `ip -json
    address show` has them. `problem`: why the node could not say ("" when it did).
    """

    node: str
    table: TableFacts | None = None
    boot: str = ""
    links: tuple[Mapping[str, Any], ...] = ()
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeTables:
    """Our tables on a node, and its lock; `problem` says why the node could not be asked ("" when it was).

    `foreign`: tables whose names begin as ours do, and that are not.
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
    """The command of ours that looks for what the run has left, and takes it away."""
    command = f"chaosext cleanup --run {run}"
    if not way.asks_the_api_server:
        return command
    elsewhere = way.namespace not in ("", NAMESPACE)
    where = f" --namespace {way.namespace}" if elsewhere else ""
    return f"{command} --transport {way.transport} --context {way.context}{where}"


def _until(let_go: Moment | None) -> str:
    return f", until {let_go.as_wall_clock():%Y-%m-%dT%H:%M:%SZ} at the latest" if let_go else ""
