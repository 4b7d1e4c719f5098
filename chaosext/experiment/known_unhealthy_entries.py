"""Strict reader of known unhealthy objects, in an experiment, a plan or a file of their own."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
)

from chaosext.checks.suite import STEADY_STATE
from chaosext.cluster.object_files import read_document
from chaosext.experiment.invalid_settings import in_file, validated
from chaosext.model.errors import Refused, did_you_mean
from chaosext.model.known_unhealthy import KnownUnhealthy, expired, share_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

KEY = "known_unhealthy"
SETTING = f"chaosext_{KEY}"

LONGEST = timedelta(days=90)
"""Longest time that an entry may be accepted for: after a quarter of a year it must be reviewed."""

EXAMPLE = "write e.g. {check: probes_healthy, object: Pod/shop/cart-*, reason: CHG-4711, until: 2026-12-24}"

MOST_ENTRIES = 1000


def _moment(value: object) -> datetime:
    """Return a time with its zone; a date is valid until its end, UTC."""
    if isinstance(value, str):
        value = (
            date.fromisoformat(value) if len(value) == len("2026-12-24") else datetime.fromisoformat(value)
        )
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError(f"{value} has no time zone; write {value.isoformat()}Z, or a date")
        return value.astimezone(UTC)
    if not isinstance(value, date):
        raise ValueError(f"{value!r} is not a date; write e.g. 2026-12-24")
    return datetime.combine(value + timedelta(days=1), datetime.min.time(), UTC)


Text = Annotated[str, Field(min_length=1, max_length=300, pattern=r"^[^\x00-\x1f\x7f-\x9f]+$")]


class KnownEntry(BaseModel):
    """One entry of `known_unhealthy`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    check: Text = Field(description="The check whose evidence names the object")
    object: Text = Field(
        description="As the evidence has it; `Pod/<namespace>/<name>-*` for a workload's Pods"
    )
    reason: Text = Field(description="Why it is accepted")
    until: Annotated[datetime, BeforeValidator(_moment)] = Field(description="Until when")
    was: str = Field("", max_length=40, description="How much of it was well then, such as `1 of 3`")

    @field_validator("was")
    @classmethod
    def _is_a_share(cls, value: str) -> str:
        if value:
            share_of(value)
        return value

    @property
    def value(self) -> KnownUnhealthy:
        return KnownUnhealthy(
            check=self.check, object=self.object, reason=self.reason, until=self.until, was=self.was
        )


def _steady(entry: KnownEntry) -> KnownEntry:
    if entry.check not in STEADY_STATE:
        raise ValueError(f"unknown check {entry.check!r}; {did_you_mean(entry.check, STEADY_STATE)}")
    return entry


def _listed(value: object) -> object:
    if isinstance(value, str):
        raise ValueError("a list of entries is expected; a file is read with the experiment that names it")
    return value


KnownEntries = Annotated[tuple[KnownEntry, ...], BeforeValidator(_listed), Field(max_length=MOST_ENTRIES)]
"""Entries for any check."""

SteadyEntries = Annotated[
    tuple[Annotated[KnownEntry, AfterValidator(_steady)], ...],
    BeforeValidator(_listed),
    Field(max_length=MOST_ENTRIES),
]
"""Entries for the checks of the steady state."""


class KnownFile(BaseModel):
    """A file of `chaosext baseline save`."""

    known_unhealthy: SteadyEntries


def require_in_force(entries: Iterable[KnownUnhealthy], now: datetime, place: str = SETTING) -> None:
    """Raise `Refused` for an entry that has expired, or is accepted for too long; it names the entry."""
    listed = tuple(entries)
    for entry in expired(listed, now):
        raise Refused(
            f"{place}: {entry} expired on {entry.until:%Y-%m-%d %H:%M} UTC ({entry.reason})",
            "repair it and remove the entry, or accept it again with another date",
        )
    for entry in listed:
        if entry.until > now + LONGEST:
            raise Refused(
                f"{place}: {entry} would be accepted until {entry.until:%Y-%m-%d}: over {LONGEST.days} days",
                "set an earlier date",
            )


def read_known(path: Path) -> tuple[KnownUnhealthy, ...]:
    """Read the entries in a file of `chaosext baseline save`. Raises `Refused`, which names file and field."""
    read = validated({KEY: read_entries(path)}, KnownFile, in_file(path), example=EXAMPLE)
    return tuple(entry.value for entry in read.known_unhealthy)


def read_entries(path: Path) -> list[Any]:
    """Read the list of entries in a file, or under its key `known_unhealthy`, unchecked. Raises `Refused`."""
    value, _ = read_document(path, f"{KEY}:")
    entries = value.get(KEY) if isinstance(value, dict) else value
    if not isinstance(entries, list):
        raise Refused(f"{KEY}: {path}: a list of entries is expected", EXAMPLE)
    return entries


def with_entries(configuration: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return a configuration with the entries themselves in place of their file in `folder`; dates become text.

    So an approval, and the run, are for these entries, even if the file changes.
    """
    value = configuration.get(SETTING)
    entries = read_entries(folder / value) if isinstance(value, str) and value else value
    if not isinstance(entries, list):
        return dict(configuration)
    return {**configuration, SETTING: [_plain(entry) for entry in entries]}


def _plain(entry: Any) -> Any:
    if not isinstance(entry, dict):
        return entry
    return {key: each.isoformat() if isinstance(each, date) else each for key, each in entry.items()}
