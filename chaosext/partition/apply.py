"""Arm, renew, heal and inspect cuts: one shell call per node, all nodes in parallel, no API server."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import takewhile
from typing import TYPE_CHECKING, TypeVar

from chaosext.model import clock
from chaosext.model.crash import crash_point
from chaosext.model.errors import Inconclusive, Refused, Unreachable, Unsafe
from chaosext.nodes.transport import way_of
from chaosext.partition.cut import SHORTEST_TTL_S
from chaosext.partition.foreign_rules import changes
from chaosext.partition.lock_table import hold_statements, parse_lock
from chaosext.partition.nft import (
    ON_NODE,
    TABLE_PREFIX,
    Header,
    Lasting,
    TableFacts,
    arm_ruleset,
    discrepancies,
    lost,
    parse_tables,
    renew_ruleset,
    table_of,
)
from chaosext.partition.reports import (
    ArmedNode,
    ArmReport,
    HealedNode,
    HealReport,
    NodeCutState,
    NodeTables,
    how_to_remove,
)
from chaosext.partition.scripts import (
    ARM,
    HEAL,
    INSPECT,
    VERIFY,
    Sections,
    arm_input,
    heal_input,
    lasted,
    sections,
    tables,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from chaosext.model.clock import Moment
    from chaosext.model.owner import Claim
    from chaosext.nodes.shell import NodeShell, NodeStream
    from chaosext.partition.cut import Cut, NodeCut

__all__ = [
    "ARMING_S",
    "TIMEOUT_S",
    "ArmReport",
    "ArmedNode",
    "HealReport",
    "HealedNode",
    "Hold",
    "NodeTables",
    "arm",
    "heal",
    "how_to_remove",
    "inspect",
    "listings",
    "renew",
    "require_free",
]

TIMEOUT_S = 10.0
"""Time limit per node, in seconds. `docker exec` takes 0.33 s on an idle machine and seconds on a busy one."""

STRAGGLER_S = 2.5
"""Seconds after the time limit by which a script that was given up has ended on its node
(nodes/process_shell.py: `GRACE_S`, then 1 s until SIGKILL)."""

TAKE_BACK_S = 2.0
"""Seconds that removing rules from a node may take: with `STRAGGLER_S`, a failed cut is gone within 5 s."""

ARMING_S = TIMEOUT_S + STRAGGLER_S
"""Seconds after the call of `arm` from which none of its rules can come into force any more. A node measures
with its own clock, and accepts no rules later than the time limit after it was ready, whatever happens to the
runner."""

DELAY_S = 15.0
"""Delay in seconds of a cut whose nodes cannot be reached while it is active. It is long enough for every
node to answer, or for the rules already sent to be removed again (`TIMEOUT_S`, then `STRAGGLER_S` and
`TAKE_BACK_S`)."""

PARTING_S = 1.0
"""Seconds that an interrupted arming waits for the nodes' answers. They usually take 0.2 s and leave no node
in doubt."""

Item = TypeVar("Item")
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """The node lock that a change depends on.

    The transaction that changes the rules also verifies in the kernel that `claim` still holds the lock on
    that node, and restarts the lock's `ttl_s`.
    """

    claim: Claim
    ttl_s: float


def arm(
    cut: Cut,
    shells: Mapping[str, NodeShell],
    *,
    hold: Hold | None = None,
    decide: Callable[[Moment], None] = lambda _: None,
    timeout_s: float = TIMEOUT_S,
) -> ArmReport:
    """Activate `cut` on all its nodes and read it back.

    First opens a shell on every node and inspects it. `decide` is then called with the moment at which the
    cut will have ended, and may refuse the cut. The rules are sent only once all nodes are ready, so either
    all nodes are cut, at the same time, or none. A node rejects rules that arrive later than `timeout_s`
    after it was ready: so even a runner that was suspended cannot apply an old decision. The rules expire on
    all nodes at the same moment, however slow one of them is.

    Raises `Refused` (no shell, no nft, another active cut, lost lock, too late) and `Unreachable` before
    anything is touched. If rules were sent but the result is not as requested, they are removed from every
    node; then it raises `Inconclusive`, or `Unsafe` if their removal cannot be confirmed.
    """
    change = _Change(cut=cut, ruleset=arm_ruleset, hindrance=_hindrance_to_arming, hold=hold, decide=decide)
    return _transact(change, shells, timeout_s)


def renew(
    cut: Cut,
    shells: Mapping[str, NodeShell],
    *,
    until: Moment | None = None,
    hold: Hold | None = None,
    timeout_s: float = TIMEOUT_S,
) -> ArmReport:
    """Restart the TTL of an armed cut without a gap. The rules' packet counters restart too.

    The rules expire at `until` at the latest, however long it took to reach the nodes. Raises as `arm` does,
    and `Refused` if the cut was healed, changed or has expired on any node: renewing never restores a cut.
    """
    change = _Change(cut=cut, ruleset=renew_ruleset, hindrance=_hindrance_to_renewing, hold=hold, until=until)
    return _transact(change, shells, timeout_s)


def heal(run: str, shells: Mapping[str, NodeShell], *, timeout_s: float = TIMEOUT_S) -> HealReport:
    """Remove the run's table, if any, on every node of `shells`, and check that it is gone.

    May be repeated; takes at most about `timeout_s`. Nodes that could not be healed are listed in the report
    rather than raised, so that a failing node does not prevent healing the others. Raises `Refused` for an
    invalid run ID.
    """
    started, told = time.monotonic(), heal_input(run, timeout_s)
    crash_point("healing")
    nodes = on_each(shells.values(), lambda shell: _heal_node(run, told, shell, timeout_s))
    return HealReport(run=run, nodes=nodes, elapsed_s=time.monotonic() - started, way=way_of(shells))


def inspect(shells: Mapping[str, NodeShell], *, timeout_s: float = TIMEOUT_S) -> tuple[NodeTables, ...]:
    """List the cuts and lock of chaosext on each node, with their expiry. The answer includes unreachable nodes."""
    return on_each(shells.values(), lambda shell: _inspect_node(shell, timeout_s))


def verify(
    cut: Cut, shells: Mapping[str, NodeShell], *, timeout_s: float = TIMEOUT_S
) -> tuple[NodeCutState, ...]:
    """Read the table of an active cut on each of its nodes. The answer includes unreachable nodes."""
    own = _shells_of(cut, shells).values()
    return on_each(own, lambda shell: _verify_node(cut.run, shell, timeout_s))


def listings(shells: Mapping[str, NodeShell], *, timeout_s: float = TIMEOUT_S) -> dict[str, str | None]:
    """List all rules of each node as `nft -s list ruleset` prints them; None for a node that did not answer in time."""
    return dict(on_each(shells.items(), lambda each: (each[0], _listing(each[1], timeout_s))))


def require_free(cut: Cut, shells: Mapping[str, NodeShell], *, timeout_s: float = TIMEOUT_S) -> None:
    """Raise `Refused` if `arm` would refuse `cut` because of what is on its nodes. Touches nothing."""
    looks = inspect(_shells_of(cut, shells), timeout_s=timeout_s)
    hindrances = [(look.node, look.problem or _hindrance_to_arming(cut, look.tables)) for look in looks]
    if found := [f"{node}: {why}" for node, why in hindrances if why]:
        raise Refused("; ".join(found), UNTOUCHED)


# Arm and renew in two phases within one shell call: inspect, then commit once all nodes are ready.


@dataclass(frozen=True, slots=True, kw_only=True)
class _Change:
    """A change to every node of a cut. `hindrance` returns why a node does not allow it ("": it does)."""

    cut: Cut
    ruleset: Callable[..., str]
    hindrance: Callable[[Cut, tuple[TableFacts, ...], NodeCut], str]
    hold: Hold | None = None
    decide: Callable[[Moment], None] = lambda _: None
    until: Moment | None = None

    @property
    def first(self) -> tuple[str, ...]:
        """The statements at the start of the transaction; if one of them fails, nothing is applied."""
        return hold_statements(self.hold.claim, ttl_s=self.hold.ttl_s) if self.hold else ()

    def ends(self, now: Moment) -> Moment:
        """When the rules expire. Raises `Refused` if that is less than the shortest TTL away."""
        ends = now.later(self.cut.armed_for_s)
        if self.until is None:
            return ends
        if -(self.until.age_s() or 0.0) < SHORTEST_TTL_S:
            raise Refused(f"the time of run {self.cut.run} is already over", UNTOUCHED)
        return min(ends, self.until)


UNTOUCHED = "nothing was touched on any node"


@dataclass(frozen=True, slots=True)
class _Visit:
    """A node with its running script, which inspects the node and then waits for the rules."""

    node: NodeCut
    lines: NodeStream


@dataclass(frozen=True, slots=True)
class _Ready:
    """A node's output up to `ready`, and when it was received by the runner's clock; it was sent earlier."""

    said: Sections
    at: Moment


@dataclass(frozen=True, slots=True, kw_only=True)
class _Order:
    """The times of a change, the same for all nodes: rules drop packets from `begins` to `ends`.

    `within_s`: the rules must arrive within this time after the node was ready.
    """

    begins: Moment | None
    ends: Moment
    within_s: float
    label_at: datetime

    def for_node(self, ready: _Ready) -> tuple[int, Lasting]:
        """The time limit and the timeouts in milliseconds, counted from when the node was ready."""
        delay = _ms_between(ready.at, self.begins) if self.begins else 0
        return round(self.within_s * 1000), Lasting(armed=_ms_between(ready.at, self.ends), delay=delay)


def _ms_between(begin: Moment, end: Moment) -> int:
    return int((end.uptime_s - begin.uptime_s) * 1000)


def _transact(change: _Change, shells: Mapping[str, NodeShell], timeout_s: float) -> ArmReport:
    started = time.monotonic()
    own = _shells_of(change.cut, shells)
    with ExitStack() as stack:
        visits = [
            _Visit(node, stack.enter_context(own[node.node].stream(ARM, timeout_s=timeout_s)))
            for node in change.cut.nodes
        ]
        ready = _look_at_all(change, visits)
        order = _decided(change, timeout_s)
        crash_point("arming")
        ended: list[str] = []
        try:
            nodes = _commit_to_all(change, order, visits, ready, started, ended)
        except Refused:
            raise
        except BaseException as error:  # an interrupt must not leave rules behind either
            _take_back(change.cut.run, own, error, late=len(ended) < len(visits))
            raise
    return ArmReport(
        cut=change.cut,
        nodes=nodes,
        elapsed_s=time.monotonic() - started,
        begins=order.begins,
        ends=order.ends,
    )


def _decided(change: _Change, timeout_s: float) -> _Order:
    """Ask `decide` once all nodes are waiting, and fix the times of the change."""
    change.decide(change.ends(clock.now().later(timeout_s)))
    now, cut = clock.now(), change.cut
    begins = now.later(cut.delay_s) if cut.delay_s else None
    return _Order(begins=begins, ends=change.ends(now), within_s=timeout_s, label_at=datetime.now(UTC))


def _shells_of(cut: Cut, shells: Mapping[str, NodeShell]) -> dict[str, NodeShell]:
    missing = [node.node for node in cut.nodes if node.node not in shells]
    if missing:
        raise Refused(
            f"nodes: no shell on {', '.join(missing)}", f"known are {', '.join(sorted(shells)) or 'none'}"
        )
    return {node.node: shells[node.node] for node in cut.nodes}


def _look_at_all(change: _Change, visits: list[_Visit]) -> tuple[_Ready, ...]:
    looks = on_each(visits, lambda visit: _look(change, visit))
    errors = [look for look in looks if isinstance(look, Refused | Unreachable)]
    if errors:
        kind = Refused if any(isinstance(error, Refused) for error in errors) else Unreachable
        raise kind("; ".join(map(str, errors)), UNTOUCHED)
    return tuple(look for look in looks if isinstance(look, _Ready))


def _look(change: _Change, visit: _Visit) -> _Ready | Refused | Unreachable:
    try:
        look = sections(visit.lines, until="ready", holding=("foreign-before", "ours-before"))
        at = clock.now()
        hindrance = change.hindrance(change.cut, tables(look.get("ours-before", "")), visit.node)
    except Unreachable as error:
        return error
    except ValueError as error:
        return Refused(f"{visit.node.node}: {error}")
    if "ready" not in look:
        hindrance = look.get("failed", "").strip() or "the script ended early"
    return Refused(f"{visit.node.node}: {hindrance}") if hindrance else _Ready(look, at)


def _hindrance_to_arming(cut: Cut, found: tuple[TableFacts, ...], _: NodeCut | None = None) -> str:
    for table in found:
        if table.is_live and table.may_be_ours:
            return f"run {table.run} of {table.owner or 'unknown'} is in force, {table.remaining_s} s left"
        if table.run == cut.run:
            return f"run {table.run} left its table there, heal it or choose another name"
    return ""


def _hindrance_to_renewing(cut: Cut, found: tuple[TableFacts, ...], node: NodeCut) -> str:
    if cut.delay_s:
        return f"run {cut.run} has a cut with a delay, which is not renewed"
    own = next((table for table in found if table.run == cut.run), None)
    if own is None or not own.is_live:
        return f"run {cut.run} is not in force any more, it was healed or its TTL is over"
    return "; ".join(lost(cut, node, own))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Failure:
    """Why a node is not armed. `untouched`: nothing was applied there, and nothing will be."""

    node: str
    why: str
    untouched: bool = False

    def __str__(self) -> str:
        return f"{self.node}: {self.why}"


def _commit_to_all(
    change: _Change,
    order: _Order,
    visits: list[_Visit],
    ready: tuple[_Ready, ...],
    started: float,
    ended: list[str],
) -> tuple[ArmedNode, ...]:
    pairs = list(zip(visits, ready, strict=True))
    answers = on_each(pairs, lambda pair: _commit(change, order, *pair, started, ended))
    failures = [answer for answer in answers if isinstance(answer, _Failure)]
    if failures and len(failures) == len(answers) and all(each.untouched for each in failures):
        raise Refused("; ".join(map(str, failures)), UNTOUCHED)
    if failures:
        raise Inconclusive(
            "; ".join(map(str, failures)),
            "the cut was removed from every node; fix the cause, then run again",
        )
    return tuple(answer for answer in answers if isinstance(answer, ArmedNode))


def _commit(
    change: _Change, order: _Order, visit: _Visit, ready: _Ready, started: float, ended: list[str]
) -> ArmedNode | _Failure:
    """Send the rules and read them back. Returns the armed node or the failure.

    A node is added to `ended` when its script has ended: from then on, it applies nothing more.
    """
    cut, node = change.cut, visit.node.node
    within_ms, lasting = order.for_node(ready)
    ruleset = change.ruleset(cut, visit.node, order.label_at, lasting=ON_NODE, first=change.first)
    try:
        visit.lines.send(arm_input(within_ms, lasting, ruleset))
        crash_point("first-node-sent")
        said = sections(visit.lines, until="committed")
        armed_at = clock.now()
        crash_point("committed")
        said |= sections(visit.lines, until="end", holding=("ours-after", "foreign-after"))
        ended.append(node)
        if why := _why_refused(change, said):
            return _Failure(node=node, why=why, untouched=True)
        found = tables(said.get("ours-after", ""))
        set_to, took_s = lasted(said["lasting"]) if "lasting" in said else (lasting, 0.0)
    except (Unreachable, ValueError) as error:
        return _Failure(node=node, why=str(error))
    if problem := _problem(cut, visit.node, said, found, set_to):
        return _Failure(node=node, why=problem)
    return ArmedNode(
        node=node,
        facts=next(table for table in found if table.run == cut.run),
        armed_at=armed_at,
        late_s=took_s,
        elapsed_s=time.monotonic() - started,
        foreign_changes=changes(ready.said["foreign-before"], said["foreign-after"]),
        expired_runs=tuple(table.run for table in found if table.may_be_ours and not table.is_live),
    )


def _why_refused(change: _Change, said: Sections) -> str:
    """Why the node applied nothing, if known: too late, or the run no longer holds the lock ("" otherwise)."""
    if "late" in said:
        return f"the rules came {int(said['late'] or 0) / 1000:.1f} s after the node was ready for them: too late"
    if change.hold is None or "lock" not in said or "end" not in said:
        return ""
    lock, claim = parse_lock(said["lock"]), change.hold.claim
    if lock is None or not lock.run:
        return "the lock of this run is gone"
    if lock.run != claim.run or not lock.is_live:
        return f"the lock of this run has expired, or is another's: {lock}"
    return ""


def _problem(cut: Cut, node: NodeCut, said: Sections, found: tuple[TableFacts, ...], set_to: Lasting) -> str:
    """Why the table read back is not exactly the cut ("": it is)."""
    if not {"committed", "lasting", "end"} <= said.keys():
        return said.get("failed", "").strip() or "the script ended early"
    own = [table for table in found if table.run == cut.run]
    if not own:
        return f"nft took the rules, but there is no table {table_of(cut.run)}"
    others = [
        f"run {table.run} was armed at the same moment"
        for table in found
        if table.is_live and table.may_be_ours and table not in own
    ]
    return "; ".join([*discrepancies(cut, node, own[0], set_to), *others])


def _take_back(run: str, shells: Mapping[str, NodeShell], cause: BaseException, *, late: bool) -> None:
    try:
        report = heal(run, shells, timeout_s=TAKE_BACK_S if late else TAKE_BACK_S + STRAGGLER_S)
        if late:  # a script that was given up may still apply its rules until it is ended on its node
            time.sleep(max(0.0, STRAGGLER_S - report.elapsed_s))
            report = heal(run, shells, timeout_s=TAKE_BACK_S)
        report.require_gone()
    except Unsafe as unsafe:
        raise unsafe from cause


# Heal and inspect: one bounded answer per node.


def _heal_node(run: str, told: str, shell: NodeShell, timeout_s: float) -> HealedNode:
    try:
        result = shell.run(HEAL, stdin=told, timeout_s=timeout_s)
    except (Unreachable, Refused) as error:
        return HealedNode(node=shell.node, gone=False, problem=str(error))
    crash_point("first-node-healed")
    wanted = ("foreign-before", "tables", "foreign-after")
    said = sections(result.stdout.splitlines(), until="end", holding=wanted)
    table = f"table inet {table_of(run)}"
    gone = "end" in said and table not in said["tables"].splitlines()
    listed = "unlisted" not in said and "end" in said
    return HealedNode(
        node=shell.node,
        gone=gone,
        problem="" if gone else _words(said, result.stderr) or "the table is still there",
        found=_found_before(run, said),
        was_there=f"{table} {{" in said["foreign-before"].splitlines() if listed else None,
        foreign_changes=changes(said["foreign-before"], said["foreign-after"]) if listed else None,
        foreign_after=said["foreign-after"] if listed else None,
    )


def _found_before(run: str, said: Sections) -> TableFacts | None:
    """Return the run's table as it was before its removal; None if there was none or it could not be read."""
    table = f"table inet {table_of(run)} {{"
    _, _, own = said.get("foreign-before", "").partition(f"{table}\n")
    header = Header.parse([table, *takewhile(lambda line: line.startswith("\t"), own.splitlines())])
    with suppress(ValueError):
        return next(iter(parse_tables(said.get("ours-before", ""), header)), None)
    return None


def _words(said: Sections, stderr: str) -> str:
    """Join the script's error messages into one text."""
    texts = (said.get("disarm", ""), said.get("failed", ""), stderr)
    return "; ".join(text.strip() for text in texts if text.strip())


def _inspect_node(shell: NodeShell, timeout_s: float) -> NodeTables:
    try:
        result = shell.run(INSPECT, timeout_s=timeout_s)
        said = sections(result.stdout.splitlines(), until="end", holding=("ours", "lock"))
        found, lock = tables(said.get("ours", "")), parse_lock(said.get("lock", ""))
        ours = tuple(table for table in found if table.may_be_ours)
        foreign = tuple(f"{TABLE_PREFIX}{table.run}" for table in found if table not in ours)
    except (Unreachable, Refused, ValueError) as error:
        return NodeTables(node=shell.node, problem=str(error))
    problem = "" if "end" in said else _words(said, result.stderr) or "the script ended early"
    return NodeTables(node=shell.node, tables=ours, lock=lock, foreign=foreign, problem=problem)


def _verify_node(run: str, shell: NodeShell, timeout_s: float) -> NodeCutState:
    try:
        result = shell.run(VERIFY, stdin=f"{table_of(run)}\n", timeout_s=timeout_s)
        said = sections(result.stdout.splitlines(), until="end", holding=("boot", "links", "ours"))
        if "end" not in said:
            return NodeCutState(
                node=shell.node, problem=_words(said, result.stderr) or "the script ended early"
            )
        links = json.loads(said["links"])
        if not isinstance(links, list) or not all(isinstance(link, dict) for link in links):
            raise ValueError("not an answer of ip -json")
        return NodeCutState(
            node=shell.node,
            table=next(iter(tables(said["ours"])), None),
            boot=said["boot"].strip(),
            links=tuple(links),
        )
    except (Unreachable, Refused, ValueError, RecursionError) as error:
        return NodeCutState(node=shell.node, problem=str(error))


def _listing(shell: NodeShell, timeout_s: float) -> str | None:
    try:
        result = shell.run("exec nft -s list ruleset", timeout_s=timeout_s)
    except (Unreachable, Refused):
        return None
    return result.stdout if result.exit_code == 0 else None


def on_each(items: Iterable[Item], work: Callable[[Item], Answer]) -> tuple[Answer, ...]:
    """Run `work` for all items in parallel, and return the answers in the order of the items.

    When interrupted, waits at most `PARTING_S` for calls in progress, so that a node that hangs does not
    block the exit.
    """
    items = tuple(items)
    pool = ThreadPoolExecutor(max_workers=max(1, len(items)))
    futures = [pool.submit(work, item) for item in items]
    try:
        return tuple(future.result() for future in futures)
    except BaseException:
        wait(futures, timeout=PARTING_S)
        raise
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
