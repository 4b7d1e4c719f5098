"""A real etcd, API server, controller manager and scheduler on loopback, in a directory of their own, without root."""

from __future__ import annotations

import json
import secrets
import shutil
import socket
import ssl
import subprocess
import time
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPException, HTTPSConnection
from typing import TYPE_CHECKING

from chaosext.cluster.client import Cluster
from chaosext.model.errors import ChaosextError
from chaosext.testbed.cache import is_kept
from chaosext.testbed.commands import run_command
from chaosext.testbed.versions import KUBERNETES_VERSION
from hack.images import recipes
from hack.images.go import ensure_go_commands

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from chaosext.testbed.stage_progress import Progress

CONTEXT = "oracle"
READY_WITHIN_S, STOP_WITHIN_S = 120.0, 10.0
SERVICES = "10.2.112.0/24"

CONTROLLERS = (
    "node-lifecycle-controller",
    "taint-eviction-controller",
    "deployment-controller",
    "replicaset-controller",
    "statefulset-controller",
    "daemonset-controller",
    "endpointslice-controller",
    "serviceaccount-controller",
    "pod-garbage-collector-controller",
    "disruption-controller",
)
"""Those that act on nodes and Pods; the others would only cost time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Programs:
    """Where the commands lie that were built from source; `version` is Kubernetes'."""

    etcd: Path
    kubernetes: Path
    kwok: Path
    version: str = KUBERNETES_VERSION

    @classmethod
    def built(cls, progress: Progress, version: str = KUBERNETES_VERSION) -> Programs:
        """Builds what isn't kept from before: a quarter of an hour the first time."""
        return cls(
            version=version,
            etcd=ensure_go_commands(recipes.etcd(version), progress),
            kubernetes=ensure_go_commands(recipes.kubernetes(version), progress),
            kwok=ensure_go_commands(recipes.kwok(), progress),
        )

    @classmethod
    def are_built(cls) -> bool:
        """They are kept from before."""
        builds = (recipes.etcd(), recipes.kubernetes(), recipes.kwok())
        return all(is_kept(build.name, build.inputs) for build in builds)


class ControlPlane:
    """The four processes, while the `with` lasts. `flags` are the controller manager's and the API server's own."""

    def __init__(
        self,
        programs: Programs,
        directory: Path,
        *,
        controller_manager: Sequence[str] = (),
        apiserver: Sequence[str] = (),
    ) -> None:
        self._programs, self._directory = programs, directory
        self._controller_manager, self._apiserver = tuple(controller_manager), tuple(apiserver)
        self._stack = ExitStack()
        self.kubeconfig = directory / "kubeconfig"

    def __enter__(self) -> ControlPlane:
        self._directory.mkdir(parents=True, exist_ok=True)
        try:
            self._start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def cluster(self) -> Cluster:
        """A client of its API server."""
        return Cluster.connect(CONTEXT, str(self.kubeconfig))

    def log(self, name: str) -> Path:
        """Where a process writes."""
        return self._directory / f"{name}.log"

    def run(self, name: str, argv: Sequence[str | Path]) -> subprocess.Popen[bytes]:
        """A process that lives as long as this control plane, and no longer than this one."""
        bound = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
        with self.log(name).open("wb") as log:
            process = subprocess.Popen([*bound, *map(str, argv)], stdout=log, stderr=log)
        self._stack.callback(_stop, process)
        return process

    def _start(self) -> None:
        (etcd, peers, api), key = _free_ports(3), self._directory / "service-accounts.key"
        run_command(["openssl", "genrsa", "-out", key, "2048"], timeout_s=60)
        token = secrets.token_hex(16)
        (self._directory / "tokens.csv").write_text(f'{token},oracle,oracle,"system:masters"\n')
        self.run("etcd", [self._programs.etcd / "etcd", *_etcd_flags(self._directory, etcd, peers)])
        server = [*_apiserver_flags(self._directory, etcd, api, key), *self._apiserver]
        started = self.run("kube-apiserver", [self._programs.kubernetes / "kube-apiserver", *server])
        self._write_kubeconfig(api, token, started)
        self._wait(api, started)
        manager = [*_manager_flags(self.kubeconfig, key), *self._controller_manager]
        self.run("kube-controller-manager", [self._programs.kubernetes / "kube-controller-manager", *manager])
        scheduler = [f"--kubeconfig={self.kubeconfig}", "--leader-elect=false", "--secure-port=0"]
        self.run("kube-scheduler", [self._programs.kubernetes / "kube-scheduler", *scheduler])

    @property
    def _certificate(self) -> Path:
        return self._directory / "certificates" / "apiserver.crt"

    def _write_kubeconfig(self, port: int, token: str, server: subprocess.Popen[bytes]) -> None:
        """As soon as the API server has signed itself a certificate."""
        certificate = self._certificate
        for _ in self._tries(server):
            if certificate.exists() and certificate.read_text().count("END CERTIFICATE") == 2:
                break
        where = {"server": f"https://127.0.0.1:{port}", "certificate-authority": str(certificate)}
        self.kubeconfig.write_text(
            json.dumps(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": CONTEXT,
                    "clusters": [{"name": CONTEXT, "cluster": where}],
                    "users": [{"name": CONTEXT, "user": {"token": token}}],
                    "contexts": [{"name": CONTEXT, "context": {"cluster": CONTEXT, "user": CONTEXT}}],
                }
            )
        )

    def _wait(self, port: int, server: subprocess.Popen[bytes]) -> None:
        """Until it calls itself ready; it does so in prose, and to everybody."""
        trusted = ssl.create_default_context(cafile=self._certificate)
        for _ in self._tries(server):
            asking = HTTPSConnection("127.0.0.1", port, timeout=5, context=trusted)
            with closing(asking), suppress(OSError, HTTPException):
                asking.request("GET", "/readyz")
                if asking.getresponse().status == HTTPStatus.OK:
                    return

    def _tries(self, server: subprocess.Popen[bytes]) -> Iterator[None]:
        end_s = time.monotonic() + READY_WITHIN_S
        while time.monotonic() < end_s and server.poll() is None:
            yield
            time.sleep(0.2)
        raise ChaosextError(f"kube-apiserver is not ready; it said: {_tail(self.log('kube-apiserver'))}")


def _etcd_flags(directory: Path, client: int, peer: int) -> list[str]:
    mine, others = f"http://127.0.0.1:{client}", f"http://127.0.0.1:{peer}"
    return [
        f"--data-dir={directory / 'etcd'}",
        f"--listen-client-urls={mine}",
        f"--advertise-client-urls={mine}",
        f"--listen-peer-urls={others}",
        f"--initial-advertise-peer-urls={others}",
        f"--initial-cluster=default={others}",
        "--unsafe-no-fsync",  # it is thrown away afterwards
        "--log-level=warn",
    ]


def _apiserver_flags(directory: Path, etcd: int, port: int, key: Path) -> list[str]:
    return [
        f"--etcd-servers=http://127.0.0.1:{etcd}",
        "--bind-address=127.0.0.1",
        f"--secure-port={port}",
        f"--cert-dir={directory / 'certificates'}",
        f"--token-auth-file={directory / 'tokens.csv'}",
        "--authorization-mode=Node,RBAC",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={key}",
        f"--service-account-signing-key-file={key}",
        f"--service-cluster-ip-range={SERVICES}",
        "--endpoint-reconciler-type=none",
    ]


def _manager_flags(kubeconfig: Path, key: Path) -> list[str]:
    return [
        f"--kubeconfig={kubeconfig}",
        "--leader-elect=false",
        "--secure-port=0",
        "--use-service-account-credentials=true",
        f"--service-account-private-key-file={key}",
        f"--controllers={','.join(CONTROLLERS)}",
        "-v=2",
    ]


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Nothing of it is worth keeping."""
    process.kill()
    process.wait(STOP_WITHIN_S)


def _tail(log: Path) -> str:
    return " / ".join(log.read_text(errors="replace").splitlines()[-5:]) or "nothing"
