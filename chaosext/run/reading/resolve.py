"""An experiment with its configuration and secrets looked up: what it asks for, and of which cluster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chaosext.model.errors import Refused
from chaosext.model.veil import hide
from chaosext.run.cutting.plan import Wish
from chaosext.run.judging.facts import SEVER
from chaosext.run.reading.experiment import Experiment, activities, calls
from chaosext.run.reading.known_secrets import known_secrets
from chaosext.run.reading.settings import Settings, settings_from

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping


@dataclass(frozen=True, slots=True)
class Resolved:
    """An experiment with its configuration and secrets looked up, and what they say about where.

    `source` is the file that it is from; "" where it is from none.
    """

    experiment: Experiment
    configuration: Mapping[str, Any]
    secrets: Mapping[str, Any]
    settings: Settings
    source: str = ""

    def wishes(self) -> Iterator[tuple[str, Wish]]:
        """What each sever_control_plane in the experiment asks for, with its place."""
        for place, activity in calls(self.experiment, SEVER):
            yield place, Wish.from_arguments(self.looked_up(activity["provider"].get("arguments")))

    def looked_up(self, values: Any) -> Mapping[str, Any]:
        """An activity's arguments, or its pauses, with every `${…}` looked up; nothing of what is no mapping."""
        from chaoslib import substitute

        if not isinstance(values, dict):
            return {}
        found: dict[str, Any] = substitute(values, self.configuration, self.secrets)
        return found


def resolve(experiment: Experiment, *, context: str | None = None, source: str = "") -> Resolved:
    """Look up configuration and secrets. Raises `Refused` for what can't be, or for a context other than `context`."""
    from chaoslib.configuration import load_configuration, load_dynamic_configuration
    from chaoslib.exceptions import ChaosException
    from chaoslib.secret import load_secrets

    try:
        configuration = load_configuration(experiment.get("configuration", {}))
        secrets = load_secrets(experiment.get("secrets", {}), configuration)
        configuration = load_dynamic_configuration(configuration, secrets)
    except ChaosException as error:
        raise Refused(
            f"configuration or secrets: {error}", "set the environment variable that it names"
        ) from None
    except Exception as error:  # chaoslib trips over malformed values instead of naming them
        raise Refused(
            f"configuration or secrets: {type(error).__name__}", "compare with experiments/"
        ) from None
    hide(known_secrets(experiment, configuration, secrets))
    settings = settings_from(configuration, _our_secrets(experiment, secrets))
    _require_context(experiment, secrets, settings.context)
    if context is not None and context != settings.context:
        raise Refused(
            f"context {context!r} is not the one that the experiment pins ({settings.context!r})",
            "name the pinned one, or change KUBERNETES_CONTEXT in the experiment's secrets",
        )
    return Resolved(experiment, configuration, secrets, settings, source)


def _our_secrets(experiment: Experiment, secrets: Mapping[str, Any]) -> dict[str, Any]:
    """The secrets that the experiment's chaosext activities name: all must mean the same cluster."""
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
    """Left without a context, chaostoolkit-kubernetes would ask (or change) whichever is the current one."""
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
    """The place of each activity from `package`, and the secrets that it names."""
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
                f"{place}.provider.secrets: {group!r} is no group of secrets",
                "name a key of the experiment's `secrets` that holds a mapping",
            )
        named.update(values)
    return named
