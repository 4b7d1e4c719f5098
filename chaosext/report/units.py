"""Format seconds, windows and objects, the same in every report. Pure."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from chaosext.model.duration_text import short_duration

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


def tenths(seconds: float, sign: str = "") -> str:
    """Format seconds with one decimal, never as `-0.0`. `sign` "+" puts a plus before a non-negative number."""
    return f"{round(seconds, 1) + 0.0:{sign}.1f}"


def duration(seconds: float) -> str:
    """A measured duration, or a moment after the cut: `55s`, `1m22.2s`, `1h2m`."""
    return short_duration(seconds, exact=True)


def window(found: Window) -> str:
    """A window after the cut: `55s to 2m17.2s`, `from 55s on`."""
    start_s, end_s = found
    return f"from {duration(start_s)} on" if end_s is None else f"{duration(start_s)} to {duration(end_s)}"


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
