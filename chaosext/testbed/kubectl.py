"""kubectl on the control-plane node, where it is installed in the right version and has credentials.

It therefore works before kind has written a kubeconfig, and while the node's uplink is cut: it uses the
node's own API server, and not the load balancer in front of several of them.
"""

from __future__ import annotations

import json
import ssl
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from chaosext.testbed.commands import CommandFailed
from chaosext.testbed.containers import docker

if TYPE_CHECKING:
    from collections.abc import Iterable

ADMIN_CONF = "/etc/kubernetes/admin.conf"
SERVER = "https://localhost:6443"
"""One of the names in every API server's certificate (kind 0.33, pkg/cluster/internal/kubeadm/config.go, certSANs)."""
CA_CERTIFICATE = "/etc/kubernetes/pki/ca.crt"
FIELD_MANAGER = "chaosext"
READ_TIMEOUT_S = 15
APPLY_TIMEOUT_S = 90
EXEC_MARGIN_S = 5
"""How much longer than the wait itself the client may run, seconds."""


@dataclass(frozen=True, slots=True)
class Kubectl:
    """kubectl on node `control_plane`. Every call has a timeout and raises `CommandFailed`."""

    control_plane: str

    def run(self, *words: str, input: str | None = None, timeout_s: float = READ_TIMEOUT_S) -> str:
        """Run one kubectl command and return its output."""
        return docker(
            "exec", "--interactive", self.control_plane, "kubectl", f"--kubeconfig={ADMIN_CONF}",
            f"--server={SERVER}", *words, input=input, timeout_s=timeout_s,
        )  # fmt: skip

    def get(self, *words: str) -> Any:
        """Run `kubectl get … -o json` and return `items` of a list, or else the object itself."""
        found = json.loads(self.run("get", *words, "--output=json"))
        return found["items"] if found["kind"].endswith("List") else found

    def kube_system_uid(self) -> str:
        """Return the UID of Namespace kube-system, which identifies the cluster for as long as it exists."""
        return str(self.get("namespace", "kube-system")["metadata"]["uid"])

    def ca_sha256(self) -> str:
        """Return the SHA-256 (hex) of the DER bytes of this cluster's certificate authority."""
        pem = docker("exec", self.control_plane, "cat", CA_CERTIFICATE)
        return sha256(ssl.PEM_cert_to_DER_cert(pem.strip())).hexdigest()

    def apply(self, objects: Iterable[Manifest]) -> None:
        """Apply objects by server-side apply."""
        self.apply_text(to_list(objects))

    def apply_text(self, manifests: str) -> None:
        """Apply YAML or JSON text by server-side apply, and take over fields that other managers own."""
        self.run(
            "apply", "--server-side", "--force-conflicts", f"--field-manager={FIELD_MANAGER}", "--filename=-",
            input=manifests, timeout_s=APPLY_TIMEOUT_S,
        )  # fmt: skip

    def wait(self, *words: str, timeout_s: float) -> None:
        """Run `kubectl wait …` for at most `timeout_s` seconds."""
        self.run("wait", *words, f"--timeout={timeout_s:.0f}s", timeout_s=timeout_s + EXEC_MARGIN_S)

    def rollout(self, namespace: str, workload: str, *, timeout_s: float) -> None:
        """Wait until a workload, such as `deployment/istiod`, is rolled out and available."""
        self.run(
            "rollout", "status", workload, f"--namespace={namespace}", f"--timeout={timeout_s:.0f}s",
            timeout_s=timeout_s + EXEC_MARGIN_S,
        )  # fmt: skip

    def exists(self, namespace: str, thing: str) -> bool:
        """Return whether `thing`, such as `deployment/coredns`, exists; False if the API server does not answer."""
        try:
            self.run("get", thing, f"--namespace={namespace}", "--output=name")
        except CommandFailed:
            return False
        return True


def first_control_plane(cluster: str) -> str:
    """Return kind's name of the node (kind 0.33, pkg/cluster/internal/providers/common/namer.go)."""
    return f"{cluster}-control-plane"


Manifest = dict[str, Any]
"""One Kubernetes object, as it is applied."""


def parse_documents(text: str) -> list[Manifest]:
    """Parse a multi-document YAML text; empty documents are left out."""
    import yaml

    loader = getattr(
        yaml, "CSafeLoader", yaml.SafeLoader
    )  # the C loader is much faster on Calico's 5,000 lines
    return [document for document in yaml.load_all(text, Loader=loader) if document]


def to_list(objects: Iterable[Manifest]) -> str:
    """Return the objects as one JSON `List`, which kubectl reads faster than YAML."""
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})


def namespace(name: str, *, labels: dict[str, str] | None = None) -> Manifest:
    """Return a Namespace."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels or {}}}
