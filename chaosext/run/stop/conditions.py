"""Makes stop conditions of an experiment ready to be evaluated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chaosext.experiment.values import is_in_vault
from chaosext.model.errors import Refused
from chaosext.model.findings import Status
from chaosext.model.stopped import Stopper
from chaosext.run.stop.condition_state import ConditionReply, ConditionStanding, Says
from chaosext.run.stop.prometheus import Query

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from chaosext.experiment.resolve import Resolved
    from chaosext.experiment.stop_conditions import StopCondition

PLACE = "configuration.chaosext_stop_conditions"


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchedCondition:
    """A condition that is evaluated every `every_s` seconds, within `timeout_s`; `begins` is its initial state."""

    by: Stopper
    name: str
    ask: Callable[[], ConditionReply]
    every_s: float
    timeout_s: float
    begins: ConditionStanding


def watched(resolved: Resolved) -> tuple[WatchedCondition, ...]:
    """The stop conditions of an experiment. Raises `Refused` for an invalid probe, or a missing secret."""
    return tuple(
        _watched(each, resolved, index) for index, each in enumerate(resolved.settings.stop_conditions)
    )


def _watched(condition: StopCondition, resolved: Resolved, index: int) -> WatchedCondition:
    makers = {"promql": _promql, "check": _check, "probe": _probe}
    return WatchedCondition(
        by=Stopper.CONDITION,
        name=condition.title,
        ask=makers[condition.kind](condition, resolved, f"{PLACE}[{index}]"),
        every_s=condition.every_s,
        timeout_s=condition.timeout_s,
        begins=ConditionStanding(for_s=condition.for_s, unknown_s=condition.unknown_s),
    )


def _promql(condition: StopCondition, resolved: Resolved, place: str) -> Callable[[], ConditionReply]:
    return Query(
        promql=condition.promql,
        url=condition.url,
        timeout_s=condition.timeout_s,
        ca_file=condition.ca_file,
        token_file=condition.token_file,
        token=_secret(condition.token_secret, resolved.secrets, f"{place}.token_secret"),
    ).ask


def _secret(name: str, secrets: Mapping[str, Any], place: str) -> str:
    if not name:
        return ""
    group, _, key = name.partition(".")
    found = secrets.get(group)
    value = found.get(key) if isinstance(found, dict) else None
    if is_in_vault(value):  # a dry run asks neither Vault nor Prometheus
        return ""
    if not isinstance(value, str) or not value:
        raise Refused(
            f"{place}: the experiment has no secret {name!r}",
            "set it to GROUP.KEY of the experiment's `secrets`",
        )
    return value


def _check(condition: StopCondition, resolved: Resolved, _place: str) -> Callable[[], ConditionReply]:
    from chaosext.run.monitor.steady_state import ask

    wanted = Status(condition.must_be)

    def asked() -> ConditionReply:
        finding = ask(resolved.settings, condition.check)
        if finding.status is Status.UNKNOWN:
            return ConditionReply(Says.UNKNOWN, finding.summary)
        is_met = finding.status in (wanted, Status.NOT_APPLICABLE)
        says = Says.FALSE if is_met else Says.TRUE
        return ConditionReply(says, f"{finding.check} is {finding.status.value}: {finding.summary}")

    return asked


def _probe(condition: StopCondition, resolved: Resolved, place: str) -> Callable[[], ConditionReply]:
    from chaosext.experiment.known_secrets import require_private
    from chaosext.experiment.load import require_probe

    probe = {"name": condition.title, **(condition.probe or {})}
    require_probe(f"{place}.probe", probe)
    require_private(f"{place}.probe", probe["provider"], resolved.configuration, resolved.secrets)

    def asked() -> ConditionReply:
        from chaoslib.activity import run_activity
        from chaoslib.exceptions import ChaosException
        from chaoslib.hypothesis import within_tolerance

        try:
            output = run_activity(probe, resolved.configuration, resolved.secrets)
            is_met = within_tolerance(
                probe["tolerance"], output, configuration=resolved.configuration, secrets=resolved.secrets
            )
        except ChaosException as error:
            return ConditionReply(Says.UNKNOWN, f"the probe failed ({type(error).__name__})")
        except Exception as error:  # a tolerance that doesn't fit the answer
            return ConditionReply(Says.UNKNOWN, f"the probe or its tolerance raised {type(error).__name__}")
        return _judged(output, is_met)

    return asked


def _judged(output: Any, is_met: bool) -> ConditionReply:
    """The reply of a probe; an unknown finding, out of a hypothesis' tolerance, stays unknown here."""
    finding = output if isinstance(output, dict) and "check" in output else {}
    summary = str(finding.get("summary", ""))
    if is_met:
        return ConditionReply(Says.FALSE, summary or "within tolerance")
    unknown = finding.get("status") in (Status.UNKNOWN.value, Status.NOT_APPLICABLE.value)
    return ConditionReply(Says.UNKNOWN if unknown else Says.TRUE, summary or "out of tolerance")
