"""What a test sees of the nodes by itself, past chaosext: lookups, processes, what they cost, what is left."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from .conftest import docker, kubectl, node_names

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

PROBER = Path(__file__).with_name("dns_prober.py")
CLUSTER_DNS = "10.2.112.10"
CALM_S, MOST = 2.5, 0.8
MOST_IN_CALM = 60
"""Lookups in `CALM_S`, and some to spare."""

Window = tuple[float, float]


@dataclass
class Lookups:
    """A node's prober, and what it has seen."""

    node: str
    seen: list[tuple[float, bool]] = field(default_factory=list)

    def __post_init__(self) -> None:
        pid = docker("inspect", "--format", "{{.State.Pid}}", self.node).strip()
        argv = ["nsenter", f"--net=/proc/{pid}/ns/net", sys.executable, "-I", str(PROBER), CLUSTER_DNS]
        self._process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def _read(self) -> None:
        assert self._process.stdout
        with self._process.stdout as lines:
            for line in lines:
                at_s, answered = line.split()
                self.seen.append((float(at_s), answered == "1"))

    def end(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(10)
        self._reading.join(10)

    def outages(self) -> list[Window]:
        """From where nothing is answered for `CALM_S` to where most is again for as long."""
        ordered = sorted(self.seen)
        found: list[Window] = []
        since_s: float | None = None
        for index, (at_s, answered) in enumerate(ordered):
            share = _share(ordered[index:])
            if since_s is None and share == 0.0:
                since_s = at_s
            elif since_s is not None and answered and share >= MOST:
                found.append((since_s, at_s))
                since_s = None
        return found if since_s is None else [*found, (since_s, ordered[-1][0])]


def _share(seen: Sequence[tuple[float, bool]]) -> float:
    """How many of the lookups of the first `CALM_S` were answered, of all; the last ones are nobody's beginning."""
    soon = [answered for at_s, answered in seen[:MOST_IN_CALM] if at_s - seen[0][0] <= CALM_S]
    return sum(soon) / len(soon) if seen[-1][0] - seen[0][0] >= CALM_S else 0.5


class Witnesses:
    """A prober on each node, while the context lives."""

    def __enter__(self) -> Self:
        self.lookups = {name: Lookups(name) for name in node_names()}
        return self

    def __exit__(self, *_: object) -> None:
        for each in self.lookups.values():
            each.end()


@dataclass(frozen=True)
class Sentinel:
    """The process of a node's sentinel, as this machine knows it: kind's nodes are containers on it."""

    node: str
    pid: int

    @property
    def cpu_s(self) -> float:
        """All that its container has used, by its cgroup."""
        path = Path("/sys/fs/cgroup/cpuacct" + self._cgroup("cpuacct")) / "cpuacct.usage"
        return int(path.read_text()) / 1e9

    @property
    def peak_rss_bytes(self) -> int:
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024

    def _cgroup(self, controller: str) -> str:
        lines = Path(f"/proc/{self.pid}/cgroup").read_text().splitlines()
        return next(
            path
            for _, names, path in (line.split(":", 2) for line in lines)
            if controller in names.split(",")
        )


def sentinels() -> dict[str, Sentinel]:
    """Node -> its sentinel's process."""
    found = {}
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            command = (directory / "cmdline").read_bytes().split(b"\0")
            environment = (directory / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"chaosext.sentinel" in command:
            node = (
                next(each for each in environment if each.startswith(b"CHAOSEXT_NODE="))
                .partition(b"=")[2]
                .decode()
            )
            found[node] = Sentinel(node, int(directory.name))
    return {node: each for node, each in found.items() if node in node_names()}


def residue(port: int = 9853) -> list[str]:
    """Whatever of a sentinel is still somewhere, but for its log, which kubelet deletes within a minute."""
    listed = kubectl("get", "daemonsets,pods", "--all-namespaces", "-o", "name").splitlines()
    left = [line for line in listed if "chaosext-sentinel" in line]
    left += [f"process on {node}" for node in sentinels()]
    for name in node_names():
        script = f"ss -ltnH 'sport = :{port}'; find /var/lib/kubelet/pods -name record.jsonl"
        said = docker("exec", name, "bash", "-c", script)
        left += [f"{name}: {line}" for line in said.splitlines()]
    return left


def wait_until(true: object, within_s: float) -> None:
    """`true` is a function of no argument."""
    deadline_s = time.monotonic() + within_s
    while not true():  # type: ignore[operator]
        assert time.monotonic() < deadline_s, f"not so within {within_s:g} s"
        time.sleep(0.2)
