"""Objects under what they have in common beyond a run: the Pods of one owner together. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaosext.model.lasting import lasting

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def by_owner(names: Iterable[str]) -> Mapping[str, tuple[str, ...]]:
    """The names under what they have in common; a name that shares it with no other stays as it is."""
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(lasting(name), []).append(name)
    return {owner if len(own) > 1 else own[0]: tuple(own) for owner, own in found.items()}
