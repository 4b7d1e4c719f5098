"""The experiment that a cell plays: the incident's, on the cell's cluster, with what fits its timings. Pure."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from chaosext.experiment.activity_names import CUT_EFFECTIVE, KUBE_DNS_MOVED
from chaosext.matrix.cells import PRODUCTION
from chaosext.run.course import PROVEN_S

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from chaosext.matrix.cells import MatrixCell

MAIN = "control-plane-partition"
"""The bundled experiment, by its name."""

FOR_PRODUCTION = {"ttl_s": 600.0, "move_timeout_s": 480.0, "settle_s": 300.0}
"""Kubernetes' own timings evict after 350 s, and CrashLoopBackOff waits for up to 5 minutes."""

SPARE_S = 60.0
"""From the planned heal to the expiry of a long cut, seconds: verifying a cut takes time on a busy machine."""


def cell_experiment(cell: MatrixCell, main: Mapping[str, Any], context: str) -> dict[str, Any]:
    """Return the experiment of a cell, from the incident's, for the cluster of this context."""
    made: dict[str, Any] = copy.deepcopy(dict(main))
    made["secrets"]["kubernetes"]["KUBERNETES_CONTEXT"] = context
    if cell.variant == PRODUCTION:
        made["configuration"] |= FOR_PRODUCTION
    if cell.cut_for_s is not None:
        made["configuration"]["ttl_s"] = cell.cut_for_s + SPARE_S
        made["method"] = list(_waiting(made["method"], cell.cut_for_s - PROVEN_S))
    return made


def _waiting(method: list[dict[str, Any]], pause_s: float) -> Iterator[dict[str, Any]]:
    """Wait for a fixed time once the cut is in force, instead of until kube-dns has moved."""
    for activity in method:
        func = activity["provider"]["func"]
        if func == CUT_EFFECTIVE:
            yield {**activity, "pauses": {"after": pause_s}}
        elif func != KUBE_DNS_MOVED:
            yield activity
