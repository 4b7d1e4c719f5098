"""`run/<id>/`: everything a run leaves for people and machines; `run/latest` points to the newest."""

from __future__ import annotations

import json
import os
import secrets
import time
from pathlib import Path
from typing import Any

from chaosext.model.errors import Refused
from chaosext.model.veil import veiled

DEFAULT_ROOT = Path("run")
ROOT_VARIABLE = "CHAOSEXT_RUN_DIR"


def new_run_id() -> str:
    """A run's id: UTC time and a little chance, `20261123t230300ab12`; sorts by time and fits a table's name."""
    return time.strftime("%Y%m%dt%H%M%S", time.gmtime()) + secrets.token_hex(2)


ROOM_BYTES = 256 * 1024
"""What must fit on a disk before anything is touched: ten times what a run of minutes was seen to write."""


def require_room(directory: Path, what: str, setting: str) -> None:
    """Raise `Refused`, naming `what` is kept there and the `setting` that moves it, unless there are `ROOM_BYTES`."""
    probe = directory / f".room.{secrets.token_hex(4)}"
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            with probe.open("wb") as file:
                file.write(bytes(ROOM_BYTES))
                file.flush()
                os.fsync(file.fileno())
        finally:
            probe.unlink(missing_ok=True)
    except OSError as error:
        fix = f"set {setting} to a directory that you may write to, with {ROOM_BYTES // 1024} KiB free"
        raise Refused(f"{what} directory {directory}: {error.strerror}", fix) from None


class RunDirectory:
    """The directory of one run. Raises `Refused` where it can't be made, before anything is touched."""

    def __init__(self, run: str, root: Path | None = None) -> None:
        self.run = run
        self.root = (root or Path(os.environ.get(ROOT_VARIABLE, DEFAULT_ROOT))).absolute()
        self.path = self.root / run
        setting = f"{ROOT_VARIABLE} or --run-dir"
        try:
            self.path.mkdir(parents=True)
            self._link_latest()
        except OSError as error:
            fix = f"set {setting} to a directory that you may write to"
            raise Refused(f"run directory {self.path}: {error.strerror}", fix) from None
        require_room(self.path, "run", setting)

    def write_json(self, name: str, value: Any) -> None:
        """Write `value` to the file `name` whole or not at all."""
        self.write_text(
            name, json.dumps(value, indent=2, default=str, skipkeys=True, ensure_ascii=False) + "\n"
        )

    def write_text(self, name: str, text: str) -> None:
        """Write `text`, without what must not be said, to the file `name` whole or not at all."""
        target = self.path / name
        temporary = target.with_name(f".{target.name}.tmp")
        try:
            with temporary.open("w", encoding="utf-8", errors="backslashreplace") as file:
                file.write(veiled(text))
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(target)
        except OSError:
            temporary.unlink(missing_ok=True)  # on a full disk even half a file is in the way
            raise

    def _link_latest(self) -> None:
        link = self.root / "latest"
        temporary = self.root / f".latest.{self.run}"
        temporary.symlink_to(self.run)
        temporary.replace(link)
