"""The experiment that a game day runs, with the settings applied. An approval is for exactly this."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from chaosext.experiment.known_unhealthy_entries import with_entries
from chaosext.experiment.load import activities, load_experiment
from chaosext.experiment.resolve import resolve
from chaosext.experiment.settings import PREFIX
from chaosext.experiment.settings import Settings as RunSettings
from chaosext.experiment.timeouts import limit_s, longest_pause_s, sealed_s
from chaosext.gameday.admission import Agents
from chaosext.model.errors import Refused, did_you_mean
from chaosext.nodes.image_names import shell_image
from chaosext.sentinel.sentinel_image import image_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from chaosext.experiment.load import Experiment
    from chaosext.experiment.resolve import Resolved
    from chaosext.gameday.gameday_settings import GameDaySettings

CONTEXT = "KUBERNETES_CONTEXT"

AGENT_KEYS = ("node_image", "sentinel_image", "sentinel_port")

BEYOND_S = 180.0
"""Time beyond the experiment's intended waits, seconds: the Pod's start, gate, sentinels, heal, report."""


def effective(settings: GameDaySettings, beside: Path) -> Experiment:
    """Return the experiment named in `settings`, from the directory `beside` or bundled, with their values.

    Nodes are entered through chaosext's own Pods, and every activity uses the cluster of the settings. Raises
    `Refused`.
    """
    experiment = load_experiment(_found(settings.experiment, beside))
    made = {
        **experiment,
        "configuration": {
            **experiment.get("configuration", {}),
            **with_entries(_values(settings, experiment), beside),
        },
        "secrets": {name: _here(group, settings) for name, group in experiment.get("secrets", {}).items()},
    }
    _require_time(made, settings)
    return made


def agents_of(settings: GameDaySettings, experiment: Experiment) -> Agents:
    """Return the Pods on nodes that the `effective` experiment needs.

    Raises `Refused` if only a run can know them.
    """
    said = experiment.get("configuration", {})
    given = {key: said[f"{PREFIX}{key}"] for key in AGENT_KEYS if f"{PREFIX}{key}" in said}
    for key, value in given.items():
        if not isinstance(value, str | int):
            raise Refused(
                f"configuration.{PREFIX}{key}: its value is only known when the experiment runs",
                "set a literal value, which the admission policies need",
            )
    run = RunSettings.model_validate({"context": settings.cluster.context, **given})
    return Agents(
        namespace=settings.namespace,
        node_image=run.node_image or shell_image(),
        sentinel_image=run.sentinel_image or image_name(),
        sentinel_port=run.sentinel_port,
        pull_secrets=settings.image_pull_secrets,
    )


def _found(name: str, beside: Path) -> Path:
    path = beside / name
    return path if path.exists() else Path(name)


def _values(settings: GameDaySettings, experiment: Experiment) -> dict[str, Any]:
    known = set(experiment.get("configuration", {}))
    for key in settings.configuration:
        if key not in known and not key.startswith(PREFIX):
            raise Refused(f"configuration.{key}: the experiment has no such key", did_you_mean(key, known))
    return {**settings.configuration, **_ours(settings)}


def _ours(settings: GameDaySettings) -> dict[str, Any]:
    """Return the values that the settings determine, whatever the experiment says."""
    values: dict[str, Any] = {"transport": "pod", "namespace": settings.namespace}
    if settings.image:
        values |= {"node_image": settings.image, "sentinel_image": settings.image}
    if settings.stop_conditions:
        values["stop_conditions"] = list(settings.stop_conditions)
    return {f"{PREFIX}{key}": value for key, value in values.items() if key not in _said(settings)}


def _said(settings: GameDaySettings) -> set[str]:
    """Return the keys that stay as configured: the sentinel may have another, smaller image."""
    return {"sentinel_image"} & {key.removeprefix(PREFIX) for key in settings.configuration}


def _here(group: Any, settings: GameDaySettings) -> Any:
    if isinstance(group, dict) and CONTEXT in group:
        return {**group, CONTEXT: settings.cluster.context}
    return group


def _require_time(experiment: Experiment, settings: GameDaySettings) -> None:
    """Raise `Refused` if the Job's deadline is shorter than the experiment may take."""
    needed_s = longest_s(experiment)
    if settings.deadline_s < needed_s:
        raise Refused(
            f"deadline_s: {settings.deadline_s} s end the Job before the experiment ends",
            f"set deadline_s to {needed_s:.0f} or more, which is how long it may take",
        )


def longest_s(experiment: Experiment) -> float:
    """Return the longest duration of the experiment's intended waits plus `BEYOND_S`, seconds."""
    resolved = resolve(experiment)
    played = (activity for _, activity in activities(experiment))
    return BEYOND_S + sealed_s(resolved) + sum(_purpose_s(resolved, each) for each in played)


def _purpose_s(resolved: Resolved, activity: Mapping[str, Any]) -> float:
    arguments = resolved.looked_up((activity.get("provider") or {}).get("arguments"))
    return limit_s(activity, arguments, 0.0) + longest_pause_s(resolved.looked_up(activity.get("pauses")))
