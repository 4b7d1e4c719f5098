"""`run/<id>/`: everything a run leaves for people and machines; `run/latest` points to the newest."""

from __future__ import annotations

import json
import os
import secrets
import time
from pathlib import Path
from typing import Any

from chaosext.model.errors import Refused

DEFAULT_ROOT = Path("run")
ROOT_VARIABLE = "CHAOSEXT_RUN_DIR"


def new_run_id() -> str:
    """A run's id: UTC time and a little chance, `20261123t230300ab12`; sorts by time and fits a table's name."""
    return time.strftime("%Y%m%dt%H%M%S", time.gmtime()) + secrets.token_hex(2)


class RunDirectory:
    """The directory of one run. Raises `Refused` where it can't be made, before anything is touched."""

    def __init__(self, run: str, root: Path | None = None) -> None:
        self.run = run
        self.root = (root or Path(os.environ.get(ROOT_VARIABLE, DEFAULT_ROOT))).absolute()
        self.path = self.root / run
        try:
            self.path.mkdir(parents=True)
            self._link_latest()
            self.write_text(".writable", "")
            (self.path / ".writable").unlink()
        except OSError as error:
            raise Refused(
                f"run directory {self.path}: {error.strerror}",
                f"set {ROOT_VARIABLE} or --run-dir to a directory that you may write to",
            ) from None

    def write_json(self, name: str, value: Any) -> None:
        """Write `value` to the file `name` whole or not at all."""
        self.write_text(
            name, json.dumps(value, indent=2, default=str, skipkeys=True, ensure_ascii=False) + "\n"
        )

    def write_text(self, name: str, text: str) -> None:
        """Write `text` to the file `name` whole or not at all."""
        temporary = self.path / f".{name}.tmp"
        with temporary.open("w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.path / name)

    def _link_latest(self) -> None:
        link = self.root / "latest"
        temporary = self.root / f".latest.{self.run}"
        temporary.symlink_to(self.run)
        temporary.replace(link)
