"""Work on all cores: processes that share what is loaded, however large it is."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

Item = TypeVar("Item")
Result = TypeVar("Result")

CHUNKS = 8
"""Chunks per worker process, so that no core is idle at the end."""

_work: Callable[..., Any]


def has_cores() -> bool:
    """Whether work can be done beside other work."""
    return len(os.sched_getaffinity(0)) > 1


def on_all_cores(
    work: Callable[[Item], Result], items: Sequence[Item], *, alone: int = 1
) -> Iterator[Result]:
    """Yield the result of `work` for each item, in their order; up to `alone` items are done in this process."""
    workers = min(len(os.sched_getaffinity(0)), len(items))
    if workers < 2 or len(items) <= alone:
        yield from map(work, items)
        return
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    how = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(workers, how, _prepare, (work,)) as pool:
        yield from pool.map(_do, items, chunksize=max(1, len(items) // (workers * CHUNKS)))


def _prepare(work: Callable[..., Any]) -> None:
    global _work
    _work = work


def _do(item: Any) -> Any:
    return _work(item)
