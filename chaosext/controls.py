"""A Chaos Toolkit control that gives plain `chaos run` what `chaosext run` has: timeline, abort, heal, verdict.

    controls:
      - name: chaosext
        provider: {type: python, module: chaosext.controls}

Plain `chaos run` keeps its own exit code, though; `chaosext run` ends with the verdict's. Under `chaosext run` only
the abort is left to this control: the strict run does the rest itself.
"""

from __future__ import annotations

import logging
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from chaoslib.exceptions import InterruptExecution

from chaosext.run.session.approval import INTENDED

if TYPE_CHECKING:
    from chaoslib.types import Activity, Experiment, Journal, Run

    from chaosext.run.chaostoolkit import Attended

logger = logging.getLogger("chaostoolkit")

_attended: Attended | None = None
_refused = ""
"""Why the experiment was not run."""

_at_the_end = ExitStack()


def validate_control(control: dict[str, Any]) -> None:
    """Redact Chaos Toolkit's log, and delay lookups until the experiment may run.

    This is Chaos Toolkit's first call of a control.
    """
    from chaosext.run.chaostoolkit import hold_look_ups_back
    from chaosext.run.providers import bound_providers
    from chaosext.run.stdio import be_discreet

    be_discreet()
    bound_providers()
    hold_look_ups_back()


def configure_control(
    experiment: Experiment,
    configuration: dict[str, Any],
    secrets: dict[str, Any],
    event_registry: Any,
    **kwargs: Any,
) -> None:
    """Learn which values to redact, and write the journal during the experiment, so that it survives a kill.

    Output of activities is discarded from here on: it may contain anything.
    """
    from chaosext.experiment.known_secrets import known_secrets
    from chaosext.model.redact import hide
    from chaosext.run.session.run_context import current
    from chaosext.run.stdio import be_discreet, logging_for_ourselves

    hide(known_secrets(experiment, configuration or {}, secrets or {}))
    if not current().strict:
        from chaosext.run.hooks import Scribe
        from chaosext.run.session.approval import intended_of

        be_discreet()
        _at_the_end.enter_context(logging_for_ourselves())
        event_registry.register(Scribe(current().directory, {}))
        current().stash[INTENDED] = intended_of(experiment, configuration or {}, secrets or {})


def cleanup_control() -> None:
    """Chaos Toolkit's last call."""
    _at_the_end.close()


def before_experiment_control(
    context: Experiment, configuration: dict[str, Any], secrets: dict[str, Any], **kwargs: Any
) -> None:
    """Start the run: log what is known before the cut, and record events from now on.

    If the experiment may not run, nothing of it does, not even the steady-state hypothesis.
    """
    global _attended, _refused
    from chaosext.model.errors import ChaosextError
    from chaosext.run.chaostoolkit import attend
    from chaosext.run.session.run_context import current
    from chaosext.run.shutdown import SKIP_ROLLBACKS

    if current().strict:
        return
    try:
        _attended = attend(context, configuration or {}, secrets or {})
    except Exception as error:  # the text of a foreign error may contain secrets
        _refused = (
            str(error)
            if isinstance(error, ChaosextError)
            else f"it can't be attended ({type(error).__name__})"
        )
        logger.error(f"chaosext: {_refused}")
        raise SystemExit(SKIP_ROLLBACKS) from None  # chaoslib ignores any other error of a control
    for line in _attended.outlook:
        logger.info(f"chaosext: {line}")


def after_activity_control(context: Activity, state: Run, **kwargs: Any) -> None:
    """End the experiment after a failed cut: the rest would prove nothing.

    A refused cut has touched nothing, so there is nothing to roll back, and rollbacks are skipped. Another
    run's cut may be active, and deleting Pods during it would disturb that run.
    """
    provider = context.get("provider", {})
    severed = provider.get("module") == "chaosext.actions" and provider.get("func") == "sever_control_plane"
    if severed and state.get("status") != "succeeded":
        from chaosext.model.errors import Refused
        from chaosext.run.shutdown import SKIP_ROLLBACKS
        from chaosext.run.verdict.facts import raised

        if raised([state], Refused):
            raise SystemExit(SKIP_ROLLBACKS)
        raise InterruptExecution("the cut failed, so the experiment stops here; what was armed is healed")


def after_hypothesis_control(state: dict[str, Any], **kwargs: Any) -> None:
    """Remember that the baseline failed: stock chaoslib then skips the method, but still runs the rollbacks."""
    from chaosext.run.session.run_context import current

    run = current()
    if not run.method_began and not state.get("steady_state_met"):
        run.gate_failed = True


def before_method_control(**kwargs: Any) -> None:
    """From here on an unmet hypothesis is not a failed baseline.

    Place the sentinels, or end the experiment.
    """
    from chaosext.model.errors import ChaosextError
    from chaosext.run.session.run_context import current
    from chaosext.run.shutdown import SKIP_ROLLBACKS

    current().method_began = True
    if _attended is not None:
        try:
            _attended.begin_method()
        except ChaosextError as error:
            logger.error(f"chaosext: {error}")
            raise SystemExit(SKIP_ROLLBACKS) from None


def before_rollback_control(**kwargs: Any) -> None:
    """From here on stop conditions are no longer checked."""
    if _attended is not None:
        _attended.begin_rollbacks()


def after_experiment_control(context: Experiment, state: Journal, **kwargs: Any) -> None:
    """Heal what is left, derive the verdict, write the run's directory, and log the result.

    The journal, which `chaos run` writes and sends to its notification targets, is redacted.
    """
    global _attended
    from chaosext.experiment.journal_redaction import redacted
    from chaosext.model.redact import veiled_whole
    from chaosext.report.render.formats import Ending
    from chaosext.run.finish import finish
    from chaosext.run.session.run_context import current
    from chaosext.run.verdict.facts import ABORT_REASON

    run, attended, _attended = current(), _attended, None
    if run.strict:
        return
    ending = Ending()
    if attended is None:
        refused = {ABORT_REASON: _refused} if _refused else {}
        result = finish(run, {**state, **refused}, briefing=None, render=ending)
    else:
        result = attended.finish(state, render=ending)
    shown = veiled_whole(redacted(state))
    state.clear()
    state.update(shown)
    reasons = "; ".join(result.verdict.reasons)
    logger.info(f"chaosext: {result.verdict.headline}: {reasons}; see {ending.best() or run.directory.path}")
    for problem in ending.problems:
        logger.warning(f"chaosext: {problem}")
