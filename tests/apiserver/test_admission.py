"""What a game day's account may create, tried on a real API server: what a run creates, and nothing else."""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest
from admission_bed import AT_ONCE, DAY, SPACE, agents, settings, within

from chaosext.checks.xds_synced import SYNCZ
from chaosext.cluster import daemonset
from chaosext.cluster.daemonset import Process
from chaosext.cluster.pods_on_nodes import NodePod
from chaosext.gameday.announcements import Subject, event
from chaosext.gameday.manifests import admission
from chaosext.gameday.permission_checks import require_confined
from chaosext.gameday.server_dry_run import collection, untaken
from chaosext.model.errors import Refused
from chaosext.model.owner import Claim

if TYPE_CHECKING:
    from collections.abc import Iterator

    from admission_bed import Bed

    from chaosext.cluster.client import ApiAnswer, Cluster

Manifest = dict[str, Any]

RUN = "20261123t230300ab12"
NODE_POD = NodePod(run=RUN, owner="", node="node-1.example", namespace=SPACE, image="").name
RBAC = "rbac.authorization.k8s.io"
POLICIES = "/apis/admissionregistration.k8s.io/v1"
ANOTHER = "r.example/other@sha256:" + "2" * 64


def node_pod(**changes: Any) -> Manifest:
    whose = {"run": RUN, "owner": "night@pod", "node": "node-1.example"}
    return NodePod(**{**whose, "namespace": SPACE, "image": agents().node_image, **changes}).manifest()


def sentinels(*, with_bird: bool = False) -> Manifest:
    process = Process(
        image=agents().sentinel_image,
        port=agents().sentinel_port,
        token="a token",  # noqa: S106
        plan='{"run": "…"}',
        with_bird=with_bird,
    )
    return daemonset.manifest(Claim(run=RUN, owner="night@pod"), process, SPACE)


def merged(value: Any, patch: Any) -> Any:
    """A JSON merge patch (RFC 7396): None removes a key."""
    if not isinstance(patch, dict):
        return patch
    kept = dict(value) if isinstance(value, dict) else {}
    for key, each in patch.items():
        if each is None:
            kept.pop(key, None)
        else:
            kept[key] = merged(kept.get(key), each)
    return kept


def in_pod(made: Manifest, patch: Manifest) -> Manifest:
    """The Pod, or the DaemonSet with its template, changed: `patch` is of the Pod's spec, `+volume` one more volume."""
    spec = spec_of(made)
    more = [{"name": "x", **patch["+volume"]}] if "+volume" in patch else []
    own = {key: value for key, value in patch.items() if key != "+volume"}
    changed = merged(spec, own) | ({"volumes": [*spec["volumes"], *more]} if more else {})
    if made["kind"] == "Pod":
        return {**made, "spec": changed}
    template = {**made["spec"]["template"], "spec": changed}
    return {**made, "spec": {**made["spec"], "template": template}}


def spec_of(made: Manifest) -> Manifest:
    """The Pod's spec."""
    spec: Manifest = made["spec"] if made["kind"] == "Pod" else made["spec"]["template"]["spec"]
    return spec


def in_container(made: Manifest, patch: Manifest) -> Manifest:
    return in_pod(made, {"containers": [merged(spec_of(made)["containers"][0], patch)]})


MADE = {"pod": node_pod, "sentinels": sentinels}

SPEC: dict[str, Manifest] = {
    "hostPID": {"hostPID": True},
    "hostIPC": {"hostIPC": True},
    "no hostNetwork": {"hostNetwork": None},
    "shared processes": {"shareProcessNamespace": True},
    "user namespace": {"hostUsers": False, "hostNetwork": None},
    "token": {"automountServiceAccountToken": True},
    "token by default": {"automountServiceAccountToken": None},
    "account": {"serviceAccountName": DAY},
    "deprecated account": {"serviceAccount": DAY, "serviceAccountName": DAY},
    "sysctls": {"securityContext": {"sysctls": [{"name": "kernel.shm_rmid_forced", "value": "1"}]}},
    "Pod's user": {"securityContext": {"runAsUser": 0}},
    "Pod's groups": {"securityContext": {"supplementalGroups": [0], "fsGroup": 0}},
    "Pod's seccomp": {"securityContext": {"seccompProfile": {"type": "Unconfined"}}},
    "Pod's AppArmor": {"securityContext": {"appArmorProfile": {"type": "Unconfined"}}},
    "Pod's SELinux": {"securityContext": {"seLinuxOptions": {"type": "spc_t"}}},
    "init container": {"initContainers": [{"name": "first", "image": ANOTHER}]},
    "sidecar container": {"initContainers": [{"name": "s", "image": ANOTHER, "restartPolicy": "Always"}]},
    "hostPath": {"+volume": {"hostPath": {"path": "/"}}},
    "runtime's socket": {"+volume": {"hostPath": {"path": "/run/containerd", "type": "Directory"}}},
    "Secret": {"+volume": {"secret": {"secretName": "x"}}},
    "ConfigMap": {"+volume": {"configMap": {"name": "x"}}},
    "PersistentVolumeClaim": {"+volume": {"persistentVolumeClaim": {"claimName": "x"}}},
    "projected token": {"+volume": {"projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}},
    "projected Secret": {"+volume": {"projected": {"sources": [{"secret": {"name": "x"}}]}}},
    "CSI": {"+volume": {"csi": {"driver": "d.example"}}},
    "NFS": {"+volume": {"nfs": {"server": "s", "path": "/"}}},
    "iSCSI": {"+volume": {"iscsi": {"targetPortal": "192.0.2.1", "iqn": "iqn.2000-01.example:x", "lun": 0}}},
    "downward API": {"+volume": {"downwardAPI": {"items": []}}},
    "ephemeral volume": {
        "+volume": {
            "ephemeral": {
                "volumeClaimTemplate": {
                    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
                }
            }
        }
    },
    "one more emptyDir": {"+volume": {"emptyDir": {}}},
    "pull Secret of another": {"imagePullSecrets": [{"name": "other"}]},
    "two pull Secrets": {"imagePullSecrets": [{"name": "pull"}, {"name": "other"}]},
    "node's labels": {"nodeSelector": {"kubernetes.io/hostname": "node-1"}},
    "affinity": {"affinity": {"podAffinity": {}}},
    "spread": {
        "topologySpreadConstraints": [
            {"maxSkew": 1, "topologyKey": "x", "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": {}}
        ]
    },
    "tolerations": {"tolerations": [{"operator": "Exists", "effect": "NoSchedule"}]},
    "scheduler": {"schedulerName": "mine"},
    "critical": {"priorityClassName": "system-node-critical"},
    "runtime class": {"runtimeClassName": "privileged"},
    "grace": {"terminationGracePeriodSeconds": 3600},
    "DNS policy": {"dnsPolicy": "ClusterFirstWithHostNet"},
    "DNS": {"dnsConfig": {"nameservers": ["192.0.2.1"]}},
    "hosts": {"hostAliases": [{"ip": "192.0.2.1", "hostnames": ["x"]}]},
    "host name": {"hostname": "x", "subdomain": "y"},
    "Service links": {"enableServiceLinks": True},
    "readiness gate": {"readinessGates": [{"conditionType": "x"}]},
    "scheduling gate": {"schedulingGates": [{"name": "x.example/y"}], "nodeName": None},
    "operating system": {"os": {"name": "linux"}},
    "resource claim": {"resourceClaims": [{"name": "x", "resourceClaimName": "y"}]},
}
"""What is different in the Pod, as a merge patch of its spec."""

CONTAINER: dict[str, Manifest] = {
    "privileged": {"securityContext": {"privileged": True, "allowPrivilegeEscalation": True}},
    "escalation": {"securityContext": {"allowPrivilegeEscalation": True}},
    "escalation by default": {"securityContext": {"allowPrivilegeEscalation": None}},
    "SYS_ADMIN": {"securityContext": {"capabilities": {"add": ["NET_ADMIN", "SYS_ADMIN"]}}},
    "NET_RAW": {"securityContext": {"capabilities": {"add": ["NET_RAW"]}}},
    "all capabilities": {"securityContext": {"capabilities": {"add": ["ALL"]}}},
    "default capabilities": {"securityContext": {"capabilities": {"drop": None}}},
    "no capability dropped": {"securityContext": {"capabilities": None}},
    "user": {"securityContext": {"runAsUser": 1000}},
    "group": {"securityContext": {"runAsGroup": 0}},
    "writable root": {"securityContext": {"readOnlyRootFilesystem": False}},
    "no seccomp": {"securityContext": {"seccompProfile": {"type": "Unconfined"}}},
    "default seccomp": {"securityContext": {"seccompProfile": None}},
    "node's seccomp": {"securityContext": {"seccompProfile": {"type": "Localhost", "localhostProfile": "x"}}},
    "no AppArmor": {"securityContext": {"appArmorProfile": {"type": "Unconfined"}}},
    "SELinux": {"securityContext": {"seLinuxOptions": {"type": "spc_t"}}},
    "Windows": {"securityContext": {"windowsOptions": {"hostProcess": False}}},
    "no security context": {"securityContext": None},
    "image": {"image": ANOTHER},
    "tag": {"image": "r.example/chaosext:latest"},
    "pull policy": {"imagePullPolicy": "Never"},
    "name": {"name": "other"},
    "command": {"command": ["sh", "-c", "true"]},
    "image's command": {"command": None},
    "arguments": {"args": ["-c", "true"]},
    "directory": {"workingDir": "/tmp"},
    "variable": {"env": [{"name": "LD_PRELOAD", "value": "/tmp/x.so"}]},
    "Secret's variable": {"env": [{"name": "X", "valueFrom": {"secretKeyRef": {"name": "x", "key": "y"}}}]},
    "variables of a Secret": {"envFrom": [{"secretRef": {"name": "x"}}]},
    "variables of a ConfigMap": {"envFrom": [{"configMapRef": {"name": "x"}}]},
    "start hook": {"lifecycle": {"postStart": {"exec": {"command": ["true"]}}}},
    "stop hook": {"lifecycle": {"preStop": {"httpGet": {"port": 1, "host": "192.0.2.1"}}}},
    "liveness probe": {"livenessProbe": {"exec": {"command": ["true"]}}},
    "readiness probe": {"readinessProbe": {"tcpSocket": {"port": 1, "host": "192.0.2.1"}}},
    "host port": {"ports": [{"containerPort": 10250, "hostPort": 10250}]},
    "memory": {"resources": {"limits": {"memory": "10Gi"}}},
    "no limit": {"resources": {"limits": None}},
    "requests": {"resources": {"requests": {"cpu": "1"}}},
    "devices": {
        "resources": {"limits": {"example.com/device": "1"}, "requests": {"example.com/device": "1"}}
    },
    "terminal": {"tty": True},
    "standard input": {"stdin": True},
    "termination message": {"terminationMessagePath": "/tmp/x"},
}
"""What is different in the Pod's container, as a merge patch."""

MOUNTS: dict[str, Manifest] = {
    "writable": {"readOnly": None},
    "below a path": {"subPath": "x"},
    "below an expression": {"subPathExpr": "$(CHAOSEXT_NODE)"},
    "propagation": {"mountPropagation": "HostToContainer"},
    "elsewhere": {"mountPath": "/usr/lib"},
    "recursive": {"recursiveReadOnly": "IfPossible"},
}
"""What is different in how BIRD's sockets are mounted."""

VOLUMES: dict[str, Manifest] = {
    "path": {"hostPath": {"path": "/var/run"}},
    "type": {"hostPath": {"type": "DirectoryOrCreate"}},
    "source": {"hostPath": None, "emptyDir": {}},
}
"""What is different in the volume of BIRD's sockets."""

METADATA: dict[str, Manifest] = {
    "generated name": {"name": None, "generateName": "node-"},
    "name": {"name": "mine"},
    "label": {"labels": {"app": "mine"}},
    "other label": {"labels": {"app.kubernetes.io/name": "mine"}},
    "injection": {"labels": {"sidecar.istio.io/inject": "true"}},
    "no run": {"labels": {"chaosext/run": None}},
    "annotation": {"annotations": {"x": "y"}},
    "AppArmor annotation": {
        "annotations": {"container.apparmor.security.beta.kubernetes.io/node": "unconfined"}
    },
    "no annotation": {"annotations": None},
    "finalizer": {"finalizers": ["example.com/stay"]},
    "owner": {"ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "x", "uid": "1"}]},
}

DAEMON_SET: dict[str, Manifest] = {
    "update strategy": {"updateStrategy": {"type": "RollingUpdate"}},
    "patience": {"minReadySeconds": 60},
    "history": {"revisionHistoryLimit": 1},
    "template's label": {"template": {"metadata": {"labels": {"app": "mine"}}}},
    "template's injection": {"template": {"metadata": {"labels": {"sidecar.istio.io/inject": "true"}}}},
    "template's annotation": {"template": {"metadata": {"annotations": {"x": "y"}}}},
    "template's AppArmor": {
        "template": {
            "metadata": {
                "annotations": {"container.apparmor.security.beta.kubernetes.io/sentinel": "unconfined"}
            }
        }
    },
}
"""What is different in the DaemonSet, as a merge patch of its spec."""


def require_refused(bed: Bed, made: Manifest) -> None:
    """By its policy alone: an administrator may, and the refusal names the field."""
    by_admin, by_runner = bed.create(made, dry=True), bed.create(made, dry=True, by=bed.runner)
    assert by_admin.status == 201, by_admin.body["message"]
    assert by_runner.status == 403, by_runner.body
    said = by_runner.body["message"]
    assert f"'chaosext-{DAY}-{'pods' if made['kind'] == 'Pod' else 'sentinels'}'" in said
    assert "chaosext does not set" in said or " must " in said


class TestWhatARunCreates:
    @pytest.mark.parametrize(
        "changes", [{}, {"with_bird": True}, {"turn": 7}, {"node": "n" * 253}, {"owner": "a, b\n@c"}]
    )
    def test_a_node_pod_is_admitted(self, bed: Bed, changes: dict[str, Any]) -> None:
        answer = bed.create(node_pod(**changes), dry=True, by=bed.runner)
        assert answer.status == 201, answer.body

    @pytest.mark.parametrize("with_bird", [True, False])
    def test_the_sentinels_are_admitted(self, bed: Bed, with_bird: bool) -> None:
        answer = bed.create(sentinels(with_bird=with_bird), dry=True, by=bed.runner)
        assert answer.status == 201, answer.body

    def test_pull_secrets_of_the_namespaces_default_account_are_admitted(self, bed: Bed) -> None:
        account = f"/api/v1/namespaces/{SPACE}/serviceaccounts/default"
        bed.admin.request("PATCH", account, body={"imagePullSecrets": [{"name": "pull"}]})
        try:
            assert bed.create(node_pod(), dry=True, by=bed.runner).status == 201
        finally:
            bed.admin.request("PATCH", account, body={"imagePullSecrets": None})

    @pytest.mark.parametrize("name", ["usual", "systems", "sy", "system"])
    def test_a_default_priority_is_admitted(self, bed: Bed, name: str) -> None:
        given = {
            "apiVersion": "scheduling.k8s.io/v1",
            "kind": "PriorityClass",
            "metadata": {"name": name},
            "value": 1000,
            "globalDefault": True,
        }
        path = "/apis/scheduling.k8s.io/v1/priorityclasses"
        bed.admin.request("POST", path, body=given)
        try:
            within(lambda: _priority(bed) == 1000, "the default priority")
            answer = bed.create(node_pod(), dry=True, by=bed.runner)
            assert answer.status == 201, answer.body
        finally:
            bed.admin.request("DELETE", f"{path}/{name}")
            within(lambda: _priority(bed) == 0, "no default priority")

    def test_the_lock_is_admitted_and_may_be_renewed_and_given_back(self, bed: Bed) -> None:
        made = bed.create(lease("chaosext"), by=bed.runner)
        assert made.status == 201, made.body
        path = f"{collection(lease('chaosext'))}/chaosext"
        assert bed.runner.ask("PUT", path, body=made.body).status == 200
        assert bed.runner.ask("DELETE", path).status == 200

    def test_an_event_about_a_game_days_job_is_admitted(self, bed: Bed) -> None:
        subject = Subject(kind="Job", name="night-1", namespace=SPACE, uid="u")
        said = event(subject, "GameDayPassed", "passed", warning=False, at=datetime.now(UTC))
        answer = bed.create(said, by=bed.runner)
        assert answer.status == 201, answer.body


def _priority(bed: Bed) -> int:
    return int(bed.create(node_pod(), dry=True).body["spec"]["priority"])


class TestDeviations:
    @pytest.mark.parametrize("kind", MADE)
    @pytest.mark.parametrize("what", SPEC)
    def test_a_pod_that_is_different_is_refused(self, bed: Bed, kind: str, what: str) -> None:
        require_refused(bed, in_pod(MADE[kind](), SPEC[what]))

    @pytest.mark.parametrize("kind", MADE)
    @pytest.mark.parametrize("what", CONTAINER)
    def test_a_container_that_is_different_is_refused(self, bed: Bed, kind: str, what: str) -> None:
        require_refused(bed, in_container(MADE[kind](), CONTAINER[what]))

    @pytest.mark.parametrize("kind", MADE)
    def test_an_unmasked_proc_is_refused(self, bed: Bed, kind: str) -> None:
        """A file system that shows the node's devices is for a user namespace only, which has no host network."""
        made = in_container(MADE[kind](), {"securityContext": {"procMount": "Unmasked"}, "ports": None})
        require_refused(bed, in_pod(made, {"hostUsers": False, "hostNetwork": None}))

    @pytest.mark.parametrize("kind", MADE)
    @pytest.mark.parametrize("what", MOUNTS)
    def test_a_mount_that_is_different_is_refused(self, bed: Bed, kind: str, what: str) -> None:
        made = MADE[kind](with_bird=True)
        own, bird = spec_of(made)["containers"][0]["volumeMounts"]
        require_refused(bed, in_container(made, {"volumeMounts": [own, merged(bird, MOUNTS[what])]}))

    @pytest.mark.parametrize("kind", MADE)
    @pytest.mark.parametrize("what", VOLUMES)
    def test_a_volume_that_is_different_is_refused(self, bed: Bed, kind: str, what: str) -> None:
        made = MADE[kind](with_bird=True)
        own, bird = spec_of(made)["volumes"]
        require_refused(bed, in_pod(made, {"volumes": [own, merged(bird, VOLUMES[what])]}))

    @pytest.mark.parametrize("kind", MADE)
    def test_a_second_container_is_refused(self, bed: Bed, kind: str) -> None:
        made = MADE[kind]()
        more = {"name": "x", "image": ANOTHER}
        require_refused(bed, in_pod(made, {"containers": [*spec_of(made)["containers"], more]}))

    @pytest.mark.parametrize("kind", MADE)
    @pytest.mark.parametrize("what", METADATA)
    def test_metadata_that_is_different_is_refused(self, bed: Bed, kind: str, what: str) -> None:
        require_refused(bed, merged(MADE[kind](), {"metadata": METADATA[what]}))

    @pytest.mark.parametrize("what", DAEMON_SET)
    def test_a_daemon_set_that_is_different_is_refused(self, bed: Bed, what: str) -> None:
        require_refused(bed, merged(sentinels(), {"spec": DAEMON_SET[what]}))

    @pytest.mark.parametrize("name", ["CHAOSEXT_TOKEN", "CHAOSEXT_PLAN"])
    def test_a_value_of_the_sentinels_that_comes_from_a_secret_is_refused(self, bed: Bed, name: str) -> None:
        made = sentinels()
        environment = made["spec"]["template"]["spec"]["containers"][0]["env"]
        (variable,) = [each for each in environment if each["name"] == name]
        del variable["value"]
        variable["valueFrom"] = {"secretKeyRef": {"name": "x", "key": "y"}}
        require_refused(bed, made)

    @pytest.mark.parametrize("what", ["deadline", "restarts", "node"])
    def test_a_node_pod_that_would_stay_or_be_elsewhere_is_refused(self, bed: Bed, what: str) -> None:
        patches: dict[str, Manifest] = {
            "deadline": {"activeDeadlineSeconds": None},
            "restarts": {"restartPolicy": "Always"},
            "node": {"nodeName": None},
        }
        require_refused(bed, in_pod(node_pod(), patches[what]))

    @pytest.mark.parametrize("kind", MADE)
    def test_every_value_that_is_missing_or_different_is_refused(self, bed: Bed, kind: str) -> None:
        """Field by field of what a run creates: none of them is left to chance, but those of each run's own."""
        made = MADE[kind](with_bird=True)
        accepted = {
            f"{verb} {'.'.join(map(str, path))}"
            for path in _paths(made)
            for verb, changed in (("without", _without(made, path)), ("another", _another(made, path)))
            if bed.runner.ask("POST", collection(made), query={"dryRun": "All"}, body=changed).status == 201
        }
        assert accepted == OPEN[kind]


@pytest.fixture(scope="class", params=["as granted", "with all rights"])
def runner(bed: Bed, request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """The account with its own roles, and as somebody may have bound it to cluster-admin: then the policies are all."""
    if request.param == "as granted":
        yield bed.runner
        return
    role = {"apiGroup": RBAC, "kind": "ClusterRole", "name": "cluster-admin"}
    account = {"kind": "ServiceAccount", "name": DAY, "namespace": SPACE}
    binding = {
        "apiVersion": f"{RBAC}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "too-much"},
        "roleRef": role,
        "subjects": [account],
    }
    with bed.there(binding):
        within(lambda: bed.runner.ask("GET", "/api/v1/secrets").status == 200, "cluster-admin")
        yield bed.runner
    within(lambda: bed.runner.ask("GET", "/api/v1/secrets").status == 403, "no cluster-admin")


def pod(name: str, namespace: str, **labels: str) -> Manifest:
    metadata = {"name": name, "namespace": namespace, "labels": labels}
    spec = {"containers": [{"name": "c", "image": ANOTHER}], "nodeName": "node-1.example"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


MORE_MEMORY = merged(node_pod()["spec"]["containers"][0], {"resources": {"limits": {"memory": "1Gi"}}})


def require_forbidden(answer: ApiAnswer) -> None:
    """By RBAC or by a policy; not because the request itself makes no sense."""
    assert answer.status == 403, answer.body
    said = answer.body["message"]
    assert "ValidatingAdmissionPolicy 'chaosext-night-" in said or "cannot" in said, said


class TestOtherRequests:
    """Whatever else the account may try with Pods, DaemonSets, Leases and Events."""

    @pytest.mark.parametrize(
        ("subresource", "method", "body"),
        [
            ("", "PATCH", {"metadata": {"labels": {"app": "mine"}}}),
            ("", "PATCH", {"metadata": {"annotations": {"x": "y"}}}),
            ("", "PATCH", {"metadata": {"finalizers": ["example.com/stay"]}}),
            ("", "PATCH", {"spec": {"activeDeadlineSeconds": 10}}),
            (
                "/ephemeralcontainers",
                "PATCH",
                {"spec": {"ephemeralContainers": [{"name": "d", "image": ANOTHER}]}},
            ),
            ("/resize", "PATCH", {"spec": {"containers": [MORE_MEMORY]}}),
            ("/status", "PATCH", {"status": {"phase": "Succeeded"}}),
            (
                "/eviction",
                "POST",
                {
                    "apiVersion": "policy/v1",
                    "kind": "Eviction",
                    "metadata": {"name": NODE_POD, "namespace": SPACE},
                },
            ),
            (
                "/binding",
                "POST",
                {
                    "apiVersion": "v1",
                    "kind": "Binding",
                    "metadata": {"name": NODE_POD},
                    "target": {"kind": "Node", "name": "node-2"},
                },
            ),
        ],
    )
    def test_a_node_pod_is_not_changed_afterwards(
        self, bed: Bed, runner: Cluster, subresource: str, method: str, body: Manifest
    ) -> None:
        with bed.there(node_pod()):
            path = f"/api/v1/namespaces/{SPACE}/pods/{NODE_POD}{subresource}"
            require_forbidden(runner.ask(method, path, body=body))

    def test_a_node_pod_is_not_replaced(self, bed: Bed, runner: Cluster) -> None:
        with bed.there(node_pod()):
            path = f"/api/v1/namespaces/{SPACE}/pods/{NODE_POD}"
            there = bed.admin.ask("GET", path).body
            there["spec"]["containers"][0]["image"] = ANOTHER
            require_forbidden(runner.ask("PUT", path, body=there))

    @pytest.mark.parametrize(
        "patch",
        [
            {"spec": {"template": {"spec": {"containers": [{"name": "sentinel", "image": ANOTHER}]}}}},
            {"spec": {"template": {"spec": {"hostPID": True}}}},
            {"metadata": {"labels": {"app": "mine"}}},
        ],
    )
    def test_the_sentinels_are_not_changed_afterwards(
        self, bed: Bed, runner: Cluster, patch: Manifest
    ) -> None:
        with bed.there(sentinels()):
            path = f"{collection(sentinels())}/{daemonset.NAME}"
            require_forbidden(runner.ask("PATCH", path, body=patch))
            require_forbidden(runner.ask("PATCH", f"{path}/status", body=patch))

    @pytest.mark.parametrize("namespace", ["kube-system", "default", "shop", "istio-system"])
    @pytest.mark.parametrize("kind", MADE)
    def test_nothing_is_created_in_another_namespace(
        self, bed: Bed, runner: Cluster, kind: str, namespace: str
    ) -> None:
        made = merged(MADE[kind](), {"metadata": {"namespace": namespace}})
        require_forbidden(bed.create(made, by=runner))

    @pytest.mark.parametrize("name", ["kube-scheduler", "chaosext-2", "node-1"])
    def test_no_other_lease_is_created(self, bed: Bed, runner: Cluster, name: str) -> None:
        require_forbidden(bed.create(lease(name), by=runner))

    def test_no_other_lease_is_changed(self, bed: Bed, runner: Cluster) -> None:
        with bed.there(lease("kube-scheduler")):
            path = f"{collection(lease('x'))}/kube-scheduler"
            require_forbidden(runner.ask("PATCH", path, body={"spec": {"holderIdentity": "me"}}))
            require_forbidden(runner.ask("DELETE", path))

    @pytest.mark.parametrize(
        "about",
        [{"kind": "Pod", "name": "x"}, {"kind": "Node", "name": "x"}, {"kind": "Secret", "name": "x"}],
    )
    def test_no_event_is_made_about_anything_else(self, bed: Bed, runner: Cluster, about: Manifest) -> None:
        subject = Subject(kind="Job", name="night-1", namespace=SPACE, uid="u")
        said = event(subject, "GameDayPassed", "passed", warning=False, at=datetime.now(UTC))
        require_forbidden(bed.create({**said, "involvedObject": {**about, "namespace": SPACE}}, by=runner))

    def test_no_event_is_made_in_anothers_name(self, bed: Bed, runner: Cluster) -> None:
        subject = Subject(kind="Job", name="night-1", namespace=SPACE, uid="u")
        said = event(subject, "Killing", "x", warning=False, at=datetime.now(UTC))
        require_forbidden(bed.create({**said, "source": {"component": "kubelet"}}, by=runner))

    @pytest.mark.parametrize(
        ("namespace", "labels", "may"),
        [
            ("kube-system", {"k8s-app": "kube-dns"}, True),
            ("kube-system", {"k8s-app": "kube-proxy"}, False),
            ("kube-system", {}, False),
            (SPACE, {"app.kubernetes.io/name": "chaosext-node"}, True),
            (SPACE, {"app.kubernetes.io/name": "chaosext"}, False),
            (SPACE, {}, False),
            ("shop", {"k8s-app": "kube-dns"}, False),
        ],
    )
    def test_only_pods_of_kube_dns_and_its_own_are_deleted(
        self, bed: Bed, runner: Cluster, namespace: str, labels: dict[str, str], may: bool
    ) -> None:
        made = pod("some", namespace, **labels)
        within(lambda: bed.create(made, dry=True).status == 201, f"the default account of {namespace}")
        with bed.there(made):
            answer = runner.ask("DELETE", f"{collection(made)}/some", body=AT_ONCE)
            assert answer.status == 200 if may else require_forbidden(answer) is None, answer.body

    @pytest.mark.parametrize("namespace", ["kube-system", SPACE])
    def test_pods_are_not_deleted_all_at_once(self, bed: Bed, runner: Cluster, namespace: str) -> None:
        with bed.there(pod("other", namespace)):
            require_forbidden(runner.ask("DELETE", f"/api/v1/namespaces/{namespace}/pods"))


ISTIOD = "istiod-7d9c6f5b8-x2x4z"


@pytest.fixture(scope="class")
def entered(bed: Bed) -> Iterator[None]:
    """Pods that might be entered."""
    istiod, other, cart = pod(ISTIOD, "istio-system"), pod("other", SPACE), pod("cart", "shop")
    for each in (istiod, other, cart):
        within(lambda made=each: bed.create(made, dry=True).status == 201, "the default account")  # type: ignore[misc]
    with bed.there(node_pod()), bed.there(istiod), bed.there(other), bed.there(cart):
        yield


@pytest.mark.usefixtures("entered")
class TestExec:
    """A refusal comes before an API server looks for the node's kubelet, which there is none of here."""

    def asked(self, runner: Cluster, where: str, container: str, *command: str, **more: str) -> ApiAnswer:
        words = [("container", container), ("stdout", "true"), *more.items()]
        query = urlencode([*words, *(("command", word) for word in command)])
        namespace, name = where.split("/")
        return runner.ask("POST", f"/api/v1/namespaces/{namespace}/pods/{name}/exec?{query}")

    def test_its_own_pods_and_istiods_list_are_admitted(self, runner: Cluster) -> None:
        for answer in (
            self.asked(runner, f"{SPACE}/{NODE_POD}", "node", "bash", "-c", "true", stdin="true"),
            self.asked(runner, f"istio-system/{ISTIOD}", "discovery", *SYNCZ),
        ):
            said = json.dumps(answer.body)
            assert "ValidatingAdmissionPolicy" not in said
            assert "cannot" not in said

    @pytest.mark.parametrize(
        ("where", "container", "command", "more"),
        [
            (f"{SPACE}/{NODE_POD}", "other", ["id"], {}),
            (f"{SPACE}/other", "c", ["id"], {}),
            (f"{SPACE}/other", "node", ["id"], {}),
            (f"istio-system/{ISTIOD}", "discovery", ["cat", "/var/run/secrets/tokens/istio-token"], {}),
            (
                f"istio-system/{ISTIOD}",
                "discovery",
                ["pilot-discovery", "request", "GET", "/debug/configz"],
                {},
            ),
            (f"istio-system/{ISTIOD}", "discovery", [*SYNCZ, "x"], {}),
            (f"istio-system/{ISTIOD}", "discovery", list(SYNCZ), {"stdin": "true"}),
            (f"istio-system/{ISTIOD}", "c", list(SYNCZ), {}),
            ("shop/cart", "c", ["id"], {}),
            ("shop/cart", "node", ["bash"], {}),
        ],
    )
    def test_anything_else_is_refused(
        self, runner: Cluster, where: str, container: str, command: list[str], more: dict[str, str]
    ) -> None:
        require_forbidden(self.asked(runner, where, container, *command, **more))

    @pytest.mark.parametrize("subresource", ["attach", "portforward", "proxy"])
    def test_there_is_no_other_way_in(self, runner: Cluster, subresource: str) -> None:
        path = f"/api/v1/namespaces/{SPACE}/pods/{NODE_POD}/{subresource}"
        require_forbidden(runner.ask("POST", path))


class TestPolicies:
    def test_they_are_about_the_runner_alone(self, bed: Bed) -> None:
        deviating = in_pod(node_pod(), {"hostPID": True})
        assert bed.create(deviating, dry=True).status == 201

    def test_no_expression_is_doubtful_to_the_api_server(self, bed: Bed) -> None:
        """Its controller checks their types against the schemas of what they match."""
        path = f"{POLICIES}/validatingadmissionpolicies"

        def checked() -> list[Manifest]:
            return [each.get("status") or {} for each in bed.admin.request("GET", path)["items"]]

        within(lambda: all("typeChecking" in each for each in checked()), "the policies' status")
        assert [each["typeChecking"] for each in checked()] == [{}] * 3

    def test_a_run_in_a_cluster_is_refused_while_one_is_not_in_force(self, bed: Bed) -> None:
        """Without them the account may do what they are there to refuse."""
        deviating = {
            "requests": lease("kube-scheduler"),
            "pods": in_pod(node_pod(), {"hostPID": True}),
            "sentinels": in_pod(sentinels(), {"hostPID": True}),
        }
        bindings = [each for each in admission(settings(), agents()) if each["kind"].endswith("Binding")]
        assert len(bindings) == len(deviating)
        for each in bindings:
            name = each["metadata"]["name"]
            made = deviating[name.rpartition("-")[2]]
            bed.admin.request("DELETE", f"{collection(each)}/{name}")
            try:
                within(lambda made=made: bed.create(made, dry=True, by=bed.runner).status == 201, name)  # type: ignore[misc]
                with pytest.raises(Refused, match=f"admission policy {name} is not in force"):
                    require_confined(bed.runner, DAY, agents())
            finally:
                bed.create(each)
                within(lambda made=made: bed.create(made, dry=True, by=bed.runner).status == 403, name)  # type: ignore[misc]
        require_confined(bed.runner, DAY, agents())

    def test_a_namespace_that_keeps_node_pods_out_is_named_with_its_fix(self, bed: Bed) -> None:
        path, label = f"/api/v1/namespaces/{SPACE}", "pod-security.kubernetes.io/enforce"
        bed.admin.request("PATCH", path, body={"metadata": {"labels": {label: "baseline"}}})
        try:
            within(lambda: bed.create(node_pod(), dry=True).status == 403, "the Pod Security Standard")
            with pytest.raises(Refused, match=r"cannot be tested: .* violates PodSecurity"):
                require_confined(bed.runner, DAY, agents())
        finally:
            bed.admin.request("PATCH", path, body={"metadata": {"labels": {label: "privileged"}}})
            within(lambda: bed.create(node_pod(), dry=True).status == 201, "the Pod Security Standard")

    def test_a_check_of_the_schedule_finds_nothing_to_change(self, bed: Bed) -> None:
        assert list(untaken(bed.admin, admission(settings(), agents()))) == []


def lease(name: str) -> Manifest:
    metadata = {"name": name, "namespace": "kube-system"}
    return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": {}}


OPEN = {
    "pod": {
        "another metadata.labels.chaosext/run",
        "another metadata.annotations.chaosext/owner",
        "another metadata.annotations.chaosext/holder",
        "another spec.nodeName",
        # What an API server takes from the request's address, or sets to the same value by itself.
        "without metadata.namespace",
        "without apiVersion",
        "without kind",
        "without spec.containers.0.imagePullPolicy",
    },
    "sentinels": {
        "another metadata.labels.chaosext/run",
        "another metadata.annotations.chaosext/owner",
        "another metadata.annotations.chaosext/holder",
        "without metadata.namespace",
        "without apiVersion",
        "without kind",
        "without spec.template.spec.containers.0.imagePullPolicy",
        "without spec.template.spec.volumes.0.emptyDir",
        *(f"another spec.template.spec.containers.0.env.{index}.value" for index in (3, 4)),
    },
}
"""What may differ from one run to another, and what makes no difference."""


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of each value that holds no other."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    below = [each for key, inner in items for each in _paths(inner, (*path, key))]
    yield from below or [path]


def _holder(made: Manifest, path: tuple[Any, ...]) -> tuple[Manifest, Any]:
    copied = copy.deepcopy(made)
    found: Any = copied
    for key in path[:-1]:
        found = found[key]
    return copied, found


def _without(made: Manifest, path: tuple[Any, ...]) -> Manifest:
    copied, holder = _holder(made, path)
    del holder[path[-1]]
    return copied


def _another(made: Manifest, path: tuple[Any, ...]) -> Manifest:
    copied, holder = _holder(made, path)
    value = holder[path[-1]]
    others = {
        bool: lambda: not value,
        int: lambda: value + 1,
        str: lambda: f"{value}x",
        dict: lambda: {"medium": "x"},
    }
    holder[path[-1]] = others[type(value)]()
    return copied
