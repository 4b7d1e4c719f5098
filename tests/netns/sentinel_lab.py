"""A sentinel in the node's namespace of probe_lab: started, asked over HTTP, its record read."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from children import die_with_parent

from chaosext.model.signal import Sample, StreamHead, Watched
from chaosext.sentinel.sample_log import parse_record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from probe_lab import Lab

    from chaosext.sentinel.watch_plan import WatchPlan

HOST, PORT, TOKEN = "10.99.0.1", 19911, "a-token-of-the-tests"

COMMAND = (sys.executable, "-m", "chaosext.sentinel")

ASK = f"""
import http.client, sys
method, path, body = sys.argv[1:]
connection = http.client.HTTPConnection("{HOST}", {PORT}, timeout=2)
connection.request(method, path, body or None, {{"Authorization": "Bearer {TOKEN}"}})
answer = connection.getresponse()
print(answer.status, answer.getheader("X-Record-Size", "-"))
sys.stdout.write(answer.read().decode())
"""


@dataclass(slots=True)
class Running:
    """One node's sentinel, over however many processes."""

    here: Lab
    plan: WatchPlan
    directory: Path
    command: Sequence[str] = COMMAND
    process: subprocess.Popen[str] | None = field(default=None)

    def start(self) -> None:
        environment = {
            **os.environ,
            "CHAOSEXT_NODE": "node",
            "CHAOSEXT_HOST_IP": HOST,
            "CHAOSEXT_PORT": str(PORT),
            "CHAOSEXT_TOKEN": TOKEN,
            "CHAOSEXT_PLAN": json.dumps(self.plan.to_json()),
            "CHAOSEXT_RECORD_DIR": str(self.directory),
        }
        argv = [
            "ip",
            "netns",
            "exec",
            self.here.node,
            *self.command,
        ]
        self.process = subprocess.Popen(
            argv, env=environment, stderr=subprocess.PIPE, text=True, preexec_fn=die_with_parent
        )

    def kill(self) -> None:
        if self.process:
            self.process.kill()
            self.process.communicate(timeout=10)

    def ask(self, method: str, path: str, body: str = "") -> tuple[int, str, str]:
        """Status, `X-Record-Size`, and body."""
        argv = ["ip", "netns", "exec", self.here.node, sys.executable, "-c", ASK, method, path, body]
        said = subprocess.run(argv, capture_output=True, text=True, timeout=10, check=True).stdout
        first, _, rest = said.partition("\n")
        status, size = first.split()
        return int(status), size, rest

    def record(self) -> list[StreamHead | Sample]:
        path = self.directory / "record.jsonl"
        return list(parse_record(path.read_text().splitlines())) if path.exists() else []

    def samples(self) -> list[Sample]:
        return [each for each in self.record() if isinstance(each, Sample)]

    def heads(self) -> list[StreamHead]:
        return [each for each in self.record() if isinstance(each, StreamHead)]

    def marks(self, kind: Watched, target: str) -> str:
        """That signal's marks, over all of the record."""
        found, column = "", None
        for each in self.record():
            if isinstance(each, StreamHead):
                wanted = [(signal.kind, signal.target) == (kind, target) for signal in each.signals]
                column = wanted.index(True) if True in wanted else None
            elif column is not None:
                found += each.marks[column]
        return found


@contextmanager
def sentinel(
    here: Lab, plan: WatchPlan, directory: Path, command: Sequence[str] = COMMAND
) -> Iterator[Running]:
    running = Running(here, plan, directory, command)
    running.start()
    try:
        yield running
    finally:
        running.kill()


def wait_for(what: Callable[[], bool], within_s: float = 12.0) -> None:
    until_s = time.monotonic() + within_s
    while not what():
        assert time.monotonic() < until_s, "it did not come about"
        time.sleep(0.1)
