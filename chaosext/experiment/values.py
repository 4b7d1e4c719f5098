"""The values of an experiment's configuration and secrets: those known at once, and those that a run must query.

Chaos Toolkit runs a probe for each configuration value that is written as one (`type: probe`: a command, a
URL, a Python function), and queries Vault for secrets of `type: vault`. chaosext does neither before the
experiment may run: `look_up` reads the file and the environment, and `complete` does the rest, once.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from string import Template
from typing import TYPE_CHECKING, Any

from chaosext.experiment.known_secrets import is_in_the_clear, require_private
from chaosext.experiment.load import Experiment, check_activity
from chaosext.model.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

BY_HAND = "write the value itself, or take it from the environment (`type: env`)"
VAULT_ADDRESS = "vault_addr"


@dataclass(frozen=True, slots=True, kw_only=True)
class Values:
    """Configuration and secrets; `pending` ones (by their places) are still as written in the file."""

    configuration: Mapping[str, Any]
    secrets: Mapping[str, Any]
    pending: tuple[str, ...] = ()


def look_up(
    experiment: Experiment,
    configured: Mapping[str, Any] | None = None,
    confided: Mapping[str, Any] | None = None,
) -> Values:
    """Look up values in the file and the environment; `configured` and `confided` override them (`--var`).

    Runs nothing, and sends no request. Raises `Refused` for a value that can't be looked up.
    """
    from chaoslib.configuration import load_configuration

    written = experiment.get("configuration") or {}
    try:
        configuration = load_configuration(written, dict(configured or {}))
        secrets = dict(_secrets(experiment.get("secrets") or {}, dict(confided or {})))
        probed = [name for name in dynamic(experiment) if name not in (configured or {})]
    except Exception as error:
        raise _refusal(error) from None
    for name in probed:
        check_activity(f"configuration.{name}", written[name])
    pending = (*(f"configuration.{name}" for name in probed), *_in_vault(secrets, "secrets"))
    return Values(configuration=configuration, secrets=secrets, pending=pending)


def complete(values: Values) -> Values:
    """Look up every pending value: run the probes of the configuration and query Vault, each once.

    Raises `Refused` if one is not available; Chaos Toolkit would omit it and continue.
    """
    from chaoslib.secret import load_secrets

    if not values.pending:
        return values
    if any(_in_vault(values.secrets, "")):
        _require_vault(values.configuration)
    try:
        secrets = load_secrets(values.secrets, values.configuration)
    except Exception as error:
        raise Refused(
            f"secrets: Vault returned none ({type(error).__name__})", "see the vault_* settings"
        ) from None
    known = {key: value for key, value in values.configuration.items() if not _is_pending(key, values)}
    for name, written in values.configuration.items():
        if name not in known:
            known[name] = _answer(name, written, known, secrets)
    return Values(configuration=known, secrets=secrets)


def dynamic(experiment: Experiment) -> Iterator[str]:
    """Yield the names of configuration values that a probe returns.

    The rule is Chaos Toolkit's (chaoslib/configuration.py).
    """
    for name, value in (experiment.get("configuration") or {}).items():
        if isinstance(value, dict) and value.get("type") == "probe":
            yield str(name)


def names_in(value: Any) -> Iterator[str]:
    """Yield the names in `${…}` of a text, or of the texts in a list or mapping."""
    if isinstance(value, str):
        for match in Template.pattern.finditer(value):
            yield from filter(None, (match.group("named"), match.group("braced")))
    elif isinstance(value, dict):
        for member in value.values():
            yield from names_in(member)
    elif isinstance(value, list | tuple):
        for member in value:
            yield from names_in(member)


def unknown_names(pending: Iterable[str]) -> frozenset[str]:
    """Return the names by which `${…}` refers to the values at these places."""
    return frozenset(place.rpartition(".")[2] for place in pending)


def is_in_vault(value: Any) -> bool:
    """Return whether a secret must be read from Vault."""
    return isinstance(value, dict) and value.get("type") == "vault"


def _is_pending(name: str, values: Values) -> bool:
    return f"configuration.{name}" in values.pending


def _secrets(written: Mapping[str, Any], confided: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """As chaoslib's load_secrets, but secrets in Vault stay as written."""
    from chaoslib.secret import load_secrets

    for name, value in written.items():
        if is_in_vault(value) and confided.get(name) is None:
            yield name, value
        elif isinstance(value, dict) and value.get("type") != "env" and confided.get(name) is None:
            yield name, dict(_secrets(value, {}))
        else:
            yield name, load_secrets({name: value}, None, confided)[name]


def _in_vault(secrets: Mapping[str, Any], place: str) -> Iterator[str]:
    for name, value in secrets.items():
        if is_in_vault(value):
            yield f"{place}.{name}"
        elif isinstance(value, dict):
            yield from _in_vault(value, f"{place}.{name}")


def _require_vault(configuration: Mapping[str, Any]) -> None:
    from chaoslib.secret import HAS_HVAC

    if not HAS_HVAC:
        raise Refused("secrets: reading Vault requires the package hvac", "run `pip install hvac`")
    if is_in_the_clear(str(configuration.get(VAULT_ADDRESS) or os.environ.get("VAULT_ADDR", ""))):
        raise Refused(
            f"configuration.{VAULT_ADDRESS}: a token would be sent there in the clear",
            "use an https:// address",
        )


def _answer(name: str, probe: Any, configuration: Mapping[str, Any], secrets: Mapping[str, Any]) -> Any:
    """Run a probe and return its value as Chaos Toolkit does (chaoslib/configuration.py), as plain data."""
    from chaoslib.activity import run_activity

    place = f"configuration.{name}"
    provider = {**probe["provider"], "secrets": list(secrets)}
    require_private(place, provider, configuration, secrets)
    try:
        output = run_activity({**probe, "provider": provider}, dict(configuration), dict(secrets))
        if provider["type"] == "process" and output["status"] != 0:
            raise Refused(f"{place}: its command ended with exit code {output['status']}", BY_HAND)
        found = {"process": lambda: output["stdout"].strip(), "http": lambda: output["body"]}
        return json.loads(json.dumps(found.get(provider["type"], lambda: output)()))
    except Refused:
        raise
    except Exception as error:  # its text may contain secrets
        raise Refused(f"{place}: its probe gave no value ({type(error).__name__})", BY_HAND) from None


def _refusal(error: Exception) -> Refused:
    from chaoslib.exceptions import ChaosException

    if isinstance(error, ChaosException):
        return Refused(f"configuration or secrets: {error}", "set the environment variable that it names")
    # chaoslib crashes on malformed values instead of naming them
    return Refused(
        f"configuration or secrets: {type(error).__name__}",
        "compare with `chaosext examples control-plane-partition`",
    )
