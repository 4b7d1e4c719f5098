"""The gate on the real cluster, read-only: what the story's cluster is told, and what it is told without a right."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from .conftest import CONTEXT, NAME, ROOT, docker, kubectl, run_as_printed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from .conftest import Outcome

pytestmark = pytest.mark.usefixtures("rules_stay")

WORKERS = "!node-role.kubernetes.io/control-plane"


@pytest.fixture
def plan(tmp_path: Path) -> Callable[..., str]:
    """The file of a plan that cuts all workers for 90 s, with `parts` of its own."""

    def written(**parts: Any) -> str:
        path = tmp_path / "cutover.yaml"
        path.write_text(yaml.safe_dump({"title": "t", "cut": {"selector": WORKERS, "for": "90s"}} | parts))
        return str(path)

    return written


EVENTS = """
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: gate-test-events}
rules: [{apiGroups: [""], resources: [events], verbs: [get, list]}]
"""


@pytest.fixture
def reader(kubeconfig: dict[str, Any], tmp_path: Path) -> Iterator[str]:
    """The kubeconfig of somebody who may read what docs/gate.md lists, but not enter istiod."""
    role = (ROOT / "deploy" / "rehearsal" / "rbac.yaml").read_text()
    bindings = ("chaosext-snapshot", "gate-test-events")
    try:
        _apply(f"{role}\n---{EVENTS}")
        kubectl("-n", "default", "create", "serviceaccount", "gate-test")
        for name in bindings:
            words = (f"--clusterrole={name}", "--serviceaccount=default:gate-test")
            kubectl("create", "clusterrolebinding", f"gate-test-{name}", *words)
        token = kubectl("-n", "default", "create", "token", "gate-test").strip()
        kubeconfig["users"][0]["user"] = {"token": token}
        path = tmp_path / "reader.kubeconfig"
        path.write_text(yaml.safe_dump(kubeconfig))
        yield str(path)
    finally:
        kubectl(
            "delete", "--ignore-not-found", "clusterrolebinding", *(f"gate-test-{name}" for name in bindings)
        )
        kubectl("delete", "--ignore-not-found", "clusterrole", *bindings)
        kubectl("-n", "default", "delete", "--ignore-not-found", "serviceaccount", "gate-test")


def _apply(manifests: str) -> None:
    node = f"{NAME}-control-plane"
    words = (
        "sh",
        "-c",
        f"kubectl --kubeconfig=/etc/kubernetes/admin.conf apply -f - <<'EOF'\n{manifests}\nEOF",
    )
    docker("exec", node, *words)


def test_the_story_s_cluster_is_no_go_though_nothing_is_wrong_with_it_now(
    command: Callable[..., Outcome], plan: Callable[..., str], tmp_path: Path
) -> None:
    kept = tmp_path / "seen.json"
    outcome = command(
        "chaosext", "gate", "--cutover", plan(), "--context", CONTEXT, "--keep-snapshot", str(kept), "--json"
    )
    assert outcome.exit_code == 10, outcome
    told = json.loads(outcome.stdout)
    assert {each["check"] for each in told["reasons"]} >= {"dns_after_heal", "self_heals"}
    checks = {each["check"]: each["status"] for each in told["checks"]}
    assert (checks["xds_synced"], checks["probes_healthy"]) == ("healthy", "healthy")
    assert told["cluster"]["uid"] == kubectl(
        "get", "namespace", "kube-system", "-o", "jsonpath={.metadata.uid}"
    )
    assert told["asked"]["snapshot_sha256"] == sha256(kept.read_bytes()).hexdigest()
    assert ["dns-affinity"] in [each["mitigations"] for each in told["remedies"]]


def test_each_printed_patch_is_one_that_this_cluster_takes(
    command: Callable[..., Outcome], plan: Callable[..., str], tmp_path: Path
) -> None:
    """Server-side, dry: the API server checks all of it and keeps nothing. What ssh would change is left alone."""
    outcome = command("chaosext", "gate", "--cutover", plan(), "--context", CONTEXT, "--json")
    commands = [how for each in json.loads(outcome.stdout)["remedies"] for how in each["commands"]]
    printed = ["\n".join(line for line in how.splitlines() if not line.startswith("#")) for how in commands]
    patches = [told for told in printed if told.startswith("kubectl ")]
    assert patches
    assert all(told.startswith("ssh ") for told in printed if told not in patches)
    for told in patches:
        first = told.partition("\nkubectl")[0].replace(" patch ", " patch --dry-run=server ")
        assert run_as_printed(first.replace(" apply ", " apply --dry-run=server "), tmp_path)


def test_istiod_s_silence_is_no_go_unless_it_is_waived_by_name(
    command: Callable[..., Outcome], plan: Callable[..., str], reader: str
) -> None:
    """A cut too short to be noticed is rehearsed as a go."""
    short = {"cut": {"selector": WORKERS, "for": "5s"}}
    unknown = command("chaosext", "gate", "--cutover", plan(**short), "--context", CONTEXT, KUBECONFIG=reader)
    assert unknown.exit_code == 30, unknown
    assert "xds_synced is unknown" in unknown.stdout
    waived = {"waive": {"xds_synced": "istiod may not be entered"}}
    go = command(
        "chaosext", "gate", "--cutover", plan(**short, **waived), "--context", CONTEXT, KUBECONFIG=reader
    )
    assert go.exit_code == 0, go
    assert "waived: xds_synced" in go.stdout
