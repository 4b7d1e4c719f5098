"""Parse hand-written YAML (or JSON, which is a subset) strictly and within bounds."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

from chaosext.model.bounded_json import MOST_DEPTH, MOST_VALUES, BeyondBounds, number_fits, parse_json
from chaosext.model.errors import Refused
from chaosext.model.files import STDIN, read_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

INT, FLOAT = "tag:yaml.org,2002:int", "tag:yaml.org,2002:float"
MERGE = "tag:yaml.org,2002:merge"
"""`<<`, which may occur more than once in a mapping (YAML's type repository, merge)."""


def read_mapping(path: Path, what: str, example: str) -> tuple[dict[str, Any], bytes]:
    """Read the mapping in a file that the user named as `what` (an experiment, limits), and the file's bytes.

    Raises `Refused`, naming the file, the problem and the fix; `example` shows a valid mapping.
    """
    value, data = read_document(path, what)
    if not isinstance(value, dict):
        raise Refused(f"{what} {path}: a mapping is expected", example)
    return value, data


def read_document(path: Path, what: str) -> tuple[Any, bytes]:
    """Like `read_mapping`, for a document of any type."""
    try:
        data = read_file(path)
        return parse_yaml(data), data
    except OSError as error:
        raise Refused(f"{what} {path}: {error.strerror}", file_hint(path)) from None
    except BeyondBounds as error:
        raise Refused(f"{what} {path}: {error}", "make it smaller, and expand its aliases") from None
    except ValueError as error:
        raise Refused(f"{what} {path}: neither YAML nor JSON: {error!s:.300}", "repair the file") from None


def file_hint(path: Path, otherwise: str = "use a readable file") -> str:
    """Return the fix for a file that can't be read: the one beside it that was probably meant, if it is missing."""
    if path == STDIN:
        return "pipe a file into it"
    with suppress(OSError):
        near = [] if path.exists() else get_close_matches(path.name, os.listdir(path.parent), n=1)  # noqa: PTH208
        if near:
            return f"did you mean {path.with_name(near[0])}?"
    return otherwise


def parse_yaml(data: str | bytes) -> Any:
    """Parse a single document. A duplicate key in a mapping is an error, because the last one would silently win.

    Raises ValueError with a one-line message for anything that is neither YAML nor JSON, or beyond the
    bounds: nesting depth, number of values (an alias counts each time it is used), and an alias within its
    own anchor.
    """
    try:
        text = data if isinstance(data, str) else data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 at byte {error.start:,}") from None
    if text.lstrip()[:1] in ("{", "["):
        try:
            return parse_json(text)
        except BeyondBounds:
            raise
        except ValueError:
            pass  # YAML's flow style, or an error for which YAML's parser reports the line
    with _yaml_errors():
        return _loader()(text, MOST_VALUES).get_single_data()


def parse_yaml_stream(text: str, *, most_values: int) -> Iterator[Any]:
    """Yield the documents of a stream, except empty ones. Raises as `parse_yaml`; `most_values` bounds all of them."""
    with _yaml_errors():
        loader = _loader()(text, most_values)
        while loader.check_data():
            if (value := loader.get_data()) is not None:
                yield value


@contextmanager
def _yaml_errors() -> Iterator[None]:
    """Turn the errors of PyYAML into ValueError with a message of one line."""
    import yaml

    try:
        yield
    except BeyondBounds:
        raise
    except (AttributeError, LookupError):  # such as `!!bool maybe` and `!!timestamp soon`
        raise ValueError("a value is not what its tag says") from None
    except (yaml.YAMLError, ArithmeticError, RecursionError, TypeError, ValueError) as error:
        raise ValueError(" ".join(str(error).split()) or type(error).__name__) from None


@cache
def _loader() -> Any:
    import yaml
    from yaml.composer import Composer
    from yaml.constructor import SafeConstructor
    from yaml.resolver import Resolver

    class Loader(Composer, SafeConstructor, Resolver):
        """PyYAML's SafeLoader with bounds; parses with the C library if that is available."""

        def __init__(self, text: str, most_values: int) -> None:
            events = _event_parser()(text)
            self.check_event, self.peek_event = events.check_event, events.peek_event
            self.get_event = events.get_event
            Composer.__init__(self)
            SafeConstructor.__init__(self)
            Resolver.__init__(self)
            self._values, self._most_values = 0, most_values
            self._heights = [0]
            self._measures: dict[int, tuple[int, int]] = {}

        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.events.AliasEvent):
                return self._alias(super().compose_node(parent, index))
            before = self._values
            self._take(1, 1)
            self._heights.append(0)
            node = super().compose_node(parent, index)
            height = self._heights.pop() + 1
            self._heights[-1] = max(self._heights[-1], height)
            self._measures[id(node)] = self._values - before, height
            return node

        def _alias(self, node: Any) -> Any:
            """Measure an anchored node once, and count it for each use."""
            if id(node) not in self._measures:
                raise BeyondBounds(f"line {node.start_mark.line + 1}: an alias stands within its own anchor")
            values, height = self._measures[id(node)]
            self._take(values, height)
            self._heights[-1] = max(self._heights[-1], height)
            return node

        def _take(self, values: int, height: int) -> None:
            self._values += values
            if self._values > self._most_values:
                raise BeyondBounds(
                    f"more than {self._most_values:,} values, aliases counted where they are used"
                )
            if len(self._heights) - 1 + height > MOST_DEPTH:
                raise BeyondBounds(f"nested more than {MOST_DEPTH} deep")

        def compose_mapping_node(self, anchor: Any) -> Any:
            node = super().compose_mapping_node(anchor)
            seen: set[tuple[str, str]] = set()
            for key, _ in node.value:
                if isinstance(key, yaml.ScalarNode) and key.tag != MERGE:
                    _once((key.tag, key.value), seen, key.start_mark)
            return node

        def _int(self, node: Any) -> int:
            number_fits(node.value)
            return int(self.construct_yaml_int(node))

        def _float(self, node: Any) -> float:
            number_fits(node.value)
            return float(self.construct_yaml_float(node))

        yaml_constructors: ClassVar = {**SafeConstructor.yaml_constructors, INT: _int, FLOAT: _float}

    def _once(key: tuple[str, str], seen: set[tuple[str, str]], mark: Any) -> None:
        if key in seen:
            raise yaml.composer.ComposerError(None, None, f"key {key[1]!r} occurs twice", mark)
        seen.add(key)

    return Loader


def _event_parser() -> Any:
    """Return the event parser: libyaml, else PyYAML's own, which is ten times slower."""
    try:
        from yaml.cyaml import CParser  # type: ignore[attr-defined]
    except ImportError:
        from yaml.parser import Parser
        from yaml.reader import Reader
        from yaml.scanner import Scanner

        class PureParser(Reader, Scanner, Parser):
            def __init__(self, text: str) -> None:
                Reader.__init__(self, text)
                Scanner.__init__(self)
                Parser.__init__(self)

        return PureParser
    return CParser
