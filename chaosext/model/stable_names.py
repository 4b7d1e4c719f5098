"""What an object is called beyond a run: Pods, and their addresses, are new in every one. Pure."""

from __future__ import annotations

import re

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
