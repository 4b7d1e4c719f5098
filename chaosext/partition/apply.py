"""Arm, renew, heal and inspect a cut: one shell call a node, all nodes at once, and no API server."""

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
"""How long one node may take. `docker exec` takes 0.33 s on an idle machine and seconds on a crowded one."""

STRAGGLER_S = 2.5
"""By then a script that did not answer in time is dead on its node (see nodes/docker.py: 1 s to end, 1 s to kill)."""

TAKE_BACK_S = 2.0
"""How long taking rules back may take on a node: with `STRAGGLER_S`, a cut that failed is over within 5 s."""

ARMING_S = TIMEOUT_S + STRAGGLER_S
"""By then, counted from the call of `arm`, no rule of it can come into force any more: by its own clock a node takes
none that come later than the time limit after it was ready, whatever became of the runner meanwhile."""

DELAY_S = 15.0
"""The delay of a cut whose nodes nobody reaches meanwhile: by then each of them has answered, or what was sent to the
others was taken back (`TIMEOUT_S`, then `STRAGGLER_S` and `TAKE_BACK_S`)."""

PARTING_S = 1.0
"""How long an interrupted arming waits for the nodes' last word: 0.2 s is usual, and then nothing is in doubt."""

Item = TypeVar("Item")
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """The lock that a change rests on: in one transaction with the rules the kernel makes sure that the lock is still
    the claim's on that node, and starts its `ttl_s` anew.
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
    """Put `cut` in force on all its nodes and read it back.

    Every node is entered and looked at first; then it is for `decide` to refuse the cut, which is given the moment by
    which it will have ended. The rules are sent when all are ready, so that nodes are cut together or not at all; a
    node takes none that come later than `timeout_s` after it was ready, so no decision is older, even where the runner
    was stopped. All nodes let go at the same moment, however slow one of them is.

    It raises `Refused` (no shell, no nft, another cut in force, the lock lost, too late) and `Unreachable` before
    anything is touched. Rules that were sent and did not come out as asked are removed again on every node; then it
    raises `Inconclusive`, or `Unsafe` when they can't be seen gone.
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
    """Start the TTL of an armed cut anew, without a gap; the rules' counters start anew as well.

    At `until` the kernel lets go all the same, however long it took to reach the nodes. Raises as `arm` does, and
    `Refused` when the cut was healed, changed or has expired on any node: no cut comes back.
    """
    change = _Change(cut=cut, ruleset=renew_ruleset, hindrance=_hindrance_to_renewing, hold=hold, until=until)
    return _transact(change, shells, timeout_s)


def heal(run: str, shells: Mapping[str, NodeShell], *, timeout_s: float = TIMEOUT_S) -> HealReport:
    """Take the run's table away on every node of `shells`, there or not, and see whether it is gone.

    May be repeated; takes about `timeout_s` at most. What is left is in the report, not raised, so that
    a node in trouble keeps no other from being healed. Raises `Refused` for what can't name a run.
    """
    started, told = time.monotonic(), heal_input(run, timeout_s)
    crash_point("healing")
    nodes = on_each(shells.values(), lambda shell: _heal_node(run, told, shell, timeout_s))
    return HealReport(run=run, nodes=nodes, elapsed_s=time.monotonic() - started, way=way_of(shells))


def inspect(shells: Mapping[str, NodeShell], *, timeout_s: float = TIMEOUT_S) -> tuple[NodeTables, ...]:
    """What of ours is on which node, until when. A node that can't be asked is in the answer as well."""
    return on_each(shells.values(), lambda shell: _inspect_node(shell, timeout_s))


def verify(
    cut: Cut, shells: Mapping[str, NodeShell], *, timeout_s: float = TIMEOUT_S
) -> tuple[NodeCutState, ...]:
    """What is on the nodes of a cut that is in force. A node that can't be asked is in the answer as well."""
    own = _shells_of(cut, shells).values()
    return on_each(own, lambda shell: _verify_node(cut.run, shell, timeout_s))


def listings(shells: Mapping[str, NodeShell], *, timeout_s: float = TIMEOUT_S) -> dict[str, str | None]:
    """All rules of each node, as `nft -s list ruleset` says them; None where they could not be had in time."""
    return dict(on_each(shells.items(), lambda each: (each[0], _listing(each[1], timeout_s))))


def require_free(cut: Cut, shells: Mapping[str, NodeShell], *, timeout_s: float = TIMEOUT_S) -> None:
    """Raise `Refused` for what `arm` would find on the nodes of `cut` and refuse. Touches nothing."""
    looks = inspect(_shells_of(cut, shells), timeout_s=timeout_s)
    hindrances = [(look.node, look.problem or _hindrance_to_arming(cut, look.tables)) for look in looks]
    if found := [f"{node}: {why}" for node, why in hindrances if why]:
        raise Refused("; ".join(found), UNTOUCHED)


# Arming and renewing: two phases over one shell call. Look, and when all nodes are fit, commit.


@dataclass(frozen=True, slots=True, kw_only=True)
class _Change:
    """What is to be done to every node of a cut, and what there may speak against it ("": nothing)."""

    cut: Cut
    ruleset: Callable[..., str]
    hindrance: Callable[[Cut, tuple[TableFacts, ...], NodeCut], str]
    hold: Hold | None = None
    decide: Callable[[Moment], None] = lambda _: None
    until: Moment | None = None

    @property
    def first(self) -> tuple[str, ...]:
        """The statements without which nothing is applied."""
        return hold_statements(self.hold.claim, ttl_s=self.hold.ttl_s) if self.hold else ()

    def ends(self, now: Moment) -> Moment:
        """When the kernels let go. Raises `Refused` where that is too soon to be worth it."""
        ends = now.later(self.cut.armed_for_s)
        if self.until is None:
            return ends
        if -(self.until.age_s() or 0.0) < SHORTEST_TTL_S:
            raise Refused(f"the time of run {self.cut.run} is already over", UNTOUCHED)
        return min(ends, self.until)


UNTOUCHED = "nothing was touched on any node"


@dataclass(frozen=True, slots=True)
class _Visit:
    """A node whose script runs, and waits for its rules once it has said what it found."""

    node: NodeCut
    lines: NodeStream


@dataclass(frozen=True, slots=True)
class _Ready:
    """What a node said before it was `ready`, and when that was heard, by the runner's clock: it was said earlier."""

    said: Sections
    at: Moment


@dataclass(frozen=True, slots=True, kw_only=True)
class _Order:
    """What all nodes are to do: from `begins` to `ends`, and not at all later than `within_s` after they were ready."""

    begins: Moment | None
    ends: Moment
    within_s: float
    label_at: datetime

    def for_node(self, ready: _Ready) -> tuple[int, Lasting]:
        """Milliseconds, counted from when the node was ready."""
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
    """The last word on it, once all nodes wait: what they are to do from now on."""
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
    """Send the rules and read them back: what came of it, or what is wrong.

    A node joins the `ended` when its script has ended: nothing of it can come into force any more.
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
    """Why the node applied nothing, where it is known: too late, or the lock is not the run's any more ("": else)."""
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
    """Why what was read back is not the cut, the whole cut and nothing but the cut ("": it is)."""
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
        if late:  # a script that was given up may still bring its rules in, until it is ended on its node
            time.sleep(max(0.0, STRAGGLER_S - report.elapsed_s))
            report = heal(run, shells, timeout_s=TAKE_BACK_S)
        report.require_gone()
    except Unsafe as unsafe:
        raise unsafe from cause


# Healing and inspecting: one bounded answer a node.


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
    """The run's table before it was removed; None where there was none, or it could not be read."""
    table = f"table inet {table_of(run)} {{"
    _, _, own = said.get("foreign-before", "").partition(f"{table}\n")
    header = Header.parse([table, *takewhile(lambda line: line.startswith("\t"), own.splitlines())])
    with suppress(ValueError):
        return next(iter(parse_tables(said.get("ours-before", ""), header)), None)
    return None


def _words(said: Sections, stderr: str) -> str:
    """What the script had to say against it, as one text."""
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
    """The answers of `work` for all items at once, in their order.

    Who is interrupted waits `PARTING_S` for what is on its way, and no longer: a node that hangs holds up nobody.
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
