"""A sentinel's record: JSON lines that are written on the node and read by the runner. Pure.

    {"sentinel":"chaosext.sentinel/v1","run":"…","node":"worker-1","boot":"…","mono_s":12.5,"wall_s":1.7e9,
     "interval_s":1.0,"signals":[{"kind":"dns_udp","target":"10.2.112.10","label":"kube-dns"},…],"lost":""}
    {"n":0,"t":12.5,"m":"+++t"}

A head stands before the first sample, again whenever a sentinel starts anew or is given another plan. `n` counts
samples from each start on; a number that is missing is a second that nobody looked.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from chaosext.model.malformed import MALFORMED, finite
from chaosext.model.signal import Head, Sample, Signal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

SCHEMA = "chaosext.sentinel/v1"


def head_line(head: Head) -> str:
    """A head as one line, without its newline."""
    value = {
        "sentinel": SCHEMA,
        "run": head.run,
        "node": head.node,
        "boot": head.boot,
        "mono_s": round(head.mono_s, 3),
        "wall_s": round(head.wall_s, 3),
        "interval_s": head.interval_s,
        "signals": [signal.to_json() for signal in head.signals],
        "lost": head.lost,
    }
    return json.dumps(value, separators=(",", ":"))


def sample_line(sample: Sample) -> str:
    """A sample as one line, without its newline."""
    return f'{{"n":{sample.n},"t":{sample.mono_s:.3f},"m":"{sample.marks}"}}'


def parse_line(line: str) -> Head | Sample:
    """Raises `ValueError` for a line that is neither, such as one torn by a full disk."""
    try:
        value = json.loads(line)
        if "m" in value:
            return Sample(int(value["n"]), finite(value["t"]), str(value["m"]))
        if value["sentinel"] != SCHEMA:
            raise ValueError(f"schema {value['sentinel']!r}, not {SCHEMA}")
        return Head(
            run=str(value["run"]),
            node=str(value["node"]),
            boot=str(value["boot"]),
            mono_s=finite(value["mono_s"]),
            wall_s=finite(value["wall_s"]),
            interval_s=finite(value["interval_s"]),
            signals=tuple(Signal.from_json(each) for each in value["signals"]),
            lost=str(value.get("lost", "")),
        )
    except MALFORMED as error:
        raise ValueError(f"no line of a sentinel's record: {line[:80]!r}") from error


def parse_record(lines: Iterable[str]) -> Iterator[Head | Sample]:
    """Every readable line; a torn one is passed over: the sample that is missing then shows as a gap."""
    for line in lines:
        try:
            yield parse_line(line)
        except ValueError:
            continue
