"""Parse an FRR router's output about its BGP sessions and routes. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chaosext.model.errors import MALFORMED

if TYPE_CHECKING:
    from collections.abc import Mapping

ESTABLISHED = "Established"


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """One neighbor. `states`: FRR's state per address family; `prefixes`: number received, over all families."""

    ip: str
    states: tuple[str, ...]
    prefixes: int

    @property
    def state(self) -> str:
        """FRR's own words, e.g. "Established" or "Active"."""
        return ", ".join(self.states)

    @property
    def established(self) -> bool:
        """Whether the session is established in at least one address family."""
        return ESTABLISHED in self.states


def parse_summary(text: str) -> tuple[Peer, ...]:
    """Parse FRR's `show bgp summary json`, with or without the level of address families.

    Raises `ValueError` for anything else.
    """
    try:
        return _peers(json.loads(text))
    except MALFORMED as error:
        raise ValueError(f"not a summary of FRR's: {error!r}") from error


def local_as(text: str) -> int | None:
    """Return the router's own AS number by FRR's `show bgp summary json`; None if it is not there."""
    try:
        summary = json.loads(text)
        families = [summary, *(each for each in summary.values() if isinstance(each, dict))]
        return next((int(each["as"]) for each in families if "as" in each), None)
    except MALFORMED:
        return None


def _peers(summary: Mapping[str, Any]) -> tuple[Peer, ...]:
    families = (
        [summary] if "peers" in summary else [each for each in summary.values() if isinstance(each, dict)]
    )
    items: dict[str, list[Mapping[str, Any]]] = {}
    for family in families:
        for ip, item in (family.get("peers") or {}).items():
            items.setdefault(ip, []).append(item)
    return tuple(_peer(ip, said) for ip, said in items.items())


def _peer(ip: str, said: list[Mapping[str, Any]]) -> Peer:
    states = tuple(str(item.get("state", "unknown")) for item in said)
    return Peer(ip=ip, states=states, prefixes=sum(int(item.get("pfxRcd", 0)) for item in said))


def leads_there(text: str) -> bool:
    """Whether FRR's `show ip route ADDRESS json` has a specific route: not the default one, not a black hole.

    Raises `ValueError` for any other text.
    """
    try:
        routes = [route for found in json.loads(text).values() for route in found]
        return any(route.get("selected") and int(route["prefixLen"]) and _has_hop(route) for route in routes)
    except MALFORMED as error:
        raise ValueError(f"not a route of FRR's: {error!r}") from error


def _has_hop(route: Mapping[str, Any]) -> bool:
    hops = route.get("nexthops") or ()
    return any(hop.get("active") and not hop.get("blackhole") and not hop.get("unreachable") for hop in hops)
