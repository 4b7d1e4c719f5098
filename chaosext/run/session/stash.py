"""What each package keeps about a run, under typed keys of its own: the run itself knows none of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class Key(Generic[T]):
    """The key of one entry; `make` gives the entry's value when it is first read."""

    __slots__ = ("make",)

    def __init__(self, make: Callable[[], T]) -> None:
        self.make = make


class Stash:
    """Entries by key. Reading one that is not there yet makes it."""

    __slots__ = ("_values",)

    def __init__(self) -> None:
        self._values: dict[Key[Any], Any] = {}

    def __getitem__(self, key: Key[T]) -> T:
        if key not in self._values:
            self._values.setdefault(key, key.make())
        return cast("T", self._values[key])

    def __setitem__(self, key: Key[T], value: T) -> None:
        self._values[key] = value
