"""Strict loader of experiments: unknown keys, unknown probes and bad arguments are refused, with place and name.

It imports and runs nothing that the experiment names: only `require_playable` does, once the experiment may
run.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from chaosext.cluster.object_files import read_mapping
from chaosext.experiment.known_unhealthy_entries import with_entries
from chaosext.experiment.signatures import misfit
from chaosext.model.errors import Refused, did_you_mean

# Chaos Toolkit's experiment specification, https://chaostoolkit.org/reference/api/experiment/
_EXPERIMENT = frozenset(
    [
        "version",
        "title",
        "description",
        "tags",
        "contributions",
        "steady-state-hypothesis",
        "method",
        "rollbacks",
        "configuration",
        "secrets",
        "controls",
        "runtime",
        "extensions",
    ]
)
_HYPOTHESIS = frozenset(["title", "probes", "controls"])
_ACTIVITY = frozenset(
    [
        "type",
        "name",
        "ref",
        "provider",
        "tolerance",
        "pauses",
        "background",
        "timeout",
        "controls",
        "contributions",
    ]
)
_PROVIDER = {
    "python": frozenset(["type", "module", "func", "arguments", "secrets"]),
    "process": frozenset(["type", "path", "arguments", "timeout", "secrets"]),
    "http": frozenset(
        [
            "type",
            "url",
            "method",
            "headers",
            "expected_status",
            "arguments",
            "timeout",
            "secrets",
            "verify_tls",
            "max_retries",
            "proxies",
        ]
    ),
}

_PROVIDER_KEYS = frozenset(key for keys in _PROVIDER.values() for key in keys)

Experiment = dict[str, Any]


def load_experiment(path: Path) -> Experiment:
    """Load and check the YAML or JSON experiment at `path`. Raises `Refused` for the first error found.

    Runs nothing of it, and imports none of its modules. A plain name such as `control-plane-partition` refers
    to a bundled experiment.
    """
    found = path if os.path.lexists(path) else bundled(path.name) or path
    if not os.path.lexists(found) and (near := get_close_matches(path.name, _bundled_names(), n=1)):
        raise Refused(f"experiment {path}: {os.strerror(errno.ENOENT)}", f"did you mean {near[0]}?")
    experiment = _parse(found)
    _check_keys(experiment)
    if isinstance(experiment.get("configuration"), dict):
        experiment["configuration"] = with_entries(experiment["configuration"], found.parent)
    _check_by_chaoslib(_inert({**experiment, "configuration": {}, "secrets": {}}))
    for place, activity in _everything(experiment):
        _check_call(place, activity)
    return experiment


def require_playable(experiment: Experiment) -> None:
    """Run Chaos Toolkit's own validation on an experiment that may run: it imports modules, and calls controls.

    Raises `Refused` if a module, a function or an argument does not match its source.
    """
    _check_by_chaoslib({**experiment, "configuration": {}, "secrets": {}})


_PACKAGE = Path(__file__).parents[1]
_PLACES = (_PACKAGE / "experiments", _PACKAGE.parent / "experiments")
"""Where the bundled experiments are: in a wheel, in a checkout."""


def _bundled_names() -> list[str]:
    return [path.stem for place in _PLACES for path in place.glob("*.yaml")]


def bundled(name: str) -> Path | None:
    """Return the file of a bundled experiment, by its name without `.yaml`; None if there is none."""
    found = (place / f"{name}.yaml" for place in _PLACES)
    return next((path for path in found if os.path.isfile(path)), None)  # noqa: PTH113  no name is too long for it


def activities(experiment: Experiment) -> tuple[tuple[str, dict[str, Any]], ...]:
    """Return every activity with its place in the file, such as `method[0]`."""
    hypothesis = experiment.get("steady-state-hypothesis") or {}
    sections = {
        "steady-state-hypothesis.probes": hypothesis.get("probes"),
        "method": experiment.get("method"),
        "rollbacks": experiment.get("rollbacks"),
    }
    return tuple(
        (f"{section}[{index}]", activity)
        for section, members in sections.items()
        for index, activity in enumerate(members or [])
    )


def calls(experiment: Experiment, func: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the activities that call chaosext's `func`."""
    for place, activity in activities(experiment):
        if is_ours(activity) and activity["provider"].get("func") == func:
            yield place, activity


def is_ours(activity: Mapping[str, Any]) -> bool:
    """Return whether it calls a function of chaosext."""
    return str((activity.get("provider") or {}).get("module", "")).startswith("chaosext.")


def _parse(path: Path) -> Experiment:
    return read_mapping(path, "experiment", "start with `title:` and `method:`")[0]


def _check_keys(experiment: Experiment) -> None:
    _known("", experiment, _EXPERIMENT)
    hypothesis = experiment.get("steady-state-hypothesis")
    if hypothesis is not None:
        _known("steady-state-hypothesis", hypothesis, _HYPOTHESIS)
    for name in ("method", "rollbacks", "controls"):
        _sequence(name, experiment.get(name))
    for name in ("configuration", "secrets"):
        if not isinstance(experiment.get(name), Mapping | None):
            raise _no_mapping(name, experiment[name])
    _sequence("steady-state-hypothesis.probes", (hypothesis or {}).get("probes"))
    for place, activity in activities(experiment):
        check_activity(place, activity)


def check_activity(place: str, activity: Any) -> None:
    """Raise `Refused`, which names `place`, for a key that activities do not have."""
    _known(place, activity, _ACTIVITY)
    provider = activity.get("provider")
    if provider is None:
        return
    _known(f"{place}.provider", provider, _PROVIDER_KEYS)
    _known(f"{place}.provider", provider, _PROVIDER.get(str(provider.get("type")), _PROVIDER_KEYS))
    _sequence(f"{place}.provider.secrets", provider.get("secrets"))


def _known(place: str, value: Any, known: frozenset[str]) -> None:
    if not isinstance(value, Mapping):
        raise _no_mapping(place, value)
    for key in value:
        if key == "dry":
            raise Refused(f"{place}.dry".lstrip(".") + ": would be ignored", "use `chaosext run --dry-run`")
        if str(key) not in known and not str(key).startswith("x-"):
            raise Refused(f"{place}.{key}".lstrip(".") + ": unknown key", did_you_mean(str(key), known))


def _no_mapping(place: str, value: Any) -> Refused:
    return Refused(f"{place}: a mapping is expected, not {type(value).__name__}", "see `chaosext run --help`")


def _sequence(place: str, value: Any) -> None:
    if value is not None and not isinstance(value, list):
        raise Refused(
            f"{place}: a list is expected, not {type(value).__name__}", "write each member as `- …`"
        )


def require_probe(place: str, probe: dict[str, Any]) -> None:
    """Raise `Refused`, which names `place`, unless this is a valid probe with a tolerance. Imports nothing."""
    from chaoslib.activity import ensure_activity_is_valid
    from chaoslib.hypothesis import ensure_hypothesis_tolerance_is_valid

    check_activity(place, probe)
    if str((probe.get("provider") or {}).get("module", "")).startswith("chaosext.actions"):
        raise Refused(
            f"{place}: an action is not a probe", "use a function of chaosext.probes, or another probe"
        )
    try:
        ensure_activity_is_valid(_inert(probe))
        ensure_hypothesis_tolerance_is_valid(_inert(probe["tolerance"]))
    except Exception as error:  # chaoslib crashes on some malformed values instead of naming them
        raise Refused(
            f"{place}: {type(error).__name__}: {error}", "compare with a hypothesis' probe"
        ) from None
    for inner, activity in _with_tolerance(place, probe):
        _check_call(inner, activity)


def _everything(experiment: Experiment) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield every activity, and every tolerance that is a probe."""
    for place, activity in activities(experiment):
        yield from _with_tolerance(place, activity)


def _with_tolerance(place: str, activity: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    yield place, activity
    tolerance = activity.get("tolerance")
    if isinstance(tolerance, dict) and tolerance.get("type") == "probe":
        yield f"{place}.tolerance", tolerance


def _check_call(place: str, activity: Mapping[str, Any]) -> None:
    """Raise `Refused` if a function does not exist, or does not take these arguments, according to its source."""
    provider = activity.get("provider") or {}
    if provider.get("type") != "python":
        return
    arguments = {*(provider.get("arguments") or {})}
    if place.endswith(".tolerance"):
        arguments |= {"value"}  # Chaos Toolkit passes it
    if why := misfit(str(provider["module"]), str(provider["func"]), arguments):
        raise Refused(
            f"{place}.provider: {why}", "compare with `chaos discover chaosext`, or install the module"
        )


def _inert(value: Any) -> Any:
    """Return the value with every Python function and control replaced by one that does nothing."""
    if isinstance(value, list):
        return [_inert(each) for each in value]
    if not isinstance(value, dict):
        return value
    found = {key: _inert(member) for key, member in value.items()}
    if value.get("type") == "python" and value.get("module"):
        found |= {"module": __name__, **({"func": "anything"} if value.get("func") else {})}
    return found


def _check_by_chaoslib(experiment: Experiment) -> None:
    """Run Chaos Toolkit's own validation: the form of everything, and that functions take their arguments."""
    from chaoslib.exceptions import ChaosException
    from chaoslib.experiment import ensure_experiment_is_valid

    try:
        ensure_experiment_is_valid(experiment)
    except ChaosException as error:
        raise Refused(f"experiment is not valid: {error}", "compare with `chaos discover chaosext`") from None
    except Exception as error:  # chaoslib crashes on some malformed values instead of naming them
        raise Refused(
            f"experiment is not valid: {type(error).__name__}: {error}", "run `chaos validate`"
        ) from None


def anything(**arguments: object) -> None:
    """Accept any arguments, and do nothing."""
