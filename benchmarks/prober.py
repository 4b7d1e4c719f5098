"""An independent watch on the cut: UDP echoes between two nodes' network namespaces, 100 a second.

It shares nothing with chaosext: two small processes entered with nsenter (root), one echoing on the control-plane
node, one asking from a worker.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass

PORT = 47653
INTERVAL_S = 0.01

ECHO = f"""
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("0.0.0.0", {PORT}))
while True:
    data, peer = s.recvfrom(64)
    try: s.sendto(data, peer)
    except OSError: pass
"""

ASK = f"""
import json, select, socket, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.setblocking(False)
sent, answered, number = [], [], 0
beat = time.time()
while not select.select([sys.stdin], [], [], 0)[0]:
    try: s.sendto(str(number).encode(), (sys.argv[1], {PORT})); sent.append(time.time()); number += 1
    except OSError: sent.append(time.time()); number += 1
    beat += {INTERVAL_S}
    while True:
        left = beat - time.time()
        if not select.select([s], [], [], max(0, left))[0]: break
        try: answered.append(int(s.recv(64)))
        except OSError: pass
time.sleep(0.2)
try:
    while True: answered.append(int(s.recv(64)))
except OSError: pass
print(json.dumps({{"sent": sent, "answered": answered}}))
"""


@dataclass(frozen=True, slots=True)
class Samples:
    """When each packet was sent (Unix time), and whether its echo came."""

    sent: list[float]
    answered: frozenset[int]

    def first_lost(self, after_s: float) -> float | None:
        """When the first packet after `after_s` was sent that, with the nine after it, was never answered."""
        for number, at_s in enumerate(self.sent):
            if at_s >= after_s and not any(number + k in self.answered for k in range(10)):
                return at_s
        return None

    def first_answered(self, after_s: float) -> float | None:
        """When the first packet after `after_s` was sent that was answered."""
        return next(
            (at for number, at in enumerate(self.sent) if at >= after_s and number in self.answered), None
        )


class Prober:
    """A context manager; `samples()` after it holds what was seen."""

    def __init__(self, asker: str, echoer: str) -> None:
        self._asker, self._echoer = asker, echoer
        self._samples = Samples([], frozenset())

    def __enter__(self) -> Prober:
        self._echo = _enter(self._echoer, ECHO)
        time.sleep(0.3)
        self._ask = _enter(self._asker, ASK, _address(self._echoer))
        time.sleep(0.7)
        return self

    def __exit__(self, *_: object) -> None:
        try:
            output, _ = self._ask.communicate("\n", timeout=10)
            seen = json.loads(output)
            self._samples = Samples(seen["sent"], frozenset(seen["answered"]))
        finally:
            for process in (self._ask, self._echo):
                process.kill()
                process.wait()

    def samples(self) -> Samples:
        return self._samples


def _enter(container: str, program: str, *arguments: str) -> subprocess.Popen[str]:
    pid = _docker("inspect", "-f", "{{.State.Pid}}", container)
    argv = ["nsenter", "-t", pid, "-n", sys.executable, "-c", program, *arguments]
    return subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _address(container: str) -> str:
    return _docker("inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", container)


def _docker(*words: str) -> str:
    return subprocess.run(
        ["docker", *words], check=True, capture_output=True, text=True, timeout=30
    ).stdout.strip()
