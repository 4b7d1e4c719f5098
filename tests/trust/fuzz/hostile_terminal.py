"""Texts that a terminal would obey, from clusters, nodes and errors: shown as escapes, wherever they come out."""

from __future__ import annotations

import io
import json
import os
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from chaosext.checks import xds_synced
from chaosext.cluster.client import Cluster
from chaosext.model.errors import EXIT_INTERNAL, Refused
from chaosext.model.findings import Evidence, Finding, Status
from chaosext.model.result import Briefing
from chaosext.model.timeline import Event, Kind
from chaosext.nodes import transport
from chaosext.partition.scripts import INSPECT
from tests.trust.fuzz import mutate
from tests.trust.fuzz.hostile import OBEYED, TEXTS, said
from tests.trust.fuzz.stage import Api, Node, node, sample
from tests.trust.fuzz.subject import Subject

if TYPE_CHECKING:
    from random import Random

KINDS = ("pods", "events", "nodes", "services", "namespaces", "deployments", "bgppeers", "endpointslices")


def _spread(rng: Random, value: Any) -> Any:
    """`value` with texts of somebody's in its texts."""
    places = [(holder, key) for holder, key in mutate._places([value]) if isinstance(holder[key], str)]
    for holder, key in rng.sample(places, min(len(places), rng.choice((1, 5, 50)))):
        holder[key] = rng.choice((rng.choice(TEXTS), f"{holder[key]}{rng.choice(TEXTS)}"))
    return value


def _spread_in(rng: Random, answer: str) -> str:
    """A script's answer, in whose JSON lines there are such texts."""
    lines = answer.split("\n")
    return "\n".join(
        json.dumps(_spread(rng, json.loads(line))) if line.startswith("{") else line for line in lines
    )


# -- commands, asking a cluster and nodes whose texts are somebody else's ----------------------------------------

COMMANDS = (
    ("status", "--transport", "netns", "--node", "n1"),
    ("status", "--transport", "netns", "--node", "n1", "--json"),
    ("cleanup", "--dry-run", "--transport", "netns", "--node", "n1"),
    ("check", "probes_healthy", "--verbose"),
    ("check", "kube_dns_on_peered_nodes", "--verbose"),
    ("check", "xds_synced", "--json"),
    ("check", "tcp_reachability", "--target", "10.0.0.1:53"),
)


def _draw_commands(rng: Random) -> tuple[tuple[str, ...], str, dict[str, bytes]]:
    node_says = _spread_in(rng, sample()["node"]["inspect"])
    api = {kind: json.dumps({"items": _spread(rng, _copied(kind))}).encode() for kind in rng.sample(KINDS, 3)}
    return rng.choice(COMMANDS), node_says, api


def _copied(kind: str) -> Any:
    return json.loads(json.dumps(sample()["api"].get(kind, [])))


def _commands(drawn: tuple[tuple[str, ...], str, dict[str, bytes]]) -> None:
    arguments, node_says, spoilt = drawn
    api = Api(spoilt)
    before = Cluster.__dict__["connect"], transport.TRANSPORTS["netns"], xds_synced.PAUSE_S
    Cluster.connect = classmethod(lambda *_, **__: api)  # type: ignore[method-assign,assignment]
    transport.TRANSPORTS["netns"] = lambda name, _: Node(name, {**node(name).answers, INSPECT: node_says})
    xds_synced.PAUSE_S = 0.0
    try:
        said(*arguments).require(0, 10, 20, 30, 40)
    finally:
        Cluster.connect, transport.TRANSPORTS["netns"], xds_synced.PAUSE_S = before  # type: ignore[method-assign]


# -- what is printed while a run goes on -------------------------------------------------------------------------


def _draw_events(rng: Random) -> list[str]:
    return [rng.choice(TEXTS) for _ in range(6)]


def _events(texts: list[str]) -> None:
    from chaosext.cli.output import Plain, finding_lines

    one, two, three, *_ = texts
    stream = io.StringIO()
    shown = Plain(stream)
    run = SimpleNamespace(id=one, directory=SimpleNamespace(path=two))
    shown.begin(SimpleNamespace(run=run, experiment=three))  # type: ignore[arg-type]
    briefing = Briefing(
        context=one, timings={two: three}, outlook=tuple(texts), unpeered_nodes=(one,), kube_dns_nodes=(two,)
    )
    shown.briefing(briefing)
    events = tuple(
        Event(t_s=1.0, kind=Kind.PROBE_FAILING, object=one, detail=each, source=two) for each in texts
    )
    for each in events:
        shown.event(each)
    evidence = tuple(Evidence(subject=one, status=Status.UNHEALTHY, detail=each) for each in texts)
    finding = Finding(check="c", status=Status.UNHEALTHY, summary=one, evidence=evidence)
    shown.lines(finding_lines(finding, verbose=True))
    _require_harmless(stream.getvalue(), lines=3 + len(texts) * 3 + 5)


def _require_harmless(text: str, *, lines: int) -> None:
    assert not (found := OBEYED.search(text)), f"said {text[max(0, found.start() - 40) :][:80]!r}"
    assert text.count("\n") <= lines, f"{text.count(chr(10))} lines where there are {lines}: {text[:300]!r}"


# -- errors ------------------------------------------------------------------------------------------------------


def _draw_error(rng: Random) -> tuple[str, str, bool]:
    return rng.choice(TEXTS), rng.choice(TEXTS), rng.random() < 0.3


def _error(drawn: tuple[str, str, bool]) -> None:
    """Whatever a command ends with: an error of ours, one of Python's, one about its arguments."""
    from chaosext.cli import main

    message, fix, is_fault = drawn
    raised: Exception = RuntimeError(message) if is_fault else Refused(message, fix)

    def fails(*_: object, **__: object) -> None:
        raise raised

    before = main.cli.main
    main.cli.main = fails  # type: ignore[method-assign,assignment]
    try:
        found = said("status")
    finally:
        main.cli.main = before  # type: ignore[method-assign]
    assert found.code == (EXIT_INTERNAL if is_fault else Refused.exit_code)
    _require_harmless(found.out + found.err, lines=2)
    for arguments in (
        ("report", message),
        ("status", "--node", message),
        (message,),
        ("run", message, "--dry-run"),
    ):
        if _can_be_an_argument(message):
            said(*arguments).require(0, 10, 20, 30, 40)


def _can_be_an_argument(text: str) -> bool:
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        return False


SUBJECTS = (
    Subject(name="command", share=30, draw=_draw_commands, feed=_commands),
    Subject(name="events", share=30, draw=_draw_events, feed=_events),
    Subject(name="error", share=10, draw=_draw_error, feed=_error),
)
