"""xds_synced: does every injected Pod have its configuration from istiod?

istiod's /debug/syncz lists connected proxies only, so it is compared with the Pods in the API server. A Pod
that no istiod lists is not synced, and an empty list does not mean that all are.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from time import sleep
from typing import TYPE_CHECKING, Any

from chaosext.checks.check_names import XDS
from chaosext.model.errors import MALFORMED, ChaosextError
from chaosext.model.findings import Evidence, Finding, Status, worst

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from chaosext.cluster.client import Cluster
    from chaosext.cluster.objects import Pod

ISTIO_NAMESPACE, ISTIOD_SELECTOR, ISTIOD_CONTAINER = "istio-system", "app=istiod", "discovery"
"""Location of istiod, the same in every revision (chart istio-discovery)."""

SYNCZ = ("pilot-discovery", "request", "GET", "/debug/syncz")

ASK_TIMEOUT_S = 5.0

LOOKS, PAUSE_S = 3, 0.4
"""Number of attempts, and seconds between them, before a proxy counts as stale.

A push takes some milliseconds, during which it is sent but not acknowledged.
"""

TYPE_URLS = {
    "cluster": "type.googleapis.com/envoy.config.cluster.v3.Cluster",
    "listener": "type.googleapis.com/envoy.config.listener.v3.Listener",
    "endpoint": "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
    "route": "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
}
"""Short name -> type URL of a resource that Envoy receives (Envoy's xDS v3 API)."""

REQUIRED = ("cluster", "listener")
"""Resources that every sidecar requests first; it can't serve until both are acknowledged."""


class Sync(StrEnum):
    """The state of one proxy with one istiod."""

    SYNCED = "synced"
    STALE = "stale"
    REJECTED = "rejected"
    NOT_SENT = "nothing sent yet"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """A proxy in one istiod's list. `pod` is such as "Pod/shop/cart-abc"; `detail` says what is not synced, and why."""

    pod: str
    istiod: str
    sync: Sync
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class XdsEvidence:
    """The injected Pods, and each ready istiod's list. `silent`: istiods that did not answer, with the reason."""

    pods: tuple[Pod, ...]
    istiods: tuple[str, ...]
    silent: Mapping[str, str]
    proxies: tuple[Proxy, ...]


def gather(cluster: Cluster, *, namespaces: Sequence[str] = ()) -> XdsEvidence:
    """Compare the injected Pods of `namespaces` (empty: all) with every ready istiod's list.

    Tries up to `LOOKS` times while a listed proxy is not synced, because a push may be in progress.
    """
    evidence = _look(cluster, namespaces)
    for _ in range(LOOKS - 1):
        if all(proxy.sync is Sync.SYNCED for proxy in evidence.proxies):
            break
        sleep(PAUSE_S)
        evidence = _look(cluster, namespaces)
    return evidence


def _look(cluster: Cluster, namespaces: Sequence[str]) -> XdsEvidence:
    pods = [pod for namespace in namespaces or (None,) for pod in cluster.pods(namespace)]
    istiods = cluster.pods(ISTIO_NAMESPACE, ISTIOD_SELECTOR)
    ready = tuple(pod.name for pod in istiods if pod.ready and not pod.terminating)
    proxies: list[Proxy] = []
    silent: dict[str, str] = {}
    for istiod in ready:
        try:
            proxies += parse_syncz(istiod, _ask(cluster, istiod))
        except (ChaosextError, ValueError) as error:
            silent[istiod] = str(error)
    injected = tuple(pod for pod in pods if pod.injected)
    return XdsEvidence(pods=injected, istiods=ready, silent=silent, proxies=tuple(proxies))


def _ask(cluster: Cluster, istiod: str) -> str:
    result = cluster.exec(ISTIO_NAMESPACE, istiod, ISTIOD_CONTAINER, SYNCZ, ASK_TIMEOUT_S)
    if result.exit_code:
        raise ValueError(f"exit code {result.exit_code}: {result.stderr.strip()[:200]}")
    return result.stdout


def parse_syncz(istiod: str, text: str) -> tuple[Proxy, ...]:
    """Return the proxies in the JSON of /debug/syncz. Raises `ValueError` if it is not such a list.

    Both formats are supported: a `resources` map by type URL (newer istiods), and flat `cluster_sent`,
    `cluster_acked`, …
    """
    try:
        listed = json.loads(text)
        if not isinstance(listed, list):
            raise ValueError("it is not a list")
        return tuple(_proxy(istiod, item) for item in listed if "." in item.get("proxy", ""))
    except MALFORMED as error:
        raise ValueError(f"/debug/syncz gave no proper answer: {error!r:.200}") from error


def _proxy(istiod: str, item: Mapping[str, Any]) -> Proxy:
    name, _, namespace = item["proxy"].rpartition(".")
    sync, detail = _sync(_resources(item))
    return Proxy(pod=f"Pod/{namespace}/{name}", istiod=istiod, sync=sync, detail=detail)


@dataclass(frozen=True, slots=True)
class _Resource:
    sent: str
    acked: str
    error: str


def _resources(item: Mapping[str, Any]) -> dict[str, _Resource]:
    """Return short name (or type URL) -> nonces, from either format."""
    short = {url: name for name, url in TYPE_URLS.items()}
    if item.get("resources"):
        return {
            short.get(url, url): _Resource(
                each.get("sent", ""), each.get("acked", ""), each.get("lastError", "")
            )
            for url, each in item["resources"].items()
        }
    return {
        name: _Resource(item.get(f"{name}_sent", ""), item.get(f"{name}_acked", ""), "") for name in TYPE_URLS
    }


def _sync(resources: Mapping[str, _Resource]) -> tuple[Sync, str]:
    """Return synced if clusters, listeners and everything else sent were acknowledged.

    The terms are istioctl's (`proxy-status`): equal sent and acknowledged nonces mean synced.
    """
    rejected = {
        name: each.error for name, each in resources.items() if each.error and each.sent != each.acked
    }
    if rejected:
        return Sync.REJECTED, "; ".join(f"{name}: {error}" for name, error in rejected.items())
    stale = [name for name, each in resources.items() if each.sent != each.acked]
    if stale:
        return Sync.STALE, ", ".join(stale)
    missing = [name for name in REQUIRED if name not in resources or not resources[name].acked]
    return (Sync.NOT_SENT, ", ".join(missing)) if missing else (Sync.SYNCED, "")


def judge(evidence: XdsEvidence) -> Finding:
    """Judge: healthy if there are injected Pods and each is synced with some istiod.

    Terminating and finished Pods do not count; a Pod that is not running yet does, as not synced. A Pod in no
    list is unhealthy, or unknown if an istiod that might list it did not answer.
    """
    listed: dict[str, list[Proxy]] = {}
    for proxy in evidence.proxies:
        listed.setdefault(proxy.pod, []).append(proxy)
    counted = [pod for pod in evidence.pods if not _leaves(pod)]
    rows = [_evidence(pod, listed.get(pod.subject, ()), evidence) for pod in counted]
    if not rows:
        return _nobody(evidence)
    extra = (*_silences(evidence), *map(_leaver, filter(_leaves, evidence.pods)))
    status = worst(row.status for row in rows)
    return Finding(check=XDS, status=status, summary=_summary(rows, evidence), evidence=(*rows, *extra))


def _leaves(pod: Pod) -> bool:
    return pod.terminating or pod.phase in ("Succeeded", "Failed")


def _evidence(pod: Pod, proxies: Sequence[Proxy], evidence: XdsEvidence) -> Evidence:
    status, detail = _standing(pod, proxies, evidence)
    return Evidence(subject=pod.subject, status=status, detail=detail)


def _standing(pod: Pod, proxies: Sequence[Proxy], evidence: XdsEvidence) -> tuple[Status, str]:
    synced = next((proxy for proxy in proxies if proxy.sync is Sync.SYNCED), None)
    if synced:
        return Status.HEALTHY, f"synced with {synced.istiod}"
    if proxies:
        return Status.UNHEALTHY, f"{proxies[0].sync} with {proxies[0].istiod}: {proxies[0].detail}"
    if not evidence.istiods:
        return Status.UNHEALTHY, "no istiod is ready"
    if evidence.silent:
        return Status.UNKNOWN, f"not in any list, but {', '.join(evidence.silent)} did not answer"
    state = "" if pod.phase == "Running" else f" (the Pod is {pod.phase}: {pod.ready_detail})"
    return Status.UNHEALTHY, f"absent from every istiod's list: its proxy isn't connected{state}"


def _silences(evidence: XdsEvidence) -> Iterable[Evidence]:
    for name, why in evidence.silent.items():
        subject = f"Pod/{ISTIO_NAMESPACE}/{name}"
        yield Evidence(subject=subject, status=Status.UNKNOWN, detail=why, counts=False)


def _leaver(pod: Pod) -> Evidence:
    state = "terminating" if pod.terminating else pod.phase
    detail = f"{state}: not counted"
    return Evidence(subject=pod.subject, status=Status.UNKNOWN, detail=detail, counts=False)


def _nobody(evidence: XdsEvidence) -> Finding:
    istiods = f"{len(evidence.istiods)} istiod ready"
    return Finding(
        check=XDS,
        status=Status.UNKNOWN,
        summary=f"no injected Pod to judge ({istiods})",
        evidence=(*_silences(evidence), *map(_leaver, evidence.pods)),
    )


def _summary(rows: Sequence[Evidence], evidence: XdsEvidence) -> str:
    bad = [row for row in rows if row.status is not Status.HEALTHY]
    counted = (
        f"{len(rows) - len(bad)} of {len(rows)} injected Pods synced, {len(evidence.istiods)} istiod ready"
    )
    more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
    return f"{counted}; {bad[0].subject}: {bad[0].detail}{more}" if bad else counted
