"""Names that become words of a command line, a path or a file's name: checked where they come in."""

from __future__ import annotations

import re

from chaosext.model.errors import Refused

LONGEST = 253
"""Characters of a DNS subdomain (RFC 1123), which is what Kubernetes allows for a node's name."""

_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_CONTAINER = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")
"""What Docker allows for a container's name (daemon/names/names.go); what names a node is among it."""


def is_subdomain(name: str) -> bool:
    """Whether Kubernetes allows it for a node's or a Pod's name (RFC 1123 subdomain)."""
    return len(name) <= LONGEST and _SUBDOMAIN.fullmatch(name) is not None


def is_label(name: str) -> bool:
    """Whether Kubernetes allows it for a namespace's name (RFC 1123 label)."""
    return _LABEL.fullmatch(name) is not None


def is_container(name: str) -> bool:
    """Whether it can name a container, or a network namespace: no option, no path."""
    return len(name) <= LONGEST and _CONTAINER.fullmatch(name) is not None


def require_name(name: str) -> str:
    """The name of a node or container itself. Raises `Refused` for what would be an option or a path instead."""
    if not is_container(name):
        raise Refused(
            f"{name!r:.80} is not a valid name of a node or a container",
            "use letters, digits, '-', '.' and '_', beginning with a letter or a digit",
        )
    return name
