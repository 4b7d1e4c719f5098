"""Whether a runner has every right that it needs, and no more than those: asked before anything is touched."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

from chaosext.gameday.admission import trials
from chaosext.model.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from chaosext.cluster.client import Cluster
    from chaosext.gameday.admission import Agents
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


def require_confined(cluster: Cluster, name: str, agents: Agents) -> None:
    """Raise `Refused` unless each admission policy of the game day `name` is in force.

    Asked by creating, as a dry run, what the policy must refuse. Without them the account is root on every node.
    """
    for policy, path, body in trials(name, agents):
        try:
            cluster.request("POST", path, query={"dryRun": "All"}, body=body)
        except Refused as error:
            if f"ValidatingAdmissionPolicy '{policy}'" in error.message:
                continue
            raise Refused(f"admission policy {policy} cannot be tested: {error.message}", error.fix) from None
        raise Refused(
            f"admission policy {policy} is not in force: this account may create more than a game day needs",
            "apply what `chaosext schedule` writes, with its policies and their bindings (Kubernetes 1.30 or newer)",
        )


def _may(cluster: Cluster, right: Right) -> bool:
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": right.attributes()},
    }
    answer = cluster.request("POST", REVIEWS, body=review)
    return bool((answer.get("status") or {}).get("allowed"))
