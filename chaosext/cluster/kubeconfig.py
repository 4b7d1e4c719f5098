"""Locate the user's kubeconfig files, as merged by kubectl, and the addresses of an API server."""

from __future__ import annotations

import os
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from chaosext.cluster.bounded_http import resolve
from chaosext.cluster.object_files import read_document
from chaosext.model.errors import MALFORMED, Refused

if TYPE_CHECKING:
    from collections.abc import Iterator

RESOLVED_S = 5.0
"""Seconds that this machine's resolver may take."""


def kubeconfig_paths() -> str:
    """$KUBECONFIG, else ~/.kube/config; multiple files are separated as in $PATH."""
    return os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")


def kubeconfig_files(paths: str | None = None) -> tuple[Path, ...]:
    """The files in `paths` (default: the user's), existing or not; `~` is expanded as in the package kubernetes."""
    paths = paths or kubeconfig_paths()
    return tuple(Path(part).expanduser() for part in paths.split(os.pathsep) if part)


def known_contexts(paths: str | None = None) -> tuple[str, ...]:
    """Return the names of all contexts in `paths` (default: the user's kubeconfigs). Raises `Refused`."""
    names: list[str] = []
    for path, config in _configs(paths):
        try:
            names += [str(item["name"]) for item in config.get("contexts") or ()]
        except MALFORMED as error:
            raise _malformed(path) from error
    return tuple(dict.fromkeys(names))


def current_context() -> str:
    """Return the current context; as for kubectl, the first file that sets one wins. Raises `Refused` without one."""
    for path, config in _configs():
        current = config.get("current-context") or ""
        if not isinstance(current, str):
            raise _malformed(path)
        if current:
            return current
    known = ", ".join(known_contexts())
    if not known:
        fix = "set --kubeconfig or $KUBECONFIG to a kubeconfig"
        raise Refused(f"{kubeconfig_paths()} has no context", fix)
    raise Refused(
        f"{kubeconfig_paths()} has no current context",
        f"set --context to one of: {known}",
    )


def _configs(paths: str | None = None) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield the kubeconfigs that exist."""
    for path in kubeconfig_files(paths):
        if path.is_file():
            config, _ = read_document(path, "kubeconfig")
            if not isinstance(config or {}, dict):
                raise _malformed(path)
            yield path, config or {}


def _malformed(path: Path) -> Refused:
    return Refused(f"{path} is not a kubeconfig", "check the file, or use another one")


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
