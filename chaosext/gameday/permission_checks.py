"""Checks before anything is touched that a runner has every permission that it needs, and no more."""

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
"""Every authenticated account may use it (the ClusterRole system:basic-user)."""

AT_ONCE = 8
NAMED = 6


def missing(cluster: Cluster, needed: Iterable[Right]) -> Iterator[Right]:
    """Yield the permissions that this account lacks. Raises like the cluster's `request`."""
    asked = list(needed)
    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        answers = pool.map(partial(_may, cluster), asked)
        yield from (right for right, may in zip(asked, answers, strict=True) if not may)


def require_rights(cluster: Cluster, needed: Iterable[Right]) -> None:
    """Raise `Refused` if permissions are missing; it names each with its purpose."""
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

    Each is tested by a dry run of an object that it must refuse. Without them the account is root on every
    node.
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
