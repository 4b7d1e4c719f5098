"""`chaosext run` in a process of its own, on an experiment without a cluster."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from crash_activities import LOG

from chaosext.run.shutdown import SIGNALS

DRIVER = Path(__file__).with_name("crash_driver.py")
PATIENCE_S = 5.0


class Run:
    """A run, and what it leaves. `environment` is added to this process' own."""

    def __init__(self, directory: Path, value: dict[str, Any], *options: str, **environment: str) -> None:
        self.log, self.directory = directory / "log", directory / "run"
        path = directory / "experiment.json"
        path.write_text(json.dumps(value))
        self.process = subprocess.Popen(
            [sys.executable, str(DRIVER), "run", str(path), "--run-dir", str(self.directory), *options],
            env={**os.environ, LOG: str(self.log), "XDG_STATE_HOME": str(directory / "state"), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=as_from_a_terminal,
        )

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def words(self) -> list[str]:
        return self.log.read_text().split() if self.log.exists() else []

    def wait_for(self, word: str) -> None:
        deadline_s = time.monotonic() + 30
        while word not in self.words():
            assert self.process.poll() is None, self.process.communicate()[0]
            assert time.monotonic() < deadline_s, f"never heard {word!r}"
            time.sleep(0.02)

    def ends_after(self, number: signal.Signals) -> int:
        """The exit code that the process ends with, soon after signal `number`."""
        self.process.send_signal(number)
        return self.process.wait(timeout=PATIENCE_S)

    def result(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads((self.directory / "latest" / "result.json").read_text())
        return value

    def journal(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads((self.directory / "latest" / "journal.json").read_text())
        return value


def as_from_a_terminal() -> None:
    """Under nohup, or in the background of a script, some signals are ignored, and children inherit that."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)
