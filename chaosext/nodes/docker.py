"""A shell on a kind node: `docker exec` into the container that is the node."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from chaosext.model.names import require_name
from chaosext.nodes.process import ProcessStream, run_process

if TYPE_CHECKING:
    from chaosext.nodes.shell import ShellResult

# What the docker client itself says when it can't enter (docker/cli 20.10 to 28), lower-cased.
_CLIENT_FAILURES = (
    "error: no such container",
    "error response from daemon",
    "cannot connect to the docker daemon",
    "failed to connect to the docker api",
    "permission denied while trying to connect",
    "oci runtime exec failed",
    "error during connect",
)


GRACE_S = 1.0
"""By how much a script may outlive its time limit: killing the docker client ends nothing inside the container."""


@dataclass(frozen=True, slots=True)
class DockerShell:
    """The shell of the kind node `node`, whose container has the same name (or of any container with coreutils)."""

    node: str

    def run(self, script: str, *, stdin: str = "", timeout_s: float) -> ShellResult:
        argv = self._argv(script, timeout_s)
        return run_process(self.node, argv, stdin=stdin, timeout_s=timeout_s, not_entered=not_entered)

    def stream(self, script: str, *, timeout_s: float | None = None) -> ProcessStream:
        argv = self._argv(script, timeout_s)
        return ProcessStream(self.node, argv, timeout_s=timeout_s, not_entered=not_entered)

    def _argv(self, script: str, timeout_s: float | None) -> list[str]:
        bound = ["timeout", "-k", "1", f"{timeout_s + GRACE_S:g}"] if timeout_s is not None else []
        return ["docker", "exec", "-i", "--", require_name(self.node), *bound, "bash", "-c", script]


def not_entered(exit_code: int, stderr: str) -> bool:
    """Whether `docker exec` failed before the script began: no daemon, no container, or a stopped one."""
    said = stderr.lower()
    return exit_code in (1, 125, 126, 127, 128) and any(phrase in said for phrase in _CLIENT_FAILURES)
