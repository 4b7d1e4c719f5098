"""Scheduled game days on the testbed, through the doors that any cluster has: a CronJob's Job, RBAC, Events.

The runner's image is the testbed's own, so `chaosext testbed up` first, after each change of the sources.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from chaosext.gameday.composing import as_yaml, compose
from chaosext.gameday.rights import OWN, Rule, rules
from chaosext.gameday.settings import Settings
from chaosext.model.claim import LOCK_S

from .conftest import CONTEXT, NAME, PATIENCE_S, ROOT, brought_image, docker, kubectl, node_names, rulesets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SPACE, DAY = "chaosext", "night"
CONTROL_PLANE = f"{NAME}-control-plane"
KEPT = "/var/lib/chaosext-results"
"""The directory on the control-plane node that plays the PersistentVolume."""

TTL_S = 120
WHOLE_S = 900
REFUSED_S = 180

VOLUME = f"""
apiVersion: v1
kind: PersistentVolume
metadata: {{name: chaosext-results}}
spec:
  capacity: {{storage: 1Gi}}
  accessModes: [ReadWriteOnce]
  storageClassName: kept
  local: {{path: {KEPT}}}
  nodeAffinity:
    required:
      nodeSelectorTerms:
        - matchExpressions: [{{key: kubernetes.io/hostname, operator: In, values: [{CONTROL_PLANE}]}}]
"""


def uid() -> str:
    return kubectl("get", "namespace", "kube-system", "-o", "jsonpath={.metadata.uid}")


def settings(**changes: Any) -> Settings:
    """Never by itself: game days are begun by hand here."""
    values: dict[str, Any] = {
        "name": DAY,
        "namespace": SPACE,
        "schedule": "0 0 1 1 *",
        "image": brought_image(),
        "deadline_s": 1800,
        "cluster": {"context": CONTEXT, "kube_system_uid": uid()},
        "experiment": "control-plane-partition.yaml",
        "expect": "deviated",
        "configuration": {"ttl_s": TTL_S},
        "results": {"size": "1Gi", "storage_class": "kept"},
        **changes,
    }
    return Settings.model_validate(values)


def apply(text: str) -> None:
    """Through a file on the node: kubectl runs there."""
    docker("exec", CONTROL_PLANE, "sh", "-c", f"cat > /tmp/applied.yaml <<'END'\n{text}\nEND")
    kubectl("apply", "-f", "/tmp/applied.yaml")


def schedule(wanted: Settings) -> None:
    apply(as_yaml(*compose(wanted, ROOT / "experiments").objects))


def jsonpath(kind: str, name: str, path: str, space: str = SPACE) -> str:
    return kubectl("-n", space, "get", kind, name, "-o", f"jsonpath={path}", "--ignore-not-found")


def wait(what: str, condition: Callable[[], Any], within_s: float, every_s: float = 1.0) -> Any:
    deadline_s = time.monotonic() + within_s
    while time.monotonic() < deadline_s:
        if found := condition():
            return found
        time.sleep(every_s)
    raise AssertionError(f"not within {within_s:g} s: {what}")


@dataclass(frozen=True, slots=True)
class Job:
    """A game day that somebody has begun."""

    name: str

    @classmethod
    def begin(cls, name: str, day: str = DAY) -> Job:
        kubectl(
            "-n", SPACE, "delete", "job", name, "--ignore-not-found", "--cascade=foreground", timeout_s=120
        )
        kubectl("-n", SPACE, "create", "job", name, f"--from=cronjob/{day}")
        return cls(name)

    @property
    def pod(self) -> dict[str, Any]:
        found = json.loads(kubectl("-n", SPACE, "get", "pods", "-l", f"job-name={self.name}", "-o", "json"))
        return next(iter(found["items"]), {})

    def ended(self, within_s: float) -> int:
        """The exit code of its runner."""
        state: dict[str, Any] = wait(
            f"job {self.name} over, which says: {self.log()[-2000:]}", self._terminated, within_s
        )
        return int(state["exitCode"])

    def _terminated(self) -> dict[str, Any] | None:
        statuses = self.pod.get("status", {}).get("containerStatuses") or [{}]
        terminated: dict[str, Any] | None = statuses[0].get("state", {}).get("terminated")
        return terminated

    def log(self) -> str:
        name = self.pod.get("metadata", {}).get("name", "")
        return kubectl("-n", SPACE, "logs", name, "--ignore-errors") if name else ""

    def events(self) -> list[tuple[str, str]]:
        """Reason and message, in their order."""
        about = f"involvedObject.kind=Job,involvedObject.name={self.name}"
        found = json.loads(kubectl("-n", SPACE, "get", "events", "--field-selector", about, "-o", "json"))
        ours = [each for each in found["items"] if each["source"].get("component") == "chaosext"]
        ordered = sorted(ours, key=lambda each: each["metadata"]["creationTimestamp"])
        return [(each["reason"], each["message"]) for each in ordered]

    def said(self, reason: str) -> str:
        return next((message for each, message in self.events() if each == reason), "")


def history() -> list[dict[str, Any]]:
    """What was kept on the volume: a line a game day."""
    text = docker("exec", CONTROL_PLANE, "sh", "-c", f"cat {KEPT}/gamedays.jsonl 2>/dev/null || true")
    return [json.loads(line) for line in text.splitlines()]


def cut_on(node: str) -> bool:
    tables = docker("exec", node, "nft", "list", "tables")
    return any("chaosext_" in line and "chaosext.lock" not in line for line in tables.splitlines())


def lease_is_held() -> bool:
    """One that a dead run has left, and nobody renews, keeps nobody away: the next run takes it over."""
    found = kubectl("-n", "kube-system", "get", "lease", "chaosext", "--ignore-not-found", "-o", "json")
    spec = json.loads(found or '{"spec": {}}')["spec"]
    if not spec.get("holderIdentity"):
        return False
    over = datetime.fromisoformat(spec["renewTime"]) + timedelta(seconds=spec["leaseDurationSeconds"])
    return over > datetime.now(UTC)


def require_nothing_left() -> None:
    """No table of ours, no Pod but the runners', no sentinel, no Lease that is held."""
    for node in node_names():
        assert "chaosext" not in docker("exec", node, "nft", "list", "tables"), node
    assert kubectl("-n", SPACE, "get", "pods", "-l", "!job-name", "-o", "name").split() == []
    assert kubectl("-n", "kube-system", "get", "daemonset", "chaosext-sentinel", "--ignore-not-found") == ""
    assert not lease_is_held()


@pytest.fixture(scope="module", autouse=True)
def volume() -> Iterator[None]:
    docker("exec", CONTROL_PLANE, "mkdir", "-p", KEPT)
    apply(VOLUME)
    yield
    take_away()
    kubectl("delete", "pv", "chaosext-results", "--ignore-not-found", "--wait=false")
    docker("exec", CONTROL_PLANE, "rm", "-rf", KEPT)


def take_away() -> None:
    """All that `schedule` has applied."""
    kubectl("delete", "namespace", SPACE, "--ignore-not-found", "--wait=true", timeout_s=180)
    for kind in ("role", "rolebinding"):
        for space in ("kube-system", "kube-node-lease", "istio-system"):
            kubectl("-n", space, "delete", kind, "-l", "app.kubernetes.io/name=chaosext")
    kubectl("delete", "clusterrole,clusterrolebinding", "-l", "app.kubernetes.io/name=chaosext")


@pytest.fixture
def scheduled() -> Callable[..., Job]:
    """A game day of settings like these, begun by hand."""

    def begin(name: str, **changes: Any) -> Job:
        schedule(settings(**changes))
        return Job.begin(name)

    return begin


class TestWhole:
    def test_a_cron_jobs_job_comes_to_the_same_verdict_and_leaves_nothing(self, scheduled: Any) -> None:
        before = rulesets()
        job = scheduled("whole")
        assert job.ended(WHOLE_S) == 0, job.log()
        assert job.said("GameDayDeviated").startswith("deviated (exit 0)"), job.events()
        require_nothing_left()
        assert set(before) == set(rulesets())

        record = history()[-1]
        assert (record["verdict"], record["exit_code"], record["job"]) == ("deviated", 0, "whole")
        assert record["facts"]["rollback_verified"] is True
        assert record["facts"]["kube_dns_moved"]
        run = f"{KEPT}/run/{record['run']}"
        kept = docker("exec", CONTROL_PLANE, "ls", run).split()
        assert {"result.json", "timeline.jsonl", "report.html", "journal.json", "sentinels"} <= set(kept)


class TestRefusals:
    def refused(self, job: Job) -> str:
        before = {node: docker("exec", node, "nft", "list", "tables") for node in node_names()}
        assert job.ended(REFUSED_S) == 20, job.log()
        assert before == {node: docker("exec", node, "nft", "list", "tables") for node in node_names()}
        require_nothing_left()
        (event,) = [message for reason, message in job.events() if reason == "GameDayRefused"]
        return event

    def test_suspended(self, scheduled: Any) -> None:
        assert "suspend: game day chaosext/night is suspended" in self.refused(scheduled("r1", suspend=True))

    def test_suspended_by_hand(self, scheduled: Any) -> None:
        schedule(settings())
        kubectl("-n", SPACE, "patch", "cronjob", DAY, "-p", '{"spec":{"suspend":true}}')
        assert "is suspended" in self.refused(Job.begin("r2"))

    def test_outside_of_allowed_hours(self, scheduled: Any) -> None:
        changes = {"schedule": "30 3 * * *", "limits": {"allowed_hours": [_not_now()]}}
        assert "allowed_hours" in self.refused(scheduled("r3", **changes))

    def test_not_approved(self, scheduled: Any) -> None:
        cluster = {"context": CONTEXT, "kube_system_uid": uid(), "production": True}
        assert "nobody approved it for this cluster" in self.refused(scheduled("r4", cluster=cluster))

    def test_a_stop_condition_that_is_true(self, scheduled: Any) -> None:
        condition = {"check": "kube_dns_on_peered_nodes", "must_be": "unhealthy"}
        assert "stop condition" in self.refused(scheduled("r5", stop_conditions=[condition]))

    def test_another_cluster(self, scheduled: Any) -> None:
        other = {"context": CONTEXT, "kube_system_uid": "00000000-0000-0000-0000-000000000000"}
        assert "00000000-0000-0000-0000-000000000000 is meant" in self.refused(scheduled("r6", cluster=other))


def _not_now() -> str:
    """An hour of the night, or of the day, whichever it is not."""
    return "Mon-Sun 03:00-04:00 UTC" if time.gmtime().tm_hour not in (2, 3, 4) else "Mon-Sun 15:00-16:00 UTC"


def test_of_two_schedules_at_once_one_runs(scheduled: Any) -> None:
    schedule(settings(name="other", results={}))
    schedule(settings())
    jobs = Job.begin("two-a"), Job.begin("two-b", "other")
    codes = sorted(job.ended(WHOLE_S) for job in jobs)
    assert codes == [0, 20], [job.log() for job in jobs]
    (refused,) = [job for job in jobs if job.said("GameDayRefused")]
    assert "lock" in refused.said("GameDayRefused").lower() or "Lease" in refused.said("GameDayRefused")
    require_nothing_left()


def next_run_tells(name: str, **changes: Any) -> str:
    """A refused game day sweeps as well: what is refused later than that is the run."""
    time.sleep(LOCK_S)  # as long as the dead runner's Lease is good, its Pods may be somebody's
    kubectl("wait", "--for=condition=Ready", "nodes", "--all", "--timeout=120s", timeout_s=130)
    schedule(settings(limits={"allowed_hours": [_not_now()]}, schedule="30 3 * * *", **changes))
    job = Job.begin(name)
    assert job.ended(REFUSED_S) == 20, job.log()
    require_nothing_left()
    return job.said("EarlierRunSwept")


class TestDeath:
    @pytest.fixture(autouse=True)
    def steady(self, command: Any) -> None:
        """The death before this one left kube-dns astray."""
        assert command("chaosext", "testbed", "up", "--name", NAME, timeout_s=PATIENCE_S).exit_code == 0

    def begun(self, job: Job) -> None:
        wait("the cut", partial(cut_on, CONTROL_PLANE), 400, every_s=0.5)
        time.sleep(3)

    def healed_within(self, seconds: float) -> float:
        began_s = time.monotonic()
        wait("the cut gone", lambda: not _in_force(CONTROL_PLANE), seconds, every_s=0.2)
        return time.monotonic() - began_s

    def test_the_runner_is_killed(self, scheduled: Any) -> None:
        job = scheduled("killed")
        self.begun(job)
        container = job.pod["status"]["containerStatuses"][0]["containerID"].rpartition("//")[2]
        docker(
            "exec", CONTROL_PLANE, "ctr", "-n", "k8s.io", "tasks", "kill", "--all", "-s", "SIGKILL", container
        )
        self.healed_within(TTL_S + 1)
        assert "run " in next_run_tells("after-kill")

    def test_the_namespace_is_deleted(self, scheduled: Any) -> None:
        job = scheduled("gone", results={})
        self.begun(job)
        kubectl("delete", "namespace", SPACE, "--wait=false")
        self.healed_within(TTL_S + 1)
        kubectl("wait", "--for=delete", f"namespace/{SPACE}", "--timeout=180s", timeout_s=190)
        assert "run " in next_run_tells("after-namespace", results={})  # the volume was the deleted claim's

    def test_its_helpers_are_evicted(self, scheduled: Any) -> None:
        job = scheduled("evicted", results={})
        self.begun(job)
        for name in kubectl(
            "-n", SPACE, "get", "pods", "-l", "!job-name", "-o", "jsonpath={.items[*].metadata.name}"
        ).split():
            evict(name)
        self.healed_within(TTL_S + 1)
        job.ended(WHOLE_S)
        require_nothing_left()


def evict(pod: str) -> None:
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": SPACE}}
    docker(
        "exec", CONTROL_PLANE, "sh", "-c", f"cat > /tmp/eviction.json <<'END'\n{json.dumps(eviction)}\nEND"
    )
    path = f"/api/v1/namespaces/{SPACE}/pods/{pod}/eviction"
    kubectl("create", "--raw", path, "-f", "/tmp/eviction.json")


def _in_force(node: str) -> bool:
    """Whether a table of ours has peers that it drops: an empty one cuts nothing."""
    listed = docker("exec", node, "nft", "-j", "list", "ruleset")
    tables = [item["set"] for item in json.loads(listed)["nftables"] if "set" in item]
    return any(each.get("elem") for each in tables if each["table"].startswith("chaosext_"))


FORBIDDEN = (
    "get secrets -A", "list secrets -n chaosext", "create secrets -n chaosext", "delete nodes", "patch nodes",
    "delete pods -n shop", "create pods -n shop", "create pods -n kube-system", "create pods/exec -n shop",
    "create pods/exec -n kube-system", "'*' '*' -A", "get configmaps -n chaosext", "create daemonsets -n chaosext",
    "delete leases/other -n kube-system", "update leases -n kube-node-lease", "update cronjobs -n chaosext",
    "delete daemonsets/kube-proxy -n kube-system", "create clusterrolebindings", "impersonate users", "proxy nodes",
    "create serviceaccounts/token -n chaosext", "delete namespaces", "patch deployments -n kube-system",
)  # fmt: skip


@pytest.fixture(scope="class")
def granted() -> None:
    schedule(settings())


class TestRights:
    """Least privilege, proved: without any one of the rules it is refused, and the Event names what is missing."""

    @pytest.mark.usefixtures("granted")
    @pytest.mark.parametrize(
        "index", range(len(rules(DAY))), ids=[f"{rule.resources[0]}-{i}" for i, rule in enumerate(rules(DAY))]
    )
    def test_without_one_rule_it_is_refused_by_name(self, index: int) -> None:
        rule = rules(DAY)[index]
        apply(as_yaml(role_of(rule, less=rule)))
        try:
            job = Job.begin(f"without-{index}")
            assert job.ended(REFUSED_S) == 20, job.log()
        finally:
            apply(as_yaml(role_of(rule)))
        missing = f"missing permission: {rule.verbs[0]} {rule.resources[0]}"
        assert missing in job.log() or missing in job.said("GameDayRefused"), job.log()

    @pytest.mark.usefixtures("granted")
    @pytest.mark.parametrize("question", FORBIDDEN)
    def test_it_may_not(self, question: str) -> None:
        who = f"--as=system:serviceaccount:{SPACE}:{DAY}"
        asked = f"kubectl --kubeconfig=/etc/kubernetes/admin.conf auth can-i {who} {question} || true"
        assert docker("exec", CONTROL_PLANE, "sh", "-c", asked).strip().splitlines()[-1] == "no"


def role_of(rule: Rule, *, less: Rule | None = None) -> dict[str, Any]:
    """The role that the rule is in, as it is applied, or without one rule."""
    space = SPACE if rule.namespace == OWN else rule.namespace
    objects = compose(settings(), ROOT / "experiments").objects
    role = next(
        each
        for each in objects
        if each["kind"] in ("Role", "ClusterRole") and each["metadata"].get("namespace", "") == space
    )
    role["rules"] = [each for each in role["rules"] if less is None or each != less.to_json()]
    return role
