"""Calico's selector language as used by BGPPeers: whether a node's labels match.

Source of the grammar: Calico's reference, "Selectors" (docs.tigera.io, Resource definitions): `all()`,
`global()`, `has(k)`, `k == "v"`, `k != "v"`, `k in {"a", "b"}`, `k not in {…}`, `k contains "s"`, `k starts
with "s"`, `k ends with "s"`, `!`, `&&`, `||` and parentheses. `!=` and `not in` are true for a missing label.
"""

from __future__ import annotations

import re
from collections import deque
from functools import lru_cache
from typing import TYPE_CHECKING

from chaosext.model.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Predicate = Callable[[Mapping[str, str]], bool]

MOST_DEPTH = 50
"""Nesting depth of parentheses and negations."""

TOKEN = re.compile(
    r"""\s*(?:
        (?P<call>all\(\s*\)|global\(\s*\))
      | has\(\s*(?P<has>[A-Za-z0-9_./-]+)\s*\)
      | (?P<operator>==|!=|&&|\|\||!|\(|\)|\{|\}|,)
      | (?P<words>not\s+in\b|in\b(?=\s*\{)|contains\b|starts\s+with\b|ends\s+with\b)
      | "(?P<double>[^"]*)" | '(?P<single>[^']*)'
      | (?P<label>[A-Za-z0-9_./-]+)
    )""",
    re.VERBOSE,
)


def matches(selector: str, labels: Mapping[str, str]) -> bool:
    """Whether `labels` match `selector`; the empty selector matches everything.

    Raises `Refused` if the selector cannot be parsed: a guess could select the wrong nodes.
    """
    return _compiled(selector)(labels)


@lru_cache(maxsize=256)
def _compiled(selector: str) -> Predicate:
    if not selector.strip():
        return lambda labels: True
    return _Parser(selector).parse()


def _tokens(selector: str) -> list[tuple[str, str]]:
    """Split the selector into (kind, text) pairs; kinds are TOKEN's groups, with both quotes as "value"."""
    found, position, text = [], 0, selector.rstrip()
    while position < len(text):
        match = TOKEN.match(text, position)
        if match is None:
            raise _unreadable(selector)
        kind = str(match.lastgroup)
        found.append(("value" if kind in ("double", "single") else kind, match[kind]))
        position = match.end()
    return found


def _unreadable(selector: str) -> Refused:
    return Refused(f"can't read the Calico selector {selector!r:.200}", "correct the BGPPeer's selector")


class _Parser:
    """Recursive descent: or-terms of and-terms of (negated) atoms."""

    def __init__(self, selector: str) -> None:
        self._selector = selector
        self._rest = deque(_tokens(selector))
        self._depth = 0

    def parse(self) -> Predicate:
        predicate = self._any_of()
        if self._rest:
            raise _unreadable(self._selector)
        return predicate

    def _any_of(self) -> Predicate:
        terms = [self._all_of()]
        while self._took("||"):
            terms.append(self._all_of())
        return lambda labels: any(term(labels) for term in terms)

    def _all_of(self) -> Predicate:
        terms = [self._atom()]
        while self._took("&&"):
            terms.append(self._atom())
        return lambda labels: all(term(labels) for term in terms)

    def _atom(self) -> Predicate:
        self._depth += 1
        if self._depth > MOST_DEPTH:
            raise _unreadable(self._selector)
        predicate = self._atom_within()
        self._depth -= 1
        return predicate

    def _atom_within(self) -> Predicate:
        if self._took("!"):
            inner = self._atom()
            return lambda labels: not inner(labels)
        if self._took("("):
            inner = self._any_of()
            self._expect(")")
            return inner
        kind, text = self._next()
        if kind == "call":
            return lambda labels: True
        if kind == "has":
            return lambda labels: text in labels
        if kind == "label":
            return self._comparison(text)
        raise _unreadable(self._selector)

    def _comparison(self, label: str) -> Predicate:
        _, operator = self._next()
        operator = " ".join(operator.split())
        if operator in ("in", "not in"):
            values = self._values()
            return lambda labels: (labels.get(label) in values) == (operator == "in")
        value = self._value()
        tests: dict[str, Predicate] = {
            "==": lambda labels: labels.get(label) == value,
            "!=": lambda labels: labels.get(label) != value,
            "contains": lambda labels: value in labels.get(label, "") and label in labels,
            "starts with": lambda labels: label in labels and labels[label].startswith(value),
            "ends with": lambda labels: label in labels and labels[label].endswith(value),
        }
        if operator not in tests:
            raise _unreadable(self._selector)
        return tests[operator]

    def _values(self) -> frozenset[str]:
        self._expect("{")
        values: set[str] = set()
        while not self._took("}"):
            values.add(self._value())
            self._took(",")
        return frozenset(values)

    def _value(self) -> str:
        kind, text = self._next()
        if kind != "value":
            raise _unreadable(self._selector)
        return text

    def _next(self) -> tuple[str, str]:
        if not self._rest:
            raise _unreadable(self._selector)
        return self._rest.popleft()

    def _took(self, operator: str) -> bool:
        if not self._rest or self._rest[0] != ("operator", operator):
            return False
        self._rest.popleft()
        return True

    def _expect(self, operator: str) -> None:
        if not self._took(operator):
            raise _unreadable(self._selector)
