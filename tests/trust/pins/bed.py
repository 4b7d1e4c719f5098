"""API servers on loopback, a kubeconfig that leads to one of them, and a pin that says which one is meant."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml

from tests.trust.lab.api_server import KUBE_SYSTEM_UID, ApiServer, World
from tests.trust.lab.lab import certificates

if TYPE_CHECKING:
    from pathlib import Path

MINE = "mine"
OTHER_UID = "0ddba11e-0000-4000-8000-000000000000"
NODES = [
    {"name": "chaosext-control-plane", "address": "172.18.0.3", "control_plane": True},
    {"name": "chaosext-worker", "address": "172.18.0.2", "control_plane": False},
]


@dataclass
class Known(World):
    """A cluster that is told from others by `uid`."""

    uid: str = KUBE_SYSTEM_UID

    def answer(self, method: str, path: str, query: dict[str, str], body: dict[str, Any]) -> dict[str, Any]:
        said = super().answer(method, path, query, body)
        if path == "/api/v1/namespaces/kube-system":
            said["metadata"]["uid"] = self.uid
        return said


@dataclass
class Bed:
    """`mine` is the cluster that is meant; `other` has its authority and another UID, `imposter` another authority."""

    folder: Path
    servers: dict[str, ApiServer] = field(default_factory=dict)
    kubeconfig: dict[str, Any] = field(default_factory=dict)

    def up(self) -> None:
        for authority in ("a", "b"):
            (self.folder / authority).mkdir()
            certificates(self.folder / authority)
        for name, authority in (("mine", "a"), ("other", "a"), ("imposter", "b")):
            self.servers[name] = ApiServer(self.folder / authority, Known())

    def begin(self) -> None:
        """Everything as it should be, with `mine` pinned by what it is like."""
        shutil.rmtree(self.home, ignore_errors=True)
        self.home.mkdir()
        os.environ |= {"HOME": str(self.home), "KUBECONFIG": str(self.home / "kubeconfig")}
        for name, server in self.servers.items():
            server.world = Known(uid=OTHER_UID if name == "other" else KUBE_SYSTEM_UID)
            server.world.begin(NODES)
            server.mutations.clear()
        self.kubeconfig = kubeconfig(self.url("mine"), self.authority("a"))
        self.write_kubeconfig()

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def mutations(self) -> list[str]:
        return [f"{name}: {each}" for name, server in self.servers.items() for each in server.mutations]

    @property
    def cluster(self) -> dict[str, Any]:
        """The kubeconfig's entry of the cluster that the context leads to."""
        return self.kubeconfig["clusters"][0]["cluster"]

    def url(self, name: str, host: str = "127.0.0.1") -> str:
        return f"https://{host}:{self.servers[name].port}"

    def authority(self, name: str) -> str:
        return str(self.folder / name / "server.pem")

    def write_kubeconfig(self, name: str = "kubeconfig") -> Path:
        path = self.home / name
        path.write_text(yaml.safe_dump(self.kubeconfig))
        return path

    def leads_to(self, **entries: Any) -> None:
        self.cluster.update(entries)
        self.write_kubeconfig()


def kubeconfig(server: str, authority: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": MINE,
        "contexts": [{"name": MINE, "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": server, "certificate-authority": authority}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
    }
