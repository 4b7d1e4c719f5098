"""Two nodes on a real kernel, and what their rulesets hold, read without any code of the product."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from chaosext.nodes.process_shell import NetnsShell
from tests.trust.lab.nftables import Nftables

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

OURS, LOCK = "chaosext_", ("inet", "chaosext.lock")
COMMAND_S = 20.0

Table = tuple[str, str]
"""Family and name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A node's ruleset: for each run the elements that drop, each foreign table with all that is in it, and whose run
    the node's lock is ("": it is free), with or without its element.
    """

    dropping: Mapping[str, frozenset[str]]
    drop_rules: Mapping[str, int]
    foreign: Mapping[Table, str]
    locked: str
    lock_holds: bool


@dataclass(slots=True)
class World:
    """Network namespaces that play nodes."""

    tag: str
    _rulesets: dict[str, Nftables] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._rulesets)

    def up(self, count: int) -> None:
        for index in range(count):
            name = f"cxm{os.getpid()}-{self.tag}{index}"
            _command("ip", "netns", "add", name)
            self._rulesets[name] = Nftables(name)

    def down(self) -> None:
        while self._rulesets:
            name, ruleset = self._rulesets.popitem()
            ruleset.close()
            _command("ip", "netns", "del", name)

    def clear(self) -> None:
        for name in self.names:
            self.nft(name, "flush ruleset\n")

    def shells(self, names: Iterable[str]) -> dict[str, NetnsShell]:
        return {name: NetnsShell(name) for name in names}

    def nft(self, name: str, text: str) -> None:
        self._rulesets[name].run(text)

    def see(self, name: str) -> Seen:
        return seen(json.loads(self._rulesets[name].run("list ruleset", as_json=True))["nftables"])


def seen(items: list[dict[str, Any]]) -> Seen:
    """What nft's JSON holds; handles and counters change by themselves and are left out."""
    dropping: dict[str, frozenset[str]] = {}
    drop_rules: dict[str, int] = {}
    foreign: dict[Table, list[str]] = {}
    locks: dict[str, bool] = {}
    for kind, value in (pair for item in items for pair in item.items() if pair[0] != "metainfo"):
        family, table = value["family"], value["name" if kind == "table" else "table"]
        if (family, table) == LOCK:
            if kind == "set":
                locks[value["name"].removeprefix("run_")] = bool(value.get("elem"))
            continue
        if family != "inet" or not table.startswith(OURS):
            value.pop("handle", None)
            foreign.setdefault((family, table), []).append(json.dumps({kind: value}, sort_keys=True))
            continue
        run = table.removeprefix(OURS)
        elements = map(_spelt, value.get("elem", ())) if kind == "set" else ()
        dropping[run] = dropping.get(run, frozenset()) | frozenset(elements)
        drop_rules[run] = drop_rules.get(run, 0) + (kind == "rule" and {"drop": None} in value["expr"])
    joined = {table: "\n".join(parts) for table, parts in foreign.items()}
    ((locked, holds),) = locks.items() or {"": False}.items()
    return Seen(dropping=dropping, drop_rules=drop_rules, foreign=joined, locked=locked, lock_holds=holds)


def _spelt(element: Any) -> str:
    value = element["elem"]["val"] if isinstance(element, dict) and "elem" in element else element
    return f"{value['prefix']['addr']}/{value['prefix']['len']}" if isinstance(value, dict) else str(value)


def _command(*argv: str) -> None:
    done = subprocess.run(argv, text=True, capture_output=True, timeout=COMMAND_S, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(argv)}: {done.stderr}")
