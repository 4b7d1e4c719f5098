"""The transport `pod` on the real cluster: the same verdict as through docker, and whatever dies, nothing stays."""

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

from chaosext.cluster.daemonset import RUN

from .conftest import BIN, CONTEXT, EXPERIMENT, NAME, docker, kubectl

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

NAMESPACE = "chaosext"
CONTROL_PLANE = f"{NAME}-control-plane"
CHAOSEXT = str(BIN / "chaosext")

TTL_S = 25
LATEST_S = 1.0
"""By how much the kernel may outlast a TTL."""


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Where the runs of a test write down what they are about to do."""
    return tmp_path / "state"


@pytest.fixture(autouse=True)
def namespace(state: Path) -> Iterator[None]:
    """Its own namespace, whatever a test has done to it."""
    make_namespace()
    yield
    chaosext("cleanup", "--all", "--cluster", NAME, state=state)


def make_namespace() -> None:
    made = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    made["metadata"]["labels"] = {"pod-security.kubernetes.io/enforce": "privileged"}  # type: ignore[index]
    apply(json.dumps(made))


def apply(manifest: str) -> None:
    script = f"kubectl --kubeconfig=/etc/kubernetes/admin.conf apply --filename=- <<<'{manifest}'"
    docker("exec", CONTROL_PLANE, "bash", "-c", script)


def experiment(directory: Path, *, ttl_s: float = TTL_S, whole: bool = False) -> Path:
    """The story's by Pods; or only its cut, which is held until somebody heals it."""
    said = yaml.safe_load(EXPERIMENT.read_text())
    said["secrets"]["kubernetes"]["KUBERNETES_CONTEXT"] = CONTEXT
    said["configuration"]["chaosext_transport"] = "pod"
    if not whole:
        said["steady-state-hypothesis"]["probes"] = said["steady-state-hypothesis"]["probes"][:1]
        sever = said["method"][0]
        sever["provider"]["arguments"] = {"ttl_s": ttl_s}
        sever["pauses"] = {"after": 10}
        said["method"] = [sever, said["method"][3]]
        said["rollbacks"] = said["rollbacks"][:1]
        said["configuration"]["chaosext_sentinel"] = False
    path = directory / "experiment.yaml"
    path.write_text(yaml.safe_dump(said, sort_keys=False))
    return path


@contextmanager
def running(path: Path, state: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    """`chaosext run` as a process of its own, in whose log one reads when it has cut."""
    environment = {**os.environ, "XDG_STATE_HOME": str(state)}
    with (path.parent / "log").open("w+") as log:
        process = subprocess.Popen(
            [CHAOSEXT, "run", str(path), *words],
            cwd=path.parent,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait(10)


WATCH = r"""
left() {
  nft list ruleset 2>/dev/null | sed -n '/^table inet chaosext_/,/^}/p' | grep -o 'expires [0-9ms]*' | head -n 1
}
now=${EPOCHREALTIME/./} said=$(left)
[[ $said =~ expires\ (([0-9]+)m)?(([0-9]+)s)?(([0-9]+)ms)? ]] || exit 1
due=$(( now + BASH_REMATCH[2] * 60000000 + BASH_REMATCH[4] * 1000000 + BASH_REMATCH[6] * 1000 ))
while [[ -n $(left) ]]; do :; done
echo $(( ${EPOCHREALTIME/./} - due ))
"""
"""Runs on the node: by how many microseconds the kernel outlasts our peers' timeout; negative where it was healed."""


def live(node: str = CONTROL_PLANE) -> bool:
    """Whether a table of ours on the node drops anything now."""
    said = docker("exec", node, "nft", "list", "ruleset")
    return any(part.startswith("inet chaosext_") and "expires" in part for part in said.split("table "))


@contextmanager
def cut_seen(within_s: float = 300, node: str = CONTROL_PLANE) -> Iterator[Callable[[], float]]:
    """Wait for a cut on the node; the answer waits for its end, and is how late the kernel was (s)."""
    deadline_s = time.monotonic() + within_s
    while not live(node):
        assert time.monotonic() < deadline_s, "nothing was cut"
        time.sleep(0.2)
    argv = ["docker", "exec", node, "bash", "-c", WATCH]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as watch:

        def late_s() -> float:
            return int(watch.communicate(timeout=TTL_S + 60)[0]) / 1e6

        yield late_s
        watch.kill()


def pods() -> list[str]:
    selector = "--selector=app.kubernetes.io/name=chaosext-node"
    return kubectl("get", "pods", f"--namespace={NAMESPACE}", selector, "--output=name").split()


def await_no_pods(within_s: float = 60) -> None:
    deadline_s = time.monotonic() + within_s
    while pods():
        assert time.monotonic() < deadline_s, pods()
        time.sleep(0.5)


def chaosext(*words: str, state: Path, timeout_s: float = 180) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "XDG_STATE_HOME": str(state)}
    return subprocess.run(
        [CHAOSEXT, *words], capture_output=True, text=True, env=environment, timeout=timeout_s
    )


def status(state: Path) -> dict[str, Any]:
    said = chaosext("status", "--transport=pod", f"--context={CONTEXT}", "--json", state=state)
    value: dict[str, Any] = json.loads(said.stdout)
    return value


def test_the_story_is_told_the_same_through_pods_and_nothing_is_left(tmp_path: Path, state: Path) -> None:
    path = experiment(tmp_path, whole=True)
    said = chaosext("run", str(path), "--expect", "deviated", state=state, timeout_s=900)
    assert said.returncode == 0, said.stdout[-3000:] + said.stderr
    assert "rollback verified: the steady state holds again" in said.stdout
    assert pods() == []
    assert not live()
    after = status(state)
    assert (after["exit_code"], after["unfinished"], after["sentinels"]) == (0, [], [])


def test_a_run_killed_mid_cut_is_let_go_by_the_kernel_and_cleaned_up_with_its_pods(
    tmp_path: Path, state: Path
) -> None:
    with running(experiment(tmp_path), state) as process, cut_seen() as late_s:
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        assert late_s() <= LATEST_S
    assert pods() != []
    seen = status(state)
    assert [each["runner"] for each in seen["unfinished"]] == ["dead"]
    assert seen["unfinished"][0]["over"] is True or seen["nodes"][0]["cuts"]
    cleaned = chaosext("cleanup", "--transport=pod", f"--context={CONTEXT}", state=state)
    assert cleaned.returncode == 0, cleaned.stdout + cleaned.stderr
    assert "pods of run" in cleaned.stdout
    await_no_pods()
    assert "chaosext" not in docker("exec", CONTROL_PLANE, "nft", "list", "tables")


def test_pods_that_are_deleted_mid_cut_are_put_anew_to_heal(tmp_path: Path, state: Path) -> None:
    with running(experiment(tmp_path), state) as process:
        with cut_seen() as late_s:
            kubectl("delete", "pods", "--all", f"--namespace={NAMESPACE}", "--force", "--grace-period=0")
            assert late_s() <= LATEST_S
        process.wait(180)
        assert process.returncode not in (20, 40), (tmp_path / "log").read_text()[-3000:]
    await_no_pods()


def test_a_namespace_that_is_deleted_mid_cut_leaves_the_healing_to_the_kernel(
    tmp_path: Path, state: Path
) -> None:
    with running(experiment(tmp_path), state) as process:
        with cut_seen() as late_s:
            kubectl("delete", "namespace", NAMESPACE, "--wait=false")
            assert late_s() <= LATEST_S
        process.wait(180)
        said = (tmp_path / "log").read_text()
        assert process.returncode in (30, 40), said[-3000:]
        assert "may still be in force" in said or "could not be seen gone" in said
    kubectl("wait", "--for=delete", f"namespace/{NAMESPACE}", "--timeout=120s")


def test_a_signal_mid_cut_heals_within_five_seconds(tmp_path: Path, state: Path) -> None:
    with running(experiment(tmp_path, ttl_s=60), state) as process:
        with cut_seen():
            told_s = time.monotonic()
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 143
            assert time.monotonic() - told_s <= 5.5
        assert not live()
    await_no_pods()


def test_without_its_namespace_a_run_is_refused_and_touches_nothing(tmp_path: Path, state: Path) -> None:
    kubectl("delete", "namespace", NAMESPACE, "--timeout=120s")
    said = chaosext("run", str(experiment(tmp_path)), state=state)
    assert said.returncode == 20
    assert f"kubectl create namespace {NAMESPACE}" in said.stdout + said.stderr
    assert not live()


def test_an_image_that_no_node_has_is_refused_with_the_node_and_leaves_no_pod(
    tmp_path: Path, state: Path
) -> None:
    path = experiment(tmp_path)
    said = yaml.safe_load(path.read_text())
    said["configuration"]["chaosext_node_image"] = "chaosext.local/nobody-has:this"
    path.write_text(yaml.safe_dump(said, sort_keys=False))
    done = chaosext("run", str(path), state=state)
    assert done.returncode == 20
    assert CONTROL_PLANE in done.stdout + done.stderr
    assert "configuration.chaosext_node_image" in done.stdout + done.stderr
    await_no_pods()


def test_labels_name_the_run_of_a_pod(tmp_path: Path, state: Path) -> None:
    with running(experiment(tmp_path), state):
        with cut_seen():
            pass
        shown = json.loads(kubectl("get", "pods", f"--namespace={NAMESPACE}", "--output=json"))
        runs = {pod["metadata"]["labels"][RUN] for pod in shown["items"]}
        assert len(runs) == 1
        assert f"chaosext_{runs.pop()}" in docker("exec", CONTROL_PLANE, "nft", "list", "tables")
