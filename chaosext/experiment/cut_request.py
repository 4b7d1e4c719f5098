"""The cut that an activity requests by its arguments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chaosext.model.errors import Refused
from chaosext.partition.cut import FAMILIES

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class CutRequest:
    """What the user requests. None means: determine it from the cluster.

    `peers`: addresses and prefixes, instead of the other nodes' and those of load balancers in front of the
    API servers. `uplinks`: interfaces, instead of those with the node's InternalIP. `dead_man_s`: see `Cut`.
    """

    ttl_s: float
    peers: tuple[str, ...] | None = None
    families: tuple[str, ...] = FAMILIES
    uplinks: tuple[str, ...] | None = None
    dead_man_s: float | None = None

    @classmethod
    def from_arguments(cls, arguments: Mapping[str, Any]) -> CutRequest:
        """Return the request in an activity's arguments. Raises `Refused` for values of the wrong type."""
        return cls(
            ttl_s=_seconds("ttl_s", arguments.get("ttl_s")),
            peers=_texts("peers", arguments.get("peers")),
            families=_texts("families", arguments.get("families")) or FAMILIES,
            uplinks=_texts("uplinks", arguments.get("uplinks")),
            dead_man_s=_seconds("dead_man_s", arguments["dead_man_s"])
            if arguments.get("dead_man_s")
            else None,
        )


def _seconds(field: str, value: Any) -> float:
    if isinstance(value, bool):
        raise Refused(f"{field}: {value!r} is not a number of seconds", "set it to seconds, such as 120")
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise Refused(
            f"{field}: {value!r} is not a number of seconds", "set it to seconds, such as 120"
        ) from None


def _texts(field: str, value: Any) -> tuple[str, ...] | None:
    if value is None:
        return None
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",")]
    if (
        not isinstance(value, list | tuple)
        or not value
        or not all(isinstance(item, str) and item for item in value)
    ):
        raise Refused(
            f"{field}: {value!r} is not a list of names", f"write it as `{field}: [a, b]`, or remove it"
        )
    return tuple(value)
