"""What an object is called beyond a run: Pods, and their addresses, are new in every one. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
"""What Kubernetes makes names of (apimachinery, util/rand)."""

_SUFFIX = rf"(?:-[{_LETTERS}]{{6,10}})?-[{_LETTERS}]{{5}}"
_POD = re.compile(rf"(Pod/[^/]+/.+?){_SUFFIX}")
_ENDPOINT = re.compile(rf"(.+ → .+?){_SUFFIX}( on \S+) \S*?(:\d+/\w+)?")
"""A node's way to a Pod."""


def lasting(name: str) -> str:
    """`Pod/shop/cart-*` for a Pod of that Deployment, `Node/a → coredns-* on b:53/tcp` for a way to such a Pod."""
    if pod := _POD.fullmatch(name):
        return f"{pod[1]}-*"
    if way := _ENDPOINT.fullmatch(name):
        return f"{way[1]}-*{way[2]}{way[3] or ''}"
    return name


def by_owner(names: Iterable[str]) -> Mapping[str, tuple[str, ...]]:
    """The names under what they have in common; a name that shares it with no other stays as it is."""
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(lasting(name), []).append(name)
    return {owner if len(own) > 1 else own[0]: tuple(own) for owner, own in found.items()}
