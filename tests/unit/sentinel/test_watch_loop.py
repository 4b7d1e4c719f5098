"""A plan becomes measurements: one mark for each signal, in the plan's order; and the kernel's and BIRD's words."""

from __future__ import annotations

import socket
import struct
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from chaosext.model.signal import Mark
from chaosext.sentinel import bird_sessions, kernel_routes, sidecar_stats, watch_loop
from chaosext.sentinel.bird_sessions import Session, is_whole
from chaosext.sentinel.kernel_routes import Route
from chaosext.sentinel.socket_loop import drive
from chaosext.sentinel.watch_loop import Memory, Watch, check
from chaosext.sentinel.watch_plan import Named, Sidecar, WatchPlan

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PLAN = WatchPlan(run="run-1", dns_name="name.test", timeout_s=0.3)
BIRD = b"""0001 BIRD 1.6.8 ready.
2002-name     proto    table    state  since       info
1002-Node_172_18_0_5 BGP      master   up     13:40:02    Established
1006-  Neighbor address: 172.18.0.5
1002-Node_172_18_0_9 BGP      master   start  13:40:02    Connect
1006-  Neighbor address: 172.18.0.9
0000
"""
BIRD = BIRD.replace(b"0000\n", b"0000 \n")


def round_of(plan: WatchPlan, node: str = "w1") -> str:
    return Watch(plan, node, Memory()).round()


@pytest.fixture
def closed() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return f"127.0.0.1:{listening.getsockname()[1]}"


@pytest.fixture
def served() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"127.0.0.1:{listening.getsockname()[1]}"


def test_a_plan_of_nothing_has_no_marks() -> None:
    assert round_of(PLAN) == ""


def test_marks_stand_in_the_order_of_the_signals(closed: str, served: str) -> None:
    targets = tuple(Named(target=each) for each in (closed, served, closed))
    assert round_of(replace(PLAN, tcp=targets)) == "r+r"


def test_where_istiod_is_refused_a_sidecar_that_is_unknown_is_down(closed: str, served: str) -> None:
    """Nobody answers on the sidecars' ports: 127.9.9.9 is loopback, so both are refused."""
    plan = replace(
        PLAN,
        tcp=(Named(target=closed), Named(target=served)),
        sidecars=(
            Sidecar(node="w1", pod="Pod/shop/a", address="127.9.9.9"),
            Sidecar(node="w2", pod="Pod/shop/b", address="127.9.9.8"),
        ),
    )
    assert round_of(replace(plan, istiod=closed)) == "r+r-"
    assert round_of(replace(plan, istiod=served)) == "r+r-"


def test_a_sidecar_whose_15021_says_200_while_istiod_is_unreachable_is_not_synced(
    monkeypatch: pytest.MonkeyPatch, closed: str, served: str
) -> None:
    """The false green of Istio's readiness, and of an Envoy that still believes in its stream."""
    stats = b'envoy_cluster_upstream_%s{cluster_name="xds-grpc"} %d\n'
    body = b"".join(
        stats % pair for pair in ((b"rq_active", 1), (b"rq_total", 1), (b"cx_rx_bytes_total", 40000))
    )
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            for _ in range(4):
                connection, _ = listening.accept()
                with connection:
                    connection.recv(1000)
                    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + body)

        thread = threading.Thread(target=serve)
        thread.start()
        port = listening.getsockname()[1]
        monkeypatch.setattr(sidecar_stats, "READY_PORT", port)
        monkeypatch.setattr(sidecar_stats, "STATS_PORT", port)
        cart = (Sidecar(node="w1", pod="Pod/shop/cart", address="127.0.0.1"),)
        plan = replace(PLAN, tcp=(Named(target=closed), Named(target=served)), sidecars=cart)
        assert round_of(replace(plan, istiod=served)) == "r+++"
        assert round_of(replace(plan, istiod=closed)) == "r++-"
        thread.join()


@pytest.mark.parametrize(
    "plan",
    [
        replace(PLAN, interval_s=0.1),
        replace(PLAN, timeout_s=1.1),
        replace(PLAN, timeout_s=0.0),
        replace(PLAN, istiod="10.0.0.1:15012"),
        replace(PLAN, dns_servers=(Named(target="kube-dns"),)),
        replace(PLAN, dns_servers=(Named(target="10.0.0.1"),), dns_name=""),
        replace(PLAN, dns_servers=(Named(target="10.0.0.1"),), dns_expected=("here",)),
        replace(PLAN, tcp=(Named(target="10.0.0.1"),)),
        replace(PLAN, routes=(Named(target="10.0.0.0/24"),)),
        replace(PLAN, sidecars=(Sidecar(node="w1", pod="Pod/shop/a", address=""),)),
    ],
)
def test_what_can_not_be_measured_is_refused_before_anything_is(plan: WatchPlan) -> None:
    with pytest.raises(ValueError):
        check(plan)


def test_birds_sessions_by_its_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "bird.ctl")
    monkeypatch.setattr(watch_loop, "BIRD_SOCKET", path)
    plan = replace(PLAN, bgp_peers={"w1": ("172.18.0.5", "172.18.0.9", "172.18.0.7", "fd00::5")})
    assert round_of(plan) == "????"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                assert connection.recv(100) == b"show protocols all\n"
                connection.sendall(BIRD[:100])
                time.sleep(0.02)
                connection.sendall(BIRD[100:])
                connection.recv(1)

        thread = threading.Thread(target=serve)
        thread.start()
        assert round_of(plan) == "+--?"
        thread.join()


def test_a_bird_that_does_not_finish_is_unknown(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "bird.ctl"))
        listening.listen()
        began_s = time.monotonic()
        probe = bird_sessions.ask(str(tmp_path / "bird.ctl"), ["172.18.0.5"])
        assert drive([probe], began_s + 0.2) == [[Mark.UNKNOWN]]
        assert time.monotonic() - began_s < 1


def test_birds_last_line_ends_its_answer() -> None:
    assert is_whole(BIRD)
    assert is_whole(b"0001 BIRD ready.\n9001 syntax error\n")
    assert not is_whole(BIRD[:-6])


def test_a_peer_is_the_same_however_its_address_is_written() -> None:
    up = [Session(peer="fd00:0::5", established=True, state="up Established")]
    assert bird_sessions.marks(up, ["fd00::5", "fd00::6"]) == [Mark.GOOD, Mark.DOWN]


@pytest.mark.parametrize(
    ("route", "mark"),
    [
        (Route(prefix_bits=26, protocol=12, scope=0, kind=1), Mark.GOOD),  # BIRD's, to another node's block
        (Route(prefix_bits=32, protocol=3, scope=253, kind=1), Mark.GOOD),  # a local Pod's cali interface
        (Route(prefix_bits=32, protocol=2, scope=254, kind=2), Mark.GOOD),  # an address of the node's own
        (Route(prefix_bits=26, protocol=80, scope=0, kind=1), Mark.GOOD),  # Felix's, over VXLAN
        (Route(prefix_bits=16, protocol=2, scope=0, kind=1), Mark.DOWN),  # the whole Pod network, static
        (Route(prefix_bits=0, protocol=12, scope=0, kind=1), Mark.DOWN),  # a default route, whoever told it
        (Route(prefix_bits=26, protocol=12, scope=0, kind=6), Mark.DOWN),  # blackhole
        (101, Mark.NO_ROUTE),  # ENETUNREACH
        (22, Mark.NO_ROUTE),  # EINVAL, as for a blackhole
        (24, Mark.UNKNOWN),  # EMFILE
    ],
)
def test_a_route_of_its_own_is_one_that_was_learned_or_is_direct(route: Route | int, mark: Mark) -> None:
    assert kernel_routes.mark(route) is mark


def test_the_kernels_answer_is_read() -> None:
    header = struct.pack("=IHHII", 28, 24, 0, 1, 0)
    assert kernel_routes.parse(header + struct.pack("=BBBBBBBBI", 2, 26, 0, 0, 254, 12, 0, 1, 0)) == Route(
        prefix_bits=26, protocol=12, scope=0, kind=1
    )
    assert kernel_routes.parse(struct.pack("=IHHII", 36, 2, 0, 1, 0) + struct.pack("=i", -101)) == 101


def test_this_machines_own_addresses_have_a_route_of_their_own() -> None:
    assert drive([kernel_routes.ask(["127.0.0.1", "::1"])], time.monotonic() + 1) == [[Mark.GOOD, Mark.GOOD]]
