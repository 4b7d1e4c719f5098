"""Format seconds, windows and objects, the same in every report. Pure."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from chaosext.model.result import Window
    from chaosext.model.timeline import Kind

KINDS = {
    "Node": "node",
    "Service": "Service",
    "Leaf": "leaf",
    "Cluster": "cluster",
    "Zone": "zone",
    "Entry": "load balancer",
}
"""The word for an object's kind in a sentence, if it is not the kind itself."""

SPELT = {"dns": "DNS", "xds": "xDS", "bgp": "BGP", "pod": "Pod"}

PRECISE_S = 180.0
"""Shorter durations have tenths of a second: a sentinel samples once a second, an API watch reports at once."""

LONG_S = 600.0
"""Moments from here on are in minutes, as on the reports' axes."""


def tenths(seconds: float, sign: str = "") -> str:
    """Format seconds with one decimal, never as `-0.0`. `sign` "+" puts a plus before a non-negative number."""
    return f"{round(seconds, 1) + 0.0:{sign}.1f}"


def duration(seconds: float) -> str:
    """A duration: `82.2 s`, `3 min 20 s`, `1 h 02 min`."""
    if seconds < PRECISE_S:
        return f"{tenths(seconds)} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    return f"{minutes // 60} h {minutes % 60:02} min"


def window(found: Window) -> str:
    """A window, in seconds after the cut: `55.0 s to 137.2 s`, `from 55.0 s on`."""
    start_s, end_s = found
    return f"from {moment(start_s)} on" if end_s is None else f"{moment(start_s)} to {moment(end_s)}"


def moment(t_s: float) -> str:
    """A moment after the cut: `55.0 s`, or `35 min 06 s` in a long run."""
    return duration(t_s) if t_s >= LONG_S else f"{tenths(t_s)} s"


def count(objects: Collection[str]) -> str:
    """The number of objects by kind: `2 nodes`, `1 node and 3 Pods`."""
    kinds = Counter(name.partition("/")[0] for name in objects)
    return listed(f"{n} {KINDS.get(kind, kind)}{'s' * (n > 1)}" for kind, n in kinds.items())


def names(objects: Collection[str], at_most: int = 6) -> str:
    """The objects' bare names; beyond `at_most` the first by name and a count: `a, b and 62 more`."""
    bare = list(dict.fromkeys(name.partition("/")[2] or name for name in objects))
    if len(bare) <= at_most:
        return listed(bare)
    return listed([*sorted(bare, key=natural)[:at_most], f"{len(bare) - at_most} more"])


def few_names(objects: Collection[str], width: float, at_most: int = 3, of: str = "") -> str:
    """As many of the objects' names as fit into `width`, up to `at_most`; else `of` and their number, such as nodes."""
    for count in range(at_most, 0, -1):
        said = names(objects, count)
        if len(said) <= width:
            return said
    return f"{len(objects)} {of}{'s' * (len(objects) != 1)}" if of else ""


def natural(name: str) -> list[tuple[int, str]]:
    """A key that sorts worker-2 before worker-10, and `worker → x` before `worker2 → x`."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+| → )", name)]


def capital(text: str) -> str:
    """Capitalize `text`, unless its first word is a name such as `kube-dns`, `ipv6` or `dns_resolvable`."""
    first = text.partition(" ")[0]
    return text if re.search(r"[-_\d]", first) else f"{text[:1].upper()}{text[1:]}"


def clipped(text: str, most: int) -> str:
    """Cut a text off at `most` characters, with an ellipsis."""
    return text if len(text) <= most else f"{text[: max(0, most - 1)]}…"[:most]


def listed(words: Iterable[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    *most, last = [*words] or [""]
    return f"{', '.join(most)} and {last}" if most else last


def words(kind: Kind) -> str:
    """An event's kind in words: `DNS dead`, `node not ready`."""
    return " ".join(SPELT.get(word, word) for word in kind.value.split("_"))
