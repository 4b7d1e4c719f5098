"""Docker Engine, and the testbed's containers in it: kind's nodes and the leaf."""

from __future__ import annotations

import json
import os
import shlex
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chaosext.model.errors import Refused
from chaosext.testbed.commands import CommandFailed, run_command

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

# kind 0.33, pkg/cluster/internal/providers/docker: labels of its containers, name of its network.
CLUSTER_LABEL = "io.x-k8s.kind.cluster"
ROLE_LABEL = "io.x-k8s.kind.role"
KIND_NETWORK = "kind"

NEVER = "0001-01-01T00:00:00Z"
"""Docker's `FinishedAt` of a container that has not stopped yet (Go's zero time)."""

ENGINE_TIMEOUT_S = 20
DOCKER_TIMEOUT_S = 30
START_TIMEOUT_S = 60
REMOVE_TIMEOUT_S = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeContainer:
    """One container.

    `role` is kind's ("control-plane", "worker", "external-load-balancer"), "" for others. `ipv4` is its
    address on kind's network, "" while it is stopped; `prefix_length` is the length of that network's prefix,
    such as 16. `has_stopped`: whether it has ever stopped, even if it is running again.
    """

    name: str
    role: str
    running: bool
    image: str
    ipv4: str
    on_kind_network: bool
    labels: Mapping[str, str]
    has_stopped: bool = False
    prefix_length: int = 0

    @property
    def is_kubernetes_node(self) -> bool:
        """Whether a kubelet runs in it (kind's load balancer has none)."""
        return self.role in ("control-plane", "worker")


def engine_problem() -> str:
    """Return why no Docker Engine answers the `docker` command, in its own words; "" if one answers."""
    try:
        version = docker("info", "--format", "{{.ServerVersion}}", timeout_s=ENGINE_TIMEOUT_S)
    except CommandFailed as error:
        return error.message
    return "" if version.strip() else "`docker info` names no server"


def require_engine() -> None:
    """Raise `Refused` unless a Docker Engine answers; it says what is missing and how to get it."""
    problem = engine_problem()
    if not problem:
        return
    if refusal := engine_elsewhere(problem):
        raise refusal
    installed = shutil.which("dockerd") is not None
    raise Refused(
        "Docker Engine is installed, but does not answer" if installed else "Docker Engine is missing",
        "install Docker Engine 20.10 or newer (Debian, Ubuntu: apt-get install docker.io) and start it; "
        "in a checkout of chaosext, `make engine` as root does both",
    )


def engine_elsewhere(problem: str) -> Refused | None:
    """Return a refusal if `problem` (in Docker's words) can't be solved by starting the local engine."""
    if "permission denied" in problem:
        return Refused(
            "this user has no access to Docker Engine",
            "add the user to the group `docker`, or run this command as root",
        )
    if host := os.environ.get("DOCKER_HOST"):
        return Refused(f"DOCKER_HOST is {host}, and no engine answers there", "start it or unset DOCKER_HOST")
    return None


def parse_inspect(output: str) -> tuple[NodeContainer, ...]:
    """Parse the output of `docker inspect`; containers are sorted by name."""
    return tuple(sorted((_container(each) for each in json.loads(output)), key=lambda each: each.name))


def _container(inspected: Mapping[str, Any]) -> NodeContainer:
    labels = inspected["Config"].get("Labels") or {}
    networks = inspected["NetworkSettings"].get("Networks") or {}
    attached = networks.get(KIND_NETWORK) or {}
    return NodeContainer(
        name=inspected["Name"].lstrip("/"),
        role=labels.get(ROLE_LABEL, ""),
        running=bool(inspected["State"].get("Running")),
        image=inspected["Config"].get("Image", ""),
        ipv4=attached.get("IPAddress") or "",
        prefix_length=int(attached.get("IPPrefixLen") or 0),
        on_kind_network=KIND_NETWORK in networks,
        labels=labels,
        has_stopped=inspected["State"].get("FinishedAt", NEVER) != NEVER,
    )


def cluster_containers(cluster: str) -> tuple[NodeContainer, ...]:
    """Return kind's containers of a cluster, including stopped ones. Raises `CommandFailed`."""
    return labelled(f"{CLUSTER_LABEL}={cluster}")


def labelled(*labels: str) -> tuple[NodeContainer, ...]:
    """Return the containers, running or not, with all of these labels (NAME or NAME=VALUE). Raises `CommandFailed`."""
    filters = [word for each in labels for word in ("--filter", f"label={each}")]
    return inspect(docker("ps", "--all", "--quiet", *filters).split())


def find_container(name: str) -> NodeContainer | None:
    """Return the container with that name, or None. Raises `CommandFailed` if Docker does not answer."""
    listed = docker("ps", "--all", "--quiet", "--filter", f"name=^/?{name}$").split()
    return next(iter(inspect(listed)), None)


def inspect(ids: Iterable[str]) -> tuple[NodeContainer, ...]:
    """Return the containers with these ids; those that have disappeared meanwhile are left out."""
    wanted = list(ids)
    if not wanted:
        return ()
    try:
        return parse_inspect(docker("inspect", *wanted))
    except CommandFailed:
        if len(wanted) == 1:
            return ()
    return tuple(container for each in wanted for container in inspect([each]))


def network_exists(name: str = KIND_NETWORK) -> bool:
    """Return whether Docker has a network of exactly that name."""
    return bool(docker("network", "ls", "--quiet", "--filter", f"name=^{name}$").strip())


def network_in_use(name: str = KIND_NETWORK) -> bool:
    """Return whether a container, running or not, is on the network."""
    return bool(docker("ps", "--all", "--quiet", "--filter", f"network={name}").strip())


def start_stopped(containers: Iterable[NodeContainer]) -> None:
    """Start the stopped ones. Raises `CommandFailed`."""
    stopped = [each.name for each in containers if not each.running]
    if stopped:
        docker("start", *stopped, timeout_s=START_TIMEOUT_S)


def remove(containers: Iterable[NodeContainer]) -> None:
    """Remove containers, running or not, and their anonymous volumes. Raises `CommandFailed`."""
    names = [each.name for each in containers]
    if names:
        docker("rm", "--force", "--volumes", *names, timeout_s=REMOVE_TIMEOUT_S)


def docker(*words: str, input: str | Path | None = None, timeout_s: float = DOCKER_TIMEOUT_S) -> str:
    """Run one docker command and return its output. Raises `CommandFailed`."""
    return run_command(["docker", *words], timeout_s=timeout_s, input=input).stdout


def node_script(node: str, script: str, *, timeout_s: float = DOCKER_TIMEOUT_S) -> str:
    """Run a bash script in a container and return its output. Raises `CommandFailed`."""
    return docker(
        "exec", "--interactive", node, "bash", "-euo", "pipefail", "-s", input=script, timeout_s=timeout_s
    )


def at_every_start(unit: str, *, description: str, command: str) -> str:
    """Return a bash script for a node that runs `command` now and, by a systemd unit, at every start."""
    return f"""\
cat > /etc/systemd/system/{unit} <<'UNIT'
[Unit]
Description={description}
After=network.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart={command}

[Install]
WantedBy=multi-user.target
UNIT
systemctl daemon-reload
systemctl enable --quiet {unit}
systemctl restart {unit}
"""


def unpack_script(images: Iterable[str]) -> str:
    """Return a bash script that makes a node's containerd unpack these images before Pods need them.

    Mounting an image once unpacks it.
    """
    return f"""\
until ctr version >/dev/null 2>&1; do sleep 0.2; done
for image in {shlex.join(images)}; do
  mkdir -p /run/unpacked
  ctr --namespace k8s.io images mount "$image" /run/unpacked >/dev/null || true
  ctr --namespace k8s.io images unmount --rm /run/unpacked >/dev/null || true
done
"""
