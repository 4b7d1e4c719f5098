"""The fuzzer's loop, and the stage that it plays on."""

from __future__ import annotations

from collections import Counter
from time import monotonic
from typing import TYPE_CHECKING, Any

from chaosext.checks import xds_synced
from chaosext.cluster.client import Cluster
from chaosext.nodes import transport
from chaosext.safety.pins import Pin, write_pin
from tests.trust.fuzz import answers, inputs
from tests.trust.fuzz.stage import Api, node
from tests.trust.fuzz.subject import replay, shares, try_one

if TYPE_CHECKING:
    from collections.abc import Sequence

SUBJECTS = (*inputs.SUBJECTS, *answers.SUBJECTS)
ENOUGH = 40
"""So many failures of one subject are shown; more of them say no more."""


def play(count: int, seed: str, names: Sequence[str] = ()) -> dict[str, Any]:
    """Feed `count` inputs, shared out among the subjects: how many, and what was wrong."""
    _set_stage()
    failures: list[str] = []
    fed: Counter[str] = Counter()
    spent_s: dict[str, float] = {}
    for subject, share in shares(tuple(each for each in SUBJECTS if not names or each.name in names), count):
        began_s = monotonic()
        found = []
        for index in range(share):
            fed[subject.name] += 1
            if wrong := try_one(subject, f"{seed}-{index}"):
                found.append(wrong)
        failures += found[:ENOUGH]
        spent_s[subject.name] = round(monotonic() - began_s, 1)
    return {"fed": dict(fed), "failures": failures, "spent_s": spent_s}


def again(named: str) -> dict[str, Any]:
    """One input once more, with its traceback where it raises what it must not."""
    _set_stage()
    return replay(SUBJECTS, named)


def _set_stage() -> None:
    api = Api()
    pin = Pin(
        context=api.context,
        server=api.server,
        ca_sha256=api.ca_sha256,
        kube_system_uid=api.namespace_uid("kube-system"),
    )
    write_pin(pin)
    Cluster.connect = classmethod(lambda *_, **__: api)  # type: ignore[method-assign,assignment]
    transport.TRANSPORTS["netns"] = lambda name, _: node(name)
    xds_synced.PAUSE_S = 0.0
    inputs.all_is_well()
    answers.all_is_well()
