"""Locate the user's kubeconfig files, as merged by kubectl, and the addresses of an API server."""

from __future__ import annotations

import os
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from chaosext.cluster.bounded_http import resolve

RESOLVED_S = 5.0
"""Seconds that this machine's resolver may take."""


def kubeconfig_paths() -> str:
    """$KUBECONFIG, else ~/.kube/config; multiple files are separated as in $PATH."""
    return os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")


def kubeconfig_files(paths: str | None = None) -> tuple[Path, ...]:
    """The files in `paths` (default: the user's), existing or not; `~` is expanded as in the package kubernetes."""
    paths = paths or kubeconfig_paths()
    return tuple(Path(part).expanduser() for part in paths.split(os.pathsep) if part)


def addresses_of(server: str) -> tuple[str, ...]:
    """Resolve an API server's URL on this machine to its addresses, of both families.

    Empty if that fails, if the addresses belong to this machine (a tunnel), and in a Pod, where the name is a
    Service's.
    """
    host = urlsplit(server).hostname or ""
    if host == os.environ.get("KUBERNETES_SERVICE_HOST"):
        return ()
    try:
        found = set(resolve(host, RESOLVED_S))
    except OSError:
        return ()
    return tuple(sorted(each for each in found if not ip_address(each).is_loopback))
