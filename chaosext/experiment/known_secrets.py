"""The secrets that are known before a run: in the experiment, the environment, and the kubeconfig."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from chaosext.cluster.kubeconfig import kubeconfig_files
from chaosext.cluster.object_files import parse_yaml
from chaosext.experiment.journal_redaction import OWN_SETTINGS, PUBLIC
from chaosext.experiment.load import activities
from chaosext.model.errors import MALFORMED, Refused
from chaosext.model.files import read_file

TELLING = re.compile(
    r"TOKEN|SECRET|PASSW|PASSPHRASE|PWD$|CREDENTIAL|AUTH|COOKIE|SESSION_?ID|PRIVATE|API_?KEY|ACCESS_?KEY|_KEY$|KEY_DATA"
    r"|^KEY$|DSN$|CONNECTION_?STRING|SIGNATURE|WEBHOOK",
    re.IGNORECASE,
)
"""Names whose values are usually secret."""

SHORTEST = 6
"""Shorter values outside `secrets` are common words (`true`, `basic`), and not secrets."""

_USER = frozenset(
    {"token", "password", "client-key-data", "id-token", "refresh-token", "access-token", "client-secret"}
)
"""Secrets of a kubeconfig's users (client-go, tools/clientcmd/api/v1/types.go, and auth providers' configs)."""


def known_secrets(
    experiment: Mapping[str, Any], configuration: Mapping[str, Any], secrets: Mapping[str, Any]
) -> set[str]:
    """Return every secret of an experiment whose configuration and secrets are looked up."""
    found = {value for key, value in _leaves(secrets) if key not in PUBLIC}
    found |= {value for key, value in _leaves(configuration) if _tells(key, value)}
    found |= {value for key, value in os.environ.items() if _tells(key, value)}
    return found | set(_in_providers(experiment)) | set(_in_kubeconfigs())


def _is_telling(key: str) -> bool:
    """Return whether a name indicates a secret; headers have hyphens where variables have underscores."""
    return TELLING.search(key.replace("-", "_")) is not None and not key.startswith(OWN_SETTINGS)


def _tells(key: str, value: str) -> bool:
    return _is_telling(key) and len(value) >= SHORTEST and "${" not in value and not Path(value).is_absolute()


def _leaves(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Yield every text and number in `value`, as text, with its name."""
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield key, str(value)
    elif isinstance(value, Mapping):
        for name, member in value.items():
            yield from _leaves(member, str(name))
    elif isinstance(value, list | tuple):
        for member in value:
            yield from _leaves(member, key)


def _in_providers(experiment: Mapping[str, Any]) -> Iterator[str]:
    """Yield credentials in headers, addresses and arguments of activities."""
    for _, activity in activities(dict(experiment)):
        provider = activity.get("provider") or {}
        for key, value in _leaves({name: provider.get(name) for name in ("headers", "arguments")}):
            if _tells(key, value):
                yield from (value, *(word for word in value.split() if len(word) > len("Basic, Bearer")))
        yield from _in_address(str(provider.get("url", "")))


def require_private(
    place: str, provider: Mapping[str, Any], configuration: Mapping[str, Any], secrets: Mapping[str, Any]
) -> None:
    """Raise `Refused` for an HTTP call that would send credentials unencrypted over the network."""
    from chaoslib import substitute

    if provider.get("type") != "http":
        return
    url = str(substitute(str(provider.get("url", "")), configuration, secrets))
    given = {name: provider.get(name) for name in ("headers", "arguments")}
    confides = any(_is_telling(key) for key, value in _leaves(given) if value) or any(_in_address(url))
    if confides and is_in_the_clear(url):
        raise Refused(
            f"{place}.provider: it would send credentials over plain http", "use an https:// address"
        )


def is_in_the_clear(url: str) -> bool:
    """Return whether others can read what is sent to this URL: it is http, and not to this machine."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        is_here = host == "localhost" or ip_address(host).is_loopback
    except ValueError:  # a host name
        is_here = False
    return url.lstrip().lower().startswith("http:") and not is_here


def _in_address(url: str) -> Iterator[str]:
    with suppress(ValueError):
        parts = urlsplit(url)
        given = (
            parts.username,
            parts.password,
            *(value for key, value in parse_qsl(parts.query) if _tells(key, value)),
        )
        yield from (
            form for value in given if value and "${" not in value for form in (value, unquote(value))
        )


def _in_kubeconfigs() -> Iterator[str]:
    """Yield secrets of every user and server in $KUBECONFIG (else ~/.kube/config); unreadable files are skipped."""
    for path in kubeconfig_files():
        with suppress(OSError, *MALFORMED):
            config = parse_yaml(read_file(path))
            for each in config.get("users") or ():
                yield from _of_user(each.get("user") or {})
            for each in config.get("clusters") or ():
                yield from _in_address(str((each.get("cluster") or {}).get("server", "")))


def _of_user(user: Mapping[str, Any]) -> Iterator[str]:
    for key, value in _leaves(user):
        if key in _USER:
            yield value
    for variable in (user.get("exec") or {}).get("env") or ():
        yield str(variable.get("value", ""))
    for key in ("client-key", "tokenFile"):
        with suppress(OSError, TypeError, UnicodeDecodeError):
            yield read_file(Path(user[key])).decode().strip() if key in user else ""
