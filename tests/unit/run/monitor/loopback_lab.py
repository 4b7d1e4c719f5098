"""Real sentinels on loopback: a process a node, each at an address of its own, and a target that they all watch."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from children import die_with_parent

from chaosext.run.agents.sentinel_pods import Placed
from chaosext.run.session.audit_trail import Trail
from chaosext.run.session.run_context import Stash
from chaosext.sentinel.watch_plan import Named, WatchPlan
from chaosext.timeline.sentinel_client import Reader

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from chaosext.timeline.recorder import Recorder

TOKEN = "a-token-for-tests-only"  # noqa: S105
INTERVAL_S = 0.2
"""The shortest that a sentinel takes."""


def wait_for(true: Callable[[], bool], within_s: float = 60) -> None:
    deadline_s = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline_s, "it did not come to be so"
        time.sleep(0.02)


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as found:
        return int(found.getsockname()[1])


class Target:
    """A TCP port that is open, or refuses."""

    def __init__(self) -> None:
        self.port, self._listening = free_port(), None
        self.open()

    @property
    def named(self) -> Named:
        return Named(target=f"127.0.0.1:{self.port}", label="shop")

    def open(self) -> None:
        self._listening: Any = socket.create_server(("127.0.0.1", self.port), backlog=1000)

    def close(self) -> None:
        if self._listening:
            self._listening.close()
        self._listening = None


class SentinelLab:
    """`plan` is what the sentinels are placed with; `records` is where each keeps its record."""

    def __init__(self, records: Path, *nodes: str) -> None:
        self.records, self.port, self.target = records, free_port(), Target()
        self.plan = WatchPlan(
            run="r1", tcp=(self.target.named,), interval_s=INTERVAL_S, timeout_s=INTERVAL_S / 2
        )
        self.addresses = {node: f"127.0.0.{number}" for number, node in enumerate(nodes, start=2)}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.more: dict[str, dict[str, str]] = {}
        """Node -> variables of its sentinel's environment."""

    def start(self, *nodes: str) -> None:
        for node in nodes or self.addresses:
            directory = self.records / node
            directory.mkdir(parents=True, exist_ok=True)
            environment = {
                "CHAOSEXT_NODE": node,
                "CHAOSEXT_HOST_IP": self.addresses[node],
                "CHAOSEXT_PORT": str(self.port),
                "CHAOSEXT_TOKEN": TOKEN,
                "CHAOSEXT_PLAN": json.dumps(self.plan.to_json()),
                "CHAOSEXT_RECORD_DIR": str(directory),
            }
            argv = [sys.executable, "-m", "chaosext.sentinel"]
            self.processes[node] = subprocess.Popen(
                argv, env=os.environ | environment | self.more.get(node, {}), preexec_fn=die_with_parent
            )

    def reader(self, node: str) -> Reader:
        return Reader(node, self.addresses[node], self.port, TOKEN)

    def placed(self, *_: Any, **__: Any) -> Placed:
        """In place of `placing.place`."""
        self.start()
        for node, address in self.addresses.items():
            wait_for(lambda at=address: self._answers(at))  # type: ignore[misc]
            assert self.processes[node].poll() is None
        return Placed(run="r1", addresses=self.addresses, port=self.port, plan=self.plan)

    def removed(self, *_: Any, **__: Any) -> bool:
        """In place of `placing.remove`."""
        self.end()
        return True

    def stop(self, node: str) -> None:
        self.processes[node].send_signal(signal.SIGSTOP)

    def resume(self, node: str) -> None:
        self.processes[node].send_signal(signal.SIGCONT)

    def kill(self, node: str) -> None:
        self.processes[node].kill()
        self.processes[node].wait()

    def end(self) -> None:
        for process in self.processes.values():
            process.kill()
            process.wait()

    def close(self) -> None:
        self.end()
        self.target.close()

    def record(self, node: str) -> bytes:
        """As the sentinel itself keeps it; empty until it began one."""
        path = self.records / node / "record.jsonl"
        return path.read_bytes() if path.exists() else b""

    def _answers(self, address: str) -> bool:
        try:
            socket.create_connection((address, self.port), timeout=1).close()
        except OSError:
            return False
        return True


def run_context(recorder: Recorder, directory: Path) -> Any:
    """What `Sentinels` needs of a run."""
    (directory / "sentinels").mkdir(parents=True, exist_ok=True)

    def write_json(name: str, value: Any) -> None:
        (directory / name).write_text(json.dumps(value))

    return SimpleNamespace(
        id="r1",
        owner="somebody@here",
        recorder=recorder,
        trail=Trail(run="r1", owner="somebody@here"),
        stash=Stash(),
        directory=SimpleNamespace(path=directory, inside=directory, write_json=write_json),
    )
