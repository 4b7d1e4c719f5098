"""Three control-plane nodes: etcd and the API servers are spared among themselves, and a run may be lost with its node.

`chaosext testbed up --sidecars classic --name trio --config tests/kind/three-control-planes.yaml`,
and `CHAOSEXT_TESTBED=trio`.
"""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from chaosext.testbed.kubectl import ADMIN_CONF, SERVER

from .conftest import NAME, docker, kubectl, node_names
from .test_gameday import Job, clean_up, next_run_tells, require_nothing_left, schedule, settings, wait
from .test_pod_transport import LATEST_S, chaosext, cut_seen, experiment, live, make_namespace, running

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

CONTROL_PLANES = tuple(f"{NAME}-control-plane{number}" for number in ("", "2", "3"))
BALANCER = f"{NAME}-external-load-balancer"

ETCD_PORTS = (2379, 2380)
API_PORT = 6443

Door = tuple[str, int]
"""An address and a port."""

TTL_S = 60
LOST_S = 90
"""Longer than a grace period of 20 s, and the time that a node's return takes."""

KUBELET_PORT = 10250

CONNECT = """
for door in {doors}; do
  (timeout 3 bash -c "exec 3<>/dev/tcp/$door" 2>/dev/null && echo "$door") &
done
wait
"""
READY = f"curl --silent --insecure --max-time 3 https://{{host}}:{API_PORT}/readyz || true"
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
    clean_up()


def addresses() -> dict[str, str]:
    said = json.loads(docker("inspect", *node_names(), BALANCER))
    return {
        each["Name"].lstrip("/"): each["NetworkSettings"]["Networks"]["kind"]["IPAddress"] for each in said
    }


def answering(node: str, doors: Iterable[Door]) -> set[Door]:
    """Which of `doors` let the node in, within the time in which a packet that isn't dropped comes through."""
    tried = " ".join(f"{address}/{port}" for address, port in doors)
    said = docker("exec", node, "bash", "-c", CONNECT.format(doors=tried)).split()
    return {(address, int(port)) for address, _, port in (line.partition("/") for line in said)}


def served_through(node: str, host: str) -> bool:
    """Whether an API server answers the node at `host`, which may accept while nobody is behind it."""
    return docker("exec", node, "bash", "-c", READY.format(host=host)).strip() == "ok"


def require_spared() -> None:
    """Among the control-plane nodes all is as ever: connections, etcd's leader, and what each API server says."""
    at = addresses()
    doors = {(at[node], port) for node in CONTROL_PLANES for port in (*ETCD_PORTS, API_PORT)}

    def check(node: str) -> None:
        assert answering(node, doors) == doors, node
        metrics = docker("exec", node, *ETCD.format(path="metrics").split())
        assert "\netcd_server_has_leader 1\n" in metrics, node
        assert json.loads(docker("exec", node, *ETCD.format(path="health").split()))["health"] == "true", node
        assert "[+]etcd ok" in asked(node, "get", "--raw=/readyz?verbose")
        asked(
            node, "annotate", "namespace", "default", f"seen-by-{node}={time.monotonic_ns()}", "--overwrite"
        )

    with ThreadPoolExecutor() as pool:
        list(pool.map(check, CONTROL_PLANES))


def asked(node: str, *words: str) -> str:
    """What the API server on this very node says."""
    return docker("exec", node, "kubectl", f"--kubeconfig={ADMIN_CONF}", f"--server={SERVER}", *words)


def let_across() -> dict[str, bool]:
    """Node -> whether it is let in by any of the other side: workers by API servers, those by kubelets."""
    at = addresses()

    def is_let(node: str) -> bool:
        if node in CONTROL_PLANES:
            return bool(answering(node, [(at[worker], KUBELET_PORT) for worker in workers()]))
        return bool(answering(node, [(at[each], API_PORT) for each in CONTROL_PLANES])) or served_through(
            node, BALANCER
        )

    with ThreadPoolExecutor() as pool:
        return dict(zip(node_names(), pool.map(is_let, node_names()), strict=True))


def ready() -> dict[str, str]:
    path = "{range .items[*]}{.metadata.name} {.status.conditions[?(@.type=='Ready')].status}{'\\n'}{end}"
    return dict(line.split() for line in kubectl("get", "nodes", "-o", f"jsonpath={path}").splitlines())


def test_a_cut_spares_etcd_and_the_api_servers_among_themselves(tmp_path: Path) -> None:
    path = experiment(tmp_path, whole=True)
    require_spared()
    assert set(let_across().values()) == {True}
    with running(path, tmp_path / "state", "--expect", "deviated") as process:
        wait("a cut, or the end", lambda: live() or process.poll() is not None, 300, every_s=0.5)
        assert process.poll() is None, (tmp_path / "log").read_text()[-3000:]
        require_spared()
        assert set(let_across().values()) == {False}
        lost = dict.fromkeys(workers(), "Unknown") | dict.fromkeys(CONTROL_PLANES, "True")
        wait("the workers NotReady, and nobody else", lambda: ready() == lost, 60)
        require_spared()
        assert set(let_across().values()) == {False}
        assert all(map(live, CONTROL_PLANES)), "the cut was over too soon to be looked at"
        assert process.wait(900) == 0, (tmp_path / "log").read_text()[-3000:]
    assert "rollback verified: the steady state holds again" in (tmp_path / "log").read_text()
    assert set(ready().values()) == {"True"}
    require_nothing_left()
    seen = json.loads(chaosext("status", "--cluster", NAME, "--json", state=tmp_path / "state").stdout)
    assert (seen["exit_code"], [each["node"] for each in seen["nodes"]]) == (0, node_names())


def test_a_run_that_is_lost_with_its_control_plane_node_is_healed_by_the_kernels_and_cleaned_up_by_the_next() -> (
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
    wait("etcd whole", lambda: served_through(lost, "localhost"), LOST_S, every_s=2)
    assert "of run" in next_run_tells("after-loss", results={})
