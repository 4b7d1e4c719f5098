"""A cluster and its nodes in this process: they answer from a testbed's sample, and count what would touch them."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chaosext.checks.bgp_established import LEAF_SCRIPT
from chaosext.checks.dns_resolvable import SCRIPT as DNS
from chaosext.checks.tcp_reachability import SCRIPT as TCP
from chaosext.cluster.client import PATHS, ApiAnswer, Cluster, _decode
from chaosext.cluster.execute import ExecResult
from chaosext.nodes.bird import BIRD_SCRIPT
from chaosext.nodes.node_network import SCRIPT as NETWORK
from chaosext.nodes.shell import ShellResult
from chaosext.partition.scripts import ARM, HEAL, INSPECT, LOCK, VERIFY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

CONTEXT = "kind-chaosext"
NOW = datetime(2026, 11, 23, 11, 0, tzinfo=UTC)
"""The API server's clock: the sample's Leases were renewed some seconds before."""
SAMPLE = Path(__file__).parent / "sample.json"


@cache
def sample() -> dict[str, Any]:
    """What a testbed's API server, istiod, BIRD, FRR and `ip` answered."""
    found: dict[str, Any] = json.loads(SAMPLE.read_text())
    return found


class Api(Cluster):
    """The sample's API server. `spoilt`: kind -> the bytes that it answers instead."""

    def __init__(self, spoilt: Mapping[str, bytes] | None = None, syncz: str | None = None) -> None:
        self.context, self.server, self.request_timeout_s = CONTEXT, "https://127.0.0.1:6443", 1.0
        self.spoilt, self.syncz = spoilt or {}, sample()["syncz"] if syncz is None else syncz
        self.touched: list[str] = []

    ca_sha256 = "c0ffee"

    def ask(self, method: str, path: str, **more: Any) -> ApiAnswer:
        if path == "/version":
            return ApiAnswer(status=200, body={}, at=NOW)
        kind, name = _asked(path)
        if method != "GET":
            self.touched.append(f"{method} {path}")
        if kind in self.spoilt:
            return ApiAnswer(status=200, body=_decode(self.spoilt[kind], CONTEXT))
        found = sample()["api"].get(kind, [])
        if not name:
            return ApiAnswer(status=200, body={"items": _selected(found, path, more.get("query") or {})})
        named = [each for each in found if each["metadata"]["name"] == name]
        return ApiAnswer(status=200 if named else 404, body=named[0] if named else {})

    def exec(self, *_: Any, **__: Any) -> ExecResult:
        return ExecResult(exit_code=0, stdout=self.syncz, stderr="")


def _asked(path: str) -> tuple[str, str]:
    words = path.split("/")
    kind = next(
        word for word in reversed(words) if word in PATHS and (word != "namespaces" or len(words) < 6)
    )
    return kind, path.partition(f"/{kind}/")[2]


def _selected(
    found: list[dict[str, Any]], path: str, query: Mapping[str, str | None]
) -> list[dict[str, Any]]:
    """The sample is small: of the selectors only equality on one label is understood."""
    namespace = path.partition("/namespaces/")[2].partition("/")[0]
    key, equals, wanted = (query.get("labelSelector") or "").partition("=")
    return [
        each
        for each in found
        if namespace in ("", each["metadata"].get("namespace"))
        and (not equals or " " in key or each["metadata"].get("labels", {}).get(key) == wanted)
    ]


@dataclass(slots=True)
class Node:
    """A shell that knows by the script what to answer (`answers`), and counts what would change a node."""

    node: str
    answers: Mapping[str, str | Callable[[str], str]]
    mutating: frozenset[str] = frozenset()
    touched: list[str] = field(default_factory=list)

    def run(self, script: str, *, stdin: str = "", timeout_s: float) -> ShellResult:
        if script in self.mutating:
            self.touched.append(stdin)
        answer = self.answers.get(script, "")
        return ShellResult(0, answer if isinstance(answer, str) else answer(stdin), "")

    @contextmanager
    def stream(self, script: str, *, timeout_s: float | None = None) -> Iterator[Stream]:
        yield Stream(self, self.answers[script])


@dataclass(slots=True)
class Stream:
    """The lines of an answer; those after `ready` come when something was sent."""

    node: Node
    answer: str | Callable[[str], str]
    lines: Iterator[str] = field(init=False)

    def __post_init__(self) -> None:
        self.lines = iter(split(self.answer if isinstance(self.answer, str) else self.answer("")))

    def __iter__(self) -> Stream:
        return self

    def __next__(self) -> str:
        return next(self.lines)

    def send(self, text: str) -> None:
        self.node.touched.append(text)


def split(answer: str) -> Sequence[str]:
    """Lines as a pipe gives them: other breaks than newlines stay within."""
    return answer.removesuffix("\n").split("\n") if answer else ()


def node(name: str) -> Node:
    """A node of the sample that answers well."""
    return Node(name, {**answers(), NETWORK: sample()["network"].get(name, WORKER_NETWORK)})


FREE = "@@chaosext ours\n@@chaosext lock\n@@chaosext end\n"
"""What a node says that has nothing of ours."""


def answers() -> dict[str, str | Callable[[str], str]]:
    """Script -> what a node answers that is free, and on which the cut of `sample.json` is armed and healed."""
    found: dict[str, str] = sample()["node"]
    return {
        ARM: found["arm"],
        HEAL: found["heal"],
        INSPECT: FREE,
        VERIFY: found["verify"],
        LOCK: found["lock"],
        TCP: blocked,
        DNS: resolved,
        BIRD_SCRIPT: sample()["bird"],
        LEAF_SCRIPT: sample()["frr"],
    }


def blocked(stdin: str) -> str:
    """Every connect timed out."""
    return "".join(f"{line.split()[0]} 124 \n" for line in stdin.splitlines()[1:])


def opened(stdin: str) -> str:
    """Every connect was accepted."""
    return "".join(f"{line.split()[0]} 0 \n" for line in stdin.splitlines()[1:])


def resolved(stdin: str) -> str:
    """Every lookup was answered with the Services' addresses."""
    return "".join(
        f"{line.split()[0]} 0 1500 reply:{_reply(line.split())}\n" for line in stdin.splitlines()[1:]
    )


def lost(stdin: str) -> str:
    """As `resolved`, but for every third lookup, which timed out."""
    lines = resolved(stdin).splitlines()
    late = (f"{line.split()[0]} 124 2000000 " if index % 3 == 0 else line for index, line in enumerate(lines))
    return "".join(f"{line}\n" for line in late)


def _reply(row: Sequence[str]) -> str:
    from dns.message import from_wire, make_response
    from dns.rdatatype import A
    from dns.rrset import from_text

    wire = b64decode(row[-1])
    query = from_wire(wire[2:] if row[1] == "tcp" else wire)
    response = make_response(query)
    question = query.question[0]
    names = {each["metadata"]["name"]: each["spec"]["clusterIP"] for each in sample()["api"]["services"]}
    address = names[str(question.name).partition(".")[0]]
    if question.rdtype == A:  # the Services of the sample have IPv4 addresses only
        response.answer.append(from_text(question.name, 30, "IN", A, address))
    return b64encode(response.to_wire()).decode()


WORKER_NETWORK = """[{"ifname": "eth0", "addr_info": [
  {"family": "inet", "local": "172.18.0.2", "scope": "global"},
  {"family": "inet", "local": "172.18.0.4", "scope": "global"},
  {"family": "inet6", "local": "fc00:f853:ccd:e793::2", "scope": "global"}]}]
--
https://172.18.0.3:6443
172.18.0.3
"""
