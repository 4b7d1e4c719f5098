"""The Kubernetes objects that run game days in a cluster, derived from the settings. Pure."""

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
    from chaosext.gameday.gameday_settings import GameDaySettings

Manifest = dict[str, Any]

RBAC = "rbac.authorization.k8s.io"
SETTINGS_DIR, SETTINGS_FILE, EXPERIMENT_FILE = "/etc/chaosext/gameday", "settings.yaml", "experiment.yaml"
RESULTS_DIR, TMP = "/var/lib/chaosext", "/tmp"  # noqa: S108 (the Pod's own)
WEBHOOK_DIR, UPLOAD_DIR = "/etc/chaosext/webhook", "/etc/chaosext/upload"
APPROVALS, APPROVALS_DIR = "chaosext-approvals", "/etc/chaosext/approvals"
"""The ConfigMap that `chaosext approve --list --config-map` prints."""

GRACE_S = 60
"""After SIGTERM a run heals within 5 s; then it writes its report, and the results are sent."""

MEMORY = {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}}


def objects(settings: GameDaySettings, files: dict[str, str], agents: Agents) -> list[Manifest]:
    """Return all objects in the order to apply them: the runner is confined before it gets permissions.

    `files`: the ConfigMap's, by name.
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


def _labels(settings: GameDaySettings) -> dict[str, str]:
    return {"app.kubernetes.io/name": "chaosext", "app.kubernetes.io/instance": settings.name}


def _named(
    version: str, kind: str, settings: GameDaySettings, name: str, namespace: str | None = None
) -> Manifest:
    """Return an object's head, cluster-wide if `namespace` is ""; by default in the settings' namespace."""
    where = settings.namespace if namespace is None else namespace
    metadata = {"name": name, **({"namespace": where} if where else {})}
    return {"apiVersion": version, "kind": kind, "metadata": {**metadata, "labels": _labels(settings)}}


def _namespace(settings: GameDaySettings) -> Manifest:
    """Return the namespace. Sentinels and node Pods use the host network, which only level `privileged` admits."""
    made = _named("v1", "Namespace", settings, settings.namespace, "")
    made["metadata"]["labels"] = {"app.kubernetes.io/name": "chaosext", **PRIVILEGED}
    return made


def admission(settings: GameDaySettings, agents: Agents) -> Iterator[Manifest]:
    """Yield the policies that confine the runner's account, each with its binding."""
    for name, spec in policies(settings.name, agents):
        yield _named(POLICIES, "ValidatingAdmissionPolicy", settings, name, "") | {"spec": spec}
        yield _named(POLICIES, "ValidatingAdmissionPolicyBinding", settings, name, "") | {
            "spec": {"policyName": name, "validationActions": ["Deny"]}
        }


def _access(settings: GameDaySettings) -> Iterator[Manifest]:
    """Yield a role and its binding for each namespace that has rules."""
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


def role_name(settings: GameDaySettings, namespace: str) -> str:
    """Return a role's name; outside of the settings' namespace it includes that namespace, so that it is unique."""
    own = namespace == settings.namespace
    return settings.name if own else f"{settings.namespace}-{settings.name}"


def _claim(settings: GameDaySettings) -> Iterator[Manifest]:
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


def _cron_job(settings: GameDaySettings) -> Manifest:
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


def _job(settings: GameDaySettings) -> Manifest:
    """Return the Job, without retries: after a failure a person should look first."""
    return {
        "backoffLimit": 0,
        "activeDeadlineSeconds": settings.deadline_s,
        "template": {
            "metadata": {"labels": {**_labels(settings), "sidecar.istio.io/inject": "false"}},
            "spec": _pod(settings),
        },
    }


def _pod(settings: GameDaySettings) -> Manifest:
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
    """Return tolerations that keep the Pod on a node that is cut off: it must not be evicted before it heals."""
    cut_off = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
    return [
        {"key": "node-role.kubernetes.io/control-plane", "operator": "Exists", "effect": "NoSchedule"},
        *({"key": key, "operator": "Exists", "effect": "NoExecute"} for key in cut_off),
    ]


def _container(settings: GameDaySettings) -> Manifest:
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


def _environment(settings: GameDaySettings) -> list[Manifest]:
    """Return the environment. `USER` names the owner in locks and audit log, with the Pod's name as its host."""
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


def _volumes(settings: GameDaySettings) -> list[Manifest]:
    return list(_mounted(settings).values())


def _mounted(settings: GameDaySettings) -> dict[str, Manifest]:
    """Return mount path -> volume.

    Secrets and approvals are optional: the game day reports a missing one itself.
    """
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
