"""A Chaos Toolkit control that gives plain `chaos run` what `chaosext run` has: timeline, abort, heal, verdict.

    controls:
      - name: chaosext
        provider: {type: python, module: chaosext.controls}

Under `chaosext run` it does nothing: the strict run does all this itself.
"""

from __future__ import annotations

import logging
from typing import Any, TYPE_CHECKING

from chaoslib.exceptions import InterruptExecution

if TYPE_CHECKING:
    from chaoslib.types import Activity, Configuration, Experiment, Journal, Run, Secrets

logger = logging.getLogger("chaostoolkit")

_watching: Any = None


def before_experiment_control(
    context: Experiment, configuration: Configuration = None, secrets: Secrets = None, **kwargs: Any
) -> None:
    """Begin the run and its timeline."""
    from chaosext.run.context import current

    current()


def after_activity_control(context: Activity, state: Run, **kwargs: Any) -> None:
    """After a cut that failed nothing else may happen: the rest would prove nothing."""
    provider = context.get("provider", {})
    severed = provider.get("module") == "chaosext.actions" and provider.get("func") == "sever_control_plane"
    if severed and state.get("status") != "succeeded":
        raise InterruptExecution("the cut failed, so the experiment ends here; what was armed is healed")


def after_experiment_control(context: Experiment, state: Journal, **kwargs: Any) -> None:
    """Heal what is left, derive the verdict, write the run's directory, and say so in the log."""
    from chaosext.report.markdown import summary
    from chaosext.run.context import current
    from chaosext.run.finish import finish

    run = current()
    if run.strict:
        return
    result = finish(run, state, briefing=None, render=summary)
    reasons = "; ".join(result.verdict.reasons)
    logger.info(f"chaosext: {result.verdict.outcome.value} ({reasons}); see {run.directory.path}")
