"""The allowed fields of a Kubernetes object, as CEL conditions for an admission policy. Pure.

A shape is a JSON value in which some values are left open (`Text`, `OneOf`, `Maybe`, `ANYTHING`). A mapping
is closed: an object with a key that the shape lacks is refused, including a field that a later version of
Kubernetes adds.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

Shape = Any
"""A JSON value, or one of the classes below in its place."""


@dataclass(frozen=True, slots=True)
class Text:
    """Any text that the regular expression (RE2) matches as a whole; by default any non-empty text."""

    pattern: str = "(?s).+"


@dataclass(frozen=True, slots=True)
class OneOf:
    """One of several shapes."""

    shapes: tuple[Shape, ...]


@dataclass(frozen=True, slots=True)
class Maybe:
    """As the value of a key: the key may be missing."""

    shape: Shape


@dataclass(frozen=True, slots=True)
class Anything:
    """Any value."""


ANYTHING = Anything()


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A condition that must hold, and the message of a refusal.

    `explain`: CEL of a better message, "" for none.
    """

    condition: str
    message: str
    explain: str = ""


def checks(at: str, shape: Shape, words: str = "") -> Iterator[Check]:
    """Yield the conditions for the value of the CEL expression `at` to have the `shape`; a refusal names the field.

    Args:
        at: A CEL expression of type dyn.
        shape: What its value must look like.
        words: The path of the value, as a person reads it.
    """
    if _is_open(shape, Mapping):
        yield _closed(at, shape, words)
        for key, value in shape.items():
            yield from _member_checks(at, key, value, f"{words}.{key}" if words else key)
    elif _is_open(shape, list):
        yield Check(condition=_of_size(at, shape), message=f"{words} must have {len(shape)} item(s)")
        for index, item in enumerate(shape):
            yield from _item_checks(f"{at}[{index}]", item, f"{words}[{index}]", alone=len(shape) == 1)
    else:
        yield _whole(at, shape, words)


def condition(at: str, shape: Shape) -> str:
    """Return the CEL condition under which the value of the expression `at` has the `shape`."""
    match shape:
        case Anything():
            return "true"
        case Text():
            return f"{at}.matches({literal(f'^({shape.pattern})$')})"
        case OneOf():
            return " || ".join(f"({condition(at, each)})" for each in shape.shapes)
        case _ if _is_literal(shape):
            return f"{at} == {literal(shape)}"
        case Mapping():
            members = (f"({_member(at, key, value)})" for key, value in shape.items())
            return " && ".join(chain([_closed(at, shape, "").condition], members))
        case _:
            items = (f"({condition(f'{at}[{index}]', item)})" for index, item in enumerate(shape))
            return " && ".join(chain([_of_size(at, shape)], items))


def literal(value: Any) -> str:
    """Return a JSON value as a CEL literal. Texts must be in the Basic Multilingual Plane.

    Kubernetes accepts only maps and lists of a single type (k8s.io/apiserver, pkg/cel/environment); if not
    all values are texts, each is converted to dyn.
    """
    if isinstance(value, Mapping):
        pairs = zip(map(json.dumps, value), _alike(value.values()), strict=True)
        return f"{{{', '.join(f'{key}: {each}' for key, each in pairs)}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_alike(value))}]"
    return json.dumps(value)


def _alike(values: Collection[Any]) -> list[str]:
    texts = all(isinstance(each, str) for each in values)
    return [literal(each) if texts else f"dyn({literal(each)})" for each in values]


def field(at: str, key: str) -> str:
    """Return the CEL expression of a key's value."""
    return f"{at}[{literal(key)}]"


def over(shape: Shape, more: Shape) -> Shape:
    """Return `shape` with values replaced by those of `more`, also inside mappings and lists of equal length."""
    if isinstance(shape, Mapping) and isinstance(more, Mapping):
        return {
            **shape,
            **{key: over(shape[key], each) if key in shape else each for key, each in more.items()},
        }
    if isinstance(shape, list) and isinstance(more, list) and len(shape) == len(more):
        return [over(*pair) for pair in zip(shape, more, strict=True)]
    return more


def either(one: Shape, other: Shape) -> Shape:
    """Merge two shapes with the same keys: where they differ, one or the other is allowed."""
    if one == other:
        return one
    if isinstance(one, Mapping) and isinstance(other, Mapping) and one.keys() == other.keys():
        return {key: either(one[key], other[key]) for key in one}
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return [either(*pair) for pair in zip(one, other, strict=True)]
    return OneOf((one, other))


def _member_checks(at: str, key: str, shape: Shape, words: str) -> Iterator[Check]:
    if _is_open(shape, Mapping) or _is_open(shape, list):
        yield Check(condition=f"{literal(key)} in {at}", message=f"{words} must be set")
        yield from checks(field(at, key), shape, words)
    elif shape != Maybe(ANYTHING):
        yield Check(condition=_member(at, key, shape), message=f"{words} must be {_said(shape)}")


def _item_checks(at: str, shape: Shape, words: str, *, alone: bool) -> Iterator[Check]:
    """Refuse one item of several as a whole: a condition for each of their fields would be unreadable."""
    if alone:
        yield from checks(at, shape, words)
    else:
        yield _whole(at, shape, words)


def _whole(at: str, shape: Shape, words: str) -> Check:
    return Check(condition=condition(at, shape), message=f"{words} must be {_said(shape)}")


def _member(at: str, key: str, shape: Shape) -> str:
    there = f"{literal(key)} in {at}"
    if isinstance(shape, Maybe):
        return f"!({there}) || {condition(field(at, key), shape.shape)}"
    return f"{there} && ({condition(field(at, key), shape)})"


def _closed(at: str, shape: Mapping[str, Shape], words: str) -> Check:
    known = literal(sorted(shape))
    strange = f'{at}.filter(key, !(key in {known})).map(key, string(key)).join(", ")'
    where = f"{words}: " if words else ""
    return Check(
        condition=f"{at}.all(key, key in {known})",
        message=f"{where}it has a field that chaosext does not set",
        explain=f"{literal(f'{where}chaosext does not set ')} + {strange}",
    )


def _of_size(at: str, shape: Sequence[Shape]) -> str:
    return f"size({at}) == {len(shape)}"


def _is_open(shape: Shape, kind: type) -> bool:
    """Whether it is of that type, and some part of it is left open."""
    return isinstance(shape, kind) and not _is_literal(shape)


def _is_literal(shape: Shape) -> bool:
    if isinstance(shape, Mapping):
        return all(map(_is_literal, shape.values()))
    if isinstance(shape, list):
        return all(map(_is_literal, shape))
    return not isinstance(shape, Text | OneOf | Maybe | Anything)


def _said(shape: Shape) -> str:
    match shape:
        case Maybe():
            return f"{_said(shape.shape)}, or not set"
        case Text():
            return "a text" if shape == Text() else f"a text like {shape.pattern}"
        case OneOf():
            return " or ".join(map(_said, shape.shapes))
        case _ if _is_literal(shape):
            return json.dumps(shape)
        case Mapping():
            pairs = ", ".join(f"{json.dumps(key)}: {_said(value)}" for key, value in shape.items())
            return f"{{{pairs}}}"
        case _:
            return f"[{', '.join(map(_said, shape))}]"
