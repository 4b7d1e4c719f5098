"""A cut of chaosext is active: whatever fails between those nodes is intended, and not the network's fault."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaosext.diagnose.knowledge import Cause, DiagnosisRule, FixCommand, keys
from chaosext.diagnose.symptoms import SymptomKind, Trouble
from chaosext.model.duration_text import short_duration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chaosext.diagnose.knowledge import Patient

NOT_OF_A_CUT = frozenset({SymptomKind.CUT, SymptomKind.FLOW})
ITS_OWN = frozenset({Trouble.IMAGE, Trouble.CONFIG})
"""Troubles of a Pod that no lost network leads to."""


def find(patient: Patient) -> Iterator[Cause]:
    """Name each run that cuts: it explains whatever a lost control plane leads to."""
    runs: dict[str, list[str]] = {}
    for name, seen in patient.sight.cut_nodes.items():
        for cut in seen.cuts or ():
            runs.setdefault(cut.run, []).append(name)
    for run, nodes in runs.items():
        left_s = max(
            cut.remaining_s
            for name in nodes
            for cut in patient.sight.nodes_seen[name].cuts or ()
            if cut.run == run
        )
        yield Cause(
            subject=f"run {run}",
            said=f"chaosext's own run {run} cuts the network on {', '.join(nodes)}, for {short_duration(left_s)} more",
            grounds=keys(patient.of(SymptomKind.CUT)),
            explains=keys(
                each
                for each in patient.symptoms
                if each.kind not in NOT_OF_A_CUT and not each.troubles & ITS_OWN
            ),
            evidence=tuple(
                f"{name}: nftables table of run {run}, {cut.dropped_packets} packets dropped"
                for name in nodes
                for cut in patient.sight.nodes_seen[name].cuts or ()
            ),
            fixes=(
                FixCommand(
                    what="end the run and heal its cut now",
                    command=f"chaosext abort --run {run}",
                    risk="none; the kernel ends the cut by itself at its expiry",
                ),
                FixCommand(
                    what="or, if the API server does not answer, remove it from the nodes",
                    command=f"chaosext cleanup --run {run}",
                    risk="none",
                ),
            ),
        )


RULE = DiagnosisRule(
    name="own_cut",
    title="A cut of chaosext's own is active",
    source="docs/safety.md: the tables of chaosext on the nodes",
    find=find,
)
