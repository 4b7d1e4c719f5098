"""Timeline events of the fault: when the cut was made, and when the network came back."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from chaosext.model import clock
from chaosext.model.duration_text import short_duration
from chaosext.model.timeline import ON_NODES, Kind
from chaosext.partition.cut import Side
from chaosext.run.fault.state import fault_of
from chaosext.timeline.object_events import Note

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chaosext.model.clock import Moment
    from chaosext.partition.cut import Cut, Network
    from chaosext.partition.reports import ArmReport, HealReport
    from chaosext.run.session.run_context import RunContext

MOST_SHOWN = 12
"""Maximum number of addresses and prefixes in a line."""


def note_cut(context: RunContext, report: ArmReport) -> None:
    """Note the cut; the timeline counts from the moment when the first node was cut."""
    fault = fault_of(context)
    armed_s = _monotonic_s(report.cut_at)
    context.recorder.set_zero(armed_s)
    if fault.all_cut_s is None:
        fault.all_cut_s = _monotonic_s(report.all_cut_at)
    names = _objects({node.node for node in report.nodes})
    peers = shown(report.cut)
    until = f"{report.let_go.as_wall_clock():%H:%M:%S} UTC"
    where = ON_NODES if report.cut.side is Side.NODES else ""
    lasts = f", until {until}: it can't be ended earlier" if report.cut.delay_s else " at most"
    note = Note(
        kind=Kind.CUT,
        object=names,
        detail=f"{where}drops {peers} for {short_duration(report.cut.ttl_s)}{lasts}",
    )
    context.recorder.note(note, "chaosext", at_s=armed_s)


def shown(cut: Cut) -> str:
    """Return what is dropped: all prefixes, or if there are many, the requested ones and the exceptions."""
    if len(cut.dropped) <= MOST_SHOWN:
        return ", ".join(map(str, cut.dropped))
    spared = [
        each for each in cut.spared if any(each.overlaps(peer) for peer in cut.peers if _alike(each, peer))
    ]
    without = f" without {_few(spared)}" if spared else ""
    return f"{_few(cut.peers)}{without}"


def _alike(one: Network, other: Network) -> bool:
    return one.version == other.version


def _few(networks: Sequence[Network]) -> str:
    more = f" and {len(networks) - MOST_SHOWN} more" if len(networks) > MOST_SHOWN else ""
    return f"{', '.join(map(str, networks[:MOST_SHOWN]))}{more}"


def note_heal(context: RunContext, report: HealReport) -> None:
    """Note the heal, at the moment when the network came back.

    That is when the rules are seen gone, or earlier, when they expired in the kernel.
    """
    fault = fault_of(context)
    healed = {node.node for node in report.nodes if node.gone}
    at, detail = clock.now(), f"cut removed in {report.elapsed_s:.2f}s"
    took_s = report.elapsed_s
    if clock.is_over(fault.expires_at):
        healed = {node.node for node in report.nodes}
        at, detail = fault.expires_at, "the cut expired in the kernel at its TTL"
        took_s = (fault.all_cut_s or 0.0) - (
            context.recorder.zero_s or 0.0
        )  # it expires in the order of arming
    if fault.healing_s is None:
        fault.healing_s = _monotonic_s(at) - took_s
    note = Note(kind=Kind.HEAL, object=_objects(healed), detail=detail)
    context.recorder.note(note, "chaosext", at_s=_monotonic_s(at))


def _monotonic_s(at: Moment) -> float:
    return time.monotonic() - (at.age_s() or 0.0)


def _objects(nodes: set[str]) -> str:
    return "Node/" + ",".join(sorted(nodes))
