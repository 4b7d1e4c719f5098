"""What runs game days in a cluster, as Kubernetes objects made of the settings. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chaosext.cluster.daemonset import PRIVILEGED
from chaosext.gameday.admission import VERSION as POLICIES
from chaosext.gameday.admission import policies
from chaosext.gameday.rights import OWN, rules
from chaosext.nodes.image_names import USER, runner_image
from chaosext.run.fault.irrevocable import NODE_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chaosext.gameday.admission import Agents
    from chaosext.gameday.gameday_settings import Settings

Manifest = dict[str, Any]

RBAC = "rbac.authorization.k8s.io"
SETTINGS_DIR, SETTINGS_FILE, EXPERIMENT_FILE = "/etc/chaosext/gameday", "settings.yaml", "experiment.yaml"
RESULTS_DIR, TMP = "/var/lib/chaosext", "/tmp"  # noqa: S108 (the Pod's own)
WEBHOOK_DIR, UPLOAD_DIR = "/etc/chaosext/webhook", "/etc/chaosext/upload"
APPROVALS, APPROVALS_DIR = "chaosext-approvals", "/etc/chaosext/approvals"
"""The ConfigMap that `chaosext approve --list -o yaml` prints."""

GRACE_S = 60
"""A run that is told to leave heals within 5 s; then it writes its report, and the results are sent on."""

MEMORY = {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}}


def objects(settings: Settings, files: dict[str, str], agents: Agents) -> list[Manifest]:
    """Everything, in the order in which it can be applied: the runner's account is confined before it may do anything.

    `files`: those of the ConfigMap, by name.
    """
    return [
        _namespace(settings),
        *admission(settings, agents),
        _named("v1", "ServiceAccount", settings, settings.name) | {"automountServiceAccountToken": False},
        *_access(settings),
        _named("v1", "ConfigMap", settings, settings.name) | {"data": files},
        *_claim(settings),
        _cron_job(settings),
    ]


def _labels(settings: Settings) -> dict[str, str]:
    return {"app.kubernetes.io/name": "chaosext", "app.kubernetes.io/instance": settings.name}


def _named(version: str, kind: str, settings: Settings, name: str, namespace: str | None = None) -> Manifest:
    """Cluster-wide where `namespace` is ""; by default in the settings' own."""
    where = settings.namespace if namespace is None else namespace
    metadata = {"name": name, **({"namespace": where} if where else {})}
    return {"apiVersion": version, "kind": kind, "metadata": {**metadata, "labels": _labels(settings)}}


def _namespace(settings: Settings) -> Manifest:
    """Sentinels and node Pods use their node's network, which only the `privileged` Pod Security Standard admits."""
    made = _named("v1", "Namespace", settings, settings.namespace, "")
    made["metadata"]["labels"] = {"app.kubernetes.io/name": "chaosext", **PRIVILEGED}
    return made


def admission(settings: Settings, agents: Agents) -> Iterator[Manifest]:
    """The policies that confine the runner's account, each with its binding."""
    for name, spec in policies(settings.name, agents):
        yield _named(POLICIES, "ValidatingAdmissionPolicy", settings, name, "") | {"spec": spec}
        yield _named(POLICIES, "ValidatingAdmissionPolicyBinding", settings, name, "") | {
            "spec": {"policyName": name, "validationActions": ["Deny"]}
        }


def _access(settings: Settings) -> Iterator[Manifest]:
    """A role and its binding for each namespace that rules are for."""
    known = rules(settings.name)
    for namespace in dict.fromkeys(rule.namespace for rule in known):
        where = settings.namespace if namespace == OWN else namespace
        name = role_name(settings, where)
        kind = "Role" if where else "ClusterRole"
        listed = [rule.to_json() for rule in known if rule.namespace == namespace]
        yield _named(f"{RBAC}/v1", kind, settings, name, where) | {"rules": listed}
        yield _named(f"{RBAC}/v1", f"{kind}Binding", settings, name, where) | {
            "roleRef": {"apiGroup": RBAC, "kind": kind, "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": settings.name, "namespace": settings.namespace}],
        }


def role_name(settings: Settings, namespace: str) -> str:
    """Outside of the settings' namespace it is part of the name: game days in two of them share nothing."""
    own = namespace == settings.namespace
    return settings.name if own else f"{settings.namespace}-{settings.name}"


def _claim(settings: Settings) -> Iterator[Manifest]:
    results = settings.results
    if results.size:
        storage = {"storageClassName": results.storage_class} if results.storage_class else {}
        yield _named("v1", "PersistentVolumeClaim", settings, settings.name) | {
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                **storage,
                "resources": {"requests": {"storage": results.size}},
            }
        }


def _cron_job(settings: Settings) -> Manifest:
    return _named("batch/v1", "CronJob", settings, settings.name) | {
        "spec": {
            "schedule": settings.schedule,
            "timeZone": settings.time_zone,
            "concurrencyPolicy": "Forbid",
            "suspend": settings.suspend,
            "startingDeadlineSeconds": settings.starting_deadline_s,
            "successfulJobsHistoryLimit": settings.history.successful,
            "failedJobsHistoryLimit": settings.history.failed,
            "jobTemplate": {"metadata": {"labels": _labels(settings)}, "spec": _job(settings)},
        }
    }


def _job(settings: Settings) -> Manifest:
    """One attempt: a game day that failed is looked at by somebody before there is another."""
    return {
        "backoffLimit": 0,
        "activeDeadlineSeconds": settings.deadline_s,
        "template": {
            "metadata": {"labels": {**_labels(settings), "sidecar.istio.io/inject": "false"}},
            "spec": _pod(settings),
        },
    }


def _pod(settings: Settings) -> Manifest:
    pull = [{"name": name} for name in settings.image_pull_secrets]
    return {
        "serviceAccountName": settings.name,
        "automountServiceAccountToken": True,
        "enableServiceLinks": False,
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": GRACE_S,
        "nodeSelector": dict(settings.node_selector),
        "tolerations": _tolerations(),
        **({"imagePullSecrets": pull} if pull else {}),
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(settings)],
        "volumes": _volumes(settings),
    }


def _tolerations() -> list[Manifest]:
    """It stays where it is when its node is cut off: who heals must not be evicted by what is to be healed."""
    cut_off = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
    return [
        {"key": "node-role.kubernetes.io/control-plane", "operator": "Exists", "effect": "NoSchedule"},
        *({"key": key, "operator": "Exists", "effect": "NoExecute"} for key in cut_off),
    ]


def _container(settings: Settings) -> Manifest:
    arguments = ["gameday", "--settings", f"{SETTINGS_DIR}/{SETTINGS_FILE}", "--results", RESULTS_DIR]
    return {
        "name": "runner",
        "image": settings.image or runner_image(),
        "imagePullPolicy": "IfNotPresent",
        "args": arguments,
        "env": _environment(settings),
        "resources": MEMORY,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "privileged": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            {"name": volume["name"], "mountPath": path, **({} if path in WRITTEN else {"readOnly": True})}
            for path, volume in _mounted(settings).items()
        ],
    }


WRITTEN = (RESULTS_DIR, TMP)


def _environment(settings: Settings) -> list[Manifest]:
    """`USER` is who the locks and the audit log say did it, with the Pod's name as the host's."""
    controller = "metadata.labels['batch.kubernetes.io/{}']"
    from_pod = {
        "CHAOSEXT_JOB": controller.format("job-name"),
        "CHAOSEXT_JOB_UID": controller.format("controller-uid"),
        NODE_VARIABLE: "spec.nodeName",
    }
    fixed = {"HOME": TMP, "USER": settings.name}
    return [
        *({"name": name, "value": value} for name, value in fixed.items()),
        *({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}} for name, path in from_pod.items()),
    ]


def _volumes(settings: Settings) -> list[Manifest]:
    return list(_mounted(settings).values())


def _mounted(settings: Settings) -> dict[str, Manifest]:
    """Where -> the volume there. What may be missing is optional: the game day says so itself, and does not hang."""
    claim = settings.results.claim or (settings.name if settings.results.size else "")
    kept = {"persistentVolumeClaim": {"claimName": claim}} if claim else {"emptyDir": {}}
    mounted: dict[str, Manifest] = {
        SETTINGS_DIR: {"name": "settings", "configMap": {"name": settings.name}},
        APPROVALS_DIR: {"name": "approvals", "configMap": {"name": APPROVALS, "optional": True}},
        RESULTS_DIR: {"name": "results", **kept},
        TMP: {"name": "tmp", "emptyDir": {}},
    }
    for path, name, secret in (
        (WEBHOOK_DIR, "webhook", settings.webhook),
        (UPLOAD_DIR, "upload", settings.results.upload),
    ):
        if secret:
            mounted[path] = {"name": name, "secret": {"secretName": secret.secret, "optional": True}}
    return mounted
