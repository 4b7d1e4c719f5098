"""A shell on a node: the interface of all transports (docker, netns, pod), and how nodes are entered."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from contextlib import AbstractContextManager


@dataclass(frozen=True, slots=True)
class ShellResult:
    """How a script ended on a node."""

    exit_code: int
    stdout: str
    stderr: str


class NodeStream(Iterator[str], Protocol):
    """The output lines of a running script (without line breaks), and its stdin.

    Iterating raises `Unreachable` if the node cannot be entered, or when the time limit is reached.
    """

    def send(self, text: str) -> None:
        """Send `text` to the script and close its stdin. Call this at most once."""


class NodeShell(Protocol):
    """Runs bash scripts in a node's network namespace.

    `node` is the node's name in Kubernetes (in tests: the namespace's name).
    """

    @property
    def node(self) -> str: ...

    def run(self, script: str, *, stdin: str = "", timeout_s: float) -> ShellResult:
        """Run `script` with bash, feeding it `stdin`; a non-zero exit code is returned, not raised.

        Raises `Unreachable` if the node cannot be entered or does not answer within `timeout_s`.
        """

    def stream(self, script: str, *, timeout_s: float | None = None) -> AbstractContextManager[NodeStream]:
        """Run a long `script` and yield its output lines as they come, for at most `timeout_s`.

        The script's stdin stays open inside the context, and is closed on leaving it or when the runner dies.
        A script must end on EOF of its stdin, so that it does not outlive the runner.
        """


DOCKER, NETNS, POD = "docker", "netns", "pod"
DEFAULT = DOCKER

NAMESPACE = "chaosext"
"""Namespace of chaosext's own Pods (sentinels, and those of transport `pod`), unless another one is set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeAccess:
    """How nodes are entered, with everything that another process needs to enter them again later.

    The fields after `transport` are for `pod` only: the context of the API server, and the namespace, image,
    run and owner of the Pods on the nodes. `with_bird`: the Pods mount BIRD's socket. `start_s`: seconds that
    a Pod may take to start. `only`: the nodes that can be entered now, because the others are cut off; None:
    all. `closed`: why no node can be entered; "" otherwise. `on_nodes`: cuts are on the nodes' side, so any
    node may have leftovers.
    """

    transport: str = DEFAULT
    context: str = ""
    namespace: str = ""
    image: str = ""
    run: str = ""
    owner: str = ""
    with_bird: bool = False
    start_s: float = 60.0
    only: frozenset[str] | None = None
    closed: str = ""
    on_nodes: bool = False

    @property
    def asks_the_api_server(self) -> bool:
        return self.transport == POD


BY_DOCKER = NodeAccess()
