"""A cut in force is looked at again and again: what is not as it was planned is named once, and nothing else is."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest

from chaosext.checks.cut_effective import NOTHING_SHUT, CutEvidence, Path, Shut, entered
from chaosext.checks.suite import unknown
from chaosext.checks.tcp_reachability import Connect, Reach, Target, TcpEvidence
from chaosext.cluster.objects import Node
from chaosext.model import clock
from chaosext.model.errors import Inconclusive, Unreachable
from chaosext.model.findings import Status
from chaosext.model.stopped import Stopper
from chaosext.model.timeline import Kind
from chaosext.nodes.node_network import NodeNetwork
from chaosext.nodes.shell import NodeAccess
from chaosext.partition.cut import Cut, NodeCut, Side, peers_of
from chaosext.partition.nft import PeerFacts, RuleFacts, TableFacts
from chaosext.partition.reports import HealedNode, HealReport, NodeCutState
from chaosext.run.fault import verify
from chaosext.run.fault.cut_plan import Topology
from chaosext.run.fault.heal import require_kept
from chaosext.run.fault.state import fault_of
from chaosext.run.fault.verify import CUT_WATCH, CutWatch
from chaosext.run.session import run_context as contexts
from chaosext.run.stop import watcher
from chaosext.run.stop.condition_state import Says

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path as FilePath

CARRIERS = ("cp1", "cp2")
WORKERS = tuple(f"w{number}" for number in range(1, 8))
ADDRESSES = {name: f"10.0.0.{number}" for number, name in enumerate((*CARRIERS, *WORKERS), start=1)}
CUT = Cut(
    run="r1",
    owner="alice@laptop",
    nodes=tuple(NodeCut(node=name, uplinks=("eth0",)) for name in CARRIERS),
    peers=peers_of(ADDRESSES[name] for name in WORKERS),
    ttl_s=30.0,
)
TABLE = TableFacts(
    run="r1",
    owner="alice@laptop",
    until=None,
    peers=tuple(PeerFacts(network=peer, timeout_s=30, remaining_s=29) for peer in CUT.dropped),
    drops=tuple(
        RuleFacts(direction=direction, family="ipv4", uplinks=("eth0",), packets=3)
        for direction in ("in", "out")
    ),
)
UP = ("BROADCAST", "UP", "LOWER_UP")


def a_node(name: str, *addresses: str, control_plane: bool = False) -> Node:
    role = {"node-role.kubernetes.io/control-plane": ""} if control_plane else {}
    listed = [{"type": "InternalIP", "address": address} for address in addresses]
    return Node.from_json({"metadata": {"name": name, "labels": role}, "status": {"addresses": listed}})


NODES = tuple(a_node(name, ADDRESSES[name], control_plane=name in CARRIERS) for name in ADDRESSES)
GROUND = Topology(
    nodes=NODES,
    networks={
        name: NodeNetwork(node=name, uplinks=("eth0",), addresses=(address,), own=frozenset({address}))
        for name, address in ADDRESSES.items()
    },
    pools=(),
    workers=WORKERS,
)
PATHS = tuple(
    Path(source=source, towards=towards, target=Target(ADDRESSES[towards], port))
    for worker in WORKERS
    for source, towards, port in ((worker, "cp1", 6443), ("cp1", worker, 10250))
)
KEPT = (Path(source="cp1", towards="cp2", target=Target(ADDRESSES["cp2"], 6443)),)
OPEN_BEFORE = CutEvidence(
    paths=PATHS,
    connects={
        path: Connect(node=path.source, target=path.target, reach=Reach.OPEN) for path in (*PATHS, *KEPT)
    },
    kept=KEPT,
)


@dataclass
class World:
    """What each node says now; a test changes it."""

    watch: CutWatch
    states: dict[str, NodeCutState]
    answers: set[Path] = field(default_factory=set)
    closed: set[Path] = field(default_factory=set)
    once: bool = False
    tried: list[set[Path]] = field(default_factory=list)
    shut: list[Shut] = field(default_factory=list)
    no_answer: str = ""
    addresses: dict[str, set[str]] = field(default_factory=dict)
    reached: set[str] = field(default_factory=set)
    asked: list[Mapping[str, Sequence[Target]]] = field(default_factory=list)
    nodes: Sequence[Node] | Exception = NODES
    patience_s: list[float] = field(default_factory=list)
    read: list[tuple[str, ...]] = field(default_factory=list)

    @property
    def run(self) -> contexts.RunContext:
        return self.watch.context

    @property
    def events(self) -> list[tuple[Kind, str, str]]:
        return [(each.kind, each.object, each.detail) for each in self.run.recorder.events]

    def verify(self, cut: Cut, on: Iterable[str], timeout_s: float) -> tuple[NodeCutState, ...]:
        assert (cut, list(on), timeout_s) == (CUT, list(CARRIERS), verify.VERIFY_S)
        return tuple(self.states[name] for name in on)

    def gather(self, paths: Sequence[Path], on: Any, *, shut: Shut, kept: Sequence[Path]) -> CutEvidence:
        if self.no_answer:
            raise Unreachable(self.no_answer)
        assert set(on) >= entered((*paths, *kept)) - shut.nodes
        self.tried.append({*paths, *kept})
        self.shut.append(shut)
        connects = {}
        for path in (*paths, *kept):
            is_open = path in self.answers if path in paths else path not in self.closed
            reach = Reach.OPEN if is_open else Reach.TIMED_OUT
            connects[path] = Connect(node=path.source, target=path.target, reach=reach)
        if self.once:
            self.answers, self.closed = set(), set()
        return CutEvidence(paths=tuple(paths), connects=connects, kept=tuple(kept))

    def shells(self, names: Iterable[str], way: NodeAccess) -> dict[str, None]:
        assert way is fault_of(self.run).access
        return dict.fromkeys(sorted(names))

    def read_addresses(self, on: Iterable[str], timeout_s: float) -> dict[str, frozenset[str]]:
        self.patience_s.append(timeout_s)
        self.read.append(tuple(on))
        return {name: frozenset({ADDRESSES[name]} | self.addresses.get(name, set())) for name in on}

    def gather_pairs(self, on: Any, wanted: Mapping[str, Sequence[Target]]) -> TcpEvidence:
        assert set(on) == set(wanted)
        self.asked.append(wanted)
        return TcpEvidence(
            connects=tuple(
                Connect(
                    node=name,
                    target=target,
                    reach=Reach.REFUSED if target.host in self.reached else Reach.TIMED_OUT,
                )
                for name, targets in wanted.items()
                for target in targets
            )
        )

    def ask(self) -> Sequence[Node]:
        if isinstance(self.nodes, Exception):
            raise self.nodes
        return self.nodes


def state(name: str, *, boot: str = "b1", flags: Sequence[str] = UP, link: str = "eth0") -> NodeCutState:
    return NodeCutState(node=name, table=TABLE, boot=boot, links=({"ifname": link, "flags": list(flags)},))


@pytest.fixture
def world(tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(contexts, "_current", None)
    run = contexts.start(root=tmp_path / "run")
    fault_of(run).cuts, fault_of(run).before = [CUT], OPEN_BEFORE
    fault_of(run).expires_at, fault_of(run).in_force = clock.now().later(30.0), True
    run.recorder.set_zero(clock.uptime_s())
    made = World(CutWatch(run, CUT, GROUND, lambda: made.ask()), {name: state(name) for name in CARRIERS})
    run.stash[CUT_WATCH] = made.watch
    monkeypatch.setattr(verify, "verify", made.verify)
    monkeypatch.setattr(verify.cut_check, "gather", made.gather)
    monkeypatch.setattr(verify, "read_addresses", made.read_addresses)
    monkeypatch.setattr(verify, "gather_pairs", made.gather_pairs)
    monkeypatch.setattr(verify, "shells", made.shells)
    return made


def test_a_whole_cut_is_looked_at_without_a_word(world: World) -> None:
    for _ in range(3):
        assert world.watch.look_at_rules() == ()
        assert world.watch.look_at_paths() == ()
    world.watch.look_before_heal()
    assert (world.events, fault_of(world.run).lost) == ([], [])


def test_lost_rules_are_named_rather_than_the_paths_that_they_open(world: World) -> None:
    world.answers = {PATHS[0]}
    world.states["cp1"] = replace(state("cp1"), table=None)
    assert len(world.watch.look_at_paths()) == 1
    assert [each[0] for each in world.events] == [Kind.CUT_LOST]


# Its proof, and that of its heal


@pytest.mark.parametrize(
    ("answers", "closed", "status"),
    [
        (set(), set(), Status.HEALTHY),
        ({PATHS[0]}, set(), Status.UNHEALTHY),
        (set(), {*KEPT}, Status.UNHEALTHY),
    ],
    ids=["all blocked", "one left open", "the control plane apart"],
)
def test_a_cut_is_proven_by_all_paths_as_they_are_now(
    world: World, answers: set[Path], closed: set[Path], status: Status
) -> None:
    world.answers, world.closed = answers, closed
    assert verify.proof(world.run).status is status
    assert (world.tried, world.shut) == ([{*PATHS, *KEPT}], [NOTHING_SHUT])


def test_a_cut_can_not_be_proven_without_a_measurement_before_it(world: World) -> None:
    fault_of(world.run).before = None
    with pytest.raises(Inconclusive) as raised:
        verify.proof(world.run)
    assert raised.value.message == "no path was measured before the cut"
    assert raised.value.fix == "run the cut in a run that measures its paths first"


def test_from_nodes_that_can_not_be_entered_nothing_is_measured(world: World) -> None:
    fault_of(world.run).access = NodeAccess(transport="pod")
    assert verify.proof(world.run).status is Status.HEALTHY
    assert world.watch.look_at_paths() == ()
    first_two = Shut(nodes=frozenset(WORKERS[:2]), peers=CUT.dropped)
    assert world.shut == [Shut(nodes=frozenset(WORKERS), peers=CUT.dropped), first_two]
    assert world.read == [CARRIERS]


@pytest.mark.parametrize(("answers", "status"), [(PATHS, Status.HEALTHY), (PATHS[1:], Status.UNHEALTHY)])
def test_a_cut_is_healed_when_all_of_its_paths_are_open_again(
    world: World, answers: Sequence[Path], status: Status
) -> None:
    world.answers = set(answers)
    found = verify.healed_finding(world.run)
    assert found
    assert (found.check, found.status) == ("cut_healed", status)


def test_whether_a_cut_is_healed_is_not_known_where_nothing_can_be_measured(world: World) -> None:
    world.no_answer = "w1: no answer within 5 s"
    assert verify.healed_finding(world.run) == unknown("cut_healed", "w1: no answer within 5 s")


def test_without_a_cut_or_a_measurement_before_it_nothing_is_healed(world: World) -> None:
    fault_of(world.run).cuts = []
    assert verify.healed_finding(world.run) is None
    fault_of(world.run).cuts, fault_of(world.run).before = [CUT], None
    assert verify.healed_finding(world.run) is None


# Its rules


def test_a_cut_that_was_removed_is_lost_and_said_once_in_words(world: World) -> None:
    world.watch.look_at_rules()
    world.states["cp2"] = replace(world.states["cp2"], table=None)
    (said,) = world.watch.look_at_rules()
    assert said.startswith("cp2: all rules of the cut were removed at 0.")
    assert " s, by something other than this run of chaosext (last seen complete at 0." in said
    assert world.watch.look_at_rules() == ()
    assert [(kind, name) for kind, name, _ in world.events] == [(Kind.CUT_LOST, "Node/cp2")]
    assert world.events[0][2].startswith(
        "all rules of the cut were removed, by something other than this run of chaosext"
    )
    assert fault_of(world.run).lost == [said]
    with pytest.raises(Inconclusive, match="did not match its plan until it was healed: cp2: all rules"):
        require_kept(world.run)


def test_what_is_alike_on_several_nodes_is_one_sentence(world: World) -> None:
    world.states = {name: replace(each, table=None) for name, each in world.states.items()}
    (said,) = world.watch.look_at_rules()
    assert said.startswith("cp1, cp2: all rules of the cut were removed at ")
    assert "last seen" not in said  # it never was
    assert world.events[0][1] == "Node/cp1,cp2"


def changed(table: Any, **more: Any) -> Any:
    return replace(table, **more)


@pytest.mark.parametrize(
    ("change", "kind", "said"),
    [
        ({"dormant": True}, Kind.CUT_LOST, "the table of the cut was made dormant"),
        ({"drops": ()}, Kind.CUT_LOST, "2 of 2 rules of the cut were removed or changed"),
        ({"peers": ()}, Kind.CUT_LOST, "all addresses were removed from the cut"),
        ({"foreign_rules": 1}, Kind.CUT_WEAKENED, "rules were added to the table of the cut"),
    ],
)
def test_what_was_done_to_the_table_is_named(world: World, change: Any, kind: Kind, said: str) -> None:
    first = world.states["cp1"]
    world.states["cp1"] = replace(first, table=changed(first.table, **change))
    assert world.watch.look_at_rules()[0].startswith(f"cp1: {said}")
    assert [each[0] for each in world.events] == [kind]


@pytest.mark.parametrize(
    ("now", "said"),
    [
        ({"flags": ("NO-CARRIER", "UP")}, "cp1: the cut's interface eth0 is down at "),
        ({"link": "eth9"}, "cp1: the cut's interface eth0 is gone at "),
    ],
)
def test_an_interface_that_was_taken_from_the_cut_is_named(world: World, now: Any, said: str) -> None:
    world.watch.look_at_rules()
    world.states["cp1"] = state("cp1", **now)
    assert world.watch.look_at_rules()[0].startswith(said)
    assert world.events[0][0] is Kind.CUT_WEAKENED


def test_an_interface_that_was_down_from_the_first_is_no_loss(world: World) -> None:
    world.states["cp1"] = state("cp1", flags=("UP",))
    assert world.watch.look_at_rules() == world.watch.look_at_rules() == ()


def test_a_node_that_was_restarted_is_said_so(world: World) -> None:
    world.watch.look_at_rules()
    world.states["cp1"] = replace(state("cp1", boot="b2"), table=None)
    (said,) = world.watch.look_at_rules()
    assert said.startswith("cp1: was restarted, which ended the cut on it at ")
    assert "something other" not in said
    assert world.events[0][0] is Kind.CUT_LOST


def test_a_node_that_can_not_be_asked_says_nothing(world: World) -> None:
    world.states["cp1"] = NodeCutState(node="cp1", problem="cp1: no answer within 5 s")
    assert world.watch.look_at_rules() == ()


def test_what_is_seen_once_only_is_no_loss(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """nft shows a table that is being exchanged piece by piece."""
    whole, torn = world.states, {**world.states, "cp1": replace(world.states["cp1"], table=None)}
    looks = iter([torn, whole])

    def look(cut: Cut, on: Iterable[str], timeout_s: float) -> tuple[NodeCutState, ...]:
        world.states = next(looks)
        return world.verify(cut, on, timeout_s)

    monkeypatch.setattr(verify, "verify", look)
    assert world.watch.look_at_rules() == ()


def gone(world: World) -> None:
    world.states = {name: replace(each, table=None) for name, each in world.states.items()}
    world.answers = set(PATHS)


@pytest.mark.parametrize("ended", ["healed", "over", "another", "sealed"])
def test_a_cut_that_ended_as_it_should_is_not_looked_at(world: World, ended: str) -> None:
    gone(world)
    if ended == "healed":
        fault_of(world.run).in_force = False
    elif ended == "over":
        fault_of(world.run).expires_at = clock.now().later(verify.MARGIN_S - 0.1)
    elif ended == "another":
        world.run.stash[CUT_WATCH] = None
    else:
        fault_of(world.run).cuts = [replace(CUT, delay_s=15.0)]
    assert world.watch.look_at_rules() == world.watch.look_at_paths() == ()
    world.watch.look_before_heal()
    assert world.events == []


def test_a_cut_that_is_healed_while_it_is_looked_at_is_not_lost(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone(world)

    def look(*given: Any, **more: Any) -> tuple[NodeCutState, ...]:
        fault_of(world.run).in_force = False
        return world.verify(*given, **more)

    monkeypatch.setattr(verify, "verify", look)
    assert world.watch.look_at_rules() == ()
    assert world.events == []


@pytest.mark.parametrize("look", [CutWatch.look_at_paths, CutWatch.look_before_heal])
def test_a_cut_that_is_healed_while_its_addresses_are_looked_at_is_not_lost(
    world: World, monkeypatch: pytest.MonkeyPatch, look: Callable[[CutWatch], object]
) -> None:
    world.addresses, world.reached = {"w1": {"10.0.7.7"}}, {"10.0.7.7"}

    def read(on: Iterable[str], timeout_s: float) -> dict[str, frozenset[str]]:
        fault_of(world.run).in_force = False
        return world.read_addresses(on, timeout_s)

    monkeypatch.setattr(verify, "read_addresses", read)
    assert not look(world.watch)
    assert world.events == []


@dataclass
class Renewing:
    held: clock.Moment
    lost: str = ""


def test_a_cut_that_could_not_be_renewed_is_lost(world: World) -> None:
    fault_of(world.run).keepalive = Renewing(clock.now().later(9), "cp1: the lock of this run is gone")  # type: ignore[assignment]
    (said,) = world.watch.look_at_rules()
    what = "the cut could not be renewed (cp1: the lock of this run is gone)"
    assert re.fullmatch(rf"{re.escape(what)} at \d+\.\d s", said)
    assert world.events == [(Kind.CUT_LOST, "Node/cp1,cp2", what)]


@pytest.mark.parametrize(("left_s", "lost"), [(9.0, 1), (verify.MARGIN_S - 0.1, 0)])
def test_addresses_that_were_not_renewed_in_time_have_expired(world: World, left_s: float, lost: int) -> None:
    fault_of(world.run).keepalive = Renewing(clock.now().later(left_s))  # type: ignore[assignment]
    first = world.states["cp1"]
    world.states["cp1"] = replace(first, table=changed(first.table, peers=()))
    assert len(world.watch.look_at_rules()) == lost


def test_rules_that_were_added_to_a_cut_whose_addresses_have_expired_leave_something_of_it(
    world: World,
) -> None:
    fault_of(world.run).keepalive = Renewing(clock.now().later(-1))  # type: ignore[assignment]
    first = world.states["cp1"]
    world.states["cp1"] = replace(first, table=changed(first.table, peers=(), foreign_rules=1))
    assert world.watch.look_at_rules()[0].startswith("cp1: rules were added")
    assert world.events[0][0] is Kind.CUT_WEAKENED


# Its paths


def test_each_look_tries_some_nodes_paths_and_all_are_tried_in_turn(world: World) -> None:
    for _ in range(verify.ALL_AFTER):
        world.watch.look_at_paths()
    assert set().union(*world.tried) == {*PATHS, *KEPT}
    for tried in world.tried:
        assert set(KEPT) <= tried
        assert len(tried - set(KEPT)) == 2 * 2


def test_each_look_begins_where_the_last_one_ended(world: World) -> None:
    for _ in range(4):
        world.watch.look_at_paths()
    workers = [sorted({*entered(tried)} & set(WORKERS)) for tried in world.tried]
    assert workers == [["w1", "w2"], ["w3", "w4"], ["w5", "w6"], ["w1", "w7"]]


def test_a_path_that_answers_again_is_named(world: World) -> None:
    world.answers = {PATHS[0]}
    (said,) = world.watch.look_at_paths()
    assert said.startswith("w1: 10.0.0.1:6443 answers again at ")
    assert world.events[0][:2] == (Kind.CUT_WEAKENED, "Node/w1")
    assert world.tried[1] == {PATHS[0]}


def test_a_control_plane_that_is_cut_apart_is_named(world: World) -> None:
    world.closed = set(KEPT)
    (said,) = world.watch.look_at_paths()
    assert said.startswith("cp1: the control plane is cut apart: 10.0.0.2:6443 does not answer at ")
    assert world.events[0][0] is Kind.CUT_WEAKENED


def test_a_connect_that_was_unlucky_once_is_no_loss(world: World) -> None:
    world.answers, world.closed, world.once = {PATHS[0]}, set(KEPT), True
    assert world.watch.look_at_paths() == ()
    assert len(world.tried) == 2


def test_without_a_measurement_before_the_cut_no_path_is_tried(world: World) -> None:
    fault_of(world.run).before = None
    assert world.watch.look_at_paths() == ()
    assert world.tried == []


# Its nodes and their addresses


@pytest.mark.parametrize(
    ("side", "new", "is_lost"),
    [
        (Side.CONTROL_PLANE, a_node("new", "10.0.9.9"), True),
        (Side.CONTROL_PLANE, a_node("new"), True),
        (Side.CONTROL_PLANE, a_node("new", "10.0.0.3"), False),
        (Side.CONTROL_PLANE, a_node("new", "10.0.0.3", control_plane=True), True),
        (Side.NODES, a_node("new", "10.0.9.9"), True),
        (Side.NODES, a_node("new", "10.0.9.9", control_plane=True), True),
        (Side.NODES, a_node("new", "10.0.0.3", control_plane=True), False),
    ],
)
def test_a_node_that_joins_is_named_unless_the_cut_parts_it_too(
    world: World, side: Side, new: Node, is_lost: bool
) -> None:
    world.watch.cut = replace(CUT, side=side)
    world.nodes = (*NODES, new)
    said = world.watch.look_at_paths()
    assert [text.partition(" at ")[0] for text in said] == [
        "new: is new in the cluster and not cut off"
    ] * is_lost
    assert [each[0] for each in world.events] == [Kind.CUT_WEAKENED] * is_lost


@pytest.mark.parametrize(
    ("side", "changed", "is_lost"),
    [
        (Side.CONTROL_PLANE, a_node("w1", "10.0.0.3", "10.0.9.9"), True),
        (Side.CONTROL_PLANE, a_node("w1", "10.0.9.9"), True),
        (Side.CONTROL_PLANE, a_node("w1", "10.0.0.4"), False),
        (Side.CONTROL_PLANE, a_node("cp1", "10.0.9.9", control_plane=True), False),
        (Side.NODES, a_node("w1", "10.0.9.9"), False),
        (Side.NODES, a_node("cp1", "10.0.9.9", control_plane=True), True),
    ],
)
def test_a_new_address_that_a_node_reports_is_named_unless_it_is_cut_off(
    world: World, side: Side, changed: Node, is_lost: bool
) -> None:
    world.watch.cut = replace(CUT, side=side)
    world.nodes = [changed if each.name == changed.name else each for each in NODES]
    said = [text.partition(" at ")[0] for text in world.watch.look_at_paths()]
    assert said == [f"{changed.name}: its new address 10.0.9.9 is not cut off"] * is_lost
    assert [each[0] for each in world.events] == [Kind.CUT_WEAKENED] * is_lost


def test_a_node_that_joins_those_that_were_not_chosen_is_none_of_the_cuts(world: World) -> None:
    world.watch.cut = replace(CUT, side=Side.NODES)
    world.watch.ground = replace(GROUND, workers=("w1", "w2"))
    world.nodes = (*NODES, a_node("new", "10.0.9.9"))
    assert world.watch.look_at_paths() == ()


def test_an_api_server_that_does_not_answer_says_nothing_of_nodes(world: World) -> None:
    world.nodes = Unreachable("no answer")
    assert world.watch.look_at_paths() == ()


def test_a_worker_that_is_reached_at_a_new_address_is_named(world: World) -> None:
    world.addresses, world.reached = {"w1": {"10.0.7.7"}}, {"10.0.7.7"}
    (said,) = world.watch.look_at_paths()
    assert said.startswith("w1: its new address 10.0.7.7 is reached at ")
    assert world.asked == [{"cp1": [Target("10.0.7.7", 10250)], "cp2": [Target("10.0.7.7", 10250)]}]
    assert world.events[0][:2] == (Kind.CUT_WEAKENED, "Node/w1")


def test_a_control_plane_node_that_is_reached_at_a_new_address_is_named(world: World) -> None:
    world.addresses, world.reached = {"cp2": {"10.0.7.7"}}, {"10.0.7.7"}
    (said,) = world.watch.look_at_paths()
    assert said.startswith("cp2: its new address 10.0.7.7 is reached at ")
    assert world.asked == [{"w1": [Target("10.0.7.7", 6443)], "w2": [Target("10.0.7.7", 6443)]}]


@pytest.mark.parametrize(
    "address",
    ["10.0.0.4", "10.0.0.2", "10.0.8.8"],
    ids=["dropped", "another node's", "not reached"],
)
def test_a_new_address_that_leads_nowhere_is_no_loss(world: World, address: str) -> None:
    world.addresses, world.reached = {"w1": {address}}, {"10.0.0.4", "10.0.0.2"}
    assert world.watch.look_at_paths() == ()


def test_an_address_that_the_other_side_has_itself_is_not_tried_from_there(world: World) -> None:
    """Such as that of a bridge that each node makes for its containers."""
    world.addresses, world.reached = {name: {"172.17.0.1"} for name in ADDRESSES}, {"172.17.0.1"}
    assert world.watch.look_at_paths() == ()


def test_right_before_the_heal_all_addresses_are_looked_at(world: World) -> None:
    world.addresses, world.reached = {"w7": {"10.0.7.7"}}, {"10.0.7.7"}
    world.nodes = AssertionError("no API server is asked")
    verify.look_before_heal(world.run)
    assert [each[:2] for each in world.events] == [(Kind.CUT_WEAKENED, "Node/w7")]
    assert (world.tried, world.patience_s) == ([], [verify.LAST_LOOK_S])


# Its heal


def healed(world: World, **more: Any) -> list[str]:
    table = world.states["cp1"].table
    nodes = (
        HealedNode(node="cp1", gone=True, **{"was_there": True, "found": table, **more}),
        HealedNode(node="cp2", gone=True, was_there=True, found=world.states["cp2"].table),
    )
    fault_of(world.run).in_force = False
    world.watch.look_at_heal(HealReport(run="r1", nodes=nodes, elapsed_s=0.1))
    return fault_of(world.run).lost


def test_a_cut_that_was_whole_until_its_heal_is_not_lost(world: World) -> None:
    assert healed(world) == []


def test_what_a_heal_finds_gone_or_changed_is_named(world: World) -> None:
    (said,) = healed(world, was_there=False, found=None)
    assert said.startswith("cp1: all rules of the cut were removed at ")
    (_, more) = healed(world, found=changed(world.states["cp1"].table, foreign_rules=2))
    assert more.startswith("cp1: rules were added to the table of the cut at ")


def test_what_a_heal_could_not_read_says_nothing(world: World) -> None:
    assert healed(world, was_there=None, found=None) == []
    assert healed(world, was_there=True, found=None) == []


def test_a_node_of_which_a_heal_says_nothing_is_no_loss(world: World) -> None:
    world.watch.look_at_heal(HealReport(run="r1", nodes=(), elapsed_s=0.1))
    assert fault_of(world.run).lost == []


def test_after_its_time_a_table_without_addresses_and_one_that_was_cleaned_up_are_whole(world: World) -> None:
    fault_of(world.run).expires_at = clock.now().later(-1)
    assert healed(world, was_there=False, found=None) == []
    assert healed(world, found=changed(world.states["cp1"].table, peers=())) == []


def test_a_cut_that_could_not_be_looked_at_must_be_there_when_its_nodes_are_back(world: World) -> None:
    fault_of(world.run).expires_at = clock.now().later(-1)
    world.watch.cut = replace(CUT, delay_s=15.0)
    assert len(healed(world, was_there=False, found=None)) == 1


# What it does to the run


def test_what_is_lost_stops_the_run(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    rules, paths = watcher._cut_watched(world.run)
    assert {each.by for each in (rules, paths)} == {Stopper.CUT_LOST}
    assert rules.every_s + verify.VERIFY_S / 5 < 5
    assert (rules.ask().says, paths.ask().says) == (Says.FALSE, Says.FALSE)
    gone(world)
    reply = rules.ask()
    assert (reply.says, reply.detail) == (Says.TRUE, fault_of(world.run).lost[0])
    assert rules.begins.heard(reply, 1.0).why_stop(1.0) == reply.detail
    assert paths.ask().says is Says.TRUE
    world.run.stash[CUT_WATCH] = None
    assert (rules.ask().says, paths.ask().says) == (Says.FALSE, Says.FALSE)


def test_the_sentence_has_no_word_of_nfts(world: World) -> None:
    gone(world)
    world.watch.look_at_rules()
    assert not {"inet", "chain", "counter", "saddr"} & set(json.dumps(fault_of(world.run).lost).split())
