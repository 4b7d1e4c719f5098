"""The workloads, Services and namespaces that a plan names: they must exist, or the plan protects nothing."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

from chaosext.model.errors import Refused
from chaosext.rehearsal.simulate.roster import Roster, rows_of

if TYPE_CHECKING:
    from chaosext.gate.cutover_plan import Cutover, Protected
    from chaosext.rehearsal.snapshot.world import World

FEW = 3
"""Names to propose instead of an unknown one."""


def require_named(world: World, cutover: Cutover) -> None:
    """Raise `Refused` for a name that is not in the snapshot, and for more Pods than a workload has."""
    accept = cutover.accept
    tolerated = [
        (field, name)
        for field, names in (("at_end", accept.services_at_end), ("during_cut", accept.services_during_cut))
        if isinstance(names, frozenset)
        for name in sorted(names)
    ]
    if not accept.protect and not cutover.quorums and not tolerated:
        return
    roster = Roster(world, rows_of(world.pods), frozenset(cutover.quorums))
    services = {unit.name: unit.wanted for unit in roster.services}
    workloads = {unit.name: unit.wanted for unit in roster.workloads.values()}
    spaces = {f"namespace/{name.split('/')[1]}": 0 for name in workloads}
    for entry in accept.protect:
        _require("protect", entry.name, workloads | services | spaces)
        if not entry.name.startswith("namespace/"):
            _require_pods(entry, (workloads | services)[entry.name])
    for name in cutover.quorums:
        _require("quorums", name, workloads)
    for field, name in tolerated:
        _require(f"accept.services_without_endpoints.{field}", name, services)


def _require(field: str, name: str, known: dict[str, int]) -> None:
    if name not in known:
        near = get_close_matches(name, known, n=FEW) or sorted(known)[:FEW]
        fix = (
            f"name an object with Pods, such as {', '.join(near)}" if near else "add its Pods to the snapshot"
        )
        raise Refused(f"{field}: {name} is not in the snapshot, or has no Pods", fix)


def _require_pods(entry: Protected, wanted: int) -> None:
    if entry.at_least > wanted:
        raise Refused(
            f"protect: {entry.name} must keep {entry.at_least} Pods, but has {wanted}",
            f"set at_least to {wanted} or fewer",
        )
