"""xds_synced: a Pod that no istiod lists is not synced, and an empty list is not "all synced"."""

from __future__ import annotations

import json
from typing import Any

import pytest
from check_worlds import NOW, pod
from hypothesis import given
from hypothesis import strategies as st

from chaosext.checks.xds_synced import TYPE_URLS, Proxy, Sync, XdsEvidence, gather, judge, parse_syncz
from chaosext.model.findings import Status


def proxy(name: str, sync: Sync = Sync.SYNCED, istiod: str = "istiod-a") -> Proxy:
    return Proxy(pod=f"Pod/shop/{name}", istiod=istiod, sync=sync, detail="cluster")


def evidence(*pods: Any, proxies: tuple[Proxy, ...] = (), **changes: Any) -> XdsEvidence:
    values: dict[str, Any] = {"pods": pods, "istiods": ("istiod-a",), "silent": {}, "proxies": proxies}
    return XdsEvidence(**{**values, **changes})


def flat(name: str, **nonces: str) -> dict[str, str]:
    return {"proxy": f"{name}.shop", "proxy_type": "sidecar", **nonces}


FLAT = {f"{kind}_{what}": "n1" for kind in TYPE_URLS for what in ("sent", "acked")}
BY_TYPE = {url: {"sent": "n1", "acked": "n1"} for url in TYPE_URLS.values()}


def sync_of(item: dict[str, Any]) -> Sync:
    (found,) = parse_syncz("istiod-a", json.dumps([item]))
    return found.sync


def test_both_shapes_of_syncz_are_read() -> None:
    old, new = flat("cart", **FLAT), {**flat("cart"), "resources": BY_TYPE}
    for item in (old, new):
        (found,) = parse_syncz("istiod-a", json.dumps([item]))
        assert (found.pod, found.sync) == ("Pod/shop/cart", Sync.SYNCED)


def test_an_unacknowledged_push_is_stale_in_both_shapes() -> None:
    assert sync_of(flat("cart", **{**FLAT, "endpoint_acked": "n0"})) is Sync.STALE
    resources = {**BY_TYPE, TYPE_URLS["route"]: {"sent": "n2"}}
    assert sync_of({**flat("cart"), "resources": resources}) is Sync.STALE


def test_a_rejected_configuration_says_why() -> None:
    resources = {**BY_TYPE, TYPE_URLS["listener"]: {"sent": "n2", "acked": "n1", "lastError": "bad filter"}}
    (found,) = parse_syncz("istiod-a", json.dumps([{**flat("cart"), "resources": resources}]))
    assert (found.sync, found.detail) == (Sync.REJECTED, "listener: bad filter")


def test_a_connection_that_got_nothing_yet_is_not_synced() -> None:
    assert sync_of(flat("cart")) is Sync.NOT_SENT
    assert sync_of({**flat("cart"), "resources": {}}) is Sync.NOT_SENT
    only_clusters = {TYPE_URLS["cluster"]: {"sent": "n1", "acked": "n1"}}
    assert sync_of({**flat("cart"), "resources": only_clusters}) is Sync.NOT_SENT


def test_nodes_without_endpoints_or_routes_can_be_synced() -> None:
    needed = {TYPE_URLS[kind]: {"sent": "n1", "acked": "n1"} for kind in ("cluster", "listener")}
    assert sync_of({**flat("cart"), "resources": needed}) is Sync.SYNCED


@pytest.mark.parametrize("text", ["", "{}", "null", "Forbidden"])
def test_what_is_no_list_is_an_error(text: str) -> None:
    with pytest.raises(ValueError):
        parse_syncz("istiod-a", text)


def test_all_pods_synced_is_healthy() -> None:
    finding = judge(evidence(pod("a"), pod("b"), proxies=(proxy("a"), proxy("b"))))
    assert finding.status is Status.HEALTHY
    assert finding.summary.startswith("2 of 2 injected Pods synced")


def test_a_pod_that_nobody_lists_is_unhealthy_and_named() -> None:
    finding = judge(evidence(pod("a"), pod("b"), proxies=(proxy("a"),)))
    assert finding.status is Status.UNHEALTHY
    assert "Pod/shop/b: absent" in finding.summary


def test_zero_proxies_is_not_all_synced() -> None:
    assert judge(evidence(pod("a"))).status is Status.UNHEALTHY


def test_no_injected_pod_is_unknown() -> None:
    assert judge(evidence()).status is Status.UNKNOWN


def test_no_ready_istiod_is_unhealthy() -> None:
    finding = judge(evidence(pod("a"), istiods=()))
    assert (finding.status, finding.evidence[0].detail) == (Status.UNHEALTHY, "no istiod is ready")


def test_absent_is_unknown_while_an_istiod_did_not_answer() -> None:
    finding = judge(evidence(pod("a"), istiods=("istiod-a", "istiod-b"), silent={"istiod-b": "timed out"}))
    assert finding.status is Status.UNKNOWN


def test_synced_with_one_istiod_is_enough() -> None:
    proxies = (proxy("a", Sync.STALE, "istiod-a"), proxy("a", Sync.SYNCED, "istiod-b"))
    assert judge(evidence(pod("a"), proxies=proxies)).status is Status.HEALTHY


def test_terminating_and_finished_pods_are_named_and_do_not_count() -> None:
    gone, done = pod("gone", deletion=NOW), pod("done", phase="Succeeded")
    finding = judge(evidence(pod("a"), gone, done, proxies=(proxy("a"),)))
    assert finding.status is Status.HEALTHY
    details = {row.subject: row.detail for row in finding.evidence}
    assert details["Pod/shop/gone"] == "terminating: not counted"
    assert details["Pod/shop/done"] == "Succeeded: not counted"


def test_a_pod_that_hangs_in_its_init_containers_counts() -> None:
    hung = pod("a", phase="Pending", ready=False, ready_detail="istio-proxy not ready")
    finding = judge(evidence(hung))
    assert finding.status is Status.UNHEALTHY
    assert "the Pod is Pending" in finding.summary


@given(
    st.sets(st.sampled_from("abcdef")),
    st.dictionaries(st.sampled_from("abcdef"), st.sampled_from(list(Sync))),
    st.booleans(),
)
def test_healthy_means_that_each_of_some_pods_is_synced(
    names: set[str], listed: dict[str, Sync], one_is_silent: bool
) -> None:
    proxies = tuple(proxy(name, sync) for name, sync in listed.items())
    silent = {"istiod-a": "timed out"} if one_is_silent else {}
    finding = judge(evidence(*(pod(name) for name in sorted(names)), proxies=proxies, silent=silent))
    synced = bool(names) and all(listed.get(name) is Sync.SYNCED for name in names)
    assert (finding.status is Status.HEALTHY) == synced


class FakeCluster:
    """Just the two questions that gather asks; each exec takes the next answer."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)

    def pods(self, namespace: str | None = None, label_selector: str | None = None) -> Any:
        if label_selector:
            return (pod("istiod-a", namespace="istio-system"), pod("istiod-b", ready=False))
        return (pod("cart"), pod("plain", injected=False))

    def exec(self, namespace: str, name: str, container: str, argv: Any, timeout_s: float) -> Any:
        assert (namespace, name, container) == ("istio-system", "istiod-a", "discovery")
        from chaosext.cluster.execute import ExecResult

        return ExecResult(exit_code=0, stdout=self.answers.pop(0), stderr="")


def test_a_push_in_flight_is_looked_at_again() -> None:
    stale = json.dumps([flat("cart", **{**FLAT, "cluster_acked": "n0"})])
    found = gather(FakeCluster(stale, json.dumps([flat("cart", **FLAT)])))  # type: ignore[arg-type]
    assert judge(found).status is Status.HEALTHY
    assert [each.name for each in found.pods] == ["cart"]


def test_a_push_that_stays_unacknowledged_is_stale() -> None:
    stale = json.dumps([flat("cart", **{**FLAT, "cluster_acked": "n0"})])
    found = gather(FakeCluster(stale, stale, stale))  # type: ignore[arg-type]
    assert judge(found).status is Status.UNHEALTHY


def test_an_istiod_that_answers_nonsense_is_silent() -> None:
    found = gather(FakeCluster("Forbidden"))  # type: ignore[arg-type]
    assert list(found.silent) == ["istiod-a"]
    assert judge(found).status is Status.UNKNOWN
