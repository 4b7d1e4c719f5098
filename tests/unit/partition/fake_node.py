"""A node without a kernel: it takes transactions as nft would, answers as the scripts do, and can be in trouble."""

from __future__ import annotations

import json
import re
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from chaosext.nodes.shell import ShellResult
from chaosext.partition.nft import ON_NODE
from chaosext.partition.scripts import ARM, HEAL, INSPECT, VERIFY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from chaosext.partition.cut import Cut, NodeCut

FOREIGN = (
    "table ip filter {\n\tchain INPUT {\n\t\ttype filter hook input priority filter; policy accept;\n\t}\n}"
)


BOOT, LINKS = "0d7f-1", '[{"ifname": "eth0", "flags": ["UP", "LOWER_UP"]}]'


def table_json(cut: Cut, node: NodeCut, *, remaining_s: int = 29, owner: str = "", live: bool = True) -> str:
    """What `nft -j list table` says of `cut` in force on `node`; not live: its elements have expired."""
    table = f"chaosext_{cut.run}"
    items: list[dict[str, Any]] = [
        {"metainfo": {"version": "1.0.6"}},
        {"table": {"family": "inet", "name": table}},
    ]
    ways = {
        "inbound": ("prerouting", "iifname", "saddr", "in"),
        "outbound": ("postrouting", "oifname", "daddr", "out"),
    }
    own = {"family": "inet", "table": table}
    for chain, (hook, *_) in ways.items():
        items.append({"chain": {**own, "name": chain, "hook": hook, "prio": -350}})
    for family, protocol, name in (("ipv4", "ip", "peers4"), ("ipv6", "ip6", "peers6")):
        peers = cut.peers_in(family)  # type: ignore[arg-type]
        if not peers:
            continue
        elements = [
            {"elem": {"val": _value(peer), "timeout": int(cut.ttl_s), "expires": remaining_s}}
            for peer in peers
        ]
        items.append({"set": {**own, "name": name, **({"elem": elements} if live else {})}})
        for chain, (_, interface, address, way) in ways.items():
            label = (
                f"chaosext run={cut.run} owner={owner or cut.owner} until=2026-10-02T12:00:31Z {way} {family}"
            )
            expressions = [
                _match({"meta": {"key": interface}}, {"set": list(node.uplinks)}),
                _match({"payload": {"protocol": protocol, "field": address}}, f"@{name}"),
                {"counter": {"packets": 3, "bytes": 180}},
                {"drop": None},
            ]
            items.append({"rule": {**own, "chain": chain, "comment": label, "expr": expressions}})
    return json.dumps({"nftables": items})


def _value(peer: Any) -> Any:
    if peer.num_addresses == 1:
        return str(peer.network_address)
    return {"prefix": {"addr": str(peer.network_address), "len": peer.prefixlen}}


def _match(left: dict[str, Any], right: Any) -> dict[str, Any]:
    return {"match": {"op": "==", "left": left, "right": right}}


@dataclass
class FakeNode:
    """`tables`: run -> what nft says of it. What a test sets: `trouble` (script -> what to raise or answer instead),
    `takes`: what comes of the rules that are sent ("": as nft would); `waited_ms`: how long it has waited for them by
    then, `took_ms`: how long nft takes, `slow_s`: how long its first line takes.
    """

    node: str
    tables: dict[str, str] = field(default_factory=dict)
    armed_json: Callable[[], str] = lambda: ""
    trouble: dict[str, Exception | str] = field(default_factory=dict)
    takes: str = ""
    foreign: str = FOREIGN
    changed_foreign: str = FOREIGN
    calls: list[tuple[str, float | None]] = field(default_factory=list)
    sent: list[str] = field(default_factory=list)
    allowed_ms: list[int] = field(default_factory=list)
    delays_ms: list[int] = field(default_factory=list)
    waited_ms: int = 0
    took_ms: int = 20
    slow_s: float = 0.0
    left: int = 0

    def run(self, script: str, *, stdin: str = "", timeout_s: float) -> ShellResult:
        self.calls.append((_named(script), timeout_s))
        if self._trouble(script):
            return ShellResult(1, str(self.trouble[_named(script)]), "said on stderr")
        answers = {HEAL: self._heal, INSPECT: self._inspect, VERIFY: self._verify}
        return ShellResult(0, answers[script](stdin) if script in answers else self._all(self.foreign), "")

    @contextmanager
    def stream(self, script: str, *, timeout_s: float | None = None) -> Iterator[Lines]:
        self.calls.append((_named(script), timeout_s))
        try:
            yield Lines(self, self._look() if not self._trouble(script) else str(self.trouble["arm"]))
        finally:
            self.left += 1

    def commit(self, told: str) -> str:
        """What the script says once it was sent its rules; `waited_ms` after it was ready for them."""
        header, _, transaction = told.partition("\n")
        within_ms, armed_ms, delay_ms = map(int, header.split())
        self.allowed_ms.append(within_ms)
        self.delays_ms.append(delay_ms)
        left_ms, wait_ms = armed_ms - self.waited_ms, delay_ms and delay_ms - self.waited_ms
        if self.waited_ms > within_ms:
            return f"@@chaosext late\n{self.waited_ms}\n@@chaosext end\n"
        transaction = transaction.replace(str(ON_NODE.armed), str(left_ms)).replace(
            str(ON_NODE.delay), str(wait_ms)
        )
        self.sent.append(transaction)
        run = re.search(r"chaosext_(\w+)", transaction)
        if self.takes:
            return self.takes
        if run:
            whole_s = f'"timeout": {left_ms // 1000}'
            self.tables[run[1]] = re.sub(r'"timeout": \d+', whole_s, self.armed_json())
        lasting = f"@@chaosext lasting\n{left_ms} {wait_ms} {self.took_ms}\n"
        return f"@@chaosext committed\n{lasting}{self._after()}@@chaosext end\n"

    def _trouble(self, script: str) -> bool:
        trouble = self.trouble.get(_named(script))
        if isinstance(trouble, Exception):
            raise trouble
        return trouble is not None

    def _look(self) -> str:
        return f"@@chaosext foreign-before\n{self.foreign}\n@@chaosext ours-before\n{self._ours()}@@chaosext ready\n"

    def _after(self) -> str:
        return f"@@chaosext ours-after\n{self._ours()}@@chaosext foreign-after\n{self.changed_foreign}\n"

    def _ours(self) -> str:
        return "".join(f"{said}\n" for said in self.tables.values())

    def _all(self, foreign: str) -> str:
        return foreign + "".join(f"\ntable inet chaosext_{run} {{\n}}" for run in self.tables)

    def _heal(self, told: str) -> str:
        before = self._all(self.foreign)
        table = told.split()[1]
        own = self.tables.pop(table.removeprefix("chaosext_"), "")
        after = self._all(self.changed_foreign)
        own = f"@@chaosext ours-before\n{own}\n{'' if own else '@@chaosext unseen'}\n"
        return (
            f"@@chaosext foreign-before\n{before}\n{own}@@chaosext disarm\n@@chaosext tables\n"
            f"@@chaosext foreign-after\n{after}\n@@chaosext end\n"
        )

    def _verify(self, told: str) -> str:
        own = self.tables.get(told.strip().removeprefix("chaosext_"), "")
        return f"@@chaosext boot\n{BOOT}\n@@chaosext links\n{LINKS}\n@@chaosext ours\n{own}\n@@chaosext end\n"

    def _inspect(self, _: str) -> str:
        return f"@@chaosext ours\n{self._ours()}@@chaosext lock\n@@chaosext end\n"


@dataclass
class Lines:
    """The script's lines; after `ready` it waits for its rules."""

    node: FakeNode
    text: str
    rest: Iterator[str] = field(init=False)

    def __post_init__(self) -> None:
        self.rest = iter(self.text.splitlines())

    def __iter__(self) -> Lines:
        return self

    def __next__(self) -> str:
        if isinstance(error := self.node.trouble.get("line"), Exception):
            raise error
        slow_s, self.node.slow_s = self.node.slow_s, 0.0
        threading.Event().wait(slow_s)
        return next(self.rest)

    def send(self, text: str) -> None:
        said = self.node.commit(text)
        if error := self.node.trouble.get("sent"):
            raise error if isinstance(error, Exception) else RuntimeError(error)
        self.rest = iter(said.splitlines())


def _named(script: str) -> str:
    return {ARM: "arm", HEAL: "heal", INSPECT: "inspect", VERIFY: "verify"}.get(script, script)
