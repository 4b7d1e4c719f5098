"""Directories as a run leaves them, for `read_run`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from runs import FORESEEN
from stories import STORIES

from chaosext.model.signal import Sample, Signal, StreamHead, Watched
from chaosext.sentinel.sample_log import head_line, sample_line

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from chaosext.model.result import RunResult

NODE, BOOT = "chaosext-worker", "b1"
SIGNALS = (
    Signal(kind=Watched.DNS_UDP, target="10.2.112.10", label="kube-dns"),
    Signal(kind=Watched.BGP, target="172.18.0.5"),
)
FROM_CUT_S = -1000.0
JOURNAL: dict[str, Any] = {
    "start": "2026-11-23T23:03:00+00:00",
    "experiment": {"title": "Control plane severed from its nodes", "configuration": {}},
    "steady_states": {"before": {"probes": []}},
    "run": [{"activity": {"name": "sever"}, "status": "succeeded", "output": "cut", "duration": 2.0}],
}


def whole(root: Path, story: str = "deviated-rollback-verified") -> Path:
    """A run's directory with everything in it."""
    result = STORIES[story]
    path = root / result.run
    (path / "sentinels").mkdir(parents=True)
    (path / "result.json").write_text(json.dumps(result.to_json()))
    (path / "journal.json").write_text(json.dumps(JOURNAL))
    (path / "timeline.jsonl").write_text(timeline(result))
    (path / "sentinels" / f"{NODE}.jsonl").write_text(record(result.run))
    (path / "sentinels" / "clocks.json").write_text(json.dumps(clocks(NODE, BOOT)))
    (path / "rehearsal.json").write_text(json.dumps(rehearsal()))
    return path


def timeline(result: RunResult) -> str:
    return "".join(json.dumps(event.to_json()) + "\n" for event in result.events)


def record(
    run: str, *, node: str = NODE, boot: str = BOOT, start_s: float = 1000.0, ok: Iterable[bool] = ()
) -> str:
    """Well for ten seconds, dead for ten, unless `ok` says otherwise."""
    head = StreamHead(run=run, node=node, boot=boot, mono_s=start_s, wall_s=1.7e9, signals=SIGNALS)
    marks = ["++" if each else "t+" for each in ok or [True] * 10 + [False] * 10]
    samples = (sample_line(Sample(n, start_s + n, each)) for n, each in enumerate(marks))
    return "\n".join((head_line(head), *samples)) + "\n"


def clocks(node: str, boot: str, **others_s: float) -> dict[str, Any]:
    """`others_s`: further boots, each with its seconds from the cut."""
    boots = {
        each: {"from_cut_s": from_cut_s, "error_s": 0.0005, "wall_skew_s": 0.01}
        for each, from_cut_s in {boot: FROM_CUT_S, **others_s}.items()
    }
    return {"schema": "chaosext.clocks/v1", "nodes": {node: boots}}


def rehearsal() -> dict[str, Any]:
    lines = [
        {
            **each.event.to_json(),
            "t_min_s": each.t_min_s,
            "t_max_s": each.t_max_s,
            "probability": each.probability,
        }
        for each in FORESEEN
    ]
    return {"schema": "chaosext.rehearsal/v1", "timeline": lines}
