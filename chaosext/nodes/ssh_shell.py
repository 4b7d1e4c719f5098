"""A shell on a node through ssh: for nodes that are machines, also while no API server answers."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chaosext.model.errors import Refused
from chaosext.nodes.process_shell import GRACE_S, ProcessStream, run_process

if TYPE_CHECKING:
    from chaosext.nodes.shell import ShellResult

CONNECT_S = 5

NOT_CONNECTED = 255
"""Exit status of ssh itself, as opposed to the remote command's (ssh(1), EXIT STATUS)."""

_DESTINATION = re.compile(r"(?:[A-Za-z0-9_.-]+@)?[A-Za-z0-9\[:][A-Za-z0-9._:\]-]*")


@dataclass(frozen=True, slots=True)
class SshShell:
    """A root shell on `node` at `destination` ([user@]host, or a name of ssh's configuration).

    It never asks: keys and host keys must be in place, and another user than root needs sudo without a password.
    """

    node: str
    destination: str

    def __post_init__(self) -> None:
        if not _DESTINATION.fullmatch(self.destination) or self.destination.startswith("-"):
            raise Refused(f"{self.destination!r:.80} is not a destination for ssh", "write [USER@]HOST")

    def run(self, script: str, *, stdin: str = "", timeout_s: float) -> ShellResult:
        argv = self._argv(script, timeout_s)
        return run_process(self.node, argv, stdin=stdin, timeout_s=timeout_s, not_entered=ssh_not_entered)

    def stream(self, script: str, *, timeout_s: float | None = None) -> ProcessStream:
        argv = self._argv(script, timeout_s)
        return ProcessStream(self.node, argv, timeout_s=timeout_s, not_entered=ssh_not_entered)

    def _argv(self, script: str, timeout_s: float | None) -> list[str]:
        bound = f"timeout -k 1 {timeout_s + GRACE_S:g} " if timeout_s is not None else ""
        as_root = 'if [ "$(id -u)" = 0 ]; then as=; else as="sudo -n"; fi; exec $as'
        options = ["-T", "-o", "BatchMode=yes", "-o", f"ConnectTimeout={CONNECT_S}"]
        return ["ssh", *options, "--", self.destination, f"{as_root} {bound}bash -c {shlex.quote(script)}"]


def ssh_not_entered(exit_code: int, stderr: str) -> bool:
    """Whether ssh failed before the script began: no connection, an unknown host key, or no rights."""
    return exit_code == NOT_CONNECTED or "sudo: a password is required" in stderr
