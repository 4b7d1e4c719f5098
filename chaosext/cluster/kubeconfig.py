"""Where the user's kubeconfig is: the files that kubectl merges; and where one leads."""

from __future__ import annotations

import os
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from chaosext.cluster.bounded_http import resolve

RESOLVED_S = 5.0
"""How long this machine's resolver may take."""


def kubeconfig_paths() -> str:
    """$KUBECONFIG, else ~/.kube/config; several files are separated as in $PATH."""
    return os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")


def kubeconfig_files(paths: str | None = None) -> tuple[Path, ...]:
    """The files in `paths` (default: the user's own), there or not; `~` as the package kubernetes understands it."""
    paths = paths or kubeconfig_paths()
    return tuple(Path(part).expanduser() for part in paths.split(os.pathsep) if part)


def addresses_of(server: str) -> tuple[str, ...]:
    """The addresses of an API server by its URL, of both families, as this machine resolves its name.

    None where it doesn't, where they lead to this machine (a tunnel), and in a Pod, where the name is a Service's.
    """
    host = urlsplit(server).hostname or ""
    if host == os.environ.get("KUBERNETES_SERVICE_HOST"):
        return ()
    try:
        found = set(resolve(host, RESOLVED_S))
    except OSError:
        return ()
    return tuple(sorted(each for each in found if not ip_address(each).is_loopback))
