"""Convert the YAML that kubectl and its like write into JSON, within bounds.

A List is parsed one item at a time: the parser's own objects take a hundred times the memory of the text.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from chaosext.cluster.object_files import parse_yaml_stream
from chaosext.model.bounded_json import MOST_JSON_COST

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

LARGEST_YAML = 256 << 20
"""Maximum bytes of YAML, which takes minutes to parse. JSON of this size takes seconds."""

_DOCUMENT = re.compile(r"(?m)^---(?=\s|\Z)")
_LIST = re.compile(r"(?m)^items:[ \t]*\r?\n(?P<indent> *)(?=- )")
_AFTER_LIST = re.compile(r"(?m)^[^\s#-]")
_KIND = r"""kind:[ \t]*["']?(\w+)"""
_OWN_KIND = re.compile(rf"(?m)^{_KIND}")

_NOTHING = b'{"apiVersion":"v1","kind":"List","items":[]}'


class Truncated(ValueError):
    """A List has items and no kind, which kubectl writes after them."""

    def __init__(self) -> None:
        super().__init__("a List without its kind; the file is truncated")


def json_of_yaml(data: bytes, unused: Collection[str]) -> bytes:
    """Return the documents of a YAML stream as JSON, one after another, without the objects of the kinds `unused`.

    Raises ValueError for anything that is not YAML, or beyond the bounds.
    """
    if len(data) > LARGEST_YAML:
        raise ValueError(f"more than {LARGEST_YAML >> 20} MiB of YAML; use JSON")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 at byte {error.start:,}") from None
    try:
        return b"\n".join(each for part in _DOCUMENT.split(text) for each in _document(part, unused))
    except Truncated:
        raise
    except ValueError:  # not as kubectl writes it, but it may still be YAML
        return b"\n".join(_parsed(text))


def _document(text: str, unused: Collection[str]) -> Iterator[bytes]:
    kind, found = _OWN_KIND.search(text), _LIST.search(text)
    if kind and kind[1].removesuffix("List") in unused:
        yield _NOTHING
        return
    if found is None:
        yield from _parsed(text)
        return
    begin = found.start("indent")
    after = _AFTER_LIST.search(text, begin)
    end = after.start() if after else len(text)
    head = _head(text[: found.start()] + text[end:])
    items = [msgspec.Raw(_item(each)) for each in _items(text[begin:end], found["indent"], unused)]
    yield _encoded(_whole({**head, "items": items}))


def _items(text: str, indent: str, unused: Collection[str]) -> Iterator[str]:
    """Yield the text of each item of a sequence with this indent."""
    kind_of = re.compile(rf"(?m)^{indent}[- ] {_KIND}")
    starts = [found.start() for found in re.finditer(rf"(?m)^{indent}- ", text)]
    for begin, end in zip(starts, [*starts[1:], len(text)], strict=True):
        item = text[begin:end]
        kind = kind_of.search(item)
        if not kind or kind[1] not in unused:
            yield item


def _item(text: str) -> bytes:
    """Return the only item of a sequence as JSON."""
    match list(parse_yaml_stream(text, most_values=MOST_JSON_COST)):
        case [[value]]:
            return _encoded(value)
    raise ValueError("not one item of a sequence")


def _head(text: str) -> dict[str, Any]:
    match list(parse_yaml_stream(text, most_values=MOST_JSON_COST)):
        case []:
            return {}
        case [dict() as head]:
            return head
    raise ValueError("not one mapping")


def _parsed(text: str) -> Iterator[bytes]:
    return map(_encoded, map(_whole, parse_yaml_stream(text, most_values=MOST_JSON_COST)))


def _whole(value: Any) -> Any:
    """Return a document. Raises `Truncated` for a List without its end."""
    if isinstance(value, dict) and "items" in value and "kind" not in value:
        raise Truncated
    return value


def _encoded(value: Any) -> bytes:
    """Return a value as JSON. Raises ValueError for one that JSON does not have."""
    try:
        return msgspec.json.encode(value)
    except (TypeError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
        raise ValueError(str(error)) from None
