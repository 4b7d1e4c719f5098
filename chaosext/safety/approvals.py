"""Approvals: which experiments may run on which production cluster, who approved them, and until when.

Each is a line of an append-only file; the latest entry for an experiment on a cluster counts. Pure except for
file access.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from chaosext.model.bounded_json import parse_json
from chaosext.model.errors import Refused
from chaosext.model.files import OWNER_ONLY, append, read_file
from chaosext.model.paths import config_home
from chaosext.safety.audit_log import digest_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

PRODUCTION = "production"

VARIABLE = "CHAOSEXT_APPROVALS"
"""Environment variable with the path of a further approvals file, such as one from a ConfigMap in a Pod."""

_WORDS = ("title", "description", "tags", "contributions", "version", "dry")
"""Parts of an experiment that do not change its actions, or only reduce them (`chaos run --dry`)."""

_CONTEXT = "KUBERNETES_CONTEXT"
"""A context name is local to one machine, so an approval identifies its cluster by UID."""


class Said(StrEnum):
    APPROVED = "approved"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """One line of the file: approves or revokes running the experiment with this digest on a cluster.

    `sha256`: as returned by `approval_digest`. `title`, and `values` (the numbers and switches of the
    experiment's configuration), tell people what was approved. `until`: None: until revoked. `by` and `note`
    are free text.
    """

    said: Said
    sha256: str
    cluster_uid: str
    context: str
    by: str
    at: datetime
    title: str = ""
    values: Mapping[str, float | bool] = field(default_factory=dict)
    until: datetime | None = None
    note: str = ""

    @property
    def about(self) -> tuple[str, str]:
        return self.cluster_uid, self.sha256

    def holds(self, now: datetime) -> bool:
        return self.said is Said.APPROVED and (self.until is None or now < self.until)

    def to_json(self) -> dict[str, Any]:
        until = self.until.isoformat() if self.until else None
        return {**asdict(self), "said": self.said.value, "at": self.at.isoformat(), "until": until}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Parse the output of `to_json`. Raises KeyError, TypeError or ValueError for anything else."""
        known = dict(value)
        at, until = _moment(known.pop("at")), known.pop("until")
        return cls(
            **{**known, "said": Said(known["said"]), "values": dict(known["values"])},
            at=at,
            until=None if until is None else _moment(until),
        )


def approval_digest(
    experiment: Mapping[str, Any], configuration: Mapping[str, Any], confided: Sequence[Any] = ()
) -> str:
    """SHA-256 (hex) of what an experiment does: its content, and the resolved values of its configuration.

    So an environment variable that changes a value changes the digest. Secret values do not, except those
    that are arguments of chaosext's own actions (`confided`, resolved). Nor does the context name, or text
    that only describes the experiment (title, description, tags).
    """
    effective = {key: value for key, value in experiment.items() if key not in _WORDS}
    secrets = {name: _nameless(group) for name, group in (experiment.get("secrets") or {}).items()}
    own = {"arguments from secrets": list(confided)} if confided else {}
    return digest_of({**effective, "configuration": dict(configuration), "secrets": secrets, **own})


def _nameless(group: Any) -> Any:
    return (
        {key: value for key, value in group.items() if key != _CONTEXT} if isinstance(group, dict) else group
    )


def shown_values(configuration: Mapping[str, Any]) -> dict[str, float | bool]:
    """The numbers and switches of a configuration, which are never secret."""
    return {str(key): value for key, value in configuration.items() if isinstance(value, bool | int | float)}


def last_words(words: Iterable[Word]) -> dict[tuple[str, str], Word]:
    """(cluster UID, digest) -> the latest entry, sorted by time; of two at the same time, a revocation wins."""
    ordered = sorted(words, key=lambda word: (word.at, word.said is Said.REVOKED))
    return {word.about: word for word in ordered}


def require_approval(words: Iterable[Word], *, sha256: str, cluster_uid: str, now: datetime) -> Word:
    """Return the approval in force. Raises `Refused` saying why there is none."""
    held = last_words(words)
    word = held.get((cluster_uid, sha256))
    if word is not None and word.holds(now):
        return word
    raise Refused(f"digest {sha256}: {_why_not(word, held, cluster_uid, now)}")


def _why_not(word: Word | None, held: Mapping[tuple[str, str], Word], cluster_uid: str, now: datetime) -> str:
    if word is None:
        others = sum(each.cluster_uid == cluster_uid and each.holds(now) for each in held.values())
        also = f"; {others} other experiment(s) or settings are" if others else ""
        return f"it is not approved for this cluster ({cluster_uid}){also}"
    if word.said is Said.REVOKED:
        return f"its approval was revoked by {word.by} on {word.at:%Y-%m-%d %H:%M} UTC{_noted(word)}"
    return f"its approval by {word.by} ended on {word.until:%Y-%m-%d %H:%M} UTC"


def _noted(word: Word) -> str:
    return f" ({word.note})" if word.note else ""


def own_approvals() -> Path:
    """`$XDG_CONFIG_HOME/chaosext/approvals.jsonl`, to which `chaosext approve` appends."""
    return config_home() / "approvals.jsonl"


def approvals_paths() -> tuple[Path, ...]:
    """The approvals files: the system's, the user's, and `$CHAOSEXT_APPROVALS`, which must exist if set."""
    found = tuple(path for path in (Path("/etc/chaosext/approvals.jsonl"), own_approvals()) if path.exists())
    named = os.environ.get(VARIABLE)
    return (*found, Path(named)) if named else found


def read_words(paths: Sequence[Path] | None = None) -> tuple[Word, ...]:
    """Read the entries of all files, which are equally valid. Raises `Refused` naming file and line."""
    return tuple(word for path in (approvals_paths() if paths is None else paths) for word in _read(path))


def _read(path: Path) -> Iterable[Word]:
    try:
        lines = read_file(path).decode().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        problem = getattr(error, "strerror", None) or type(error).__name__
        raise Refused(
            f"the approvals in {path} can't be read ({problem})", "permit it, or name another"
        ) from None
    return [_parsed(path, number, line) for number, line in enumerate(lines, 1) if line.strip()]


def _parsed(path: Path, number: int, line: str) -> Word:
    try:
        return Word.from_json(parse_json(line))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Refused(
            f"{path}: line {number} is not an approval ({type(error).__name__})",
            "remove that line, then repeat its approval",
        ) from None


def write_word(word: Word, path: Path | None = None) -> None:
    """Append `word`; it is on disk (fsync) on return. Raises `Refused` if the file cannot be written."""
    path = path or own_approvals()
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        append(path, as_line(word), fsync=True, mode=OWNER_ONLY)
    except OSError as error:
        raise Refused(
            f"the approvals {path} can't be written ({error})", "permit it, or make room"
        ) from error


def as_line(word: Word) -> str:
    return json.dumps(word.to_json(), sort_keys=True) + "\n"


def _moment(text: str) -> datetime:
    """Parse a time. Raises ValueError if it has no time zone."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("no time zone")
    return moment.astimezone(UTC)
