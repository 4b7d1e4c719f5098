"""Names: run ids, names of Kubernetes objects that become part of a command line or a path, and lasting names."""

from __future__ import annotations

import re
import secrets
import time

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


_FORM = re.compile(r"[a-z0-9]{1,20}")
"""It is part of an nftables table name and of a rule comment, which is limited to 128 bytes (libnftnl,
NFTNL_UDATA_COMMENT_MAXLEN)."""


class RunId(str):
    """1 to 20 lower-case letters and digits. Raises ValueError for anything else."""

    __slots__ = ()

    def __new__(cls, text: object) -> RunId:
        """Raises ValueError for a text that is not a valid run ID."""
        if not isinstance(text, str) or not _FORM.fullmatch(text):
            raise ValueError(f"{text!r:.60} can not name a run")
        return super().__new__(cls, text)

    @classmethod
    def new(cls) -> RunId:
        """Generate an ID from the UTC time and a random suffix, such as `20261123t230300ab12`: it sorts by time."""
        return cls(time.strftime("%Y%m%dt%H%M%S", time.gmtime()) + secrets.token_hex(2))


UNKNOWN = RunId("unknown")
"""Stands for a run whose directory does not name it."""

_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
"""The alphabet of Kubernetes' generated name suffixes (apimachinery, util/rand)."""

_SUFFIX = rf"(?:-[{_LETTERS}]{{6,10}})?-[{_LETTERS}]{{5}}"
_POD = re.compile(rf"(Pod/[^/]+/.+?){_SUFFIX}")
_ENDPOINT = re.compile(rf"(.+ → .+?){_SUFFIX}( on \S+) \S*?(:\d+/\w+)?")
"""An observation of a Pod from a node."""


def lasting(name: str) -> str:
    """Replace generated parts: `Pod/shop/cart-*` for a Pod, `Node/a → coredns-* on b:53/tcp` for a path to a Pod."""
    if pod := _POD.fullmatch(name):
        return f"{pod[1]}-*"
    if way := _ENDPOINT.fullmatch(name):
        return f"{way[1]}-*{way[2]}{way[3] or ''}"
    return name
