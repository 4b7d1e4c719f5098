"""What each package keeps about a run, under typed keys of its own: the run itself knows none of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class Key(Generic[T]):
    """The key of one entry; `make` gives the entry's value when it is first read."""

    __slots__ = ("make",)

    def __init__(self, make: Callable[[], T]) -> None:
        self.make = make


class Stash(dict[Key[Any], Any]):
    """Entries by key. Reading one that is not there yet makes it."""

    def __missing__(self, key: Key[Any]) -> Any:
        return self.setdefault(key, key.make())

    if TYPE_CHECKING:

        def __getitem__(self, key: Key[T]) -> T: ...

        def __setitem__(self, key: Key[T], value: T) -> None: ...
