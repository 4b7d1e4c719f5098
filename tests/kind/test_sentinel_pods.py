"""Sentinels on the real cluster: on every node, gone without a trace, and cleaned up where their run was killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from chaosext.cluster.client import Cluster
from chaosext.cluster.daemonset import FORMER, Process, look_at_sentinels, manifest
from chaosext.model.errors import Refused
from chaosext.model.owner import Claim, me
from chaosext.nodes.shell import NAMESPACE
from chaosext.run.agents.sentinel_pods import new_token, place, remove
from chaosext.sentinel.sentinel_image import image_name
from chaosext.sentinel.watch_plan import WatchPlan

from .conftest import BIN, CONTEXT, NAME, ROOT, docker, kubectl, node_names

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from chaosext.run.agents.sentinel_pods import Placed

PORT = 9863
"""Not the one of runs."""

IMAGE = image_name()
"""As the sources were when the tests began."""

KILLED = f"""
import time
from tests.kind.test_sentinel_pods import put
put("killed", image={IMAGE!r})
print("placed", flush=True)
time.sleep(600)
"""

SPACE = "chaosext-rbac-test"

DEAD = replace(me(), pid=2**22 - 1, started=1)
PROCESS = Process(
    image=IMAGE,
    port=PORT,
    token=new_token(),
    plan=json.dumps(WatchPlan(run="old").to_json()),
    with_bird=False,
)
"""As an earlier version of chaosext placed it."""


def put(run: str, *, image: str = IMAGE, port: int = PORT, context: str = CONTEXT) -> Placed:
    claim, plan = Claim(run=run, owner="tests@kind"), WatchPlan(run=run)
    return place(
        Cluster.connect(context),
        claim,
        namespace=NAMESPACE,
        image=image,
        port=port,
        token=new_token(),
        plan=plan,
        within_s=60,
    )


def taken(run: str, *, context: str = CONTEXT) -> bool:
    """Whether the sentinels of `run` were removed."""
    return remove(Cluster.connect(context), NAMESPACE, run, within_s=30)


def pods() -> list[str]:
    selector = "--selector=app.kubernetes.io/name=chaosext-sentinel"
    return kubectl("get", "daemonsets,pods", "--all-namespaces", selector, "--output=name").split()


@pytest.fixture(autouse=True)
def _nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    assert pods() == [], "sentinels of a run are there: let it end, or `chaosext cleanup`"
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    yield
    try:
        assert pods() == []
    finally:
        there = look_at_sentinels(Cluster.connect(CONTEXT), NAMESPACE)
        if there is not None:
            taken(there.run)


def test_every_node_has_one_that_answers_and_none_is_left() -> None:
    placed = put("placed")
    try:
        assert sorted(placed.addresses) == node_names()
        for node, address in placed.addresses.items():
            url = f"http://{address}:{PORT}/v1/health"
            assert docker("exec", node, "curl", "--silent", "--fail", "--max-time", "2", url)
    finally:
        assert taken("placed")
    for node in node_names():
        assert f":{PORT}" not in docker("exec", node, "ss", "-Hltn")


def test_they_hold_no_privilege() -> None:
    placed = put("modest")
    try:
        for node in placed.addresses:
            (pid,) = docker("exec", node, "pgrep", "-f", "chaosext.sentinel").split()
            status = docker("exec", node, "cat", f"/proc/{pid}/status")
            said = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
            assert {said[name].strip() for name in ("CapEff", "CapPrm", "CapBnd")} == {"0" * 16}
            assert (said["NoNewPrivs"], said["Seccomp"]) == ("1", "2")
            assert " / " in next(
                line
                for line in docker("exec", node, "cat", f"/proc/{pid}/mounts").splitlines()
                if line.split()[1] == "/" and line.split()[3].startswith("ro")
            )
    finally:
        taken("modest")


def test_a_port_that_is_taken_is_a_refusal_that_leaves_nothing() -> None:
    with pytest.raises(Refused) as refused:
        put("crowded", port=10250)  # kubelet's
    assert "Address already in use" in refused.value.message
    assert "chaosext_sentinel_port" in refused.value.fix


def test_an_image_that_is_not_there_is_a_refusal_that_leaves_nothing() -> None:
    with pytest.raises(Refused) as refused:
        put("blank", image="chaosext.local/sentinel:none")
    assert "ErrImagePull" in refused.value.message or "ImagePullBackOff" in refused.value.message
    assert "chaosext testbed up" in refused.value.fix


def test_a_quota_is_quoted() -> None:
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": SPACE, "namespace": NAMESPACE},
        "spec": {"hard": {"pods": "0"}},
    }
    apply(json.dumps({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}))
    apply(json.dumps(quota))
    try:
        with pytest.raises(Refused) as refused:
            put("frugal")
    finally:
        kubectl("delete", "resourcequota", SPACE, f"--namespace={NAMESPACE}")
    assert "exceeded quota" in refused.value.message
    assert f"permit it in namespace {NAMESPACE}" in refused.value.fix


@contextmanager
def placed_by_another() -> Iterator[None]:
    """Sentinels of another process, which is killed in the end."""
    words = [sys.executable, "-c", KILLED]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "placed\n"
            yield
        finally:
            process.send_signal(signal.SIGKILL)


def test_what_a_killed_run_left_is_named_and_cleaned_up() -> None:
    with placed_by_another():
        alive = chaosext("status", "--cluster", NAME)
        assert "sentinels of run killed of tests@kind" in alive
        assert "its process is alive on this machine" in alive
        assert "left: sentinels of run killed" in chaosext("cleanup", "--cluster", NAME)
    assert "its process is dead; `chaosext cleanup` removes them" in chaosext("status", "--cluster", NAME)
    assert f"removed: sentinels of run killed on {CONTEXT} (orphaned)" in chaosext(
        "cleanup", "--cluster", NAME
    )
    assert "sentinels" not in chaosext("status", "--cluster", NAME)


def test_the_next_run_replaces_what_a_killed_one_left() -> None:
    with placed_by_another():
        pass
    try:
        assert put("next").run == "next"
    finally:
        assert taken("next")


def test_a_missing_namespace_is_created_and_stays() -> None:
    kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--timeout=120s", timeout_s=130)
    put("first")
    assert taken("first")
    label = "-o=jsonpath={.metadata.labels.pod-security\\.kubernetes\\.io/enforce}"
    assert kubectl("get", "namespace", NAMESPACE, label) == "privileged"


def test_sentinels_that_an_earlier_version_left_are_named_and_cleaned_up() -> None:
    apply(json.dumps(manifest(Claim(run="old", owner="tests@kind", holder=DEAD), PROCESS, FORMER)))
    said = chaosext("status", "--cluster", NAME, "--context", CONTEXT)
    assert "sentinels of run old of tests@kind in namespace kube-system" in said
    chaosext("cleanup", "--cluster", NAME, "--context", CONTEXT)


def test_the_documented_rights_are_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rights = documented_rights()
    apply(rights)
    try:
        with monkeypatch.context() as changed:
            changed.setenv("KUBECONFIG", str(kubeconfig_of_a_runner(tmp_path)))
            assert "exit code 0" in chaosext("check", "all", "--context", SPACE, "--leaf", f"{NAME}-leaf")
            put("granted", context=SPACE)
            assert taken("granted", context=SPACE)
            with pytest.raises(Refused, match="missing permission"):
                Cluster.connect(SPACE).request("GET", "/api/v1/namespaces/kube-system/secrets")
    finally:
        docker_apply("delete", rights)


def documented_rights() -> str:
    """The roles of docs/permissions.md, given to a service account in a namespace of its own."""
    text = (ROOT / "docs" / "permissions.md").read_text()
    first = "apiVersion: rbac.authorization.k8s.io/v1\n"
    roles = list(yaml.safe_load_all(first + text.partition(f"```yaml\n{first}")[2].partition("```")[0]))
    subject = {"kind": "ServiceAccount", "name": "runner", "namespace": SPACE}
    bindings = [
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": f"{role['kind']}Binding",
            "metadata": {**role["metadata"]},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": role["kind"],
                "name": role["metadata"]["name"],
            },
            "subjects": [subject],
        }
        for role in roles
    ]
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}}
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": "runner", "namespace": SPACE},
    }
    return yaml.safe_dump_all([space, account, *roles, *bindings])


def kubeconfig_of_a_runner(directory: Path) -> Path:
    """One whose only context, `SPACE`, is the service account's."""
    shown = subprocess.run(
        [BIN / "chaosext", "testbed", "kubeconfig"], capture_output=True, text=True, check=True, timeout=30
    )
    config: dict[str, Any] = yaml.safe_load(shown.stdout)
    token = kubectl("create", "token", "runner", f"--namespace={SPACE}").strip()
    config["users"] = [{"name": "runner", "user": {"token": token}}]
    cluster = config["clusters"][0]["name"]
    config["contexts"] = [{"name": SPACE, "context": {"cluster": cluster, "user": "runner"}}]
    path = directory / "kubeconfig.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def apply(manifests: str) -> None:
    docker_apply("apply", manifests)
    time.sleep(0.5)  # the quota's and the authorizer's caches


def docker_apply(verb: str, manifests: str) -> None:
    kubectl_on = ["docker", "exec", "-i", f"{NAME}-control-plane", "kubectl"]
    words = [*kubectl_on, "--kubeconfig=/etc/kubernetes/admin.conf", verb, "-f", "-"]
    subprocess.run(words, input=manifests, text=True, check=True, timeout=90, capture_output=True)


def chaosext(*words: str) -> str:
    done = subprocess.run(
        [BIN / "chaosext", *words], capture_output=True, text=True, check=False, timeout=120, env=os.environ
    )
    return f"{done.stdout}{done.stderr}exit code {done.returncode}"
