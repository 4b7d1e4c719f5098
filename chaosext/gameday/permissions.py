"""Whether a runner has every right that it needs, asked before anything is touched."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

from chaosext.model.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from chaosext.cluster.client import Cluster
    from chaosext.gameday.rights import Right

REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
"""Anybody who is logged in may ask (the ClusterRole system:basic-user)."""

AT_ONCE = 8
NAMED = 6


def missing(cluster: Cluster, needed: Iterable[Right]) -> Iterator[Right]:
    """The rights that we don't have. Raises as the cluster's `request` does."""
    asked = list(needed)
    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        answers = pool.map(partial(_may, cluster), asked)
        yield from (right for right, may in zip(asked, answers, strict=True) if not may)


def require_rights(cluster: Cluster, needed: Iterable[Right]) -> None:
    """Raise `Refused`, naming each right that is missing and what it is for."""
    lacking = list(missing(cluster, needed))
    if lacking:
        said = "; ".join(f"{right} (to {right.why})" for right in lacking[:NAMED])
        more = f"; and {len(lacking) - NAMED} more" if len(lacking) > NAMED else ""
        raise Refused(
            f"missing permission: {said}{more}",
            "apply what `chaosext schedule` writes, or grant it to the runner's ServiceAccount",
        )


def _may(cluster: Cluster, right: Right) -> bool:
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": right.attributes()},
    }
    answer = cluster.request("POST", REVIEWS, body=review)
    return bool((answer.get("status") or {}).get("allowed"))
