"""The kind command: making a cluster's nodes and writing its kubeconfig."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from chaosext.testbed.commands import run_command

if TYPE_CHECKING:
    from pathlib import Path

    from chaosext.testbed.config import Blueprint

CREATE_TIMEOUT_S = 600
EXPORT_TIMEOUT_S = 30


def create_cluster(kind: Path, blueprint: Blueprint, node_image: str) -> None:
    """Create the nodes and join them; without a network they are not Ready yet. Raises `CommandFailed`.

    kind writes context `kind-NAME` into the user's kubeconfig. On failure it takes its nodes away again.
    """
    argv: list[str | Path] = [
        kind,
        "create",
        "cluster",
        "--name",
        blueprint.name,
        "--image",
        node_image,
        "--config",
        "-",
    ]
    run_command([*_dies_with_us(), *argv], timeout_s=CREATE_TIMEOUT_S, input=blueprint.kind_yaml())


def export_kubeconfig(kind: Path, name: str) -> None:
    """Write context `kind-NAME` into the user's kubeconfig. Raises `CommandFailed`."""
    run_command([kind, "export", "kubeconfig", "--name", name], timeout_s=EXPORT_TIMEOUT_S)


def _dies_with_us() -> list[str]:
    """A kind that outlives a killed `up` would, on its failure, delete the nodes of the next one."""
    return ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
