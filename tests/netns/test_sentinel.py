"""The sentinel on a real kernel: what it sees of sockets, conntrack and routes, and what its record survives."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from probe_lab import CLOSED, DROPS, NO_ROUTE, RESETS, SERVERS, SERVES, SERVES_V6, Lab, lab, needs_namespaces
from sentinel_lab import COMMAND, sentinel, wait_for

from chaosext.model.signal import Watched
from chaosext.sentinel.watch_plan import Named, WatchPlan

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.netns, needs_namespaces]

CLUSTER_IP, OTHER = "10.96.0.10", "10.99.0.7"
NAME, ADDRESS = "kubernetes.default.svc.cluster.local", "192.0.2.1"
SKEWED = """
import runpy, time
right = time.time
time.time = lambda: right() + 90
runpy.run_module("chaosext.sentinel", run_name="__main__")
"""
ROUTED, STATIC = "10.244.1.5", "10.244.9.9"


@pytest.fixture(scope="module")
def here() -> Iterator[Lab]:
    """probe_lab, whose server has a second DNS server at `OTHER`, and whose node has routes like one of Calico's."""
    with lab() as made, ExitStack() as after:
        link = f"cxn{os.getpid() % 100000}"
        run("ip", "-n", made.server, "addr", "add", f"{OTHER}/24", "dev", link.replace("n", "s"))
        run("ip", "-n", made.node, "route", "add", "10.96.0.0/16", "via", SERVES)
        run("ip", "-n", made.node, "route", "add", "10.244.0.0/16", "via", SERVES, "proto", "static")
        run("ip", "-n", made.node, "route", "add", "10.244.1.0/26", "via", SERVES, "proto", "bird")
        servers = subprocess.Popen(
            ["ip", "netns", "exec", made.server, sys.executable, str(SERVERS), OTHER, OTHER],
            stdout=subprocess.PIPE,
            text=True,
        )
        after.callback(servers.communicate)
        after.callback(servers.kill)
        assert servers.stdout is not None
        assert servers.stdout.readline().strip() == "serving"
        yield made


@pytest.fixture(autouse=True)
def no_nat_left(here: Lab) -> Iterator[None]:
    yield
    for namespace in (here.node, here.server):
        run("ip", "netns", "exec", namespace, "nft", "add table ip t; delete table ip t")


def run(*argv: str) -> None:
    subprocess.run(argv, check=True, timeout=10)


def a_plan(
    *, servers: tuple[str, ...] = (), tcp: tuple[str, ...] = (), name: str = NAME, **more: object
) -> WatchPlan:
    plan = WatchPlan(
        run="run-1",
        dns_name=name,
        dns_expected=(ADDRESS,),
        dns_servers=tuple(Named(target=each) for each in servers),
        tcp=tuple(Named(target=each) for each in tcp),
        interval_s=0.5,
        timeout_s=0.4,
    )
    return replace(plan, **more)  # type: ignore[arg-type]


def lead_to(here: Lab, server: str) -> None:
    """The node's ClusterIP leads new conntrack entries to `server` from now on, as kube-proxy would."""
    rules = (
        "add table ip t; delete table ip t; table ip t { chain o { type nat hook output priority -100; "
        f"ip daddr {CLUSTER_IP} dnat to {server} ; }} ; }}"
    )
    run("ip", "netns", "exec", here.node, "nft", rules)


@contextmanager
def gone(here: Lab, server: str) -> Iterator[None]:
    """While in it, nobody answers at `server`, and nobody says so."""
    run(
        "ip", "netns", "exec", here.server, "nft",
        f"table ip t {{ chain i {{ type filter hook input priority 0; ip daddr {server} drop; }} ; }}",
    )  # fmt: skip
    yield
    run("ip", "netns", "exec", here.server, "nft", "delete table ip t")


def test_tcp_triage_tells_the_ways_in_which_a_target_can_be_lost(here: Lab, tmp_path: Path) -> None:
    targets = {
        f"{SERVES}:53": "+",
        f"[{SERVES_V6}]:53": "+",
        f"{CLOSED}:53": "r",
        f"{DROPS}:53": "t",
        f"{RESETS}:15006": "x",
        f"{NO_ROUTE}:53": "n",
    }
    with sentinel(here, a_plan(tcp=tuple(targets)), tmp_path) as it:
        wait_for(lambda: len(it.samples()) >= 3)
        assert {each: set(it.marks(Watched.TCP, each)) for each in targets} == {
            target: {mark} for target, mark in targets.items()
        }


def test_lookups_say_how_a_server_fails(here: Lab, tmp_path: Path) -> None:
    servers = {SERVES: "+", SERVES_V6: "+", CLOSED: "r", DROPS: "t", NO_ROUTE: "n"}
    with sentinel(here, a_plan(servers=tuple(servers)), tmp_path) as it:
        wait_for(lambda: len(it.samples()) >= 3)
        for kind in (Watched.DNS_UDP, Watched.DNS_UDP_KEPT, Watched.DNS_TCP):
            assert {each: set(it.marks(kind, each)) for each in servers} == {
                server: {mark} for server, mark in servers.items()
            }, kind


@pytest.mark.parametrize(
    ("name", "udp", "tcp"),
    [("nx.test", "e", "e"), ("fail.test", "e", "e"), ("mute.test", "t", "t"), ("other.test", "t", "e")],
)
def test_only_the_right_answer_to_this_very_query_counts(
    here: Lab, tmp_path: Path, name: str, udp: str, tcp: str
) -> None:
    with sentinel(here, a_plan(servers=(SERVES,), name=name), tmp_path) as it:
        wait_for(lambda: len(it.samples()) >= 2)
        assert set(it.marks(Watched.DNS_UDP, SERVES)) == {udp}
        assert set(it.marks(Watched.DNS_UDP_KEPT, SERVES)) == {udp}
        assert set(it.marks(Watched.DNS_TCP, SERVES)) == {tcp}


def test_a_wrong_address_is_an_error(here: Lab, tmp_path: Path) -> None:
    plan = a_plan(servers=(SERVES,), dns_expected=("192.0.2.77",))
    with sentinel(here, plan, tmp_path) as it:
        wait_for(lambda: len(it.samples()) >= 2)
        assert set(it.marks(Watched.DNS_UDP, SERVES)) == {"e"}


def test_a_kept_socket_goes_stale_where_a_fresh_one_works(here: Lab, tmp_path: Path) -> None:
    """Kubernetes #125467: conntrack goes on sending the old five-tuple to the endpoint that is gone."""
    lead_to(here, SERVES)
    with sentinel(here, a_plan(servers=(CLUSTER_IP,)), tmp_path) as it:
        wait_for(lambda: it.marks(Watched.DNS_UDP_KEPT, CLUSTER_IP).endswith("++"))
        with gone(here, SERVES):
            lead_to(here, OTHER)
            wait_for(lambda: it.marks(Watched.DNS_UDP_KEPT, CLUSTER_IP).endswith("ttt"))
            assert it.marks(Watched.DNS_UDP, CLUSTER_IP).endswith("++")
            assert it.marks(Watched.DNS_TCP, CLUSTER_IP).endswith("++")


def test_the_other_way_round_only_the_kept_socket_still_works(here: Lab, tmp_path: Path) -> None:
    lead_to(here, SERVES)
    with sentinel(here, a_plan(servers=(CLUSTER_IP,)), tmp_path) as it:
        wait_for(lambda: it.marks(Watched.DNS_UDP_KEPT, CLUSTER_IP).endswith("++"))
        with gone(here, OTHER):
            lead_to(here, OTHER)
            wait_for(lambda: it.marks(Watched.DNS_UDP, CLUSTER_IP).endswith("ttt"))
            assert it.marks(Watched.DNS_UDP_KEPT, CLUSTER_IP).endswith("+++")


def test_another_plan_comes_into_force_at_once_and_keeps_the_kept_socket(here: Lab, tmp_path: Path) -> None:
    lead_to(here, SERVES)
    plan = a_plan(servers=(CLUSTER_IP,))
    with sentinel(here, plan, tmp_path) as it, gone(here, OTHER):
        wait_for(lambda: it.marks(Watched.DNS_UDP_KEPT, CLUSTER_IP).endswith("++"))
        lead_to(here, OTHER)
        more = replace(plan, tcp=(Named(target=f"{SERVES}:53"),))
        assert it.ask("PUT", "/v1/plan", json.dumps(more.to_json()))[0] == 204
        wait_for(lambda: len(it.marks(Watched.TCP, f"{SERVES}:53")) >= 3)
        assert [len(head.signals) for head in it.heads()] == [3, 4]
        assert it.marks(Watched.DNS_UDP_KEPT, CLUSTER_IP).endswith("+++")
        assert [each.n for each in it.samples()] == list(range(len(it.samples())))


def test_a_cut_nodes_own_lookups_are_timed_out_over_udp_as_over_tcp(here: Lab, tmp_path: Path) -> None:
    """nftables' drop on the way out makes EPERM of a UDP send, and silence of a TCP connect: the same cause."""
    run(
        "ip", "netns", "exec", here.node, "nft",
        f"table ip t {{ chain o {{ type filter hook output priority 0; ip daddr {SERVES} drop; }} ; }}",
    )  # fmt: skip
    with sentinel(here, a_plan(servers=(SERVES,), tcp=(f"{SERVES}:53",)), tmp_path) as it:
        wait_for(lambda: len(it.samples()) >= 2)
        assert {each.marks for each in it.samples()} == {"tttt"}


def test_a_route_of_its_own_is_told_from_one_for_the_whole_pod_network(here: Lab, tmp_path: Path) -> None:
    plan = a_plan(
        bgp_peers={"node": ("10.99.0.2",)},
        routes=tuple(Named(target=each) for each in (ROUTED, STATIC, SERVES, NO_ROUTE)),
    )
    with sentinel(here, plan, tmp_path) as it:
        wait_for(lambda: len(it.samples()) >= 2)
        assert it.samples()[-1].marks == "?+-+n"  # no BIRD here, so nobody knows of its session
        run("ip", "-n", here.node, "route", "del", "10.244.1.0/26")
        wait_for(lambda: it.marks(Watched.ROUTE, ROUTED).endswith("-"))
        run("ip", "-n", here.node, "route", "add", "10.244.1.0/26", "via", SERVES, "proto", "bird")
        wait_for(lambda: it.marks(Watched.ROUTE, ROUTED).endswith("+"))


def test_a_sentinel_that_is_killed_leaves_a_gap_and_loses_nothing_else(here: Lab, tmp_path: Path) -> None:
    with sentinel(here, a_plan(tcp=(f"{SERVES}:53",)), tmp_path) as it:
        wait_for(lambda: len(it.samples()) >= 3)
        before, size, _ = it.ask("GET", "/v1/record?offset=0")
        it.kill()
        had = it.samples()
        it.start()
        wait_for(lambda: len(it.heads()) == 2 and len(it.samples()) >= len(had) + 2)
        status, _, rest = it.ask("GET", f"/v1/record?offset={size}")
        assert (before, status) == (200, 200)
        assert it.samples()[: len(had)] == had
        assert [each.n for each in it.samples()[len(had) :]][:2] == [0, 1]
        assert '"sentinel"' in rest
        whole = it.ask("GET", "/v1/record?offset=0")[2]
        assert whole.startswith((tmp_path / "record.jsonl").read_text()[:200])


def test_a_full_disk_costs_no_sample_and_is_caught_up(here: Lab, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(disk))
    try:
        (disk / "hog").write_bytes(b"x" * (12 << 10))
        plan = a_plan(tcp=(f"{SERVES}:53",), interval_s=0.2, timeout_s=0.2)
        with sentinel(here, plan, disk) as it:
            wait_for(lambda: len(it.samples()) >= 2)
            wait_for(lambda: '"disk": "No space left on device"' in it.ask("GET", "/v1/health")[2], 60)
            assert (disk / "record.jsonl").read_text().endswith("}\n")
            served = it.ask("GET", "/v1/record?offset=0")[2]
            numbers = [json.loads(line)["n"] for line in served.splitlines()[1:]]
            assert numbers == list(range(len(numbers)))
            assert len(served) > (disk / "record.jsonl").stat().st_size
            (disk / "hog").unlink()
            wait_for(lambda: '"disk": ""' in it.ask("GET", "/v1/health")[2])
            assert [each.n for each in it.samples()][: len(numbers)] == numbers
    finally:
        run("umount", str(disk))


def test_a_paused_sentinel_skips_the_numbers_of_the_seconds_it_missed(here: Lab, tmp_path: Path) -> None:
    with sentinel(here, a_plan(tcp=(f"{SERVES}:53",)), tmp_path) as it:
        wait_for(lambda: len(it.samples()) >= 3)
        process = it.process
        assert process is not None
        os.kill(process.pid, signal.SIGSTOP)
        try:
            had = len(it.samples())
            subprocess.run(["sleep", "2.2"], check=True)
        finally:
            os.kill(process.pid, signal.SIGCONT)
        wait_for(lambda: len(it.samples()) >= had + 3)
        first, last = it.samples()[0], it.samples()[-1]
        steps = [b.n - a.n for a, b in zip(it.samples(), it.samples()[1:], strict=False)]
        assert max(steps) >= 4
        assert set(it.marks(Watched.TCP, f"{SERVES}:53")) <= {
            "+",
            "?",
        }  # a target isn't to blame for the pause
        assert last.mono_s - first.mono_s == pytest.approx((last.n - first.n) * 0.5, abs=0.4)


def test_a_wall_clock_that_is_off_moves_no_sample(here: Lab, tmp_path: Path) -> None:
    """What `wall_s` says is off by 90 s; the monotonic clock, which counts, is the machine's."""
    with sentinel(here, a_plan(), tmp_path, (sys.executable, "-c", SKEWED)) as it:
        wait_for(lambda: len(it.samples()) >= 2)
        status, _, said = it.ask("GET", "/v1/clock")
        assert status == 200
        clock = json.loads(said)
        assert clock["wall_s"] - time.time() == pytest.approx(90, abs=5)
        assert it.heads()[0].wall_s - time.time() == pytest.approx(90, abs=10)


def test_a_monotonic_clock_of_its_own_is_told_with_its_wall_clock(here: Lab, tmp_path: Path) -> None:
    """Another boot's clock begins elsewhere (here: a time namespace); `/v1/clock` gives both, so it can be measured."""
    command = ("unshare", "--time", "--kill-child", "--monotonic", "5000", "--", *COMMAND)
    with sentinel(here, a_plan(), tmp_path, command) as it:
        wait_for(lambda: len(it.samples()) >= 2)
        clock = json.loads(it.ask("GET", "/v1/clock")[2])
        assert clock["mono_s"] - time.monotonic() == pytest.approx(5000, abs=5)
        assert clock["wall_s"] - time.time() == pytest.approx(0, abs=5)
        assert it.samples()[0].mono_s - time.monotonic() == pytest.approx(5000, abs=15)


def test_sigterm_ends_it_at_once(here: Lab, tmp_path: Path) -> None:
    with sentinel(here, a_plan(tcp=(f"{DROPS}:53",)), tmp_path) as it:
        wait_for(lambda: len(it.samples()) >= 1)
        process = it.process
        assert process is not None
        process.terminate()
        assert process.wait(timeout=0.5) == 0
