"""`python -m tests.trust.pins`: every variant, before a run and in the middle of it, by both actions. A line of JSON.

A process of its own, because home and kubeconfig are those of a process. Nodes are counted, not real.
"""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Callable
from itertools import product
from pathlib import Path

from chaosext.cluster.client import Cluster
from chaosext.experiment.cut_request import CutRequest
from chaosext.experiment.settings import Settings, settings_from
from chaosext.model.errors import ChaosextError, Refused
from chaosext.nodes import transport
from chaosext.run.fault.inject import prepare, sever
from chaosext.run.rollback.kube_dns import reschedule
from chaosext.run.session import run_context
from chaosext.run.session.connection import connect, observed_pin
from chaosext.run.session.run_context import RunContext
from chaosext.safety.pins import write_pin
from tests.trust.fuzz.stage import Node, node
from tests.trust.pins.bed import MINE, Bed
from tests.trust.pins.variants import VARIANTS, Variant

Act = Callable[[Settings, RunContext], object]
WISH = CutRequest(ttl_s=30.0)


def cut(settings: Settings, run: RunContext) -> object:
    return sever(settings, WISH, run)


def move(settings: Settings, run: RunContext) -> object:
    return reschedule(settings, run, timeout_s=5.0, only_if_needed=False)


class Nodes(dict[str, Node]):
    """Every node that was entered."""

    def __missing__(self, name: str) -> Node:
        self[name] = node(name)
        return self[name]


def attempt(bed: Bed, nodes: Nodes, variant: Variant | None, act: Act, *, midway: bool) -> str:
    """What came of acting where `variant` is true (None: nothing is wrong): from the start, or once all was planned."""
    bed.begin()
    write_pin(observed_pin(Cluster.connect(MINE)))
    connect.cache_clear()
    nodes.clear()
    run = run_context.start(root=bed.home / "run")
    named = variant.context if variant and not midway else MINE
    settings = settings_from({"chaosext_transport": "netns"}, {"KUBERNETES_CONTEXT": named})
    try:
        if midway:
            connect(settings)
            prepare(settings, WISH, run)
        if variant:
            variant.spoil(bed)
        act(settings, run)
    except Refused as error:
        return f"refused: {error.message}"
    except ChaosextError as error:
        return f"{type(error).__name__}: {error}"
    finally:
        run.recorder.close()
    return "done"


def wrong(bed: Bed, nodes: Nodes, came: str) -> str:
    touched = [*bed.mutations, *(f"{name} was sent rules" for name, each in nodes.items() if each.touched)]
    if touched:
        return f"{came}, but {', '.join(touched)}"
    return "" if came.startswith("refused") else came


def trials() -> list[tuple[Variant, Act, bool]]:
    """Every variant by both actions, from the start; and midway, but for those in which another context is named."""
    named = product(VARIANTS, (cut, move), (False, True))
    return [(variant, act, midway) for variant, act, midway in named if variant.context == MINE or not midway]


def play(bed: Bed, nodes: Nodes) -> dict[str, object]:
    failures = []
    for act in (cut, move):
        came = attempt(bed, nodes, None, act, midway=False)
        if not bed.mutations:
            failures.append(f"{act.__name__}: nothing is wrong, and nothing was changed ({came})")
    for variant, act, midway in trials():
        came = attempt(bed, nodes, variant, act, midway=midway)
        if problem := wrong(bed, nodes, came):
            failures.append(f"{variant.name}{' midway' * midway} ({act.__name__}): {problem}")
    return {"variants": len(VARIANTS), "tried": len(trials()), "failures": failures}


def main() -> None:
    logging.disable()
    with tempfile.TemporaryDirectory() as folder:
        bed, nodes = Bed(Path(folder)), Nodes()
        transport.TRANSPORTS["netns"] = lambda node, _: nodes[node]
        bed.up()
        print(json.dumps(play(bed, nodes)))


if __name__ == "__main__":
    main()
