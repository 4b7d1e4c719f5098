"""A testbed's entries in the user's kubeconfig, which are named `kind-NAME` as kind names them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from chaosext.cluster.kubeconfig import kubeconfig_files
from chaosext.cluster.object_files import parse_yaml
from chaosext.model.files import OWNER_ONLY, read_file, write_whole
from chaosext.testbed.containers import NodeContainer, docker
from chaosext.testbed.kubectl import ADMIN_CONF

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

API_PORT = "6443/tcp"
SECTIONS = ("clusters", "contexts", "users")


def standalone(admin_conf: str, *, context: str, server: str) -> str:
    """Return kubeadm's admin.conf as a kubeconfig with one context, for use outside of the node. Pure.

    `server` is a URL such as https://127.0.0.1:34567.
    """
    admin = yaml.safe_load(admin_conf)
    cluster = {**admin["clusters"][0]["cluster"], "server": server}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": context, "cluster": cluster}],
        "contexts": [{"name": context, "context": {"cluster": context, "user": context}}],
        "current-context": context,
        "preferences": {},
        "users": [{"name": context, "user": admin["users"][0]["user"]}],
    }
    return yaml.safe_dump(config, sort_keys=False)


def without_context(config: dict[str, Any], context: str) -> dict[str, Any]:
    """Return a kubeconfig without that context, cluster and user, also as the `current-context`. Pure."""
    kept = dict(config)
    for section in SECTIONS:
        if kept.get(section):
            kept[section] = [entry for entry in kept[section] if entry.get("name") != context]
    if kept.get("current-context") == context:
        kept["current-context"] = ""
    return kept


def leading_to(config: dict[str, Any], context: str, server: str) -> dict[str, Any]:
    """Return a kubeconfig in which the cluster of that name has the API server `server`. Pure."""

    def led(entry: dict[str, Any]) -> dict[str, Any]:
        here = entry.get("name") == context
        return {**entry, "cluster": {**entry["cluster"], "server": server}} if here else entry

    return {**config, "clusters": [led(entry) for entry in config.get("clusters") or ()]}


def print_kubeconfig(containers: tuple[NodeContainer, ...], context: str) -> str:
    """Return a standalone kubeconfig of the running cluster. Raises `CommandFailed`."""
    control_plane = next(each for each in containers if each.role == "control-plane")
    admin_conf = docker("exec", control_plane.name, "cat", ADMIN_CONF)
    return standalone(admin_conf, context=context, server=server_of(control_plane.name))


def server_of(control_plane: str) -> str:
    """Return the URL of that node's API server on this machine. Raises `CommandFailed`.

    This bypasses kind's load balancer in front of several control-plane nodes, which a cut blocks.
    """
    return f"https://{docker('port', control_plane, API_PORT).splitlines()[0].strip()}"


def lead_to(context: str, server: str) -> None:
    """Point the user's context to `server`; files without that cluster are not changed."""
    for path in kubeconfig_files():
        if _names(config := _load(path), context, ("clusters",)):
            _replace(path, yaml.safe_dump(leading_to(config, context, server), sort_keys=False))


def has_context(context: str) -> bool:
    """Return whether one of the user's kubeconfig files has the context."""
    return any(_names(_load(path), context, ("contexts",)) for path in kubeconfig_files())


def forget_context(context: str) -> None:
    """Remove the context from the user's kubeconfig files; files without it are not changed."""
    for path in kubeconfig_files():
        if _names(_load(path), context, SECTIONS):
            _replace(path, yaml.safe_dump(without_context(_load(path), context), sort_keys=False))


def _names(config: dict[str, Any], context: str, sections: Iterable[str]) -> bool:
    return any(entry.get("name") == context for section in sections for entry in config.get(section) or [])


def _load(path: Path) -> dict[str, Any]:
    try:
        config = parse_yaml(read_file(path))
    except (OSError, ValueError):
        return {}
    return config if isinstance(config, dict) else {}


def _replace(path: Path, text: str) -> None:
    """Replace a file atomically; only its owner may read its secrets."""
    write_whole(path.resolve(), text, fsync=True, mode=OWNER_ONLY)
