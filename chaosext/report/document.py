"""A run as one JSON document, `chaosext.report/v1`: the result, and what is derived from the timeline. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chaosext.report.answers import answers, headline
from chaosext.report.customers import way_out
from chaosext.report.story import causes
from chaosext.report.unseen import unseen

if TYPE_CHECKING:
    from chaosext.model.timeline import Predicted
    from chaosext.report.activities import Activity
    from chaosext.report.run_data import RunData
    from chaosext.report.story import Step

SCHEMA = "chaosext.report/v1"


def document(data: RunData) -> dict[str, Any]:
    """The document, as docs/schemas/report.schema.json has it."""
    return {
        "schema": SCHEMA,
        "headline": headline(data),
        "answers": [{"question": each.question, "lines": list(each.lines)} for each in answers(data)],
        "causes": [_step(step) for step in causes(data.result)],
        "result": data.result.to_json(),
        "activities": [_activity(each) for each in data.activities],
        "prediction": [_predicted(each) for each in data.prediction],
        "sentinels": data.sentinels,
        "customers": found.to_json() if (found := way_out(data)) else None,
        "not_known": list(unseen(data)),
    }


def _step(step: Step) -> dict[str, Any]:
    evidence = [event.to_json() for event in step.evidence]
    until_s = None if step.until_s is None else round(step.until_s, 3)
    return {"t_s": round(step.t_s, 3) + 0.0, "until_s": until_s, "text": step.text, "evidence": evidence}


def _activity(activity: Activity) -> dict[str, Any]:
    return {
        "phase": activity.phase.value,
        "name": activity.name,
        "status": activity.status.value,
        "said": activity.said,
        "ended": activity.ended,
        "duration_s": round(activity.duration_s, 3),
    }


def _predicted(predicted: Predicted) -> dict[str, Any]:
    return {
        **predicted.event.to_json(),
        "t_min_s": round(predicted.t_min_s, 3),
        "t_max_s": round(predicted.t_max_s, 3),
        "probability": predicted.probability,
    }
