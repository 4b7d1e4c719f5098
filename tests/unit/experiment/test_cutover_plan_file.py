"""A plan is read as it is meant, or refused by its field, with what to do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
import yaml
from checkout import ROOT

from chaosext.experiment.cutover_plan_file import read_cutover
from chaosext.gate.cutover_plan import Acceptance, Protected, Selection
from chaosext.model.errors import Refused
from chaosext.rehearsal.simulate.planned_cut import Flap
from chaosext.rehearsal.simulate.prediction import Dns

if TYPE_CHECKING:
    from pathlib import Path

AT = datetime(2026, 11, 23, 12, tzinfo=UTC)
PLANS = ROOT / "examples" / "cutovers"

LEAST = "title: t\ncut: {nodes: [worker-1], for: 8m}\n"


def read(tmp_path: Path, text: str | bytes) -> object:
    path = tmp_path / "cutover.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_cutover(path, AT)[0]


def test_the_least_plan_has_the_strictest_tolerance(tmp_path: Path) -> None:
    cutover = read(tmp_path, LEAST)
    assert cutover.selection == Selection(names=("worker-1",))
    assert cutover.durations_s == (480.0,)
    assert cutover.accept == Acceptance(dns_after_heal=Dns.RESOLVABLE, self_heals=True, probability=0.99)
    assert cutover.start is None


def test_everything_that_a_plan_can_say_is_kept(tmp_path: Path) -> None:
    cutover = read(
        tmp_path,
        """
        version: chaosext.cutover/v1
        title: Leaves of row 3
        change: 4711
        by: net team
        cluster: {context: production-eu, uid: 0a5e}
        when: {start: 2026-11-28 22:00, timezone: Europe/Berlin}
        cut: {racks: [11, r12], rack_label: example.com/rack, zones: [b], selector: '!gpu', for: 8m, at_most: 15m30s}
        expect: {grace: 50s, toleration: 300s}
        rollback: {after: 2m}
        namespaces: [shop]
        accept: {dns_after_heal: partial, dns_during_cut: resolvable, self_heals: false,
                 evicted_pods_at_most: 3, probability_at_least: 0.9}
        waive: {xds_synced: istiod may not be entered}
        require: [istiod_redundant]
        """,
    )
    assert cutover.change == "4711"
    assert cutover.selection.racks == ("11", "r12")
    assert cutover.durations_s == (480.0, 930.0)
    assert cutover.start == datetime(2026, 11, 28, 21, tzinfo=UTC)
    assert (cutover.grace_s, cutover.toleration_s, cutover.rollback_s) == (50.0, 300.0, 120.0)
    assert cutover.accept.evicted_pods == 3
    assert cutover.waived == {"xds_synced": "istiod may not be entered"}
    assert cutover.required == ("istiod_redundant",)


def test_a_plan_says_what_users_may_lose_and_what_it_protects(tmp_path: Path) -> None:
    cutover = read(
        tmp_path,
        f"""{LEAST}
accept: {{self_heals: false, quorum_lost: true, all_at_once: false, pending_pods_at_most: 2,
         services_without_endpoints: {{at_end: [Service/shop/old], during_cut: 3}}}}
protect: [Deployment/shop/cart, namespace/payments, {{name: Service/shop/web, at_least: 2}}]
quorums: [Deployment/infra/consul]
""",
    )
    assert cutover.accept == Acceptance(
        self_heals=False,
        quorum_lost=True,
        all_at_once=False,
        pending_pods=2,
        services_at_end=frozenset({"Service/shop/old"}),
        services_during_cut=3,
        protect=(
            Protected(name="Deployment/shop/cart"),
            Protected(name="namespace/payments"),
            Protected(name="Service/shop/web", at_least=2),
        ),
    )
    plan = cutover.plan(frozenset({"worker-1"}), 60.0)
    assert plan.quorums == {"Deployment/infra/consul"}
    assert plan.protected == {"Deployment/shop/cart", "namespace/payments", "Service/shop/web"}


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ("protect: [cart]", "protect"),
        ("protect: [shop/cart]", "protect"),
        ("protect: []", "protect"),
        ("protect: [{name: Deployment/shop/cart, at_least: 0}]", "at_least"),
        ("quorums: [Service/shop/web]", "quorums"),
        ("quorums: [namespace/shop]", "quorums"),
        ("accept: {quorum_lost: maybe}", "quorum_lost"),
        ("accept: {pending_pods_at_most: -1}", "pending_pods_at_most"),
        ("accept: {services_without_endpoints: {during_cut: [web]}}", "during_cut"),
        ("accept: {services_without_endpoints: {during_cut: true}}", "during_cut"),
        ("accept: {services_without_endpoints: {at_end: 1}}", "self_heals"),
    ],
)
def test_what_a_plan_protects_is_named_as_it_exists_or_refused(tmp_path: Path, said: str, field: str) -> None:
    with pytest.raises(Refused) as refused:
        read(tmp_path, f"{LEAST}{said}\n")
    assert field in f"{refused.value.message} {refused.value.fix}"


@pytest.mark.parametrize("path", sorted(PLANS.iterdir()), ids=lambda path: path.name)
def test_the_examples_can_be_read(path: Path) -> None:
    assert read_cutover(path, datetime.now(UTC))[0].start


def test_the_plan_in_the_documentation_can_be_read(tmp_path: Path) -> None:
    text = (PLANS.parents[1] / "docs" / "gate.md").read_text()
    cutover = read(tmp_path, text.partition("```yaml\n")[2].partition("```")[0])
    assert cutover.at_most_s == 900
    assert cutover.accept.evicted_pods == 20


def test_cuts_that_come_and_go_are_read_though_yaml_takes_on_and_off_for_truths(tmp_path: Path) -> None:
    cutover = read(tmp_path, "title: t\ncut: {nodes: [a], flap: {on: 15s, off: 10s, times: 7}}\n")
    assert cutover.flap == Flap(on_s=15, off_s=10, times=7)
    assert cutover.durations_s == (165.0,)


@pytest.mark.parametrize(("said", "means"), [("45s", 45.0), ("0s", 0.0), ("null", None)])
def test_an_outage_of_dns_may_be_accepted(tmp_path: Path, said: str, means: float | None) -> None:
    cutover = read(tmp_path, f"{LEAST}accept: {{dns_outage: {said}}}\n")
    assert cutover.accept.dns_outage_s == means


def changed(**parts: object) -> str:
    return yaml.safe_dump({"title": "t", "cut": {"nodes": ["a"], "for": "8m"}} | parts)


BAD = {
    "no file's syntax": ("cut: [", "neither YAML nor JSON"),
    "no mapping": ("- a", "a mapping is expected"),
    "nothing": ("", "a mapping is expected"),
    "binary": (b"\xff\xfe\x00", "neither YAML nor JSON"),
    "no title": ("cut: {nodes: [a], for: 8m}", "title is not set"),
    "no cut": ("title: t", "cut is not set"),
    "no duration": (changed(cut={"nodes": ["a"]}), "cut: neither for nor flap is set"),
    "a flap and a duration": (
        changed(cut={"nodes": ["a"], "for": "8m", "flap": {"on": "15s", "off": "10s", "times": 7}}),
        "cut: flap is set, and for or at_most, too",
    ),
    "half a flap": (
        changed(cut={"nodes": ["a"], "flap": {"on": "15s", "times": 7}}),
        "cut.flap.off is not set",
    ),
    "a flap without units": (
        changed(cut={"nodes": ["a"], "flap": {"on": 15, "off": "10s", "times": 7}}),
        "cut.flap.on: 15 has no unit",
    ),
    "no flap at all": (
        changed(cut={"nodes": ["a"], "flap": {"on": "15s", "off": "10s", "times": 0}}),
        "cut.flap.times: ",
    ),
    "an endless flap": (
        changed(cut={"nodes": ["a"], "flap": {"on": "1h", "off": "1h", "times": 50}}),
        "cut.flap: it lasts 356400 s",
    ),
    "a word for a flap": (changed(cut={"nodes": ["a"], "flap": "7"}), "cut.flap: a mapping is expected"),
    "an outage without unit": (changed(accept={"dns_outage": 30}), "accept.dns_outage: 30 has no unit"),
    "a typo above": (changed(accpet={}), "accpet: unknown key: did you mean accept?"),
    "a typo below": (changed(cut={"node": ["a"], "for": "8m"}), "cut.node: unknown key: did you mean nodes?"),
    "another version": (changed(version="chaosext.cutover/v2"), "version: "),
    "a number without unit": (changed(cut={"nodes": ["a"], "for": 8}), "cut.for: 8 has no unit"),
    "a text without unit": (changed(cut={"nodes": ["a"], "for": "480"}), "cut.for: '480' has no unit"),
    "a wrong unit": (changed(cut={"nodes": ["a"], "for": "8min"}), "cut.for: '8min' is not a duration"),
    "days": (changed(cut={"nodes": ["a"], "for": "1d"}), "cut.for: '1d' is not a duration"),
    "no time at all": (changed(cut={"nodes": ["a"], "for": "0s"}), "cut.for: "),
    "a negative time": (changed(cut={"nodes": ["a"], "for": "-8m"}), "cut.for: '-8m' is not a duration"),
    "a week": (changed(cut={"nodes": ["a"], "for": "168h"}), "cut.for: "),
    "true for a time": (changed(cut={"nodes": ["a"], "for": True}), "cut.for: True has no unit"),
    "less than planned": (
        changed(cut={"nodes": ["a"], "for": "8m", "at_most": "5m"}),
        "cut: at_most (300 s) is shorter than for (480 s)",
    ),
    "no nodes": (changed(cut={"nodes": [], "for": "8m"}), "cut.nodes: it is empty"),
    "an empty name": (changed(cut={"nodes": [""], "for": "8m"}), "cut.nodes[0]: it is empty"),
    "no list": (changed(cut={"nodes": "a", "for": "8m"}), "cut.nodes: a list is expected"),
    "a mapping as a name": (changed(cut={"nodes": [{"a": 1}], "for": "8m"}), "cut.nodes[0]: "),
    "a truth as a zone": (changed(cut={"zones": [True], "for": "8m"}), "cut.zones[0]: True is not a text"),
    "nothing selected": (changed(cut={"for": "8m"}), "cut: no node is selected"),
    "an empty selector": (changed(cut={"selector": "", "for": "8m"}), "cut.selector: it is empty"),
    "names and labels": (
        changed(cut={"nodes": ["a"], "zones": ["b"], "for": "8m"}),
        "cut: nodes and zones are both set",
    ),
    "a rack's label alone": (
        changed(cut={"nodes": ["a"], "rack_label": "r", "for": "8m"}),
        "cut: rack_label",
    ),
    "a list of a cut": (changed(cut=["a"]), "cut: a mapping is expected"),
    "over": (changed(when={"start": "2026-11-22 22:00", "timezone": "Europe/Berlin"}), "when.start: "),
    "now": (changed(when={"start": AT.isoformat()}), "when.start: "),
    "a day without time": (
        changed(when={"start": "2026-11-28"}),
        "when.start: '2026-11-28' is not a date and time",
    ),
    "no moment": (
        changed(when={"start": "tomorrow night"}),
        "when.start: 'tomorrow night' is not a date and time",
    ),
    "a number as moment": (changed(when={"start": 5}), "when.start: '5' is not a date and time"),
    "no zone": (changed(when={"start": "2026-11-28 22:00"}), "when.timezone: it is missing"),
    "an unknown zone": (
        changed(when={"start": "2026-11-28 22:00", "timezone": "Europe/Bärlin"}),
        "when.timezone: unknown time zone 'Europe/Bärlin'",
    ),
    "a path as zone": (
        changed(when={"start": "2026-11-28 22:00", "timezone": "../passwd"}),
        "when.timezone: unknown time zone",
    ),
    "an hour that is skipped": (
        changed(when={"start": "2027-03-28 02:30", "timezone": "Europe/Berlin"}),
        "when.start: 2027-03-28 02:30:00 does not exist in Europe/Berlin",
    ),
    "an hour that comes twice": (
        changed(when={"start": "2027-10-31 02:30", "timezone": "Europe/Berlin"}),
        "when.start: 2027-10-31 02:30:00 comes twice in Europe/Berlin",
    ),
    "dead DNS accepted": (changed(accept={"dns_after_heal": "dead"}), "accept.dns_after_heal: "),
    "partial that heals": (changed(accept={"dns_after_heal": "partial"}), "accept: dns_after_heal: partial"),
    "percents": (changed(accept={"probability_at_least": 99}), "accept.probability_at_least: "),
    "a probability as text": (
        changed(accept={"probability_at_least": "99%"}),
        "accept.probability_at_least: ",
    ),
    "no probability": (changed(accept={"probability_at_least": 0}), "accept.probability_at_least: "),
    "half a Pod": (changed(accept={"evicted_pods_at_most": 0.5}), "accept.evicted_pods_at_most: "),
    "perhaps": (changed(accept={"self_heals": "perhaps"}), "accept.self_heals: "),
    "a waiver of nothing": (
        changed(waive={"xds_sync": "x"}),
        "waive.xds_sync: no such check: did you mean xds_synced?",
    ),
    "a waiver without reason": (changed(waive={"xds_synced": ""}), "waive.xds_synced: it is empty"),
    "waivers as a list": (changed(waive=["xds_synced"]), "waive: a mapping is expected"),
    "routes waived": (
        changed(waive={"pod_routes": "we know"}),
        "waive.pod_routes: a wrong go is worse than none",
    ),
    "the cut waived": (
        changed(waive={"dns_after_heal": "x"}),
        "waive.dns_after_heal: the predicted effect of the cut",
    ),
    "a remark of nothing": (changed(require=["luck"]), "require: luck is not a remark"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_plan_is_refused_by_its_field(tmp_path: Path, case: str) -> None:
    text, says = BAD[case]
    with pytest.raises(Refused) as refused:
        read(tmp_path, text)
    assert says in str(refused.value)
    assert refused.value.fix


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"--cutover .*nowhere"):
        read_cutover(tmp_path / "nowhere.yaml", AT)


def test_a_moment_with_its_offset_needs_no_zone(tmp_path: Path) -> None:
    cutover = read(tmp_path, changed(when={"start": "2027-10-31T02:30:00+02:00"}))
    assert cutover.start.utcoffset() == timedelta(hours=2)
