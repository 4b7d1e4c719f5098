"""Three control-plane nodes: etcd and the API servers are spared among themselves, and a run may be lost with its node.

`chaosext testbed up --name trio --config tests/kind/three-control-planes.yaml`, and `CHAOSEXT_TESTBED=trio`.
"""

from __future__ import annotations

import json
import time
from itertools import permutations
from typing import TYPE_CHECKING

import pytest

from .conftest import NAME, docker, kubectl, node_names
from .test_gameday import TTL_S as TTL_OF_A_STORY_S
from .test_gameday import Job, next_run_tells, require_nothing_left, schedule, settings, take_away, wait
from .test_pod_transport import LATEST_S, chaosext, cut_seen, experiment, live, make_namespace, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONTROL_PLANES = tuple(f"{NAME}-control-plane{number}" for number in ("", "2", "3"))
BALANCER = f"{NAME}-external-load-balancer"

ETCD_PORTS = (2379, 2380)
API_PORT = 6443

TTL_S = 60
LOST_S = 90
"""Longer than a grace period of 20 s, and the time that a node's return takes."""

CONNECT = "exec 3<>/dev/tcp/{address}/{port}"
ETCD = "curl --silent --max-time 5 http://127.0.0.1:2381/{path}"
"""Where kubeadm's etcd serves its metrics (kubeadm's constants.go, EtcdMetricsPort)."""


def workers() -> list[str]:
    return [name for name in node_names() if name not in CONTROL_PLANES]


@pytest.fixture(scope="module", autouse=True)
def three() -> Iterator[None]:
    """Skip, saying why, where the testbed has another control plane."""
    if not set(CONTROL_PLANES) <= set(node_names()):
        pytest.skip(
            f"testbed {NAME} has no three control-plane nodes: see tests/kind/three-control-planes.yaml"
        )
    make_namespace()
    yield
    take_away()


def addresses() -> dict[str, str]:
    said = json.loads(docker("inspect", *node_names(), BALANCER))
    return {
        each["Name"].lstrip("/"): each["NetworkSettings"]["Networks"]["kind"]["IPAddress"] for each in said
    }


def answers(node: str, script: str) -> bool:
    """Whether a script succeeds on the node, within the time in which a packet that isn't dropped comes through."""
    done = docker("exec", node, "bash", "-c", f"timeout 3 bash -c '{script}' 2>/dev/null && echo yes || true")
    return done.strip().endswith("yes")


def reaches(source: str, address: str, port: int) -> bool:
    return answers(source, CONNECT.format(address=address, port=port))


def is_served_through(node: str, host: str) -> bool:
    """Whether an API server answers the node at `host`, which may accept while nobody is behind it."""
    return answers(node, f"curl --silent --insecure --fail --max-time 2 https://{host}:{API_PORT}/readyz")


def require_spared() -> None:
    """Among the control-plane nodes all is as ever: connections, etcd's leader, and what each API server says."""
    at = addresses()
    for source, towards in permutations(CONTROL_PLANES, 2):
        for port in (*ETCD_PORTS, API_PORT):
            assert reaches(source, at[towards], port), f"{source} to {towards}:{port}"
    for node in CONTROL_PLANES:
        metrics = docker("exec", node, *ETCD.format(path="metrics").split())
        assert "\netcd_server_has_leader 1\n" in metrics, node
        assert json.loads(docker("exec", node, *ETCD.format(path="health").split()))["health"] == "true", node
        assert "[+]etcd ok" in asked(node, "get", "--raw=/readyz?verbose")
        asked(node, "annotate", "namespace", "default", f"seen={time.monotonic_ns()}", "--overwrite")


def asked(node: str, *words: str) -> str:
    """What the API server on this very node says."""
    local = ("--kubeconfig=/etc/kubernetes/admin.conf", f"--server=https://localhost:{API_PORT}")
    return docker("exec", node, "kubectl", *local, *words)


def require_cut_off() -> None:
    """No worker gets through to an API server, be it through the load balancer, nor any of them to its kubelet."""
    at = addresses()
    for worker in workers():
        for node in CONTROL_PLANES:
            assert not reaches(worker, at[node], API_PORT), f"{worker} to {node}"
            assert not reaches(node, at[worker], 10250), f"{node} to {worker}"
        assert not is_served_through(worker, BALANCER), worker


def ready() -> dict[str, str]:
    path = "{range .items[*]}{.metadata.name} {.status.conditions[?(@.type=='Ready')].status}{'\\n'}{end}"
    return dict(line.split() for line in kubectl("get", "nodes", "-o", f"jsonpath={path}").splitlines())


def test_a_cut_spares_etcd_and_the_api_servers_among_themselves(tmp_path: Path) -> None:
    path = experiment(tmp_path, ttl_s=TTL_OF_A_STORY_S, whole=True)
    with running(path, tmp_path / "state", "--expect", "deviated") as process:
        wait("the cut on all of them", lambda: all(map(live, CONTROL_PLANES)), 300, every_s=0.5)
        require_spared()
        require_cut_off()
        lost = dict.fromkeys(workers(), "Unknown") | dict.fromkeys(CONTROL_PLANES, "True")
        wait("the workers NotReady, and nobody else", lambda: ready() == lost, 60)
        require_spared()
        assert all(map(live, CONTROL_PLANES)), "the cut was over too soon to be looked at"
        assert process.wait(900) == 0, (tmp_path / "log").read_text()[-3000:]
    assert "rollback verified: the steady state holds again" in (tmp_path / "log").read_text()
    assert set(ready().values()) == {"True"}
    require_nothing_left()
    seen = json.loads(chaosext("status", "--cluster", NAME, "--json", state=tmp_path / "state").stdout)
    assert (seen["exit_code"], [each["node"] for each in seen["nodes"]]) == (0, node_names())


def test_a_run_that_is_lost_with_its_control_plane_node_is_healed_by_the_kernels_and_swept_by_the_next() -> (
    None
):
    first, lost, third = CONTROL_PLANES
    there = {"kubernetes.io/hostname": lost}
    held = {"ttl_s": TTL_S, "dead_man_s": 0}
    schedule(settings(node_selector=there, configuration=held, results={}))
    job = Job.begin("lost")
    with cut_seen(400, first) as late_s, cut_seen(30, third) as late_too_s:
        assert live(lost)
        assert job.pod["spec"]["nodeName"] == lost
        docker("kill", "--signal=KILL", lost)
        try:
            assert late_s() <= LATEST_S
            assert late_too_s() <= LATEST_S
            wait("the node missed", lambda: ready()[lost] != "True", LOST_S)
        finally:
            docker("start", lost)
    assert not live(lost), "a node that was restarted brings a cut back"
    wait("all nodes Ready", lambda: set(ready().values()) == {"True"}, LOST_S, every_s=2)
    wait("etcd whole", lambda: is_whole(lost), LOST_S, every_s=2)
    assert "of run" in next_run_tells("after-loss", results={})


def is_whole(node: str) -> bool:
    """Whether the API server on the node serves again, over an etcd that has a leader."""
    return answers(node, f"curl --silent --insecure --fail https://localhost:{API_PORT}/readyz")
