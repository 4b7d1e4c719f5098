"""An experiment with its configuration and secrets looked up: the cuts that it requests, and their cluster."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from chaosext.experiment.activity_names import SEVER
from chaosext.experiment.cut_request import CutRequest
from chaosext.experiment.journal_redaction import OWN_SETTINGS
from chaosext.experiment.known_secrets import known_secrets, require_private
from chaosext.experiment.known_unhealthy_entries import require_in_force
from chaosext.experiment.load import Experiment, activities, calls, is_ours
from chaosext.experiment.settings import Settings, settings_from
from chaosext.experiment.values import BY_HAND, Values, complete, look_up, names_in, unknown_names
from chaosext.model.errors import Refused
from chaosext.model.redact import hide

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping


CONTEXT = ".KUBERNETES_CONTEXT"


@dataclass(frozen=True, slots=True)
class Resolved:
    """An experiment with its configuration and secrets looked up, and its settings.

    `source`: its file, "" if it has none. `pending`: the places of values that only a probe or Vault can
    return. They are still as written in the file; chaosext itself needs none of them.
    """

    experiment: Experiment
    configuration: Mapping[str, Any]
    secrets: Mapping[str, Any]
    settings: Settings
    source: str = ""
    pending: tuple[str, ...] = ()

    def wishes(self) -> Iterator[tuple[str, CutRequest]]:
        """Yield the request of each sever_control_plane in the experiment, with its place."""
        for place, activity in calls(self.experiment, SEVER):
            yield place, CutRequest.from_arguments(self.looked_up(activity["provider"].get("arguments")))

    def looked_up(self, values: Any) -> Mapping[str, Any]:
        """Return an activity's arguments or pauses with every `${…}` looked up; {} if they are not a mapping."""
        from chaoslib import substitute

        if not isinstance(values, dict):
            return {}
        found: dict[str, Any] = substitute(values, self.configuration, self.secrets)
        return found


def resolve(experiment: Experiment, *, context: str | None = None, source: str = "") -> Resolved:
    """Look up an experiment's values in the file and the environment. Runs nothing, and sends no request.

    Raises `Refused` for a value that can't be looked up, for one that chaosext itself needs but only a run
    can provide, and for a context other than `context`.
    """
    values = look_up(experiment)
    _require_known_at_once(experiment, values)
    resolved = resolved_of(experiment, values, source=source)
    if context is not None and context != resolved.settings.context:
        raise Refused(
            f"context {context!r} is not the experiment's ({resolved.settings.context!r})",
            "use the experiment's context, or change KUBERNETES_CONTEXT in its secrets",
        )
    return resolved


def resolved_of(experiment: Experiment, values: Values, *, source: str = "") -> Resolved:
    """As `resolve`, with values that are looked up already: by Chaos Toolkit, under plain `chaos run`."""
    hide(known_secrets(experiment, values.configuration, values.secrets))
    settings = settings_from(values.configuration, _our_secrets(experiment, values.secrets))
    require_in_force(settings.known, datetime.now(UTC))
    _require_context(experiment, values.secrets, settings.context)
    _require_private_calls(experiment, values)
    return Resolved(
        experiment, values.configuration, values.secrets, settings, source=source, pending=values.pending
    )


def completed(resolved: Resolved) -> Resolved:
    """Look up the pending values: run the probes of the configuration, and query Vault.

    Only for an experiment that may run. Raises `Refused` for a value that is not available.
    """
    values = complete(
        Values(configuration=resolved.configuration, secrets=resolved.secrets, pending=resolved.pending)
    )
    hide(known_secrets(resolved.experiment, values.configuration, values.secrets))
    _require_private_calls(resolved.experiment, values)
    return replace(resolved, configuration=values.configuration, secrets=values.secrets, pending=())


def _require_known_at_once(experiment: Experiment, values: Values) -> None:
    """Raise `Refused` for pending values that chaosext's own activities or settings need.

    chaosext's actions are planned, limited and approved before anything else of the experiment runs.
    """
    unknown = unknown_names(values.pending)
    ours = {
        f"{place}.provider.arguments": activity["provider"].get("arguments")
        for place, activity in activities(experiment)
        if is_ours(activity)
    }
    for name, value in values.configuration.items():
        if str(name).startswith(OWN_SETTINGS):
            ours[f"configuration.{name}"] = value
    needed = {place: sorted(unknown.intersection(names_in(value))) for place, value in ours.items()}
    needed |= {place: ["its value"] for place in values.pending if place in ours or place.endswith(CONTEXT)}
    for place, names in needed.items():
        if names:
            raise Refused(f"{place}: {', '.join(names)} would be known only at run time", BY_HAND)


def _require_private_calls(experiment: Experiment, values: Values) -> None:
    for place, activity in activities(experiment):
        require_private(place, activity.get("provider") or {}, values.configuration, values.secrets)


def _our_secrets(experiment: Experiment, secrets: Mapping[str, Any]) -> dict[str, Any]:
    """Return the secrets that chaosext's activities name. Raises `Refused` unless all have the same context."""
    found: dict[str, Any] = {}
    for place, mine in _secrets_of("chaosext", experiment, secrets):
        context, before = mine.get("KUBERNETES_CONTEXT"), found.get("KUBERNETES_CONTEXT")
        if before not in (None, context):
            raise Refused(
                f"{place}: its KUBERNETES_CONTEXT is {context!r}, that of those before it {before!r}",
                "list the same group in every activity's provider.secrets",
            )
        found.update(mine)
    return found


def _require_context(experiment: Experiment, secrets: Mapping[str, Any], context: str) -> None:
    """Raise `Refused` for other contexts: without one, chaostoolkit-kubernetes would use the current context."""
    for place, theirs in _secrets_of("chaosk8s", experiment, secrets):
        named = theirs.get("KUBERNETES_CONTEXT")
        if named != context:
            raise Refused(
                f"{place}: its KUBERNETES_CONTEXT is {named!r}, that of chaosext's activities {context!r}",
                "list the same group of secrets in its provider.secrets as theirs do",
            )


def _secrets_of(
    package: str, experiment: Experiment, secrets: Mapping[str, Any]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the place of each activity from `package`, and the secrets that it names."""
    for place, activity in activities(experiment):
        provider = activity.get("provider") or {}
        if str(provider.get("module", "")).partition(".")[0] == package:
            yield place, _named_secrets(place, provider.get("secrets") or (), secrets)


def _named_secrets(place: str, groups: Iterable[Any], secrets: Mapping[str, Any]) -> dict[str, Any]:
    named: dict[str, Any] = {}
    for group in groups:
        values = secrets.get(group) if isinstance(group, str) else None
        if not isinstance(values, dict):
            raise Refused(
                f"{place}.provider.secrets: {group!r} is not a group of secrets",
                "use a key of the experiment's `secrets` that holds a mapping",
            )
        named.update(values)
    return named
