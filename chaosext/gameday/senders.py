"""Sends results to secret URLs: with timeouts and retries, and without logging the URLs."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from chaosext.cluster import bounded_http
from chaosext.gameday.manifests import UPLOAD_DIR, WEBHOOK_DIR
from chaosext.model.errors import Refused, Unreachable
from chaosext.model.files import read_file
from chaosext.model.output_bounds import MIB
from chaosext.model.redact import hide

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from chaosext.gameday.gameday_settings import GameDaySettings

PAUSES_S = (1.0, 3.0, 9.0)
"""Pauses between attempts, seconds: DNS may need a while after the game day."""

ANSWER_S = 10.0
LARGEST_ANSWER = MIB
"""Bytes: only the answer's status matters."""

SCHEME = "https://"
"""The URL itself is the credential, so it must not cross a network unencrypted."""

AUTHORITY = "ca.crt"
"""The key beside the URL with a CA certificate to trust, if the system does not trust the server."""


@dataclass(slots=True, kw_only=True)
class Addresses:
    """The URLs for results, from the Secrets that are mounted under `root`; "" for none."""

    settings: GameDaySettings
    root: Path = Path("/")
    webhook: str = ""
    upload: str = ""

    def read(self) -> None:
        """Read the URLs. Raises `Refused` if a Secret in the settings has no URL."""
        if hook := self.settings.webhook:
            self.webhook = read_url(self._directory(WEBHOOK_DIR), hook.key, "webhook")
        if store := self.settings.results.upload:
            self.upload = read_url(self._directory(UPLOAD_DIR), store.key, "results.upload")

    @property
    def webhook_authority(self) -> Path:
        return self._directory(WEBHOOK_DIR) / AUTHORITY

    @property
    def upload_authority(self) -> Path:
        return self._directory(UPLOAD_DIR) / AUTHORITY

    def _directory(self, mounted: str) -> Path:
        return self.root / mounted.lstrip("/")


def read_url(directory: Path, key: str, field: str) -> str:
    """Read the URL in a mounted Secret, and redact it from now on. Raises `Refused` if there is none."""
    try:
        url = read_file(directory / key).decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        problem = getattr(error, "strerror", None) or type(error).__name__
        raise Refused(
            f"{field}: the Secret has no readable key {key!r} ({problem})",
            f"kubectl create secret generic … --from-literal={key}=https://…",
        ) from None
    hide([url])
    if not url.startswith(SCHEME):
        raise Refused(
            f"{field}: key {key!r} of the Secret is not an https URL",
            "set it to an https URL; put a CA that the system does not trust into `ca.crt` beside it",
        )
    return url


def send(
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    *,
    method: str = "POST",
    authority: Path | None = None,
    pause: Callable[[float], None] = time.sleep,
) -> str:
    """Send `body`, with TLS verified (by the PEM file `authority`, if it exists). Returns why that failed, or "".

    Redirects are not followed: a secret URL is meant for one server.
    """
    trusted = authority if authority is not None and authority.is_file() else None
    problem = ""
    for pause_s in (*PAUSES_S, None):
        problem, final = _attempt(url, body, headers, method, trusted)
        if final or pause_s is None:
            break
        pause(pause_s)
    return problem


def _attempt(
    url: str, body: bytes, headers: Mapping[str, str], method: str, authority: Path | None
) -> tuple[str, bool]:
    """Try once. Returns the problem ("" for none), and whether a retry would change nothing."""
    try:
        with bounded_http.trusting(str(authority) if authority else None) as pool:
            answer = bounded_http.ask(
                pool,
                method,
                url,
                whose="the receiver",
                within_s=ANSWER_S,
                headers=headers,
                body=body,
                most_bytes=LARGEST_ANSWER,
            )
    except Unreachable as error:
        return f"no answer ({type(error.__cause__ or error).__name__})", False
    if 200 <= answer.status < 300:
        return "", True
    return f"HTTP {answer.status}", 300 <= answer.status < 500 and answer.status not in (408, 429)
