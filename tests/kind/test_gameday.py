"""Scheduled game days on the testbed, through the doors that any cluster has: a CronJob's Job, RBAC, Events.

The runner's image is the testbed's own, so `chaosext testbed up` first, after each change of the sources.
"""

from __future__ import annotations

import json
import subprocess
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from chaosext.cluster.client import ApiAnswer, Cluster
from chaosext.cluster.daemonset import Process, manifest
from chaosext.cluster.pods_on_nodes import NodePod
from chaosext.gameday.bundle_of_manifests import as_yaml, compose
from chaosext.gameday.effective_experiment import agents_of, effective
from chaosext.gameday.gameday_settings import GameDaySettings
from chaosext.gameday.permission_checks import require_confined
from chaosext.gameday.rights import OWN, RoleRule, rights, rules
from chaosext.gameday.server_dry_run import collection
from chaosext.model.owner import LOCK_S, Claim
from chaosext.run.agents.sentinel_pods import new_token

from .conftest import (
    BIN,
    CONTEXT,
    EXPERIMENT,
    NAME,
    PATIENCE_S,
    ROOT,
    brought_image,
    docker,
    kubectl,
    node_names,
    rulesets,
)
from .recorded_requests import recorded, recorder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

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


def settings(**changes: Any) -> GameDaySettings:
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
    return GameDaySettings.model_validate(values)


def apply(text: str) -> None:
    """Through a file on the node: kubectl runs there."""
    docker("exec", CONTROL_PLANE, "sh", "-c", f"cat > /tmp/applied.yaml <<'END'\n{text}\nEND")
    kubectl("apply", "-f", "/tmp/applied.yaml")


def schedule(wanted: GameDaySettings) -> None:
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
    named = "--field-selector=metadata.name=chaosext-sentinel"
    assert kubectl("get", "daemonsets", "--all-namespaces", named, "-o", "name") == ""
    assert not lease_is_held()


@pytest.fixture(scope="module", autouse=True)
def volume() -> Iterator[None]:
    docker("exec", CONTROL_PLANE, "mkdir", "-p", KEPT)
    apply(VOLUME)
    yield
    clean_up()
    kubectl("delete", "pv", "chaosext-results", "--ignore-not-found", "--wait=false")
    docker("exec", CONTROL_PLANE, "rm", "-rf", KEPT)


def clean_up() -> None:
    """All that `schedule` has applied."""
    kubectl("delete", "namespace", SPACE, "--ignore-not-found", "--wait=true", timeout_s=180)
    for kind in ("role", "rolebinding"):
        for space in ("kube-system", "kube-node-lease", "istio-system"):
            kubectl("-n", space, "delete", kind, "-l", "app.kubernetes.io/name=chaosext")
    everywhere = "clusterrole,clusterrolebinding,validatingadmissionpolicy,validatingadmissionpolicybinding"
    kubectl("delete", everywhere, "-l", "app.kubernetes.io/name=chaosext")


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
        assert "it is not approved for this cluster" in self.refused(scheduled("r4", cluster=cluster))

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
    """A refused game day cleans up as well: what is refused later than that is the run."""
    time.sleep(LOCK_S)  # as long as the dead runner's Lease is good, its Pods may be somebody's
    kubectl("wait", "--for=condition=Ready", "nodes", "--all", "--timeout=120s", timeout_s=130)
    schedule(settings(limits={"allowed_hours": [_not_now()]}, schedule="30 3 * * *", **changes))
    job = Job.begin(name)
    assert job.ended(REFUSED_S) == 20, job.log()
    require_nothing_left()
    return job.said("EarlierRunCleanedUp")


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
    "create pods/exec -n kube-system", "'*' '*' -A", "get configmaps -n chaosext", "create daemonsets -n kube-system",
    "update daemonsets -n chaosext", "patch daemonsets -n chaosext", "patch pods -n chaosext",
    "patch pods --subresource=ephemeralcontainers -n chaosext", "create pods --subresource=eviction -n kube-system",
    "create pods --subresource=attach -n chaosext", "deletecollection pods -n kube-system", "create jobs -n chaosext",
    "create validatingadmissionpolicybindings", "delete validatingadmissionpolicies", "patch namespaces/chaosext",
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


class TestRightsAreUsed:
    """Least privilege, the other way round: a whole game day asks for each of its rights."""

    ONLY_ELSEWHERE = frozenset(
        {
            "create pods/exec in istio-system",  # Kubernetes 1.35 and newer
            "create pods/exec in chaosext",
            "list blockaffinities.crd.projectcalico.org",  # several control-plane nodes
            "get pods in chaosext",  # a Pod on a node that was evicted or deleted is put there anew
            "delete daemonsets.apps/chaosext-sentinel in kube-system",  # left by an earlier version
        }
    )

    def test_a_whole_game_day_uses_every_right_and_needs_no_other(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        wanted = settings(cluster={"context": SPACE, "kube_system_uid": uid()}, results={})
        schedule(wanted)
        path = tmp_path / "settings.yaml"
        plain = wanted.model_dump(mode="json", exclude_defaults=True)
        path.write_text(as_yaml(plain | {"experiment": str(EXPERIMENT)}))
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("KUBECONFIG", str(kubeconfig_of(tmp_path)))
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
        assert chaosext("pin", "--context", SPACE).returncode == 0
        for key, value in recorder(tmp_path).items():
            monkeypatch.setenv(key, value)
        done = chaosext("gameday", "--settings", str(path), "--results", str(tmp_path / "results"))
        assert done.returncode == 0, done.stdout + done.stderr
        asked = set(recorded(tmp_path))
        known = list(rights(DAY, SPACE))
        unused = {str(right) for right in known if not any(each.needs(right) for each in asked)}
        assert unused == self.ONLY_ELSEWHERE
        beyond = [each for each in asked if not any(each.needs(right) for right in known)]
        assert [each for each in beyond if each.resource != "selfsubjectaccessreviews"] == []


def kubeconfig_of(directory: Path) -> Path:
    """One whose only context, `SPACE`, is the game day's account."""
    shown = subprocess.run(
        [BIN / "chaosext", "testbed", "kubeconfig"], capture_output=True, text=True, check=True, timeout=30
    )
    config: dict[str, Any] = yaml.safe_load(shown.stdout)
    token = kubectl("create", "token", DAY, f"--namespace={SPACE}", "--duration=1h").strip()
    config["users"] = [{"name": DAY, "user": {"token": token}}]
    named = {"cluster": config["clusters"][0]["name"], "user": DAY}
    config["contexts"] = [{"name": SPACE, "context": named}]
    path = directory / "kubeconfig.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def chaosext(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [BIN / "chaosext", *words], capture_output=True, text=True, check=False, timeout=WHOLE_S
    )


class TestAdmission:
    """The policies on the testbed's API server, which has a cluster behind it; field by field: tests/apiserver."""

    @pytest.fixture
    def runner(self, tmp_path: Path) -> Cluster:
        schedule(settings(results={}))
        return Cluster.connect(SPACE, str(kubeconfig_of(tmp_path)))

    def create(self, runner: Cluster, made: dict[str, Any]) -> ApiAnswer:
        return runner.ask("POST", collection(made), query={"dryRun": "All"}, body=made)

    def test_what_a_run_creates_is_admitted_and_what_deviates_is_refused_by_field(
        self, runner: Cluster
    ) -> None:
        agents = agents_of(settings(), effective(settings(), ROOT / "experiments"))
        pod = NodePod(
            run="r", owner="o", node=CONTROL_PLANE, namespace=SPACE, image=agents.node_image, with_bird=True
        ).manifest()
        process = Process(
            image=agents.sentinel_image, port=agents.sentinel_port, token=new_token(), plan="{}", with_bird=True
        )  # fmt: skip
        sentinels = manifest(Claim(run="r", owner="o"), process, SPACE)
        require_confined(runner, DAY, agents)
        for made, spec in ((pod, pod["spec"]), (sentinels, sentinels["spec"]["template"]["spec"])):
            admitted = self.create(runner, made)
            assert admitted.status == 201, admitted.body
            for field, value in (
                ("hostPID", True), ("serviceAccountName", DAY), ("initContainers", [{"name": "x", "image": "x"}]),
                ("volumes", [*spec["volumes"], {"name": "root", "hostPath": {"path": "/"}}]),
                ("priorityClassName", "system-node-critical"),
            ):  # fmt: skip
                before = dict(spec)
                spec[field] = value
                answer = self.create(runner, made)
                assert answer.status in (403, 422), field
                assert "ValidatingAdmissionPolicy" in answer.body["message"], answer.body["message"]
                spec.clear()
                spec.update(before)

    def test_no_expression_is_doubtful_to_the_api_server(self, runner: Cluster) -> None:
        def statuses() -> list[dict[str, Any]]:
            labelled = ("-l", "app.kubernetes.io/name=chaosext", "-o", "json")
            return [each.get("status", {}) for each in json.loads(kubectl("get", POLICY, *labelled))["items"]]

        wait("the policies' status", lambda: all("typeChecking" in each for each in statuses()), 60)
        assert all(not each["typeChecking"].get("expressionWarnings") for each in statuses())

    @pytest.mark.parametrize("end", ["requests", "pods", "sentinels"])
    def test_a_game_day_is_refused_while_a_policy_is_not_bound(self, runner: Cluster, end: str) -> None:
        name = f"{SPACE}-{DAY}-{end}"
        kubectl("delete", f"{POLICY}binding", name)
        try:
            job = Job.begin(f"unbound-{end}")
            assert job.ended(REFUSED_S) == 20, job.log()
            assert f"admission policy {name} is not in force" in job.said("GameDayRefused")
        finally:
            schedule(settings(results={}))


POLICY = "validatingadmissionpolicy"


def role_of(rule: RoleRule, *, less: RoleRule | None = None) -> dict[str, Any]:
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
