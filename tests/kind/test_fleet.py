"""A fleet, rehearsed by one Indexed Job on the testbed: an index a cluster, each with the right to read and no more."""

from __future__ import annotations

import base64
import json
import time
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from chaosext.gameday.bundle_of_manifests import as_yaml, compose_fleet
from chaosext.gameday.cluster_fleet import Fleet

from .conftest import NAME, ROOT, brought_image, docker, kubectl

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SPACE, USER = "fleet-test", "snapshots"
WITHIN_S = 240


def apply(*objects: dict[str, Any]) -> None:
    text = "\n---\n".join(yaml.safe_dump(each) for each in objects)
    docker(
        "exec", f"{NAME}-control-plane", "sh", "-c", f"cat > /tmp/fleet.yaml <<'END'\n{text}\nEND"
    )  # kubectl runs there
    kubectl("apply", "-f", "/tmp/fleet.yaml")


@pytest.fixture
def space() -> Iterator[str]:
    """A namespace, and in it a user who may do what `deploy/rehearsal/rbac.yaml` grants."""
    user = {"kind": "ServiceAccount", "name": USER, "namespace": SPACE}
    role = yaml.safe_load((ROOT / "deploy/rehearsal/rbac.yaml").read_text())
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": SPACE},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role["metadata"]["name"]},
        "subjects": [user],
    }  # fmt: skip
    try:
        apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}})
        apply(
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": USER, "namespace": SPACE}},
            role,
            binding,
        )
        yield SPACE
    finally:
        kubectl("delete", "clusterrolebinding", SPACE, "--ignore-not-found")
        kubectl("delete", "clusterrole", role["metadata"]["name"], "--ignore-not-found")
        kubectl("delete", "namespace", SPACE, "--ignore-not-found", timeout_s=120)


def kubeconfig() -> str:
    """Of that user, on this cluster as its Pods reach it."""
    root = kubectl("get", "configmap", "-n", SPACE, "kube-root-ca.crt", "-o", "jsonpath={.data.ca\\.crt}")
    token = kubectl("-n", SPACE, "create", "token", USER, "--duration=1h").strip()
    ca = base64.b64encode(root.encode()).decode()
    server = {"server": "https://kubernetes.default.svc", "certificate-authority-data": ca}
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "here", "cluster": server}],
            "users": [{"name": USER, "user": {"token": token}}],
            "contexts": [{"name": "here", "context": {"cluster": "here", "user": USER}}],
        }
    )


def lines() -> dict[str, dict[str, Any]]:
    """Index -> state of its last container, and what it said, once all of them are over."""
    deadline_s = time.monotonic() + WITHIN_S
    while time.monotonic() < deadline_s:
        job = json.loads(kubectl("-n", SPACE, "get", "job", "monday", "-o", "json"))
        if any(
            each["type"] in ("Complete", "Failed") and each["status"] == "True"
            for each in job["status"].get("conditions", [])
        ):
            break
        time.sleep(2)
    pods = json.loads(kubectl("-n", SPACE, "get", "pods", "-l", "job-name=monday", "-o", "json"))["items"]
    return {
        pod["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"]: {
            "exit_code": pod["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"],
            "said": kubectl("-n", SPACE, "logs", pod["metadata"]["name"]),
        }
        for pod in pods
    }


@pytest.mark.usefixtures("rules_stay")
def test_each_cluster_is_rehearsed_by_its_own_index_and_one_that_can_not_be_asked_fails_alone(
    space: str, tmp_path: Path
) -> None:
    secret = {"name": "here", "namespace": space}
    apply(
        {"apiVersion": "v1", "kind": "Secret", "metadata": secret, "stringData": {"kubeconfig": kubeconfig()}}
    )
    fleet = Fleet.model_validate(
        {
            "name": "monday",
            "namespace": space,
            "image": brought_image(),
            "clusters": [
                {"name": "first", "context": "here", "kubeconfig": {"secret": "here"}},
                {"name": "gone", "context": "there", "kubeconfig": {"secret": "nobody-made-it"}},
                {"name": "third", "context": "here", "kubeconfig": {"secret": "here"}},
            ],
            "rehearse": {"cut_for": "8m", "fail_on": ["deviated"]},
        }
    )
    (text,) = (as_yaml(*compose_fleet(fleet, tmp_path).objects),)
    apply(*yaml.safe_load_all(text))

    found = lines()

    assert found["0"]["said"].startswith("first: deviated (exit 10)"), found
    assert found["2"]["said"].startswith("third: deviated (exit 10)"), found
    assert found["1"]["said"].startswith("gone: failed (exit 20): Secret nobody-made-it has no kubeconfig"), (
        found
    )
    assert [found[index]["exit_code"] for index in "012"] == [10, 20, 10]
