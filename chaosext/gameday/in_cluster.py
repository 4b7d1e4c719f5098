"""The environment of a runner in a Pod: kubeconfig, pin, limits, approvals, output directories.

All of it is files in a temporary directory, and the environment variables that name them, so that the run
itself is the same as anywhere else.
"""

from __future__ import annotations

import json
import os
import tempfile
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from chaosext.experiment.operator_limits import VARIABLE as LIMITS_VARIABLE
from chaosext.gameday.manifests import APPROVALS_DIR
from chaosext.model.errors import Refused
from chaosext.model.files import OWNER_ONLY, write_whole
from chaosext.run.session.run_directory import ROOT_VARIABLE
from chaosext.safety.approvals import VARIABLE as APPROVALS_VARIABLE
from chaosext.safety.pins import write_pin

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from chaosext.gameday.gameday_settings import ClusterKeys, GameDaySettings
    from chaosext.safety.pins import Pin

ACCOUNT_DIR = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where a Pod has its token and the API server's CA (kubernetes.io, "Accessing the API from a Pod")."""

LIMITS_FILE = "limits-of-the-settings.yaml"
"""The name by which a refusal identifies the settings' limits."""

APPROVALS_FILE = Path(APPROVALS_DIR) / "approvals.jsonl"


def is_in_cluster(environment: Mapping[str, str], account: Path = ACCOUNT_DIR) -> bool:
    """Return whether this process is in a Pod with a ServiceAccount's token."""
    return bool(environment.get("KUBERNETES_SERVICE_HOST")) and (account / "token").is_file()


@contextmanager
def seated(settings: GameDaySettings, results: Path, account: Path = ACCOUNT_DIR) -> Iterator[None]:
    """Set up this process's environment for a runner in a Pod."""
    with tempfile.TemporaryDirectory(prefix="chaosext-") as aside:
        home = Path(aside)
        os.environ |= _environment(home, results)
        config = kubeconfig(settings.cluster.context, os.environ, account)
        write_whole(home / "kubeconfig", config, fsync=False, mode=OWNER_ONLY)
        limits = json.dumps(settings.limits.model_dump(exclude_defaults=True))
        write_whole(home / LIMITS_FILE, limits, fsync=False, mode=OWNER_ONLY)
        yield


def _environment(home: Path, results: Path) -> dict[str, str]:
    approvals = {APPROVALS_VARIABLE: str(APPROVALS_FILE)} if APPROVALS_FILE.exists() else {}
    return {
        "KUBECONFIG": str(home / "kubeconfig"),
        "XDG_CONFIG_HOME": str(home / "config"),
        "XDG_STATE_HOME": str(results / "state"),
        LIMITS_VARIABLE: str(home / LIMITS_FILE),
        ROOT_VARIABLE: str(results / "run"),
        **approvals,
    }


def kubeconfig(context: str, environment: Mapping[str, str], account: Path = ACCOUNT_DIR) -> str:
    """Return a kubeconfig (JSON is YAML) with one context. It names the token's file, which the kubelet renews."""
    host, port = environment["KUBERNETES_SERVICE_HOST"], environment.get("KUBERNETES_SERVICE_PORT", "443")
    address = f"[{host}]" if ":" in host else host
    cluster = {"server": f"https://{address}:{port}", "certificate-authority": str(account / "ca.crt")}
    named = {"cluster": context, "user": context}
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": context, "cluster": cluster}],
            "users": [{"name": context, "user": {"tokenFile": str(account / "token")}}],
            "contexts": [{"name": context, "context": named}],
        }
    )


def require_meant(wanted: ClusterKeys, observed: Pin) -> None:
    """Raise `Refused` unless this is the settings' cluster."""
    if observed.kube_system_uid != wanted.kube_system_uid:
        raise Refused(
            f"cluster.kube_system_uid: this cluster's is {observed.kube_system_uid},"
            f" but the settings say {wanted.kube_system_uid}",
            "use this cluster's settings; see `kubectl get namespace kube-system -o yaml`",
        )


def pin_meant(wanted: ClusterKeys, observed: Pin) -> None:
    """Pin the settings' cluster, with the server and CA that this Pod was given."""
    require_meant(wanted, observed)
    write_pin(replace(observed, production=wanted.production))
