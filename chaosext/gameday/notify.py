"""Announce, send and keep a game day's outcome. Failures here do not change it."""

from __future__ import annotations

import shutil
import tarfile
from dataclasses import replace
from io import BytesIO
from typing import TYPE_CHECKING

from chaosext.gameday.senders import send
from chaosext.model.files import append
from chaosext.model.printable import json_text
from chaosext.model.redact import veiled_whole

if TYPE_CHECKING:
    from pathlib import Path

    from chaosext.gameday.game_day import GameDay
    from chaosext.gameday.outcome import Record

HISTORY_FILE = "gamedays.jsonl"
RUNS = "run"


def tell(day: GameDay, record: Record) -> Record:
    """Announce, send and keep `record`. Returns it with failures of these added to its problems."""
    reason = "GameDay" + record.verdict.title().replace(" ", "")
    day.announce(reason, record.headline, warning=record.exit_code != 0)
    record = replace(record, problems=(*day.problems, *_uploaded(day, record)))
    record = replace(record, problems=(*record.problems, *_sent(day, record)))
    kept = (
        *_kept(day.results / HISTORY_FILE, record),
        *_pruned(day.results / RUNS, day.settings.results.keep),
    )
    return replace(record, problems=(*record.problems, *kept))


def _sent(day: GameDay, record: Record) -> list[str]:
    """Send the record to the webhook as JSON."""
    if not day.addresses.webhook:
        return []
    body = json_text(veiled_whole(record.to_json()), indent=None).encode()
    headers = {"Content-Type": "application/json"}
    problem = send(day.addresses.webhook, body, headers, authority=day.addresses.webhook_authority)
    return [f"webhook: {problem}"] if problem else []


def _uploaded(day: GameDay, record: Record) -> list[str]:
    """Upload the run's directory to an object store, by PUT."""
    if not (day.addresses.upload and record.run):
        return []
    try:
        body = packed(day.results / RUNS / record.run)
    except OSError as error:
        return [f"results.upload: {error.strerror}"]
    url = day.addresses.upload.replace("{name}", f"{record.name}-{record.run}.tar.gz")
    headers = {"Content-Type": "application/gzip"}
    problem = send(url, body, headers, method="PUT", authority=day.addresses.upload_authority)
    return [f"results.upload: {problem}"] if problem else []


def packed(directory: Path) -> bytes:
    """Return a directory as .tar.gz, under its own name."""
    buffer = BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        archive.add(directory, arcname=directory.name)
    return buffer.getvalue()


def _kept(path: Path, record: Record) -> list[str]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        append(path, json_text(veiled_whole(record.to_json()), indent=None) + "\n", fsync=True)
    except OSError as error:
        return [f"results: {path.name} cannot be written ({error.strerror})"]
    return []


def _pruned(runs: Path, keep: int) -> list[str]:
    """Remove all but the newest `keep` run directories, so that the volume never fills; names sort by time."""
    try:
        found = sorted(path for path in runs.iterdir() if path.is_dir() and not path.is_symlink())
        for path in found[:-keep]:
            shutil.rmtree(path)
    except FileNotFoundError:
        return []
    except OSError as error:
        return [f"results: an old run cannot be removed ({error.strerror})"]
    return []
