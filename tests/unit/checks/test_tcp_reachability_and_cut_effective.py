"""tcp_reachability and cut_effective: what a connect means, and that a cut is proven only against a
baseline.
"""

from __future__ import annotations

import socketserver
import subprocess
import threading
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest
from check_worlds import ScriptedShell, node
from hypothesis import given
from hypothesis import strategies as st

from chaosext.checks import cut_effective
from chaosext.checks.cut_effective import (
    CutEvidence,
    LeftOut,
    Path,
    Shut,
    judge_healed,
    paths_between,
    paths_of_api_servers,
    paths_within,
)
from chaosext.checks.fan_out import MAX_NODES_AT_ONCE
from chaosext.checks.tcp_reachability import (
    CONNECT_TIMEOUT_S,
    MEANING,
    Connect,
    Reach,
    Target,
    TcpEvidence,
    classify,
    explain,
    gather,
    judge,
    parse_target,
)
from chaosext.model.errors import Refused, Unreachable
from chaosext.model.findings import Status
from chaosext.nodes.pod_shell import PodShell
from chaosext.nodes.shell import NodeAccess, ShellResult
from chaosext.partition.cut import peers_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from chaosext.model.findings import Finding

NODES = (
    node("cp", "172.18.0.2", "fc00::2", control_plane=True),
    node("w1", "172.18.0.3", "fc00::3"),
    node("w2", "172.18.0.4", "fc00::4"),
)
PATHS = paths_between(NODES)


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("10.2.112.10:53", Target("10.2.112.10", 53)),
        ("[fc00::2]:6443", Target("fc00::2", 6443)),
        ("istiod.istio-system.svc:15012", Target("istiod.istio-system.svc", 15012)),
    ],
)
def test_targets_are_read_and_written_alike(text: str, target: Target) -> None:
    assert parse_target(text) == target
    assert str(target) == text


@pytest.mark.parametrize(
    "text",
    ["", "host", "host:", ":80", "host:0", "host:70000", "fc00::2:6443", "a b:80", "$(reboot):80", "-x:80"],
)
def test_what_is_no_target_is_refused(text: str) -> None:
    with pytest.raises(Refused):
        parse_target(text)


@pytest.mark.parametrize(
    ("status", "said", "reach"),
    [
        (0, "", Reach.OPEN),
        (124, "", Reach.TIMED_OUT),
        (98, "", Reach.UNRESOLVED),
        (97, "try: connect: Connection refused try: line 3: /dev/tcp/a/1: Connection refused", Reach.REFUSED),
        (97, "try: connect: No route to host", Reach.NO_ROUTE),
        (97, "try: connect: Network is unreachable", Reach.NO_ROUTE),
        (97, "try: connect: Connection timed out", Reach.TIMED_OUT),
        (97, "try: a: Temporary failure in name resolution", Reach.UNRESOLVED),
        (0, "try: line 4: read: read error: 3: Connection reset by peer", Reach.RESET),
        (97, "something new", Reach.UNKNOWN),
        (127, "timeout: command not found", Reach.UNKNOWN),
    ],
)
def test_what_bash_says_becomes_an_outcome(status: int, said: str, reach: Reach) -> None:
    assert classify(status, said) is reach


def connect(target: Target, reach: Reach, on: str = "w1") -> Connect:
    return Connect(node=on, target=target, reach=reach)


def test_each_outcome_is_explained_and_istios_ports_are_known() -> None:
    assert set(MEANING) == set(Reach)
    assert "Envoy's admin interface" in explain(connect(Target("127.0.0.1", 15000), Reach.REFUSED))
    assert "nothing listens" in explain(connect(Target("10.0.0.1", 80), Reach.REFUSED))
    assert "no route" in explain(connect(Target("10.0.0.1", 80), Reach.TIMED_OUT))


def test_tcp_is_healthy_only_when_everything_is_open() -> None:
    target = Target("10.0.0.1", 80)

    def status(*reaches: Reach) -> Status:
        return judge(TcpEvidence(connects=tuple(connect(target, reach) for reach in reaches))).status

    assert status(Reach.OPEN, Reach.OPEN) is Status.HEALTHY
    assert status(Reach.OPEN, Reach.REFUSED) is Status.UNHEALTHY
    assert status(Reach.OPEN, Reach.UNKNOWN) is Status.UNKNOWN
    assert status() is Status.UNKNOWN


def test_a_node_that_does_not_answer_makes_its_connects_unknown() -> None:
    target = Target("10.0.0.1", 80)
    shells = {
        "w1": ScriptedShell("w1", ShellResult(0, "0 0 \n", "")),
        "w2": ScriptedShell("w2", Unreachable("w2: no such container")),
        "w3": ScriptedShell("w3", ShellResult(0, "", "")),
    }
    found = {each.node: each.reach for each in gather(shells, [target]).connects}  # type: ignore[arg-type]
    assert found == {"w1": Reach.OPEN, "w2": Reach.UNKNOWN, "w3": Reach.UNKNOWN}


def test_every_side_and_family_has_its_path() -> None:
    assert [f"{path.source} {path.target}" for path in PATHS] == [
        "w1 172.18.0.2:6443",
        "w1 [fc00::2]:6443",
        "w2 172.18.0.2:6443",
        "w2 [fc00::2]:6443",
        "cp 172.18.0.3:10250",
        "cp [fc00::3]:10250",
        "cp 172.18.0.4:10250",
        "cp [fc00::4]:10250",
    ]


def measured(*reaches: Reach) -> CutEvidence:
    """The paths with these outcomes in turn."""
    connects = {
        path: connect(path.target, reaches[index % len(reaches)], path.source)
        for index, path in enumerate(PATHS)
    }
    return CutEvidence(paths=PATHS, connects=connects)


OPEN = measured(Reach.OPEN)


def test_a_cut_of_all_paths_is_healthy() -> None:
    finding = cut_effective.judge(OPEN, measured(Reach.TIMED_OUT))
    assert (finding.status, finding.summary) == (Status.HEALTHY, "8 of 8 paths blocked")


def test_a_path_without_neighbour_is_blocked_too() -> None:
    assert cut_effective.judge(OPEN, measured(Reach.TIMED_OUT, Reach.NO_ROUTE)).status is Status.HEALTHY


def test_ipv6_left_open_is_said() -> None:
    finding = cut_effective.judge(OPEN, measured(Reach.TIMED_OUT, Reach.OPEN))
    assert finding.status is Status.UNHEALTHY
    assert "IPv6 left open: Node/w1 → [fc00::2]:6443 answers (and 3 more)" in finding.summary


def test_a_refusal_is_an_answer_and_so_no_cut() -> None:
    assert cut_effective.judge(OPEN, measured(Reach.REFUSED)).status is Status.UNHEALTHY


def test_a_path_that_was_never_open_proves_nothing() -> None:
    finding = cut_effective.judge(measured(Reach.OPEN, Reach.TIMED_OUT), measured(Reach.TIMED_OUT))
    assert finding.status is Status.UNKNOWN
    assert "was timed out before the cut" in finding.evidence[1].detail


BALANCER = tuple(Path(source="w1", towards="", target=Target(ip, 6443)) for ip in ("172.18.0.9", "fc00::9"))


def balanced(reach: Reach, *of_the_balancer: Reach) -> CutEvidence:
    """`PATHS` as `reach`, and those through w1's load balancer, on IPv4 and IPv6."""
    connects = {
        path: connect(path.target, how, "w1") for path, how in zip(BALANCER, of_the_balancer, strict=True)
    }
    return CutEvidence(paths=(*PATHS, *BALANCER), connects={**measured(reach).connects, **connects})


def test_a_kubelet_that_is_still_served_through_a_load_balancer_is_not_cut_off() -> None:
    before = balanced(Reach.OPEN, Reach.OPEN, Reach.OPEN)
    finding = cut_effective.judge(before, balanced(Reach.TIMED_OUT, Reach.OPEN, Reach.TIMED_OUT))
    assert finding.status is Status.UNHEALTHY
    assert "IPv4 left open: Node/w1 → 172.18.0.9:6443 answers, and its kubelet connects" in finding.summary
    assert "`peers`" in finding.summary


@pytest.mark.parametrize("reach", [Reach.TIMED_OUT, Reach.NO_ROUTE, Reach.RESET])
def test_a_load_balancer_with_nobody_behind_it_is_cut_off(reach: Reach) -> None:
    before = balanced(Reach.OPEN, Reach.OPEN, Reach.OPEN)
    assert cut_effective.judge(before, balanced(Reach.TIMED_OUT, reach, reach)).status is Status.HEALTHY
    assert judge_healed(before, before).status is Status.HEALTHY


def test_an_address_of_the_load_balancer_that_never_answered_is_left_out() -> None:
    before = balanced(Reach.OPEN, Reach.OPEN, Reach.REFUSED)
    finding = cut_effective.judge(before, balanced(Reach.TIMED_OUT, Reach.TIMED_OUT, Reach.REFUSED))
    assert (finding.status, finding.summary) == (Status.HEALTHY, "9 of 9 paths blocked")
    assert judge_healed(before, before).status is Status.HEALTHY
    late = cut_effective.judge(before, balanced(Reach.TIMED_OUT, Reach.TIMED_OUT, Reach.OPEN))
    assert late.status is Status.UNHEALTHY


def test_a_load_balancer_that_answered_nowhere_proves_nothing() -> None:
    before = balanced(Reach.OPEN, Reach.TIMED_OUT, Reach.TIMED_OUT)
    assert (
        cut_effective.judge(before, balanced(Reach.TIMED_OUT, Reach.TIMED_OUT, Reach.TIMED_OUT)).status
        is Status.UNKNOWN
    )


def test_a_kubelet_that_may_connect_anywhere_leaves_the_cut_unproven() -> None:
    finding = cut_effective.judge(replace(OPEN, blind=("w1",)), measured(Reach.TIMED_OUT))
    assert finding.status is Status.UNKNOWN
    assert "8 of 8 paths blocked; Node/w1: unknown where its kubelet connects" in finding.summary


class LocalShell:
    """Bash on this machine: what a script does on a node, done on loopback."""

    node = "w1"

    def run(self, script: str, *, stdin: str = "", timeout_s: float) -> ShellResult:
        done = subprocess.run(
            ["bash", "-c", script], input=stdin, capture_output=True, text=True, timeout=timeout_s
        )
        return ShellResult(done.returncode, done.stdout, done.stderr)


class Server(socketserver.ThreadingTCPServer):
    """Accepts on loopback; `reply` follows a request, None is silence until the other side has gone."""

    def __init__(self, reply: bytes | None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.reply = reply


class Handler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        reply = self.server.reply  # type: ignore[attr-defined]
        while reply != b"" and self.request.recv(100):
            if reply is not None:
                self.request.sendall(reply)
                return


@pytest.mark.parametrize(
    ("reply", "elsewhere"),
    [(b"HTTP/1.0 400 Bad Request", Reach.OPEN), (b"", Reach.RESET), (None, Reach.TIMED_OUT)],
    ids=["answers", "closes", "is silent"],
)
def test_a_proxy_that_only_accepts_is_told_from_an_api_server(reply: bytes | None, elsewhere: Reach) -> None:
    """Towards a node an accepted connection is enough; where a proxy may accept there has to be an answer."""
    with Server(reply) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        target = Target(*server.server_address)
        paths = [Path(source="w1", towards=towards, target=target) for towards in ("cp", "")]
        evidence = cut_effective.gather(paths, {"w1": LocalShell()}, timeout_s=2.0)  # type: ignore[dict-item]
        server.shutdown()
    assert [evidence.connects[path].reach for path in paths] == [Reach.OPEN, elsewhere]


def test_no_path_is_unknown() -> None:
    nothing = CutEvidence(paths=(), connects={})
    assert cut_effective.judge(nothing, nothing).status is Status.UNKNOWN
    assert judge_healed(nothing, nothing).status is Status.UNKNOWN


def test_the_paths_are_those_between_control_plane_and_workers() -> None:
    lone = (node("cp", "172.18.0.2", control_plane=True), node("w1", "172.18.0.3"))
    assert paths_between(lone, {"cp": [Target("10.0.0.9", 1)]}, api_port=7, kubelet_port=8) == (
        Path(source="w1", towards="cp", target=Target("172.18.0.2", 7)),
        Path(source="cp", towards="w1", target=Target("172.18.0.3", 8)),
    )


def test_a_kubelet_that_connects_elsewhere_has_that_path_too() -> None:
    lone = (node("cp", "172.18.0.2", control_plane=True), node("w1", "172.18.0.3"))
    kubelets = {"w1": [Target("172.18.0.2", 6443), Target("10.0.0.9", 443)], "cp": [Target("10.0.0.8", 1)]}
    assert paths_between(lone, kubelets) == (
        Path(source="w1", towards="cp", target=Target("172.18.0.2", 6443)),
        Path(source="cp", towards="w1", target=Target("172.18.0.3", 10250)),
        Path(source="w1", towards="", target=Target("10.0.0.9", 443)),
    )
    assert len(paths_between(lone, {"other": [Target("10.0.0.9", 443)]})) == 2


def test_what_a_cut_came_to_is_told_path_by_path() -> None:
    paths = (*PATHS[:4], *BALANCER[:1])
    reaches = (Reach.OPEN, Reach.OPEN, Reach.REFUSED, Reach.OPEN, Reach.OPEN)
    before = {
        path: connect(path.target, reach, path.source) for path, reach in zip(paths, reaches, strict=True)
    }
    del before[paths[3]]
    afterwards = (Reach.NO_ROUTE, Reach.UNKNOWN, Reach.TIMED_OUT, Reach.TIMED_OUT, Reach.RESET)
    after = {
        path: connect(path.target, reach, path.source) for path, reach in zip(paths, afterwards, strict=True)
    }
    after[paths[1]] = replace(after[paths[1]], detail="the node is dead")
    finding = cut_effective.judge(
        CutEvidence(paths=paths, connects=before), CutEvidence(paths=paths, connects=after)
    )
    assert [(row.subject, row.status, row.detail) for row in finding.evidence] == [
        ("Node/w1 → 172.18.0.2:6443 (Node/cp, IPv4)", Status.HEALTHY, "open before, no route now"),
        ("Node/w1 → [fc00::2]:6443 (Node/cp, IPv6)", Status.UNKNOWN, "the node is dead"),
        (
            "Node/w2 → 172.18.0.2:6443 (Node/cp, IPv4)",
            Status.UNKNOWN,
            "was refused before the cut, so it proves nothing",
        ),
        (
            "Node/w2 → [fc00::2]:6443 (Node/cp, IPv6)",
            Status.UNKNOWN,
            "was not measured before the cut, so it proves nothing",
        ),
        (
            "Node/w1 → 172.18.0.9:6443 (its kubelet's API server, IPv4)",
            Status.HEALTHY,
            "open before, reset now",
        ),
    ]
    assert (finding.check, finding.summary) == ("cut_effective", "2 of 5 paths blocked")
    unseen = cut_effective.judge(OPEN, CutEvidence(paths=PATHS[:1], connects={}))
    assert [(row.status, row.detail) for row in unseen.evidence] == [(Status.UNKNOWN, "not measured")]


def test_a_reset_is_an_answer_of_a_node_but_not_of_a_proxy() -> None:
    assert cut_effective.judge(OPEN, measured(Reach.RESET)).status is Status.UNHEALTHY


def test_the_summary_names_the_first_path_that_is_left_and_counts_the_others() -> None:
    said = "IPv4 left open: Node/w1 → 172.18.0.2:6443 answers"
    for count, more in ((1, ""), (2, " (and 1 more)"), (3, " (and 2 more)")):
        reaches = [*[Reach.OPEN] * count, *[Reach.TIMED_OUT] * (8 - count)]
        assert (
            cut_effective.judge(OPEN, measured(*reaches)).summary
            == f"{said}{more}; {8 - count} of 8 paths blocked"
        )
    nothing = CutEvidence(paths=(), connects={})
    assert cut_effective.judge(nothing, nothing).summary == "no path between control plane and nodes"


def test_the_first_of_the_nodes_that_may_connect_anywhere_is_named() -> None:
    finding = cut_effective.judge(replace(OPEN, blind=("w1", "w2")), measured(Reach.TIMED_OUT))
    unknown = "unknown where its kubelet connects: no server that resolves in /etc/kubernetes/kubelet.conf"
    assert finding.summary == f"8 of 8 paths blocked; Node/w1: {unknown}"
    assert [(row.subject, row.status, row.detail) for row in finding.evidence[-2:]] == [
        ("Node/w1", Status.UNKNOWN, unknown),
        ("Node/w2", Status.UNKNOWN, unknown),
    ]


def test_what_a_heal_came_to_is_told_path_by_path() -> None:
    paths = PATHS[:5]
    reaches = (Reach.OPEN, Reach.OPEN, Reach.REFUSED, Reach.OPEN)
    before = {
        path: connect(path.target, reach, path.source) for path, reach in zip(paths, reaches, strict=False)
    }
    afterwards = (Reach.OPEN, Reach.TIMED_OUT, Reach.OPEN, Reach.UNKNOWN)
    after = {
        path: connect(path.target, reach, path.source) for path, reach in zip(paths, afterwards, strict=False)
    }
    after[paths[3]] = replace(after[paths[3]], detail="the node is dead")
    finding = judge_healed(
        CutEvidence(paths=paths, connects=before), CutEvidence(paths=paths, connects=after)
    )
    assert finding.check == "cut_healed"
    assert finding.summary == "not back: Node/w1 → [fc00::2]:6443; 1 of 5 paths open again"
    assert [(row.status, row.detail) for row in finding.evidence] == [
        (Status.HEALTHY, "open again"),
        (Status.UNHEALTHY, "open before the cut, timed out now"),
        (Status.UNKNOWN, "was refused before the cut, so it proves nothing"),
        (Status.UNKNOWN, "the node is dead"),
        (Status.UNKNOWN, "was not measured before the cut, so it proves nothing"),
    ]
    gone = judge_healed(OPEN, CutEvidence(paths=PATHS[:1], connects={}))
    assert [row.detail for row in gone.evidence] == ["not measured"]


def test_healed_means_open_again() -> None:
    assert judge_healed(OPEN, OPEN).status is Status.HEALTHY
    still = judge_healed(OPEN, measured(Reach.OPEN, Reach.TIMED_OUT))
    assert still.status is Status.UNHEALTHY
    assert "not back: Node/w1 → [fc00::2]:6443" in still.summary


@given(
    st.lists(st.sampled_from(list(Reach)), min_size=1, max_size=8),
    st.lists(st.sampled_from(list(Reach)), min_size=1, max_size=8),
)
def test_a_proven_cut_had_every_path_open_before_and_blocked_after(
    before: list[Reach], after: list[Reach]
) -> None:
    first, second = measured(*before), measured(*after)
    proven = all(
        first.connects[path].reach is Reach.OPEN
        and second.connects[path].reach in (Reach.TIMED_OUT, Reach.NO_ROUTE)
        for path in PATHS
    )
    assert (cut_effective.judge(first, second).status is Status.HEALTHY) == proven


class AskedShell:
    """A node whose connects all time out; it keeps what it was asked."""

    def __init__(self, node: str) -> None:
        self.node = node
        self.asked: list[str] = []

    def run(self, script: str, *, stdin: str = "", timeout_s: float) -> ShellResult:
        self.asked.append(stdin)
        return ShellResult(0, "".join(f"{line.split()[0]} 124 \n" for line in stdin.splitlines()[1:]), "")


def test_gathering_asks_each_node_for_its_paths_and_keeps_them() -> None:
    paths = (PATHS[0], BALANCER[0])
    shell = AskedShell("w1")
    found = cut_effective.gather(paths, {"w1": shell}, timeout_s=7.0, blind=["w2"])  # type: ignore[dict-item]
    late = {path: Connect(node="w1", target=path.target, reach=Reach.TIMED_OUT) for path in paths}
    assert found == CutEvidence(paths=paths, connects=late, blind=("w2",))
    assert sorted(shell.asked) == ["7 48 0.1 -\n0 172.18.0.2 6443\n", "7 48 0.1 request\n0 172.18.0.9 6443\n"]


SHUT = Shut(nodes=frozenset({"w1", "w2"}), peers=peers_of(["172.18.0.3", "172.18.0.4", "fc00::3", "fc00::4"]))


def seen_from_the_control_plane(reach: Reach, *more: Path, shut: Shut = SHUT) -> CutEvidence:
    """Only what goes out from the control plane was measured; the workers can't be entered."""
    back = {path: found for path, found in measured(reach).connects.items() if path.source not in shut.nodes}
    return CutEvidence(paths=(*PATHS, *more), connects=back, shut=shut)


def test_a_node_that_can_not_be_entered_is_cut_off_as_the_way_back_is() -> None:
    finding = cut_effective.judge(OPEN, seen_from_the_control_plane(Reach.TIMED_OUT))
    assert (finding.status, finding.summary) == (Status.HEALTHY, "8 of 8 paths blocked")
    assert "can't be entered while it is cut off; the way back: open before" in finding.evidence[0].detail


def test_a_way_back_that_is_open_leaves_the_way_there_open_too() -> None:
    finding = cut_effective.judge(OPEN, seen_from_the_control_plane(Reach.OPEN))
    assert finding.status is Status.UNHEALTHY


def test_a_way_back_that_was_not_open_before_proves_nothing_of_the_way_there() -> None:
    before = replace(
        OPEN, connects={**OPEN.connects, PATHS[-1]: connect(PATHS[-1].target, Reach.REFUSED, "cp")}
    )
    assert cut_effective.judge(before, seen_from_the_control_plane(Reach.TIMED_OUT)).status is Status.UNKNOWN
    alone = CutEvidence(paths=PATHS[:1], connects={}, shut=SHUT)
    assert cut_effective.judge(OPEN, alone).status is Status.UNKNOWN


@pytest.mark.parametrize(
    ("host", "status"),
    [("172.18.0.9", Status.UNKNOWN), ("172.18.0.4", Status.HEALTHY), ("127.0.0.1", Status.HEALTHY)],
)
def test_where_a_shut_nodes_kubelet_connects_must_be_dropped_or_its_own(host: str, status: Status) -> None:
    """A load balancer that is not dropped may well serve it: nobody can look."""
    there = Path(source="w1", towards="", target=Target(host, 6443))
    opened = {there: connect(there.target, Reach.OPEN, "w1")}
    before = CutEvidence(paths=(*PATHS, there), connects={**OPEN.connects, **opened})
    assert cut_effective.judge(before, seen_from_the_control_plane(Reach.TIMED_OUT, there)).status is status


def test_nothing_is_tried_from_a_node_that_is_shut() -> None:
    evidence = cut_effective.gather(PATHS, {}, timeout_s=0.1, shut=SHUT)
    assert {path.source for path in evidence.connects} == {"cp"}


def test_evidence_says_what_it_is_of() -> None:
    kept, left_out = (Path(source="w1", towards="w2", target=Target("172.18.0.9", 22)),), LeftOut(paths=3)
    found = cut_effective.gather((), {}, blind=("w9",), shut=SHUT, kept=kept, left_out=left_out)
    assert (found.blind, found.shut, found.kept, found.left_out) == (("w9",), SHUT, kept, left_out)


# The control plane stays together


MASTERS = (
    node("cp1", "172.18.0.2", "fc00::2", control_plane=True),
    node("cp2", "172.18.0.5", "fc00::5", control_plane=True),
)
KEPT = tuple(path for path in paths_within(MASTERS) if path.target.port in (6443, 2380))


def kept(reaches: dict[Path, Reach], otherwise: Reach = Reach.OPEN) -> CutEvidence:
    """All paths to be cut are as they should be; those to be kept are so."""
    connects = {
        path: Connect(node=path.source, target=path.target, reach=reaches.get(path, otherwise))
        for path in KEPT
    }
    return CutEvidence(paths=PATHS, connects={**measured(Reach.TIMED_OUT).connects, **connects}, kept=KEPT)


def before_it(reaches: dict[Path, Reach] | None = None) -> CutEvidence:
    found = kept(reaches or {})
    return replace(found, connects={**found.connects, **measured(Reach.OPEN).connects})


def test_a_control_plane_that_stays_together_is_told_path_by_path() -> None:
    finding = cut_effective.judge(before_it(), kept({}))
    assert (finding.status, finding.summary) == (Status.HEALTHY, "8 of 8 paths blocked")
    open_still = [row.status for row in finding.evidence if row.detail == "kept open"]
    assert open_still == [Status.HEALTHY] * len(KEPT) == [Status.HEALTHY] * 8


@pytest.mark.parametrize("reach", [Reach.TIMED_OUT, Reach.NO_ROUTE])
def test_a_control_plane_that_is_cut_apart_is_unhealthy_and_said_first(reach: Reach) -> None:
    finding = cut_effective.judge(before_it(), kept({KEPT[0]: reach, KEPT[3]: reach}))
    assert finding.status is Status.UNHEALTHY
    assert finding.summary == (
        f"Node/cp1 → 172.18.0.5:6443 (Node/cp2, IPv4): the control plane is cut apart: open before the cut, {reach} now"
        "; 8 of 8 paths blocked"
    )
    assert cut_effective.closed(before_it(), kept({KEPT[0]: reach, KEPT[3]: reach})) == (KEPT[0], KEPT[3])


@pytest.mark.parametrize("reach", [Reach.REFUSED, Reach.RESET])
def test_a_host_that_answers_is_reached_whatever_became_of_its_server(reach: Reach) -> None:
    assert cut_effective.judge(before_it(), kept({}, reach)).status is Status.HEALTHY


def test_a_path_to_be_kept_that_was_closed_before_proves_nothing_either_way() -> None:
    one_server = {path: Reach.REFUSED for path in KEPT if path.target.port == 2380}
    finding = cut_effective.judge(before_it(one_server), kept(one_server, Reach.OPEN))
    assert finding.status is Status.HEALTHY
    assert cut_effective.closed(before_it(one_server), kept({}, Reach.TIMED_OUT)) == tuple(
        path for path in KEPT if path.target.port == 6443
    )


def test_a_pair_between_which_nothing_was_open_is_not_known_to_stay_together() -> None:
    shut = {path: Reach.TIMED_OUT for path in KEPT if path.source == "cp2"}
    finding = cut_effective.judge(before_it(shut), kept(shut))
    assert finding.status is Status.UNKNOWN
    assert finding.summary == (
        "8 of 8 paths blocked; Node/cp2 → Node/cp1: no path between them was open before the cut, "
        "so it can't be seen that they stay together"
    )


def test_a_path_to_be_kept_that_was_not_measured_is_unknown() -> None:
    lost = replace(
        kept({}),
        connects={
            **kept({}).connects,
            KEPT[1]: Connect(node="cp1", target=KEPT[1].target, reach=Reach.UNKNOWN, detail="not answered"),
        },
    )
    finding = cut_effective.judge(before_it(), lost)
    assert (finding.status, said_of(KEPT[1], finding)) == (Status.UNKNOWN, "not answered")
    missing = {path: found for path, found in kept({}).connects.items() if path != KEPT[1]}
    finding = cut_effective.judge(before_it(), replace(kept({}), connects=missing))
    assert (finding.status, said_of(KEPT[1], finding)) == (Status.UNKNOWN, "not measured")


def said_of(path: Path, finding: Finding) -> str:
    return next(row.detail for row in finding.evidence if f"{path.source} → {path.target} (" in row.subject)


def test_a_way_through_a_proxy_is_closed_where_it_is_reset() -> None:
    """A load balancer accepts, and has nobody to pass it on to."""
    through = Path(source="cp1", towards="", target=Target("172.18.0.100", 6443))
    opened = connect(through.target, Reach.OPEN, "cp1")
    before = replace(before_it(), connects={**before_it().connects, through: opened})
    for reach, is_closed in ((Reach.RESET, True), (Reach.TIMED_OUT, True), (Reach.REFUSED, False)):
        after = replace(
            kept({}),
            kept=(*KEPT, through),
            connects={**kept({}).connects, through: connect(through.target, reach, "cp1")},
        )
        assert cut_effective.closed(before, after) == ((through,) if is_closed else ())


def test_only_what_was_open_is_measured_again(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr(
        cut_effective, "gather", lambda paths, shells, **more: asked.append((paths, shells, more))
    )
    closed_before = before_it({KEPT[0]: Reach.REFUSED})
    cut_effective.gather_again(closed_before, {}, shut=SHUT)
    assert asked == [(PATHS, {}, {"shut": SHUT, "kept": list(KEPT[1:])})]


def test_paths_within_a_control_plane_go_to_all_its_ports_and_nodes() -> None:
    third = node("cp3", "172.18.0.6", control_plane=True)
    found = paths_within((*MASTERS, third))
    assert len(found) == len(set(found)) == 4 * (2 + 1 + 2 + 1 + 2 + 2)
    assert {path.target.port for path in found} == {6443, 2379, 2380, 10250}
    assert paths_within(MASTERS[:1]) == ()


def test_a_kubelet_of_the_control_plane_has_its_path_unless_it_leads_to_its_own_node() -> None:
    servers = {"cp1": [Target("172.18.0.9", 6443), Target("172.18.0.2", 6443), Target("172.18.0.100", 6443)]}
    held = {"172.18.0.2": "cp1", "172.18.0.100": "cp2"}
    assert set(paths_within(MASTERS, servers, held)) - set(paths_within(MASTERS)) == {
        Path(source="cp1", towards="", target=Target("172.18.0.9", 6443)),
        Path(source="cp1", towards="cp2", target=Target("172.18.0.100", 6443)),
    }


def test_what_answers_although_it_is_cut_is_named() -> None:
    reaches = [
        Reach.OPEN,
        Reach.REFUSED,
        Reach.RESET,
        Reach.TIMED_OUT,
        Reach.NO_ROUTE,
        Reach.UNKNOWN,
        Reach.UNRESOLVED,
    ]
    connects = {
        path: Connect(node=path.source, target=path.target, reach=reach)
        for path, reach in zip(PATHS, reaches, strict=False)
    }
    balancer = {BALANCER[0]: Connect(node="w1", target=BALANCER[0].target, reach=Reach.RESET)}
    found = CutEvidence(paths=(*PATHS, BALANCER[0]), connects={**connects, **balancer})
    assert cut_effective.answering(found) == PATHS[:3]


# Of many paths a sample


def many(workers: int, masters: int = 1) -> tuple[Path, ...]:
    control_plane = [
        node(f"cp{number:03}", f"10.0.{number}.1", f"fd00::{number}", control_plane=True)
        for number in range(masters)
    ]
    others = [
        node(f"w{number:03}", f"10.1.{number % 256}.{number // 256}", f"fd01::{number}")
        for number in range(workers)
    ]
    return paths_between((*control_plane, *others))


def control_plane(paths: Iterable[Path]) -> set[str]:
    return {path.source for path in paths if path.source.startswith("cp")}


def family(path: Path) -> int:
    return 6 if ":" in path.target.host else 4


def test_few_paths_are_all_measured() -> None:
    paths = many(20, 3)
    assert cut_effective.sampled(paths, control_plane(paths)) == (paths, LeftOut())
    assert cut_effective.sampled((), set()) == ((), LeftOut())


@pytest.mark.parametrize(("workers", "masters"), [(125, 1), (100, 3), (350, 3), (300, 5)])
def test_of_many_paths_each_node_is_at_the_end_of_one(workers: int, masters: int) -> None:
    paths = many(workers, masters)
    first = control_plane(paths)
    found, left_out = cut_effective.sampled(paths, first)
    assert (len(found) + left_out.paths, left_out.nodes) == (len(paths), ())
    assert {end for path in paths for end in (path.source, path.towards)} == {
        end for path in found for end in (path.source, path.towards)
    }
    ways = {(path.source in first, family(path)) for path in found}
    assert ways == {(True, 4), (True, 6), (False, 4), (False, 6)}
    by_source = Counter(path.source for path in found)
    assert max(by_source.values()) <= cut_effective.MOST_FROM
    assert len(by_source) <= cut_effective.MOST_SOURCES + masters
    assert cut_effective.sampled(paths, first) == (found, left_out)
    assert left_out.paths > 0


def test_nodes_that_no_sample_has_room_for_are_said() -> None:
    paths = many(500)
    found, left_out = cut_effective.sampled(paths, {"cp000"})
    missed = {path.source for path in paths} - {end for path in found for end in (path.source, path.towards)}
    assert set(left_out.nodes) == missed
    assert len(missed) == 500 - cut_effective.MOST_FROM - cut_effective.MOST_SOURCES
    finding = cut_effective.judge(
        replace(all_reach(found, Reach.OPEN), left_out=left_out), all_reach(found, Reach.TIMED_OUT)
    )
    assert finding.status is Status.HEALTHY
    assert finding.summary == (
        f"{len(found)} of {len(found)} paths blocked; {left_out.paths} more paths are not in the sample, "
        f"with {len(missed)} nodes ({', '.join(sorted(missed)[:5])} and {len(missed) - 5} more)"
    )


@pytest.mark.parametrize(
    ("nodes", "missed"),
    [
        (0, ""),
        (2, ", with 2 nodes (w0, w1)"),
        (5, ", with 5 nodes (w0, w1, w2, w3, w4)"),
        (6, ", with 6 nodes (w0, w1, w2, w3, w4 and 1 more)"),
    ],
)
def test_what_a_sample_does_without_is_said(nodes: int, missed: str) -> None:
    left_out = LeftOut(paths=7, nodes=tuple(f"w{number}" for number in range(nodes)))
    assert str(left_out) == f"7 more paths are not in the sample{missed}"


def all_reach(paths: tuple[Path, ...], reach: Reach) -> CutEvidence:
    connects = {path: Connect(node=path.source, target=path.target, reach=reach) for path in paths}
    return CutEvidence(paths=paths, connects=connects)


def test_execs_through_an_api_server_are_fewer_as_each_takes_longer() -> None:
    nodes = [node(f"w{number}", f"10.1.{number}.1") for number in range(100)]
    found, left_out = cut_effective.sampled(paths_of_api_servers(nodes), set())
    assert (len(found), left_out.paths) == (cut_effective.MOST_THROUGH, 100 - cut_effective.MOST_THROUGH)


def test_a_sample_is_over_in_seconds_however_many_paths_there_are() -> None:
    """By its rounds: so many connects at once, of which each has its time limit."""
    rounds = -(-cut_effective.MOST_FROM // cut_effective.LANES)
    assert rounds * (CONNECT_TIMEOUT_S + 0.2) < 7
    assert cut_effective.MOST_SOURCES <= 2 * MAX_NODES_AT_ONCE


def test_of_many_paths_these_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few enough to be seen at a glance: one to each other node first, its families in turn, and all nodes in turn."""
    monkeypatch.setattr(cut_effective, "MOST_FROM", 3)
    monkeypatch.setattr(cut_effective, "MOST_SOURCES", 2)
    monkeypatch.setattr(cut_effective, "MOST_THROUGH", 2)
    workers = [node(f"w{number}", f"10.1.0.{number}", f"fd01::{number}") for number in range(1, 6)]
    masters = [node("cp1", "10.0.0.1", control_plane=True), node("cp2", "10.0.0.2", control_plane=True)]
    paths = (*paths_between((*masters, *workers)), *paths_of_api_servers(workers))
    found, left_out = cut_effective.sampled(paths, {"cp1", "cp2"})
    assert [f"{path.source or 'api'} {path.target.host}" for path in found] == FEW_OF_MANY
    assert left_out == LeftOut(paths=len(paths) - len(found), nodes=())
    alone = [path for path in paths if path.source not in ("", "cp1", "cp2")]
    found, left_out = cut_effective.sampled(alone, set())
    assert {path.source for path in found} == {"w1", "w2"}
    assert left_out == LeftOut(paths=len(alone) - len(found), nodes=("w3", "w4", "w5"))


FEW_OF_MANY = [
    "w1 10.0.0.1",
    "w1 10.0.0.2",
    "w2 10.0.0.1",
    "w2 10.0.0.2",
    "cp1 10.1.0.1",
    "cp1 fd01::2",
    "cp1 10.1.0.3",
    "cp2 10.1.0.1",
    "cp2 fd01::4",
    "cp2 10.1.0.5",
    "api 10.1.0.1",
    "api 10.1.0.5",
]


def test_nodes_at_the_end_of_no_path_yet_come_first_of_those_where_paths_begin(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cut_effective, "MOST_FROM", 3)
    monkeypatch.setattr(cut_effective, "MOST_SOURCES", 2)
    workers = [node(f"w{number}", f"10.1.0.{number}") for number in range(1, 9)]
    found, left_out = cut_effective.sampled(
        paths_between((node("cp", "10.0.0.1", control_plane=True), *workers)), {"cp"}
    )
    assert [(path.source, path.towards) for path in found] == [
        ("w4", "cp"),
        ("w5", "cp"),
        ("cp", "w1"),
        ("cp", "w2"),
        ("cp", "w3"),
    ]
    assert left_out == LeftOut(paths=11, nodes=("w6", "w7", "w8"))


# From an API server that is no node


POD = NodeAccess(transport="pod")


@dataclass(frozen=True)
class EnteredPod(PodShell):
    """A node that is entered through an API server, which reaches its kubelet, does not, or can't be asked."""

    node: str
    way: NodeAccess = POD
    answer: bool | None = True
    meeting: threading.Barrier | None = None

    def is_reached(self, *, timeout_s: float) -> bool | None:
        assert timeout_s == cut_effective.THROUGH_S
        if self.meeting:
            self.meeting.wait()
        return self.answer


def test_an_api_server_has_a_path_to_the_first_address_of_each_kubelet() -> None:
    nodes = (node("w1", "10.0.0.1", "fc00::1"), node("w2"), node("w3", "fc00::3"))
    assert paths_of_api_servers(nodes) == (
        Path(source="", towards="w1", target=Target("10.0.0.1", 10250)),
        Path(source="", towards="w3", target=Target("fc00::3", 10250)),
    )
    assert [path.target.port for path in paths_of_api_servers(nodes, kubelet_port=7)] == [7, 7]


@pytest.mark.parametrize(
    ("answer", "reach"), [(True, Reach.OPEN), (False, Reach.TIMED_OUT), (None, Reach.UNKNOWN)]
)
def test_what_an_api_server_reaches_is_told_by_whether_it_enters(answer: bool | None, reach: Reach) -> None:
    (path,) = paths_of_api_servers([node("w1", "10.0.0.1")])
    found = cut_effective.gather([path], {"w1": EnteredPod("w1", answer=answer)})
    said = "by exec, through an API server"
    assert found.connects == {path: Connect(node="", target=path.target, reach=reach, detail=said)}
    by_docker = cut_effective.gather([path], {"w1": LocalShell()})  # type: ignore[dict-item]
    assert by_docker.connects[path].reach is Reach.UNKNOWN


def test_an_api_server_is_asked_to_enter_many_nodes_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """More than an executor has threads for unless it is told."""
    monkeypatch.setattr(cut_effective, "AT_ONCE", 33)
    meeting = threading.Barrier(33, timeout=20)
    nodes = [node(f"w{number}", f"10.0.0.{number}") for number in range(33)]
    found = cut_effective.gather(
        paths_of_api_servers(nodes), {each.name: EnteredPod(each.name, meeting=meeting) for each in nodes}
    )
    assert [each.reach for each in found.connects.values()] == [Reach.OPEN] * 33


THROUGH = Path(source="", towards="w1", target=Target("172.18.0.3", 10250))


def through(reach: Reach) -> CutEvidence:
    return CutEvidence(paths=(THROUGH,), connects={THROUGH: connect(THROUGH.target, reach, "")})


def test_a_way_from_an_api_server_is_named_as_such() -> None:
    finding = cut_effective.judge(through(Reach.OPEN), through(Reach.OPEN))
    assert finding.summary == "IPv4 left open: an API server → 172.18.0.3:10250 answers; 0 of 1 paths blocked"
    assert finding.evidence[0].subject == "an API server → 172.18.0.3:10250 (Node/w1, IPv4)"
    assert cut_effective.entered([THROUGH, PATHS[-1]]) == {"w1", "cp"}


WAY_THERE = {4: PATHS[0], 6: PATHS[1]}
WAYS_BACK = {4: PATHS[4], 6: PATHS[5]}


def judged_by_the_way_back(there: Path, back: Path, before: Reach, after: Reach) -> tuple[Status, str]:
    opened = {there: connect(there.target, Reach.OPEN, "w1"), back: connect(back.target, before, back.source)}
    now = {back: connect(back.target, after, back.source)}
    finding = cut_effective.judge(
        CutEvidence(paths=(there, back), connects=opened),
        CutEvidence(paths=(there, back), connects=now, shut=SHUT),
    )
    return finding.evidence[0].status, finding.evidence[0].detail


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize(
    ("before", "after", "status", "said"),
    [
        (Reach.OPEN, Reach.TIMED_OUT, Status.HEALTHY, "open before, timed out now"),
        (Reach.OPEN, Reach.RESET, Status.UNHEALTHY, "still answers: reset"),
        (Reach.REFUSED, Reach.NO_ROUTE, Status.UNKNOWN, "was refused before the cut, so it proves nothing"),
    ],
)
def test_a_way_back_of_the_same_family_tells_of_the_way_there(
    family: int, before: Reach, after: Reach, status: Status, said: str
) -> None:
    cut_off = "can't be entered while it is cut off; the way back: "
    for back in (WAYS_BACK[family], THROUGH):
        found = judged_by_the_way_back(WAY_THERE[family], back, before, after)
        assert found == (status, f"{cut_off}{said}")
    nothing = "it can't be entered while it is cut off, and no way back to it was measured"
    other = judged_by_the_way_back(WAY_THERE[family], WAYS_BACK[10 - family], before, after)
    assert other == (Status.UNKNOWN, nothing)


def test_of_several_ways_back_the_worst_is_told() -> None:
    there, backs = PATHS[0], (PATHS[4], THROUGH)
    before = {path: connect(path.target, Reach.OPEN, path.source) for path in (there, *backs)}
    now = {
        PATHS[4]: connect(PATHS[4].target, Reach.TIMED_OUT, "cp"),
        THROUGH: connect(THROUGH.target, Reach.OPEN, ""),
    }
    paths = (there, *backs)
    finding = cut_effective.judge(
        CutEvidence(paths=paths, connects=before), CutEvidence(paths=paths, connects=now, shut=SHUT)
    )
    assert finding.evidence[0].detail.endswith("; the way back: still answers: open")


@pytest.mark.parametrize(
    ("before", "said"),
    [
        ({}, "was not measured before the cut, so it proves nothing"),
        ({PATHS[0]: Reach.REFUSED}, "was refused before the cut, so it proves nothing"),
    ],
)
def test_a_way_there_that_was_never_open_proves_nothing_whatever_the_way_back(
    before: dict[Path, Reach], said: str
) -> None:
    known = {path: connect(path.target, reach, "w1") for path, reach in before.items()}
    closed_now = {PATHS[4]: connect(PATHS[4].target, Reach.TIMED_OUT, "cp")}
    paths = (PATHS[0], PATHS[4])
    opened = {PATHS[4]: connect(PATHS[4].target, Reach.OPEN, "cp")}
    finding = cut_effective.judge(
        CutEvidence(paths=paths, connects={**opened, **known}),
        CutEvidence(paths=paths, connects=closed_now, shut=SHUT),
    )
    assert (finding.evidence[0].status, finding.evidence[0].detail) == (Status.UNKNOWN, said)


def test_where_a_shut_nodes_kubelet_connects_that_is_not_dropped_is_said() -> None:
    there = Path(source="w1", towards="", target=Target("172.18.0.9", 6443))
    assert judged_by_the_way_back(there, WAYS_BACK[4], Reach.OPEN, Reach.TIMED_OUT) == (
        Status.UNKNOWN,
        "its kubelet connects there, the cut does not drop it, and it can't be entered now",
    )
