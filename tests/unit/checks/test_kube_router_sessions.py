"""bgp_established for kube-router: each node's GoBGP is asked, and a silent one is unknown, with how to settle it."""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING, Any

from api_of_objects import ApiOfObjects
from check_worlds import ScriptedShell
from checkout import ROOT
from real_clusters import daemons, machines

from chaosext.checks.cluster_model import ClusterModel
from chaosext.checks.kube_router_sessions import SCRIPT, judge, sessions_of
from chaosext.checks.suite import Surroundings, run_checks
from chaosext.model.errors import Unreachable
from chaosext.model.findings import Status
from chaosext.nodes.shell import ShellResult
from chaosext.sentinel.bird_sessions import Session
from chaosext.sentinel.gobgp_sessions import ADDRESS, QUESTION, parse_gobgp

if TYPE_CHECKING:
    from chaosext.rehearsal.snapshot.world import World

NAMES = ("w-1", "w-2", "w-3")
ANSWER = b64decode((ROOT / "tests/golden/gobgp/list-peer.b64").read_text())
"""What GoBGP 3.23.0, as in kube-router 2.1.0, said of a session that was up and one that was not."""


def objects(*flags: str) -> tuple[Any, ...]:
    agents = daemons("kube-router", NAMES, "kube-system", "kube-router", "--run-router=true", *flags)
    return (*machines(NAMES), *agents)


def world(*flags: str) -> World:
    return ClusterModel(ApiOfObjects(objects(*flags))).world  # type: ignore[arg-type]


def sessions(*peers: str, down: str = "") -> tuple[Session, ...]:
    return tuple(
        Session(peer=peer, established=peer != down, state="Active" if peer == down else "Established")
        for peer in peers
    )


def meshed(of: World, down: str = "") -> dict[str, tuple[Session, ...] | str]:
    ips = {node.name: node.internal_ips[0] for node in of.nodes}
    return {
        name: sessions(
            *(ip for other, ip in ips.items() if other != name), down=down if name == "w-1" else ""
        )
        for name in ips
    }


def test_a_recorded_answer_is_read() -> None:
    assert parse_gobgp(ANSWER) == (
        Session(peer="127.0.0.3", established=True, state="Established"),
        Session(peer="127.0.0.9", established=False, state="Active"),
    )


def test_a_whole_mesh_is_healthy() -> None:
    finding = judge(world(), meshed(world()))
    assert (finding.status, finding.summary) == (Status.HEALTHY, "6 of 6 sessions established")


def test_a_session_that_is_down_or_missing_is_named_by_its_nodes() -> None:
    of = world()
    lost = of.nodes[1].internal_ips[0]
    assert "Node/w-1 → Node/w-2: Active" in judge(of, meshed(of, down=lost)).summary
    alone = {**meshed(of), "w-1": sessions(of.nodes[2].internal_ips[0])}
    finding = judge(of, alone)
    assert finding.status is Status.UNHEALTHY
    assert "Node/w-1 → Node/w-2: GoBGP has no such session" in finding.summary


def test_sessions_with_the_fabric_count_too() -> None:
    of = world()
    with_leaf = {**meshed(of), "w-1": (*meshed(of)["w-1"], *sessions("192.0.2.1", down="192.0.2.1"))}
    finding = judge(of, with_leaf)  # type: ignore[arg-type]
    assert finding.status is Status.UNHEALTHY
    assert "192.0.2.1:179" in finding.summary


def test_without_a_mesh_only_the_sessions_that_there_are_count() -> None:
    of = world("--enable-ibgp=false", "--peer-router-ips=192.0.2.1")
    assert judge(of, dict.fromkeys(NAMES, sessions("192.0.2.1"))).status is Status.HEALTHY
    assert judge(of, dict.fromkeys(NAMES, ())).status is Status.UNHEALTHY


def test_a_node_whose_gobgp_is_silent_is_unknown_and_says_how_to_see_it() -> None:
    shells: Any = {
        "w-1": ScriptedShell("w-1", ShellResult(97, "", "connection refused")),
        "w-2": ScriptedShell("w-2", Unreachable("gone")),
    }
    api: Any = ApiOfObjects(objects())
    (finding,) = run_checks(("bgp_established",), Surroundings(cluster=api, shells=shells))
    assert finding.status is Status.UNKNOWN
    assert "gobgp neighbor" in finding.summary
    assert {row.status for row in finding.evidence} == {Status.UNKNOWN}


def test_a_recorded_answer_reaches_the_check() -> None:
    said = ShellResult(0, b64encode(ANSWER).decode(), "")
    found = sessions_of({"w-1": ScriptedShell("w-1", said)}, world())
    assert found["w-1"] == parse_gobgp(ANSWER)
    assert "no shell on the node" in found["w-2"]


def test_the_script_passes_on_what_a_server_says_that_never_hangs_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            client, _ = server.accept()
            with client:
                asked = b""
                while len(asked) < len(QUESTION):
                    asked += client.recv(1 << 16)
                if asked == QUESTION:
                    client.sendall(ANSWER)
                time.sleep(3.0)

        threading.Thread(target=serve, daemon=True).start()
        script = SCRIPT.replace(f"/{ADDRESS[1]}", f"/{server.getsockname()[1]}")
        done = subprocess.run(
            ["bash", "-c", script],
            input=b64encode(QUESTION).decode() + "\n",
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
    assert b64decode(done.stdout) == ANSWER
