"""The sentinels are placed before the method, and taken away when it is over."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chaosext.model.veil import hide

if TYPE_CHECKING:
    from collections.abc import Mapping

    from chaosext.cluster.client import Cluster
    from chaosext.model.claim import Claim
    from chaosext.sentinel.plan import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """The sentinels of `run`: node -> the address where its sentinel listens, on `port`.

    `plan` is what they were started with. It has no sidecars where all of them were too long for a process'
    environment: then the whole plan is still to be put.
    """

    run: str
    addresses: Mapping[str, str]
    port: int
    plan: Plan


def new_token() -> str:
    """What the sentinels of a run know their runner by. From here on it is said nowhere."""
    token = secrets.token_urlsafe(32)
    hide([token])
    return token


def place(
    cluster: Cluster, claim: Claim, *, image: str, port: int, token: str, plan: Plan, within_s: float
) -> Placed:
    """Place a sentinel on every (Linux) node and wait until all of them sample.

    `image`: "" for the one that the testbed brings. What a dead run left is replaced. Raises `Refused` with the
    node, what hinders it and a fix; nothing of it is left then, or `chaosext sweep` knows of it.
    """
    raise NotImplementedError


def remove(cluster: Cluster, run: str, *, within_s: float) -> bool:
    """Take the sentinels of `run` away; whether they were seen gone within `within_s`. Never raises, may be repeated.

    What was not seen gone is known to `chaosext sweep`.
    """
    raise NotImplementedError
