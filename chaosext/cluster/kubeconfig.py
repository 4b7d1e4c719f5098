"""Where the user's kubeconfig is: the files that kubectl merges."""

from __future__ import annotations

import os
from pathlib import Path


def kubeconfig_paths() -> str:
    """$KUBECONFIG, else ~/.kube/config; several files are separated as in $PATH."""
    return os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")


def kubeconfig_files(paths: str | None = None) -> tuple[Path, ...]:
    """The files in `paths` (default: the user's own), there or not; `~` as the package kubernetes understands it."""
    paths = paths or kubeconfig_paths()
    return tuple(Path(part).expanduser() for part in paths.split(os.pathsep) if part)
