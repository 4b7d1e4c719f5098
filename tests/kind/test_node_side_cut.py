"""A cut on the nodes' side, through Pods, on the real cluster: begun and ended by the kernels, whoever dies meanwhile.

The cluster that shows no control-plane Node is the testbed without that node's label.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from chaosext.partition.apply import DELAY_S
from chaosext.partition.nft import parse_tables
from chaosext.run.fault.irrevocable import NODE_VARIABLE

from .conftest import CONTEXT, EXPERIMENT, docker, kubectl, node_names
from .test_pod_transport import (
    CHAOSEXT,
    CONTROL_PLANE,
    LATEST_S,
    WATCH,
    await_no_pods,
    chaosext,
    namespace,  # noqa: F401  (a fixture)
    running,
    status,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

TTL_S = 30
STORY_TTL_S = 75
"""The testbed's control plane has moved kube-dns 45 s after the cut."""

BACK_S = 25
"""The nodes' leases ended before the cut did: kubelets renew them within 10 s, and the controller looks each 5 s."""

ROLE = "node-role.kubernetes.io/control-plane"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


def workers() -> list[str]:
    return [name for name in node_names() if name != CONTROL_PLANE]


def experiment(directory: Path, *, whole: bool = False, ttl_s: float = TTL_S, **settings: Any) -> Path:
    """The story's on the nodes' side; or only its cut, which is held until its TTL is over."""
    said = yaml.safe_load(EXPERIMENT.read_text())
    said["secrets"]["kubernetes"]["KUBERNETES_CONTEXT"] = CONTEXT
    given = {"transport": "pod", "cut_side": "nodes", **settings}
    said["configuration"] |= {f"chaosext_{key}": value for key, value in given.items()}
    said["method"][0]["provider"]["arguments"] = {"ttl_s": ttl_s}
    if not whole:
        said["steady-state-hypothesis"]["probes"] = said["steady-state-hypothesis"]["probes"][:1]
        said["method"] = [said["method"][0], {**said["method"][3], "pauses": {"after": BACK_S}}]
        said["rollbacks"] = said["rollbacks"][:1]
        said["configuration"]["chaosext_sentinel"] = False
    path = directory / "experiment.yaml"
    path.write_text(yaml.safe_dump(said, sort_keys=False))
    return path


def tables(node: str) -> list[Any]:
    return list(parse_tables(docker("exec", node, "nft", "-j", "list", "ruleset")))


def is_armed(node: str) -> bool:
    return any(table.is_live for table in tables(node))


def is_in_force(node: str) -> bool:
    return any(table.is_live and not table.still_open for table in tables(node))


def require_nothing_left() -> None:
    for node in node_names():
        assert "chaosext_" not in docker("exec", node, "nft", "list", "tables"), node
    await_no_pods()


def await_ready() -> None:
    kubectl("wait", "--for=condition=Ready", "nodes", "--all", "--timeout=50s")


def await_all(holds: Callable[[str], bool], process: subprocess.Popen[str], within_s: float = 240) -> None:
    deadline_s = time.monotonic() + within_s
    while not all(holds(node) for node in workers()):
        assert process.poll() is None, "it ended before that"
        assert time.monotonic() < deadline_s, "it did not come to that"
        time.sleep(0.3)


@contextmanager
def seen_to_its_end(node: str) -> Iterator[Callable[[], float]]:
    """Watch the cut on `node`; the answer waits for its end, and is how late the kernel was (s)."""
    argv = ["docker", "exec", node, "bash", "-c", WATCH]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as watch:
        yield lambda: int(watch.communicate(timeout=TTL_S + DELAY_S + 60)[0]) / 1e6
        watch.kill()


def api_server() -> str:
    """The control-plane node's IPv4 address."""
    said = docker("exec", CONTROL_PLANE, "ip", "-4", "-oneline", "address", "show", "dev", "eth0")
    return said.split()[3].partition("/")[0]


def connects(node: str) -> bool:
    """Whether `node` gets through to the API server's own address."""
    address = api_server()
    script = f"timeout 2 bash -c '</dev/tcp/{address}/6443' 2>/dev/null && echo open || echo closed"
    return docker("exec", node, "bash", "-c", script).strip() == "open"


def pod_connects(node: str) -> bool:
    """Whether what is forwarded on `node` gets through: from the network of one of its Pods."""
    script = f"""
    for each in /proc/[0-9]*; do
      [[ $(readlink $each/ns/net) != $(readlink /proc/1/ns/net) ]] || continue
      try=(timeout 2 nsenter -t ${{each#/proc/}} -n bash -c '</dev/tcp/{api_server()}/6443')
      "${{try[@]}}" 2>/dev/null && echo open || echo closed
      exit
    done
    echo none
    """
    said = docker("exec", node, "bash", "-c", script).strip()
    assert said != "none", f"{node} has no Pod with a network of its own"
    return said == "open"


def test_the_story_is_told_on_the_nodes_side_and_the_cut_lasts_its_ttl(tmp_path: Path, state: Path) -> None:
    path = experiment(tmp_path, whole=True, ttl_s=STORY_TTL_S)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CHAOSEXT_RUN_DIR", str(tmp_path / "run"))
        said = chaosext("run", str(path), "--expect", "deviated", state=state, timeout_s=900)
    assert said.returncode == 0, said.stdout[-3000:] + said.stderr
    assert "so it can't be renewed, read back or healed" in said.stdout
    assert "rollback verified: the steady state holds again" in said.stdout
    result = json.loads((tmp_path / "run/latest/result.json").read_text())
    events = [json.loads(line) for line in (tmp_path / "run/latest/timeline.jsonl").read_text().splitlines()]
    (cut,), (heal,) = ([each for each in events if each["kind"] == kind] for kind in ("cut", "heal"))
    assert cut["object"] == f"Node/{','.join(workers())}"
    assert "it can't be ended earlier" in cut["detail"]
    assert heal["t_s"] == pytest.approx(STORY_TTL_S, abs=1.5)
    assert heal["detail"] == "the cut expired in the kernel at its TTL"
    assert result["foreign_rules"]["not_compared"] == []
    assert {each["object"] for each in events if each["kind"] == "node_not_ready"} == {
        f"Node/{name}" for name in workers()
    }
    require_nothing_left()
    after = status(state)
    assert (after["exit_code"], after["unfinished"], after["sentinels"]) == (0, [], [])


@pytest.fixture
def without_role() -> Iterator[None]:
    """No Node shows that it is the control plane's: as on a managed cluster."""
    kubectl("label", "node", CONTROL_PLANE, f"{ROLE}-")
    try:
        yield
    finally:
        kubectl("label", "node", CONTROL_PLANE, f"{ROLE}=", "--overwrite")


@pytest.mark.usefixtures("without_role")
def test_without_any_control_plane_node_it_is_proven_through_the_api_server(
    tmp_path: Path, state: Path
) -> None:
    script = "ip -json -6 address show dev eth0 scope global"
    links = json.loads(docker("exec", CONTROL_PLANE, "bash", "-c", script))
    second = [info["local"] for link in links if link for info in link["addr_info"] if info]
    refused = chaosext("run", str(experiment(tmp_path, cut_side="control-plane")), state=state)
    assert refused.returncode == 20
    assert "chaosext_cut_side: nodes" in refused.stdout + refused.stderr
    path = experiment(tmp_path, cut_nodes=workers(), control_plane_addresses=second)
    with running(path, state) as process:
        await_all(is_armed, process)
        assert all(map(connects, workers()))
        await_all(is_in_force, process)
        assert not any(map(connects, workers()))
        assert not any(map(pod_connects, workers()))
        assert not is_armed(CONTROL_PLANE)
        assert process.wait(TTL_S + BACK_S + 120) == 0, (tmp_path / "log").read_text()[-3000:]
    assert all(map(connects, workers()))
    assert all(map(pod_connects, workers()))
    require_nothing_left()


def test_a_runner_that_is_killed_mid_cut_leaves_it_to_the_kernel_and_the_next_cleanup_says_so(
    tmp_path: Path, state: Path
) -> None:
    first = workers()[0]
    with running(experiment(tmp_path), state) as process:
        await_all(is_in_force, process)
        with seen_to_its_end(first) as late_s:
            process.send_signal(signal.SIGKILL)
            process.wait(10)
            meanwhile = chaosext("status", "--transport=pod", f"--context={CONTEXT}", state=state)
            assert late_s() <= LATEST_S
    assert meanwhile.returncode == 40
    assert "it can't be healed earlier" in meanwhile.stdout
    assert not any(is_armed(node) for node in workers())
    assert all(map(connects, workers()))
    await_ready()
    cleaned = chaosext("cleanup", "--transport=pod", f"--context={CONTEXT}", state=state)
    assert cleaned.returncode == 0, cleaned.stdout + cleaned.stderr
    assert f"on {first}" in cleaned.stdout
    require_nothing_left()


def test_a_signal_mid_cut_ends_the_run_and_says_when_it_heals_by_itself(tmp_path: Path, state: Path) -> None:
    with running(experiment(tmp_path), state) as process:
        await_all(is_in_force, process)
        with seen_to_its_end(workers()[0]) as late_s:
            told_s = time.monotonic()
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 40
            assert time.monotonic() - told_s <= 5.5
            said = (tmp_path / "log").read_text()
            assert "can't be healed early" in said
            assert "it ends by itself at" in said
            assert late_s() <= LATEST_S
    await_ready()
    assert chaosext("cleanup", "--transport=pod", f"--context={CONTEXT}", state=state).returncode == 0
    require_nothing_left()


def test_a_signal_before_it_begins_heals_as_ever_and_nothing_was_dropped(tmp_path: Path, state: Path) -> None:
    with running(experiment(tmp_path), state) as process:
        await_all(is_armed, process)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 143, (tmp_path / "log").read_text()[-3000:]
    time.sleep(DELAY_S)
    assert all(map(connects, workers()))
    require_nothing_left()


def test_an_abort_mid_cut_is_answered_and_the_rollbacks_wait_for_the_ttl(tmp_path: Path, state: Path) -> None:
    with running(experiment(tmp_path), state) as process:
        await_all(is_in_force, process)
        asked = chaosext("abort", "--context", CONTEXT, state=state)
        assert asked.returncode == 40, asked.stdout + asked.stderr
        assert "heals by itself" in asked.stdout + asked.stderr
        assert process.wait(180) == 130, (tmp_path / "log").read_text()[-3000:]
    assert "the cut expired in the kernel at its TTL" in (tmp_path / "log").read_text()
    require_nothing_left()


def test_what_it_means_is_said_beforehand_and_nothing_is_touched(tmp_path: Path, state: Path) -> None:
    said = chaosext("run", str(experiment(tmp_path)), "--dry-run", "--json", state=state)
    assert said.returncode == 0, said.stderr
    plan = json.loads(said.stdout)
    assert sorted(plan["rules"]) == workers()
    assert any("ends by itself after its TTL" in line for line in plan["outlook"])
    assert not any(is_armed(node) for node in workers())
    require_nothing_left()


def test_a_runner_on_a_node_that_is_cut_is_refused(tmp_path: Path, state: Path) -> None:
    environment = {**os.environ, "XDG_STATE_HOME": str(state), NODE_VARIABLE: workers()[0]}
    argv = [CHAOSEXT, "run", str(experiment(tmp_path))]
    done = subprocess.run(argv, capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=180)
    assert done.returncode == 20
    assert f"this runner is on {workers()[0]}" in done.stdout + done.stderr
    assert not any(is_armed(node) for node in workers())


def test_a_dead_mans_switch_is_refused(tmp_path: Path, state: Path) -> None:
    path = experiment(tmp_path)
    said = yaml.safe_load(path.read_text())
    said["method"][0]["provider"]["arguments"]["dead_man_s"] = 30
    path.write_text(yaml.safe_dump(said, sort_keys=False))
    done = chaosext("run", str(path), state=state)
    assert done.returncode == 20
    assert "dead_man_s" in done.stdout + done.stderr
