"""One trial: a real `chaosext` in a process and a home of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.trust import ROOT
from tests.trust.lab.activities import MARKS
from tests.trust.lab.clock import now_s
from tests.trust.lab.lab import CONTEXT, wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.trust.lab.bed import Bed

MAIN = "chaosext.cli.main:main"
TTL_S = 5.0
REQUEST_S = {"netns": 2, "docker": 10}
"""How long an API call may take: of the stub, which answers at once or is gone; of a real API server."""

Activity = dict[str, Any]


def mine(func: str, **arguments: Any) -> Activity:
    """An activity of the trials' own."""
    provider = {
        "type": "python",
        "module": "tests.trust.lab.activities",
        "func": func,
        "arguments": arguments,
    }
    return {"type": "action", "name": f"{func} {arguments}", "provider": provider}


def ours(func: str, **arguments: Any) -> Activity:
    """An action of chaosext."""
    provider = {"type": "python", "module": "chaosext.actions", "func": func, "arguments": arguments}
    return {"type": "action", "name": func, "provider": {**provider, "secrets": ["k8s"]}}


def experiment(
    *,
    ttl_s: float = TTL_S,
    hold_s: float = 0.3,
    prove: bool = True,
    dead_man_s: float | None = None,
    move: bool = True,
    peers: Sequence[str] | None = None,
    context: str = CONTEXT,
    transport: str = "netns",
) -> dict[str, Any]:
    """Sever, hold, heal, go on; roll back, with `move` kube-dns too.

    Marks: begin, severed, hold, held, next, rolling, rolled.
    """
    gate = {**mine("well"), "type": "probe", "tolerance": "well"}
    severing = {"ttl_s": ttl_s, "prove": prove, **({"dead_man_s": dead_man_s} if dead_man_s else {})}
    severing |= {"peers": list(peers)} if peers else {}
    moving = [ours("reschedule_kube_dns", timeout_s=20, only_if_needed=False)] if move else []
    return {
        "title": "a trial",
        "description": "made for the trust table",
        "configuration": {
            "chaosext_transport": transport,
            "chaosext_sentinel": False,  # a trial is about the cut; its nodes run no Pods
            "chaosext_request_timeout_s": REQUEST_S[transport],
        },
        "secrets": {"k8s": {"KUBERNETES_CONTEXT": context, "KUBERNETES_VERIFY_SSL": "true"}},
        "steady-state-hypothesis": {"title": "all is well", "probes": [gate]},
        "method": [
            mine("mark", word="begin"),
            ours("sever_control_plane", **severing),
            mine("mark", word="severed"),
            mine("hold", seconds=hold_s),
            ours("heal_control_plane"),
            mine("mark", word="next"),
        ],
        "rollbacks": [
            mine("mark", word="rolling"),
            ours("heal_control_plane"),
            *moving,
            mine("mark", word="rolled"),
        ],
    }


@dataclass
class Process:
    """A process that the nursery forked."""

    guest: socket.socket
    pid: int = 0
    exit_code: int | None = None
    ended_s: float = 0.0
    peak_mib: float = 0.0
    _ended: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._lines = self.guest.makefile("r")
        self.pid = json.loads(self._lines.readline())["pid"]
        threading.Thread(target=self._wait, daemon=True).start()

    def _wait(self) -> None:
        line = self._lines.readline()
        self.ended_s = now_s()
        if line:
            ended = json.loads(line)
            self.exit_code, self.peak_mib = ended["status"], ended["peak_mib"]
        self.guest.close()
        self._ended.set()

    def wait(self, within_s: float) -> int:
        """Its exit code, or minus the signal that killed it. Raises AssertionError when it doesn't end in time."""
        if not self._ended.wait(within_s):
            self.signal(signal.SIGKILL)
            self._ended.wait(5)
            raise AssertionError(f"still ran after {within_s:g} s")
        assert self.exit_code is not None, "the nursery lost it"
        return self.exit_code

    @property
    def lives(self) -> bool:
        return not self._ended.is_set()

    def signal(self, number: int) -> float:
        """Send it, and say when."""
        at_s = now_s()
        if self.lives:
            os.kill(self.pid, number)
        return at_s


@dataclass
class Trial:
    """A home: state, configuration, kubeconfig, pin, run directory, marks. All of it is removed by `forget`."""

    lab: Bed
    nursery: Path
    home: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="trust-")))
    environment: dict[str, str] = field(default_factory=dict)
    newest: Process = field(init=False)

    def __post_init__(self) -> None:
        self.environment = {
            "PATH": os.environ["PATH"],
            "LC_ALL": "C.UTF-8",
            "USER": "trust",
            "HOME": str(self.home),
            "XDG_STATE_HOME": str(self.home / "state"),
            "XDG_CONFIG_HOME": str(self.home / "config"),
            "CHAOSEXT_RUN_DIR": str(self.home / "run"),
            "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
            MARKS: str(self.home / "marks"),
        }
        self.lab.introduce(self.home)

    def run(self, plan: Mapping[str, Any] | None = None, **environment: str) -> Process:
        """`chaosext run` of `plan`."""
        return self.command("run", str(self.write(plan or experiment())), **environment)

    def write(self, plan: Mapping[str, Any], name: str = "experiment.json") -> Path:
        """The file of an experiment."""
        path = self.home / name
        path.write_text(json.dumps(plan))
        return path

    def command(self, *argv: str, **environment: str) -> Process:
        """A command of chaosext's."""
        return self._begin({"call": MAIN, "argv": argv}, environment)

    def program(self, *argv: str, **environment: str) -> Process:
        """A command of chaosext's in an interpreter of its own, for what is decided when a process ends."""
        request = {"call": "", "argv": [sys.executable, "-m", "chaosext", *argv]}
        return self._begin(request, {"PYTHONPATH": str(ROOT), **environment})

    def call(self, function: str, *argv: str, **environment: str) -> Process:
        """A function `module:name` of the tests' own, given argv."""
        return self._begin({"call": function, "argv": argv}, environment)

    def script(self, name: str, *argv: str, **environment: str) -> Process:
        """A script of the lab's in an interpreter of its own, for what is decided when a process begins."""
        program = [sys.executable, str(ROOT / "tests" / "trust" / "lab" / name), *argv]
        return self._begin({"call": "", "argv": program}, environment)

    def _begin(self, request: dict[str, Any], environment: Mapping[str, str]) -> Process:
        guest = socket.socket(socket.AF_UNIX)
        guest.connect(str(self.nursery))
        env = {**self.environment, **environment}
        whole = {**request, "env": env, "cwd": str(self.home), "out": str(self.home / "out")}
        guest.sendall((json.dumps(whole) + "\n").encode())
        self.newest = Process(guest)
        return self.newest

    @property
    def out(self) -> str:
        """What all commands so far have printed."""
        path = self.home / "out"
        return path.read_text(errors="replace") if path.exists() else ""

    @property
    def marks(self) -> dict[str, float]:
        """Mark -> when it was last left."""
        path = self.home / "marks"
        lines = path.read_text().splitlines() if path.exists() else []
        return {word: float(at_s) for word, at_s in (line.split() for line in lines)}

    def reaches(self, word: str, within_s: float = 30.0) -> bool:
        """Whether that mark was left in time, and before the newest process ended."""
        wait_until(lambda: word in self.marks or not self.newest.lives, within_s)
        return word in self.marks

    @property
    def result(self) -> dict[str, Any]:
        """The newest run's result.json; {} without one."""
        return self._of_run("result.json")

    @property
    def events(self) -> list[dict[str, Any]]:
        """The newest run's timeline, as far as it is written."""
        path = self.home / "run" / "latest" / "timeline.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [json.loads(line) for line in lines if line.endswith("}")]

    @property
    def journal(self) -> dict[str, Any]:
        return self._of_run("journal.json")

    def _of_run(self, name: str) -> dict[str, Any]:
        path = self.home / "run" / "latest" / name
        return dict(json.loads(path.read_text())) if path.exists() else {}

    def clean_up(self, within_s: float = 20.0, **environment: str) -> int:
        """`chaosext cleanup` of the lab's nodes: its exit code."""
        return self.command("cleanup", *self.lab.looking, **environment).wait(within_s)

    def forget(self) -> None:
        shutil.rmtree(self.home, ignore_errors=True)
