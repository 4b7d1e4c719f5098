"""Redaction of journals by an allow-list of names and types; of everything else only type and size are kept.

Numbers and booleans can be secrets as well as texts. Kept are names, statuses, tolerances and times, and
arguments, outputs and errors of chaosext's own activities. Only the form is kept of other activities'
arguments, outputs and errors, and of configuration, secrets, headers and addresses.

Pure; redacting twice changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from chaosext.model.findings import Status
from chaosext.model.output_bounds import LARGEST_ANSWER, MIB
from chaosext.model.redact import REDACTED

PUBLIC = frozenset({"KUBERNETES_CONTEXT", "KUBERNETES_VERIFY_SSL"})
"""A reader must know the cluster, and whether TLS was verified; all other secrets are redacted."""

OWN_SETTINGS = "chaosext_"
"""Name prefix of chaosext's settings: every experiment contains their values, and none is a secret."""

FAILED = "chaoslib.exceptions.ActivityFailed: "
"""chaoslib's prefix of an error that a Python activity raised (chaoslib/provider/python.py)."""

RAISED = "raised"
"""chaosext's own key in an executed activity: the type and the message of the error of chaosext that it raised."""

LARGER = f"the answer is larger than {LARGEST_ANSWER // MIB} MiB"

HARMLESS_ERRORS = frozenset(
    {"activity took too long to complete", "process activity took too long to complete", LARGER}
)
"""Fixed messages of chaoslib about an HTTP call or a command (chaoslib/provider), and chaosext's own."""

NUMBER, SWITCH = "(number)", "(yes or no)"

HIGHEST_STATUS = 599
"""Of HTTP (RFC 9110, section 15); a process ends with 255 at most."""

_FORM = re.compile(rf"\(\w+ of \d+\)|{re.escape(NUMBER)}|{re.escape(SWITCH)}")
_REFERENCE = re.compile(r"\$\{[\w.-]+\}")
_ERROR = re.compile(r"([A-Za-z_][\w.]*)(?::|$)")

Keep = Callable[[Any], Any]


def redacted(journal: Mapping[str, Any]) -> dict[str, Any]:
    """Return `journal` (from chaoslib, or any other mapping) without what may be secret."""
    return {str(key): _JOURNAL.get(str(key), form)(member) for key, member in journal.items()}


def form(value: Any) -> Any:
    """Return the form of a value that may be secret: its type and size, and the status of a mapping."""
    if value is None:
        return None
    if isinstance(value, bool | int | float):
        return SWITCH if isinstance(value, bool) else NUMBER
    if isinstance(value, str):
        return value if _FORM.fullmatch(value) or value in tuple(Status) else f"(text of {len(value)})"
    if isinstance(value, Mapping):
        status = value.get("status")
        return {"status": status} if _is_status(status) else f"(mapping of {len(value)})"
    return f"(list of {len(value)})" if isinstance(value, list | tuple) else f"({type(value).__name__} of 1)"


def _is_status(value: Any) -> bool:
    if isinstance(value, str):
        return value in tuple(Status)
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= HIGHEST_STATUS


def error_form(text: str) -> str:
    """Return the type of an error that a Python activity raised, from chaoslib's line, without its message."""
    said = text.strip().removeprefix(FAILED)
    named = _ERROR.match(said) if text.strip().startswith(FAILED) else None
    rest = said[named.end() :].strip() if named else said
    if _FORM.fullmatch(rest) or said in HARMLESS_ERRORS:
        return text.strip()
    return f"{FAILED}{named.group(1) if named else 'error'}: (text of {len(rest)})"


def is_ours(activity: Any) -> bool:
    """Return whether an activity is one of chaosext's own, whose values contain no secrets."""
    provider = activity.get("provider") if isinstance(activity, Mapping) else None
    if not isinstance(provider, Mapping):
        return False
    return provider.get("type", "python") == "python" and str(provider.get("module", "")).startswith(
        "chaosext."
    )


def _kept(value: Any, allowed: Mapping[str, Keep]) -> Any:
    """Return a mapping with each allowed key kept in its own way, and only the form of the others."""
    if not isinstance(value, Mapping):
        return form(value)
    return {str(key): allowed.get(str(key), form)(member) for key, member in value.items()}


def _members(keep: Keep) -> Keep:
    return lambda value: [keep(each) for each in value] if isinstance(value, list) else form(value)


def _text(value: Any) -> Any:
    """Keep a text, such as a name, a status or a date."""
    return value if isinstance(value, str) else form(value)


def _number(value: Any) -> Any:
    """Keep a number, such as a duration, or a reference to one."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) else _reference(value)


def _switch(value: Any) -> Any:
    return value if isinstance(value, bool) else form(value)


def _tolerance(value: Any) -> Any:
    return _activity(value) if isinstance(value, Mapping) and "provider" in value else value


def _activity(value: Any) -> Any:
    if isinstance(value, Mapping) and is_ours(value):
        return _kept(value, {**_ACTIVITY, "provider": lambda provider: _kept(provider, _OWN_PROVIDER)})
    return _kept(value, _ACTIVITY)


def _run(value: Any) -> Any:
    if isinstance(value, Mapping) and is_ours(value.get("activity")):
        return _kept(value, {**_RUN, "output": _as_it_is, "exception": _as_it_is, RAISED: _as_it_is})
    return _kept(value, _RUN)


def _as_it_is(value: Any) -> Any:
    return value


def _exception(value: Any) -> Any:
    if isinstance(value, list) and value and isinstance(value[-1], str):
        return [error_form(value[-1])]
    return form(value)


def _arguments(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return form(value)
    return {str(key): _reference(member) for key, member in value.items()}


def _reference(value: Any) -> Any:
    """Keep `${name}`: it names a value's source, not the value."""
    return value if isinstance(value, str) and _REFERENCE.fullmatch(value) else form(value)


def _headers(value: Any) -> Any:
    return dict.fromkeys(map(str, value), REDACTED) if isinstance(value, Mapping) else form(value)


def _address(value: Any) -> Any:
    """Keep scheme, host and port: user, path and query of a URL are often credentials."""
    if not isinstance(value, str):
        return form(value)
    try:
        parts = urlsplit(value)
        where = f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}"
    except ValueError:
        return form(value)
    return where if parts.scheme in ("http", "https") and parts.hostname else _reference(value)


def _configuration(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return form(value)
    return {
        str(key): member if str(key).startswith(OWN_SETTINGS) else _setting(member)
        for key, member in value.items()
    }


def _setting(value: Any) -> Any:
    if isinstance(value, Mapping) and value.get("type") == "env":
        return _kept(value, dict.fromkeys(("type", "key", "env_var_type"), _text))
    return _activity(value) if isinstance(value, Mapping) and value.get("type") == "probe" else form(value)


def _secrets(value: Any) -> Any:
    """Keep groups and names of secrets, but not their values or what they refer to."""
    if not isinstance(value, Mapping):
        return REDACTED
    return {str(group): _group(members) for group, members in value.items()}


def _group(members: Any) -> Any:
    if not isinstance(members, Mapping):
        return REDACTED
    return {
        str(name): member if name in PUBLIC and isinstance(member, str) else REDACTED
        for name, member in members.items()
    }


_PAUSES: dict[str, Keep] = {"before": _number, "after": _number}
_CONTROL: dict[str, Keep] = {
    "name": _text,
    "provider": lambda value: _kept(value, dict.fromkeys(("type", "module"), _text)),
}
_PROVIDER: dict[str, Keep] = {
    **dict.fromkeys(("type", "module", "func", "method", "path"), _text),
    **dict.fromkeys(("timeout", "expected_status", "max_retries"), _number),
    "verify_tls": _switch,
    "secrets": _members(_text),
    "headers": _headers,
    "url": _address,
    "arguments": _arguments,
}
_OWN_PROVIDER: dict[str, Keep] = {**_PROVIDER, "arguments": _as_it_is}
_ACTIVITY: dict[str, Keep] = {
    **dict.fromkeys(("type", "name", "ref"), _text),
    "background": _switch,
    "tolerance": _tolerance,
    "pauses": lambda value: _kept(value, _PAUSES),
    "provider": lambda value: _kept(value, _PROVIDER),
    "controls": _members(lambda value: _kept(value, _CONTROL)),
}
_RUN: dict[str, Keep] = {
    **dict.fromkeys(("status", "start", "end"), _text),
    "duration": _number,
    "tolerance_met": _switch,
    "activity": _activity,
    "exception": _exception,
    RAISED: lambda value: _kept(value, {"error": _text}),
}
_STATE: dict[str, Keep] = {"steady_state_met": _switch, "probes": _members(_run)}
_STATES: dict[str, Keep] = {
    "before": lambda value: _kept(value, _STATE),
    "after": lambda value: _kept(value, _STATE),
    "during": _members(lambda value: _kept(value, _STATE)),
}
_HYPOTHESIS: dict[str, Keep] = {
    "title": _text,
    "probes": _members(_activity),
    "controls": _members(lambda value: _kept(value, _CONTROL)),
}
_EXPERIMENT: dict[str, Keep] = {
    **dict.fromkeys(("version", "title", "description"), _text),
    "tags": _members(_text),
    "configuration": _configuration,
    "secrets": _secrets,
    "steady-state-hypothesis": lambda value: _kept(value, _HYPOTHESIS),
    "method": _members(_activity),
    "rollbacks": _members(_activity),
    "controls": _members(lambda value: _kept(value, _CONTROL)),
}
_TOLD = ("chaoslib-version", "platform", "node", "start", "end", "status", "abort_reason")
_JOURNAL: dict[str, Keep] = {
    **dict.fromkeys(_TOLD, _text),
    "duration": _number,
    "deviated": _switch,
    "experiment": lambda value: _kept(value, _EXPERIMENT),
    "steady_states": lambda value: _kept(value, _STATES),
    "run": _members(_run),
    "rollbacks": _members(_run),
}
