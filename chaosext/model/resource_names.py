"""Validate names that become part of a command line, a path or a file name, where they enter the program."""

from __future__ import annotations

import re

from chaosext.model.errors import Refused

LONGEST = 253
"""Maximum length of a DNS subdomain (RFC 1123), which Kubernetes allows as a node name."""

_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_CONTAINER = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")
"""Docker's rule for container names (daemon/names/names.go), which includes all node names."""


def is_subdomain(name: str) -> bool:
    """Whether Kubernetes allows `name` for a node or a Pod (RFC 1123 subdomain)."""
    return len(name) <= LONGEST and _SUBDOMAIN.fullmatch(name) is not None


def is_label(name: str) -> bool:
    """Whether Kubernetes allows `name` for a namespace (RFC 1123 label)."""
    return _LABEL.fullmatch(name) is not None


def is_container(name: str) -> bool:
    """Whether `name` is valid for a container or a network namespace, and so neither an option nor a path."""
    return len(name) <= LONGEST and _CONTAINER.fullmatch(name) is not None


def require_name(name: str) -> str:
    """Return the name of a node or container. Raises `Refused` for anything else, such as an option or a path."""
    if not is_container(name):
        raise Refused(
            f"{name!r:.80} is not a valid name of a node or a container",
            "use letters, digits, '-', '.' and '_', beginning with a letter or a digit",
        )
    return name
