"""Is the cut in force, and is it healed: by the same paths, measured from the nodes before, during and after it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaosext.model.errors import ChaosextError, Inconclusive
from chaosext.nodes.transport import shells
from chaosext.steady import cut as cut_check
from chaosext.steady.names import HEALED
from chaosext.steady.suite import unknown

if TYPE_CHECKING:
    from chaosext.model.finding import Finding
    from chaosext.run.context import RunContext


def proof(context: RunContext) -> Finding:
    """Are the paths that were open before the cut blocked? Raises `Inconclusive` where none was measured before it."""
    if context.before is None:
        raise Inconclusive("no path was measured before the cut", "nothing can be proven without it")
    return cut_check.judge(context.before, _paths_now(context.before, context))


def healed_finding(context: RunContext) -> Finding | None:
    """Are the paths that were open before the cut open again? Unknown where they can't be measured.

    None where this run cut nothing, or nothing was measured before it.
    """
    if context.before is None or not context.cuts:
        return None
    try:
        return cut_check.judge_healed(context.before, _paths_now(context.before, context))
    except ChaosextError as error:  # the cut is healed whatever the paths say
        return unknown(HEALED, str(error))


def _paths_now(before: cut_check.CutEvidence, context: RunContext) -> cut_check.CutEvidence:
    """The same paths, measured now, from the nodes themselves."""
    nodes = cut_check.entered(before.paths)
    shut = context.shut(nodes) or cut_check.NOTHING_SHUT
    return cut_check.gather(before.paths, shells(nodes, context.way), shut=shut)
