"""A shell in a network namespace: the tests' nodes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from chaosext.model.names import require_name
from chaosext.nodes.process import ProcessStream, run_process

if TYPE_CHECKING:
    from chaosext.nodes.shell import ShellResult


@dataclass(frozen=True, slots=True)
class NetnsShell:
    """The shell of the network namespace `node` (needs root and iproute2)."""

    node: str

    def run(self, script: str, *, stdin: str = "", timeout_s: float) -> ShellResult:
        argv = self._argv(script)
        return run_process(self.node, argv, stdin=stdin, timeout_s=timeout_s, not_entered=not_entered)

    def stream(self, script: str, *, timeout_s: float | None = None) -> ProcessStream:
        return ProcessStream(self.node, self._argv(script), timeout_s=timeout_s, not_entered=not_entered)

    def _argv(self, script: str) -> list[str]:
        return ["ip", "netns", "exec", require_name(self.node), "bash", "-c", script]


def not_entered(exit_code: int, stderr: str) -> bool:
    """Whether `ip netns exec` failed before the script began."""
    return exit_code in (1, 255) and "network namespace" in stderr
