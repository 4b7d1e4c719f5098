"""Strict reader of cutover plans: YAML or JSON to a `Cutover`; errors name the field."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from chaosext.cluster.object_files import read_mapping
from chaosext.experiment.invalid_settings import in_file, validated
from chaosext.experiment.known_unhealthy_entries import (
    KEY,
    KnownEntries,
    read_entries,
    require_in_force,
)
from chaosext.gate.cutover_plan import AFTERWARDS_S, Acceptance, Cutover, Protected, Selection
from chaosext.gate.decision import REHEARSED, WAIVABLE
from chaosext.gate.snapshot_checks import PROVEN, REMARKS
from chaosext.model.errors import Refused, did_you_mean
from chaosext.rehearsal.network.declared_network import SaidNetwork
from chaosext.rehearsal.network.routes import EvidenceKind
from chaosext.rehearsal.predict.scenarios import seconds
from chaosext.rehearsal.simulate.planned_cut import MAX_HORIZON_S, MOST_CUTS, Flap
from chaosext.rehearsal.simulate.prediction import DNS_OUTAGE_S, Dns

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LONGEST_S = (MAX_HORIZON_S - AFTERWARDS_S) / 2
"""Longest cut, and longest wait for a rollback, seconds."""

EXAMPLE = "compare with `chaosext examples all-workers` and docs/gate.md"


def _duration(value: object) -> float:
    """Convert a duration to seconds; a number without a unit is refused, as it could be meant as minutes."""
    if isinstance(value, (int, float)) or str(value).replace(".", "", 1).isdigit():
        raise ValueError(f"{value!r} has no unit; write e.g. {value}s or {value}m")
    return seconds(value)


def _word(value: object) -> object:
    """Return a label's value as text; refuses what YAML 1.1 parses as another type, such as unquoted `yes`."""
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise ValueError(f"{value!r} is not a text; put it in quotes")
    return str(value)


def _clock(value: object) -> datetime:
    """Return a time that YAML has parsed, or that is text in ISO 8601 (`2026-11-28 22:00`)."""
    if isinstance(value, datetime):
        return value
    text = str(value)
    if not isinstance(value, str) or len(text) <= len("2026-11-28"):
        raise ValueError(f"{text!r} is not a date and time; write e.g. 2026-11-28 22:00")
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a date and time; write e.g. 2026-11-28 22:00") from None


Duration = Annotated[float, BeforeValidator(_duration), Field(gt=0, le=LONGEST_S)]
Text = Annotated[str, BeforeValidator(_word), Field(min_length=1, max_length=300)]
Texts = Annotated[tuple[Text, ...], Field(min_length=1)]


def _name(*kinds: str) -> Callable[[object], object]:
    """Return a reader of names of these forms, such as Service/shop/web."""

    def read(value: object) -> object:
        if isinstance(value, str) and any(re.fullmatch(_FORMS[kind], value) for kind in kinds):
            return value
        raise ValueError(f"{value!r} is not a name here; write e.g. {' or '.join(kinds)}")

    return read


_FORMS = {
    "Deployment/shop/cart": r"(?!Service/)[A-Z][A-Za-z]*/[^/\s]+/[^/\s]+",
    "Service/shop/web": r"Service/[^/\s]+/[^/\s]+",
    "namespace/payments": r"namespace/[^/\s]+",
}
WorkloadName = Annotated[str, BeforeValidator(_name("Deployment/shop/cart"))]
ServiceName = Annotated[str, BeforeValidator(_name("Service/shop/web"))]
ProtectedName = Annotated[str, BeforeValidator(_name(*_FORMS))]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CutFlap(_Part):
    """Cuts that come and go. YAML 1.1 reads the keys `on` and `off` as true and false."""

    on: Duration
    off: Duration
    times: Annotated[int, Field(strict=True, ge=1, le=MOST_CUTS)]

    @model_validator(mode="before")
    @classmethod
    def _keys(cls, value: object) -> object:
        if not isinstance(value, dict):
            return value
        return {{"True": "on", "False": "off"}.get(str(key), key): each for key, each in value.items()}

    @property
    def value(self) -> Flap:
        return Flap(on_s=self.on, off_s=self.off, times=self.times)

    @model_validator(mode="after")
    def _fits(self) -> CutFlap:
        if self.value.lasts_s > LONGEST_S:
            raise ValueError(
                f"it lasts {self.value.lasts_s:g} s, longer than {LONGEST_S:g} s; set times to less"
            )
        return self


class CutDuration(_Part):
    """Which nodes lose the control plane, and for how long."""

    nodes: Texts | None = None
    selector: Text | None = None
    zones: Texts | None = None
    racks: Texts | None = None
    rack_label: Text | None = None
    planned: Duration | None = Field(alias="for", default=None)
    at_most: Duration | None = None
    flap: CutFlap | None = None

    @model_validator(mode="after")
    def _fits(self) -> CutDuration:
        by_labels = [name for name in ("selector", "zones", "racks") if getattr(self, name)]
        if self.nodes and by_labels:
            raise ValueError(
                f"nodes and {by_labels[0]} are both set; list the nodes, or select them by labels"
            )
        if not self.nodes and not by_labels:
            raise ValueError("no node is selected; set nodes, selector, zones or racks")
        if self.rack_label and not self.racks:
            raise ValueError("rack_label without racks; list the racks")
        if self.flap and (self.planned or self.at_most):
            raise ValueError("flap is set, and for or at_most, too; remove these, or flap")
        if not self.flap and self.planned is None:
            raise ValueError(
                "neither for nor flap is set; set for to a duration such as 8m, or flap to cuts that come and go"
            )
        if self.at_most is not None and self.planned is not None and self.at_most < self.planned:
            said = f"at_most ({self.at_most:g} s) is shorter than for ({self.planned:g} s)"
            raise ValueError(f"{said}; make it at least as long")
        return self


class When(_Part):
    """When the cut begins: with an offset, or as local time of `timezone`."""

    start: Annotated[datetime, BeforeValidator(_clock)]
    timezone: Text | None = None


def _tolerated(value: object) -> object:
    """Return a number, or the names in a list as a set."""
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return frozenset(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{value!r} is neither a number nor a list of Services such as Service/shop/web")
    return value


Count = Annotated[int, Field(strict=True, ge=0)]
Tolerance = Annotated[frozenset[ServiceName] | Count, BeforeValidator(_tolerated)]


class ServicesWithoutEndpoints(_Part):
    """Which Services may have no endpoints, or how many."""

    at_end: Tolerance = 0
    during_cut: Tolerance | None = None


class ProtectedEntry(_Part):
    """What must keep Pods throughout."""

    name: ProtectedName
    at_least: Annotated[int, Field(strict=True, ge=1)] = 1


def _entry(value: object) -> object:
    """Accept a name alone."""
    return {"name": value} if isinstance(value, str) else value


class Accept(_Part):
    """Which effects are acceptable."""

    dns_after_heal: Literal["resolvable", "partial"] = "resolvable"
    dns_during_cut: Literal["resolvable", "partial"] | None = None
    self_heals: Annotated[bool, Field(strict=True)] = True
    pods_reachable: Annotated[bool, Field(strict=True)] = True
    dns_outage: Annotated[float, BeforeValidator(_duration), Field(ge=0, le=LONGEST_S)] | None = DNS_OUTAGE_S
    evicted_pods_at_most: Count | None = None
    quorum_lost: Annotated[bool, Field(strict=True)] = False
    services_without_endpoints: ServicesWithoutEndpoints = ServicesWithoutEndpoints()
    all_at_once: Annotated[bool, Field(strict=True)] = True
    pending_pods_at_most: Count | None = 0
    probability_at_least: Annotated[float, Field(strict=True, gt=0, le=1)] = 0.99
    evidence: Literal["documents", "oracle", "seen"] = "documents"

    @model_validator(mode="after")
    def _fits(self) -> Accept:
        if self.self_heals and self.dns_after_heal != "resolvable":
            raise ValueError("dns_after_heal: partial is not a recovery; set self_heals: false, too")
        if self.self_heals and self.services_without_endpoints.at_end:
            said = "services_without_endpoints.at_end: a Service without endpoints has not recovered"
            raise ValueError(f"{said}; set self_heals: false, too")
        return self


class Expect(_Part):
    """The timings that the plan was made for."""

    grace: Duration | None = None
    toleration: Duration | None = None


class Rollback(_Part):
    """When kube-dns is rescheduled, counted from the heal."""

    after: Duration


class ClusterName(_Part):
    """The plan's cluster."""

    context: Text | None = None
    uid: Text | None = None


class NetworkFacts(_Part):
    """What the plan says about the network where a cluster cannot tell."""

    fabric_hears: Text | Texts | None = None
    hold_time: Duration | None = None


class CutoverFile(_Part):
    """The whole file."""

    version: Literal["chaosext.cutover/v1"] = "chaosext.cutover/v1"
    title: Text
    change: Text | None = None
    by: Text | None = None
    cluster: ClusterName = ClusterName()
    when: When | None = None
    cut: CutDuration
    expect: Expect = Expect()
    network: NetworkFacts = NetworkFacts()
    rollback: Rollback | None = None
    namespaces: Texts | None = None
    accept: Accept = Accept()
    protect: (
        Annotated[tuple[Annotated[ProtectedEntry, BeforeValidator(_entry)], ...], Field(min_length=1)] | None
    ) = None
    quorums: Annotated[tuple[WorkloadName, ...], Field(min_length=1)] | None = None
    waive: dict[str, Text] = Field(default_factory=dict)
    known_unhealthy: KnownEntries = ()
    require: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _checks_are_known(self) -> CutoverFile:
        for name in self.waive:
            if name in REHEARSED:
                raise ValueError(
                    f"waive.{name}: the predicted effect of the cut can't be waived; change accept"
                )
            if name in PROVEN:
                raise ValueError(f"waive.{name}: a wrong go is worse than none; add what the reason asks for")
            if name not in WAIVABLE:
                raise ValueError(f"waive.{name}: no such check; {did_you_mean(name, WAIVABLE)}")
        for at, entry in enumerate(self.known_unhealthy):
            if entry.check not in WAIVABLE:
                place = f"known_unhealthy[{at}].check"
                raise ValueError(f"{place}: no such check; {did_you_mean(entry.check, WAIVABLE)}")
        for name in self.require:
            if name not in REMARKS:
                raise ValueError(f"require: {name} is not a remark; {did_you_mean(name, REMARKS)}")
        return self


def read_cutover(path: Path, at: datetime) -> tuple[Cutover, bytes]:
    """Return the plan in a file, and its bytes.

    It must begin after `at`. Raises `Refused`, which names the field.
    """
    value, data = read_mapping(path, "--cutover", EXAMPLE)
    if isinstance(value.get(KEY), str):
        value = {**value, KEY: read_entries(path.parent / value[KEY])}
    cutover = _cutover(validated(value, CutoverFile, in_file(path), example=EXAMPLE))
    require_in_force(cutover.known, at, KEY)
    if cutover.start is not None and cutover.start <= at:
        raise Refused(
            f"when.start: {cutover.start.isoformat()} is in the past (it is {at.isoformat(timespec='seconds')})",
            "set it to the start of the cutover",
        )
    return cutover, data


# -- values --------------------------------------------------------------------------------------------------


def _cutover(read: CutoverFile) -> Cutover:
    cut, flap = read.cut, read.cut.flap.value if read.cut.flap else None
    lasts_s = flap.lasts_s if flap else cut.planned or 0.0
    return Cutover(
        title=read.title,
        change=read.change or "",
        by=read.by or "",
        context=read.cluster.context or "",
        cluster_uid=read.cluster.uid or "",
        start=_start(read.when) if read.when else None,
        timezone=(read.when.timezone or "") if read.when else "",
        selection=Selection(
            names=cut.nodes or (),
            selector=cut.selector or "",
            zones=cut.zones or (),
            racks=cut.racks or (),
            rack_label=cut.rack_label or "",
        ),
        cut_for_s=lasts_s,
        at_most_s=cut.at_most or lasts_s,
        flap=flap,
        rollback_s=read.rollback.after if read.rollback else None,
        grace_s=read.expect.grace,
        toleration_s=read.expect.toleration,
        namespaces=read.namespaces or (),
        accept=_accepted(read.accept, read.protect or ()),
        quorums=read.quorums or (),
        waived=read.waive,
        known=tuple(entry.value for entry in read.known_unhealthy),
        required=read.require,
        network=_said(read.network),
    )


def _accepted(read: Accept, protect: tuple[ProtectedEntry, ...]) -> Acceptance:
    return Acceptance(
        dns_after_heal=Dns(read.dns_after_heal),
        dns_during_cut=Dns(read.dns_during_cut) if read.dns_during_cut else None,
        self_heals=read.self_heals,
        pods_reachable=read.pods_reachable,
        dns_outage_s=read.dns_outage,
        evicted_pods=read.evicted_pods_at_most,
        quorum_lost=read.quorum_lost,
        services_at_end=read.services_without_endpoints.at_end,
        services_during_cut=read.services_without_endpoints.during_cut,
        all_at_once=read.all_at_once,
        pending_pods=read.pending_pods_at_most,
        protect=tuple(Protected(name=each.name, at_least=each.at_least) for each in protect),
        probability=read.probability_at_least,
        evidence=EvidenceKind(read.evidence),
    )


def _said(read: NetworkFacts) -> SaidNetwork:
    hears = read.fabric_hears or ""
    return SaidNetwork(
        fabric_hears=hears if isinstance(hears, str) else ",".join(hears), hold_s=read.hold_time
    )


def _start(when: When) -> datetime:
    """Return the start with its offset.

    Raises `Refused` for a missing or unknown time zone, and for a local time that is skipped or repeated
    there.
    """
    zone = _zone(when.timezone) if when.timezone else None
    if when.start.tzinfo is not None:
        return when.start.astimezone(zone) if zone else when.start
    if zone is None:
        raise Refused(
            f"when.timezone: it is missing, and {when.start} has no offset", "write e.g. Europe/Berlin"
        )
    start = when.start.replace(tzinfo=zone)
    if start.astimezone(UTC).astimezone(zone).replace(tzinfo=None) != when.start:
        raise Refused(
            f"when.start: {when.start} does not exist in {when.timezone}: clocks are put forward then",
            "set another time",
        )
    if start.utcoffset() != start.replace(fold=1).utcoffset():
        raise Refused(
            f"when.start: {when.start} comes twice in {when.timezone}: clocks are put back then",
            f"write it with its offset, e.g. {start.isoformat()}",
        )
    return start


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):  # unknown, or not a valid zone name
        raise Refused(f"when.timezone: unknown time zone {name!r}", "write e.g. Europe/Berlin") from None
