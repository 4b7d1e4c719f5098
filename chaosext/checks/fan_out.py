"""Query many nodes in parallel, so that a check takes as long as its slowest node."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from chaosext.model.errors import Unreachable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from chaosext.nodes.shell import NodeShell

T = TypeVar("T")

MAX_NODES_AT_ONCE = 32

LANES = 16
"""Sockets that one node opens in parallel: a burst of processes on a busy node would itself cause delays."""


def ask_all(shells: Mapping[str, NodeShell], ask: Callable[[NodeShell], T]) -> dict[str, T | Unreachable]:
    """Return node -> the result of `ask` for its shell, or the error with which that node failed."""

    def safely(shell: NodeShell) -> T | Unreachable:
        try:
            return ask(shell)
        except Unreachable as error:
            return error

    workers = max(1, min(len(shells), MAX_NODES_AT_ONCE))
    with ThreadPoolExecutor(max_workers=workers, thread_name_prefix="ask") as pool:
        return dict(zip(shells, pool.map(safely, shells.values()), strict=True))


def budget_s(count: int, each_s: float, *, lanes: int = LANES, grace_s: float = 5.0) -> float:
    """Return the timeout of a script that runs `count` tasks of at most `each_s` seconds, `lanes` in parallel."""
    rounds = -(-count // lanes)
    return rounds * (each_s + 1.0) + grace_s
