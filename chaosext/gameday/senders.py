"""Results sent on, to URLs that are secrets: bounded, tried again, and never in a log."""

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

    from chaosext.gameday.gameday_settings import Settings

PAUSES_S = (1.0, 3.0, 9.0)
"""Between attempts: kube-dns may need a while, after what the game day did to it."""

ANSWER_S = 10.0
LARGEST_ANSWER = MIB
"""Bytes: only its status matters."""

SCHEME = "https://"
"""The URL itself is what opens the door: it crosses no network in the clear."""

AUTHORITY = "ca.crt"
"""The key beside a URL that says whom to trust, where the system's authorities don't know the server."""


@dataclass(slots=True, kw_only=True)
class Addresses:
    """Where results are sent on: the URLs in the Secrets that are mounted under `root`; "" for nowhere."""

    settings: Settings
    root: Path = Path("/")
    webhook: str = ""
    upload: str = ""

    def read(self) -> None:
        """Raises `Refused` where a Secret that the settings name has no URL."""
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
    """The URL in a mounted Secret; from here on nobody says it. Raises `Refused` where there is none."""
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
    """Send `body`, with TLS verified (by `authority`, a PEM file, where it is there): why it was not taken, or "".

    Redirects are not followed: a secret URL is for one place.
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
    """What went wrong, "" for nothing; and whether another attempt would be the same."""
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
