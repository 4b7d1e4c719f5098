"""What may happen to two nodes, in any order; after each step their rulesets are read and held against the model."""

from __future__ import annotations

import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from functools import wraps
from typing import TYPE_CHECKING, Any, ClassVar

from hypothesis import assume
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from chaosext.cleanup.inventory import CleanupScope, LeftoverKind
from chaosext.cleanup.removal import clean_up
from chaosext.cleanup.survey import look
from chaosext.model.crash import crash_point
from chaosext.model.errors import Inconclusive, Refused
from chaosext.model.owner import Claim
from chaosext.model.paths import state_home
from chaosext.nodes.shell import NodeAccess
from chaosext.partition.apply import arm, heal, renew
from chaosext.partition.cut import FAMILIES, Cut, NodeCut, peers_of
from chaosext.partition.node_lock import lock_nodes, remove_lock, renew_lock
from chaosext.run.fault.heal import heal_nodes
from chaosext.safety.intent import INTENT, intent_log
from tests.trust.machine import killing
from tests.trust.machine.model import Held, Locked, Model, Span, differences

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tests.trust.machine.world import Table, World

COUNT = 2
LIVING = st.sampled_from(["r1", "r2", "r3"])
DYING = st.sampled_from(["d1", "d2", "d3"])
"""A run is of one process: those of this one have other names than those of processes that are killed."""
RUNS = LIVING | DYING
NODES = st.sampled_from([(0, 1), (0, 1), (0,), (1,)])
TTLS = st.sampled_from([1.0, 1.0, 60.0, 600.0])
PEERS = st.sampled_from(
    [["10.0.0.1", "fd00::1"], ["10.0.0.1", "10.0.0.2", "10.244.0.0/16", "fd00::/64"], ["10.0.0.0/24"]]
)
FOREIGN = st.sampled_from(
    [("ip", "filter"), ("ip6", "chaosext_r1"), ("ip", "chaosext_d2"), ("inet", "chaosex"), ("inet", "cali")]
)
RULES = """  set known {{ type inet_service; elements = {{ {number} }} }}
  chain forward {{ type filter hook forward priority 0; policy accept; tcp dport @known counter drop; }}"""
SHORT_S = 1.5

ARMING_DEATHS = st.sampled_from(["intent-written", "arming", "first-node-sent", "committed", "armed"])
LOCKING_DEATHS = st.sampled_from(["first-node-locked", "nodes-locked"])
LOCK_TTLS = st.sampled_from([1.0, 60.0])
HEALING_DEATHS = st.sampled_from(["healing", "first-node-healed", "healed", "gone-written"])


def step(work: Callable[..., None]) -> Callable[..., None]:
    """Count and trace a rule, and look at the nodes when it is done."""

    @wraps(work)
    def done(self: Nodes, **drawn: Any) -> None:
        self.trace.append(f"{work.__name__} {' '.join(f'{key}={value}' for key, value in drawn.items())}")
        work(self, **drawn)
        Nodes.steps += 1
        self.require_equal()

    return done


class Nodes(RuleBasedStateMachine):
    """The nodes of `world` (set before it runs) under everything that can be done to them."""

    world: ClassVar[World]
    steps: ClassVar[int] = 0
    broken: ClassVar[str] = ""
    """What went wrong first: played once more, as Hypothesis does it, real time may tell something else."""

    def __init__(self) -> None:
        super().__init__()
        self.trace: list[str] = []
        self.model = Model()
        for name in self.world.names:
            self.model.held[name], self.model.foreign[name] = {}, {}

    def teardown(self) -> None:
        self.world.clear()
        shutil.rmtree(state_home(), ignore_errors=True)

    # Runs that live

    @rule(run=LIVING, on=NODES, peers=PEERS, ttl_s=TTLS, v4=st.booleans())
    @step
    def arm(self, run: str, on: tuple[int, ...], peers: list[str], ttl_s: float, v4: bool) -> None:
        cut = self.cut(run, on, peers, ttl_s, v4)
        came, span = self.attempt(lambda: self.begin(cut))
        self.model.intends(cut, span, alive=True)
        self.require(came in self.model.may_arm(cut, span), f"arming came to {came}")
        if came:
            self.model.arms(cut, span)

    @rule(run=RUNS)
    @step
    def renew(self, run: str) -> None:
        cut = self.armed(run)
        came, span = self.attempt(lambda: renew(cut, self.shells(cut)))
        self.require(came in self.model.may_renew(cut, span), f"renewing came to {came}")
        if came:
            self.model.arms(cut, span)
        elif came is None:
            self.model.goes(run, [node.node for node in cut.nodes])

    @rule(run=RUNS, on=NODES)
    @step
    def undo(self, run: str, on: tuple[int, ...]) -> None:
        nodes = self.names(on)
        report = heal_nodes(run, self.world.shells(nodes))
        self.require(report.left == (), f"left on {report.left}")
        was = {node.node: node.was_there for node in report.nodes}
        self.require(was == {node: run in self.model.held[node] for node in nodes}, f"said {was}")
        self.model.seen_gone(run, nodes)

    @rule(run=RUNS)
    @step
    def undo_twice_at_once(self, run: str) -> None:
        shells = self.world.shells(self.world.names)
        with ThreadPoolExecutor(2) as pool:
            reports = list(pool.map(lambda _: heal(run, shells), range(2)))
        self.require(all(report.left == () for report in reports), "an undo failed")
        self.model.goes(run, self.world.names)

    @rule(first=DYING, second=DYING, peers=PEERS)
    @step
    def two_runs_at_once(self, first: str, second: str, peers: list[str]) -> None:
        assume(first != second)
        cuts = [self.cut(run, (0, 1), peers, 60.0, False) for run in (first, second)]
        begun_s = time.monotonic()
        for cut in cuts:
            self.model.intends(cut, (begun_s, begun_s), alive=False)
        killing.end_of(*[killing.start(lambda cut=cut: self.begin(cut)) for cut in cuts])
        span = (begun_s, time.monotonic())
        won = [cut for cut in cuts if self.take_over(cut, span, self.model.may_arm(cut, span))]
        self.require(len(won) < 2, "both are in force")

    # Runs that die

    @rule(run=DYING, on=NODES, peers=PEERS, ttl_s=TTLS, at=ARMING_DEATHS)
    @step
    def die_arming(self, run: str, on: tuple[int, ...], peers: list[str], ttl_s: float, at: str) -> None:
        cut = self.cut(run, on, peers, ttl_s, False)
        code, span = self.die(lambda: self.begin(cut), at)
        self.model.intends(cut, span, alive=False)
        may = {True} if at == "intent-written" else self.model.may_arm(cut, span)
        self.require(killing.killed(code) in may, f"ended with {code}")
        if killing.killed(code) and at not in ("intent-written", "arming"):
            self.take_over(cut, span, {True}, whole=at == "armed")

    @rule(run=RUNS)
    @step
    def die_renewing(self, run: str) -> None:
        cut = self.armed(run)
        code, span = self.die(lambda: renew(cut, self.shells(cut)), "first-node-sent")
        self.require(killing.killed(code) in self.model.may_renew(cut, span), f"ended with {code}")
        if killing.killed(code):
            self.model.may_have_renewed(cut, span)

    @rule(run=RUNS, on=NODES, at=HEALING_DEATHS)
    @step
    def die_healing(self, run: str, on: tuple[int, ...], at: str) -> None:
        nodes = self.names(on)
        code, _ = self.die(lambda: heal_nodes(run, self.world.shells(nodes)), at)
        self.require(killing.killed(code), f"ended with {code}")
        gone = [node for node in nodes if run not in self.world.see(node).dropping]
        least = {"healing": 0, "first-node-healed": 1}.get(at, len(nodes))
        self.require(len(gone) >= least, f"gone on {gone} only")
        self.model.goes(run, gone)
        if at == "gone-written":
            self.model.seen_gone(run, nodes)

    # Locks

    @rule(run=LIVING, on=NODES, ttl_s=LOCK_TTLS)
    @step
    def lock(self, run: str, on: tuple[int, ...], ttl_s: float) -> None:
        nodes = self.names(on)
        came, span = self.attempt(lambda: self.take(run, nodes, ttl_s))
        self.require(came in self.model.may_lock(run, nodes, span), f"locking came to {came}")
        if came:
            self.model.locks_on(run, nodes, span, ttl_s, alive=True)
        else:
            self.after_a_refusal(run, nodes, span)

    @rule(run=LIVING, on=NODES, ttl_s=LOCK_TTLS)
    @step
    def renew_a_lock(self, run: str, on: tuple[int, ...], ttl_s: float) -> None:
        nodes, begun_s = self.names(on), time.monotonic()
        lost = renew_lock(Claim(run=run, owner="m@m"), self.world.shells(nodes), ttl_s=ttl_s)
        span = (begun_s, time.monotonic())
        own = {node for node in nodes if node in self.model.locks and self.model.locks[node].run == run}
        self.require(lost.keys() == set(nodes) - own, f"said that {sorted(lost)} are lost")
        for node in own:
            lets_go = (span[0] + ttl_s, span[1] + ttl_s)
            self.model.locks[node] = Locked(run=run, alive=True, lets_go=lets_go)

    @rule(run=RUNS, on=NODES)
    @step
    def unlock(self, run: str, on: tuple[int, ...]) -> None:
        nodes = self.names(on)
        self.require(remove_lock(run, self.world.shells(nodes)) == {}, "a lock could not be given back")
        self.unlocked(run, nodes)

    @rule(run=DYING, on=NODES, ttl_s=LOCK_TTLS, at=LOCKING_DEATHS)
    @step
    def die_locking(self, run: str, on: tuple[int, ...], ttl_s: float, at: str) -> None:
        nodes = self.names(on)
        code, span = self.die(lambda: self.take(run, nodes, ttl_s), at)
        reached = nodes if at == "nodes-locked" else nodes[:1]
        self.require(killing.killed(code) in self.model.may_lock(run, reached, span), f"ended with {code}")
        if killing.killed(code):
            self.model.locks_on(run, reached, span, ttl_s, alive=False)
        else:
            self.after_a_refusal(run, nodes, span)

    # What comes by itself

    @rule()
    @step
    def expire(self) -> None:
        all_held = [*self.model.tables_on(self.world.names), *self.model.locks.values()]
        ends = [held.lets_go[1] for held in all_held]
        soon = [end_s for end_s in ends if 0 < end_s - time.monotonic() < SHORT_S]
        assume(soon)
        time.sleep(max(0.0, max(soon) - time.monotonic()) + 0.06)

    @rule()
    @step
    def clean_up(self) -> None:
        begun_s = time.monotonic()
        cleaned = clean_up(look(self.world.names, way=NodeAccess(transport="netns")), CleanupScope())
        span = (begun_s, time.monotonic())
        self.require(cleaned.exit_code == 0, f"cleaned with {cleaned.exit_code}")
        removed = {(each.run, each.node) for each in cleaned.removed if each.kind is LeftoverKind.CUT}
        unlocked = {(each.run, each.node) for each in cleaned.removed if each.kind is LeftoverKind.LOCK}
        held = {(run, node): held for node, tables in self.model.held.items() for run, held in tables.items()}
        self.require(removed <= held.keys(), f"cleaned {removed}")
        for place, table in held.items():
            self.require(
                (place in removed) in self.model.may_clean_up(table, span), f"{place} cleaned {removed}"
            )
            if place in removed:
                self.model.goes(place[0], [place[1]])
        for node, lock in list(self.model.locks.items()):
            goes = (lock.run, node) in unlocked
            may_go = {not kept_out for kept_out in lock.keeps_out("another", span)}
            self.require(goes in may_go, f"lock of {lock.run} cleaned: {goes}")
            if goes:
                del self.model.locks[node]
        for run in self.model.outstanding():
            finished = frozenset(cleaned.finished.get(run, ()))
            self.require(finished in self.model.may_finish(run, span), f"{run} finished on {finished}")
            self.model.seen_gone(run, finished)

    @rule(on=NODES, table=FOREIGN, number=st.integers(1, 9))
    @step
    def others_add(self, on: tuple[int, ...], table: Table, number: int) -> None:
        for name in self.names(on):
            self.world.nft(name, f"table {' '.join(table)} {{\n{RULES.format(number=number)}\n}}\n")
            self.model.foreign[name] = dict(self.world.see(name).foreign)

    @rule(on=NODES, table=FOREIGN)
    @step
    def others_remove(self, on: tuple[int, ...], table: Table) -> None:
        for name in self.names(on):
            self.world.nft(name, f"add table {' '.join(table)}\ndelete table {' '.join(table)}\n")
            self.model.foreign[name].pop(table, None)

    # How it is done and looked at

    def names(self, on: Iterable[int]) -> tuple[str, ...]:
        return tuple(self.world.names[index] for index in on)

    def cut(self, run: str, on: tuple[int, ...], peers: list[str], ttl_s: float, v4: bool) -> Cut:
        nodes = tuple(NodeCut(node=name, uplinks=("eth0", "eth1")) for name in self.names(on))
        addresses = [peer for peer in peers if "/" not in peer]
        prefixes = [peer for peer in peers if "/" in peer]
        families = ("ipv4",) if v4 else FAMILIES
        found = peers_of(addresses, prefixes)
        return Cut(run=run, owner="m@m", nodes=nodes, peers=found, ttl_s=ttl_s, families=families)

    def armed(self, run: str) -> Cut:
        """A cut of `run` that is on some node, live or not."""
        cuts = [held.cut for held in self.model.tables_on(self.world.names) if held.cut.run == run]
        assume(cuts)
        return cuts[0]

    def take(self, run: str, nodes: Iterable[str], ttl_s: float) -> None:
        lock_nodes(Claim(run=run, owner="m@m"), self.world.shells(nodes), ttl_s=ttl_s)

    def unlocked(self, run: str, nodes: Iterable[str]) -> None:
        for node in nodes:
            if node in self.model.locks and self.model.locks[node].run == run:
                del self.model.locks[node]

    def after_a_refusal(self, run: str, nodes: Iterable[str], span: Span) -> None:
        """What was got is given back: of each node the lock is as it was, or gone where it might be taken."""
        self.unlocked(run, nodes)
        for node in [node for node in nodes if node in self.model.locks]:
            if not self.world.see(node).locked:
                kept = self.model.locks.pop(node)
                self.require(kept.keeps_out(run, span) != {True}, f"the lock of {kept.run} is gone")

    def shells(self, cut: Cut) -> dict[str, Any]:
        return dict(self.world.shells(node.node for node in cut.nodes))

    def begin(self, cut: Cut) -> None:
        """As a run does it: the intent on disk, then the rules."""
        nodes = [node.node for node in cut.nodes]
        entry = {"event": INTENT, "run": cut.run, "nodes": nodes, "ttl_s": cut.ttl_s, "transport": "netns"}
        intent_log().write(entry)
        crash_point("intent-written")
        arm(cut, self.shells(cut))
        crash_point("armed")

    def attempt(self, work: Callable[[], object]) -> tuple[bool | None, Span]:
        """True: done, False: refused, None: taken back; and when it was."""
        begun_s, came = time.monotonic(), True
        try:
            work()
        except Refused:
            came = False
        except Inconclusive:
            came = None
        return came, (begun_s, time.monotonic())

    def die(self, work: Callable[[], object], at: str) -> tuple[int, Span]:
        begun_s = time.monotonic()
        (code,) = killing.end_of(killing.start(work, crash_at=at))
        return code, (begun_s, time.monotonic())

    def take_over(self, cut: Cut, span: Span, may: set[bool], *, whole: bool = True) -> bool:
        """What came of an arming that nobody could watch: on each node all of it or nothing."""
        before = {node for node, tables in self.model.held.items() if cut.run in tables}
        seen = {node.node: self.world.see(node.node) for node in cut.nodes}
        has = [node for node in seen if node not in before and cut.run in seen[node].dropping]
        self.require(bool(has) <= (True in may), f"{cut.run} was armed on {has}")
        self.require(not whole or len(has) in (0, len(seen)), f"{cut.run} is on {has} only")
        self.model.arms(cut, span, has)
        return bool(has)

    def require_equal(self) -> None:
        for name in self.world.names:
            begun_s = time.monotonic()
            seen = self.world.see(name)
            span = (begun_s, time.monotonic())
            held: dict[str, Held] = self.model.held[name]
            lock = self.model.locks.get(name)
            self.require(seen.locked == (lock.run if lock else ""), f"{name} is locked by {seen.locked!r}")
            self.require(
                not lock or seen.lock_holds in lock.holds(span), f"{name}: lock holds: {seen.lock_holds}"
            )
            wrong = differences(
                held, self.model.foreign[name], seen.dropping, seen.drop_rules, seen.foreign, span
            )
            self.require(not wrong, f"{name}: {'; '.join(wrong)}")

    def require(self, condition: bool, what: str) -> None:
        if not condition:
            Nodes.broken = Nodes.broken or f"{what}, after {' | '.join(self.trace)}"
            raise AssertionError(what)
