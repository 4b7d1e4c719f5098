"""The limits in force: the operator's files, the experiment's settings, and the built-in limits."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from chaosext.cluster.object_files import read_mapping
from chaosext.experiment.invalid_settings import in_file, validated
from chaosext.model.errors import Refused
from chaosext.model.paths import config_home
from chaosext.safety.limits import LONGEST_TTL_S, Hours, Limits, in_force

VARIABLE = "CHAOSEXT_LIMITS"
SYSTEM_WIDE = Path("/etc/chaosext/limits.yaml")


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _parsed(texts: tuple[str, ...]) -> tuple[str, ...]:
    """Validate the texts for pydantic, which names the key.

    An empty list is refused: it would forbid everything.
    """
    if not texts:
        raise ValueError("it is empty; remove the key to allow all")
    for text in texts:
        try:
            Hours.parse(text)
        except Refused as error:
            raise ValueError(str(error)) from None
    return texts


Names = Annotated[
    tuple[Annotated[str, Field(min_length=1, max_length=253)], ...],
    BeforeValidator(_listed),
    Field(max_length=1000),
]


class LimitKeys(BaseModel):
    """The keys of limits: plain in an operator's file, `chaosext_<key>` in an experiment's configuration."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_ttl_s: float | None = Field(None, gt=0, le=LONGEST_TTL_S, description="Longest TTL of a cut, seconds")
    max_node_share: float | None = Field(
        None, gt=0, le=1, description="Share of the nodes that may carry rules"
    )
    protected_nodes: Names = Field((), description="Nodes (or patterns) that are never cut or cut off")
    protected_namespaces: Names = Field((), description="Namespaces whose Pods must not be touched")
    allowed_hours: Annotated[Names, AfterValidator(_parsed)] = Field(
        (), description="Hours that must contain the whole TTL of a cut"
    )

    def limits(self, place: str, prefix: str = "") -> Limits:
        """Return the limits that `place` sets."""
        hours = tuple(Hours.parse(text) for text in self.allowed_hours)
        return Limits(
            place=place,
            prefix=prefix,
            max_ttl_s=self.max_ttl_s,
            max_node_share=self.max_node_share,
            protected_nodes=self.protected_nodes,
            protected_namespaces=self.protected_namespaces,
            allowed_hours=hours,
        )


def limits_in_force(settings: LimitKeys) -> tuple[Limits, ...]:
    """Return all limits, which apply together: an experiment can tighten the operator's, but never loosen them.

    Raises `Refused` for a file that can't be read as limits.
    """
    experiment = settings.limits("the experiment", "configuration.chaosext_")
    return in_force(experiment, *map(read_limits, limits_paths()))


def limits_paths() -> tuple[Path, ...]:
    """Return the operator's files: system-wide, the user's own, and `$CHAOSEXT_LIMITS`, which must exist.

    All existing files apply, so a user can't lift the system's limits with another file.
    """
    named = os.environ.get(VARIABLE)
    found = tuple(path for path in (SYSTEM_WIDE, config_home() / "limits.yaml") if not _is_missing(path))
    return (*found, Path(named)) if named else found


def _is_missing(path: Path) -> bool:
    """Return whether a file is missing; an inaccessible file is not: reading it gives the reason."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def read_limits(path: Path) -> Limits:
    """Read the limits in a YAML file. Raises `Refused`, which names file and key, for invalid content.

    An empty file is refused as well, like any value that is not a mapping: it is probably a mistake.
    """
    example = "write lines such as `max_ttl_s: 300`"
    keys, _ = read_mapping(path, "limits", example)
    return validated(keys, LimitKeys, in_file(path), example=example).limits(str(path))
