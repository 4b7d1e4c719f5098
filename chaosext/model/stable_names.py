"""Names of objects that stay the same across runs: Pod names and addresses are new in each run. Pure."""

from __future__ import annotations

import re

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
