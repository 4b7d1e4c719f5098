"""The gate by object: what the plan knows to be unhealthy doesn't stand against a go, and everything else does."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from test_judge import PLAN, versioned
from worlds import cluster, off_control_plane

from chaosext.gate.decision import Decision
from chaosext.gate.judge import judge
from chaosext.gate.ticket import Asked, Sheet
from chaosext.model.findings import Evidence, Finding, Status
from chaosext.model.known_unhealthy import KnownUnhealthy
from chaosext.report.render.gate_text import markdown, text_lines
from chaosext.report.render.html.gate_page import render_gate_page

if TYPE_CHECKING:
    from chaosext.gate.judge import Judgement
    from chaosext.rehearsal.snapshot.world import World

UNTIL = datetime(2026, 12, 24, tzinfo=UTC)
MITIGATED = versioned(cluster(affinity=off_control_plane(), apps=3))
SHOP = [pod for pod in MITIGATED.pods if pod.namespace == "web"]


def entry(check: str, name: str, **more: Any) -> KnownUnhealthy:
    return KnownUnhealthy(check=check, object=name, reason="CHG-1", until=UNTIL, **more)


def sick(world: World, *names: str) -> World:
    """These Pods are not Ready."""
    found = {pod.name for pod in world.pods} & set(names)
    assert found == set(names)
    pods = tuple(replace(pod, ready=False) if pod.name in names else pod for pod in world.pods)
    return replace(world, pods=pods)


def asked(world: World, *known: KnownUnhealthy) -> Judgement:
    return judge(world, replace(PLAN, known=known))


def status(judgement: Judgement, check: str) -> Status:
    return next(each.finding.status for each in judgement.weighed if each.finding.check == check)


def test_what_is_known_by_its_object_does_not_stand_against_a_go() -> None:
    world = sick(MITIGATED, SHOP[0].name)
    assert asked(world).decision is Decision.NO_GO
    known = asked(world, entry("probes_healthy", SHOP[0].subject))
    assert known.decision is Decision.GO
    assert known.unmatched == ()


def test_what_is_not_named_stands_against_it() -> None:
    world = sick(MITIGATED, SHOP[0].name, SHOP[1].name)
    judgement = asked(world, entry("probes_healthy", SHOP[0].subject))
    assert judgement.decision is Decision.NO_GO
    assert SHOP[1].subject in judgement.against[0].finding.summary


def test_one_that_got_worse_stands_against_it() -> None:
    world = sick(MITIGATED, SHOP[0].name)
    assert status(asked(world, entry("probes_healthy", SHOP[0].subject, was="1 of 1")), "probes_healthy") is (
        Status.UNHEALTHY
    )
    assert asked(world, entry("probes_healthy", SHOP[0].subject, was="0 of 1")).decision is Decision.GO


def test_cluster_dns_that_is_dead_is_accepted_by_no_entry() -> None:
    dns = [pod.name for pod in MITIGATED.pods if pod.namespace == "kube-system"]
    world = sick(MITIGATED, *dns)
    names = {row.subject for each in asked(world).weighed for row in each.finding.evidence}
    known = [
        entry(check, name)
        for name in names
        for check in ("kube_dns_ready", "probes_healthy", "kube_dns_redundant")
    ]
    judgement = asked(world, *known)
    assert status(judgement, "kube_dns_ready") is Status.UNHEALTHY
    assert judgement.decision is not Decision.GO


def test_unknown_is_accepted_by_no_entry() -> None:
    row = Evidence(subject=SHOP[0].subject, status=Status.UNKNOWN, detail="no answer")
    live = {
        "probes_healthy": Finding(check="probes_healthy", status=row.status, summary="s", evidence=(row,))
    }
    judgement = judge(MITIGATED, replace(PLAN, known=(entry("probes_healthy", SHOP[0].subject),)), live)
    assert judgement.decision is Decision.NOT_KNOWN


def test_a_dead_node_is_accepted_by_its_name() -> None:
    world = replace(
        MITIGATED,
        nodes=tuple(
            replace(node, ready="False") if node.name == "worker-1" else node for node in MITIGATED.nodes
        ),
    )
    assert status(asked(world), "nodes_ready") is Status.UNHEALTHY
    assert status(asked(world, entry("nodes_ready", "Node/worker-1")), "nodes_ready") is Status.HEALTHY
    assert status(asked(world, entry("nodes_ready", "Node/worker-2")), "nodes_ready") is Status.UNHEALTHY


def sheet(judgement: Judgement, *known: KnownUnhealthy) -> Sheet:
    return Sheet(
        asked=Asked(at=UNTIL, by="me", plan="p", plan_sha256="", snapshot_sha256=""),
        cutover=replace(PLAN, known=known),
        judgement=judgement,
        remedies=(),
        untried=(),
        version="v1.34.4",
        node_count=3,
        meshed=False,
    )


@pytest.mark.parametrize("form", [lambda s: "\n".join(text_lines(s)), markdown, render_gate_page])
def test_the_page_lists_what_is_known_and_what_matches_nothing(form: Any) -> None:
    known = (entry("probes_healthy", SHOP[0].subject), entry("nodes_ready", "Node/worker-9"))
    judgement = asked(sick(MITIGATED, SHOP[0].name), *known)
    text = form(sheet(judgement, *known)).replace("\\", "")
    assert f"probes_healthy: {SHOP[0].subject}: CHG-1, until 2026-12-24 00:00 UTC" in text
    assert "nodes_ready: Node/worker-9: matches nothing; CHG-1" in text


def test_the_json_names_every_entry_and_each_row_that_it_excuses() -> None:
    known = (entry("probes_healthy", SHOP[0].subject), entry("nodes_ready", "Node/worker-9"))
    said = sheet(asked(sick(MITIGATED, SHOP[0].name), *known), *known).to_json()
    assert [each["object"] for each in said["cutover"]["known_unhealthy"]] == [each.object for each in known]
    assert said["unmatched"] == ["nodes_ready: Node/worker-9"]
    (probes,) = (each for each in said["checks"] if each["check"] == "probes_healthy")
    assert [(row["subject"], row["known"]) for row in probes["evidence"]] == [(SHOP[0].subject, "CHG-1")]
