"""Fingerprint the rules of others, and find out which of them changed and who changed them. Pure: texts in, facts out.

The texts are outputs of `nft -s list ruleset`. Anything that nft does not print is not compared: the members
of ipsets, and details of iptables extensions that nft cannot express (it prints `xt match set`).
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from chaosext.partition.nft import LOCK_TABLE, TABLE_PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


class Author(StrEnum):
    """The author of a foreign rule, recognized by the names of chains, sets and tables."""

    KUBE_PROXY = "kube-proxy"
    KUBELET = "kubelet"
    CALICO = "Calico"
    ISTIO = "Istio"
    DOCKER = "Docker"
    CNI = "CNI plugins"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignChange:
    """The changes by one author in one place: `table` as `ip nat`, `chain` as `chain INPUT` (or a set or map).

    Without a `chain`, the lines are chains and sets; without a `table`, tables. Lines that only moved are
    both in `removed` and in `added`.
    """

    author: Author
    table: str
    chain: str
    removed: tuple[str, ...]
    added: tuple[str, ...]

    @property
    def lines(self) -> int:
        """Number of lines added, removed or moved."""
        return (Counter(self.removed) | Counter(self.added)).total()

    def __str__(self) -> str:
        place = ", ".join(part for part in (self.table and f"table {self.table}", self.chain) if part)
        lines = [*(f"- {line}" for line in self.removed), *(f"+ {line}" for line in self.added)]
        return f"{place or 'tables'}: {'; '.join(lines)}"


def fingerprint(ruleset: str) -> str:
    """The part of `nft list ruleset` that is not chaosext's, for a comparison byte by byte.

    Omits what changes by itself: counters, handles, and set elements added by packets or removed by timeouts.
    """
    return "\n".join(_kept(ruleset))


def changes(before: str, after: str) -> tuple[ForeignChange, ...]:
    """Compare the foreign rules in two nft outputs, by place and author; empty if they are equal."""
    old, new = _places(_kept(before)), _places(_kept(after))
    return tuple(
        change
        for place in dict.fromkeys((*old, *new))
        for change in _compared(place, old.get(place, []), new.get(place, []))
    )


# The part of a listing that is compared.

_OURS = re.compile(rf"table inet (?:{TABLE_PREFIX}\w+|{re.escape(LOCK_TABLE)}) \{{")
_STATE = re.compile(r"(?<=counter) packets \d+ bytes \d+| # handle \d+| expires \S+(?=[ ,}]|$)| used \d+ \w+")


def _kept(ruleset: str) -> Iterator[str]:
    ours = fleeting = elements = False
    for line in ruleset.split("\n"):
        if line.startswith("table "):
            ours = bool(_OURS.match(line))
        if ours or not line:
            ours = ours and line != "}"
            continue
        if not line.startswith("\t\t"):
            fleeting = elements = False
        fleeting = fleeting or _comes_and_goes(line)
        elements = elements or line.startswith("\t\telements = {")
        if not (fleeting and elements):
            yield _STATE.sub("", line)
        elements = elements and not line.endswith("}")


def _comes_and_goes(line: str) -> bool:
    """Whether a line of a set says that packets or timeouts change its elements."""
    return line.startswith("\t\tflags ") and not {"dynamic", "timeout"}.isdisjoint(re.split(r"[,\s]", line))


# The place of a line: chains and sets belong to their table, rules and elements to their chain or set.

_Place = tuple[str, str]


def _places(lines: Iterable[str]) -> dict[_Place, list[str]]:
    found: dict[_Place, list[str]] = {}
    table = part = ""
    for line in lines:
        if line.startswith("table "):
            found.setdefault(("", ""), []).append(line)
            table, part = line.removeprefix("table ").removesuffix(" {"), ""
        elif line.startswith("\t") and not line.startswith("\t\t") and line.endswith(" {"):
            found.setdefault((table, ""), []).append(line.strip())
            part = line.strip().removesuffix(" {")
        elif line not in ("}", "\t}"):
            found.setdefault((table, part), []).append(line.strip())
    return found


# The differences in a place, and their authors.


def _compared(place: _Place, old: Sequence[str], new: Sequence[str]) -> Iterator[ForeignChange]:
    if old == new:
        return
    authors = {line: _author(place, line) for line in (*old, *new)}
    came, went = Counter(new) - Counter(old), Counter(old) - Counter(new)
    moved = _moved(_without(old, went), _without(new, came), authors)
    removed, added = [*went.elements(), *moved], [*came.elements(), *moved]
    for author in dict.fromkeys(authors[line] for line in (*removed, *added)):
        yield ForeignChange(
            author=author,
            table=place[0],
            chain=place[1],
            removed=tuple(line for line in removed if authors[line] is author),
            added=tuple(line for line in added if authors[line] is author),
        )


def _without(lines: Sequence[str], taken: Counter[str]) -> list[str]:
    left = Counter(taken)
    kept = []
    for line in lines:
        if left[line]:
            left[line] -= 1
        else:
            kept.append(line)
    return kept


def _moved(old: list[str], new: list[str], authors: dict[str, Author]) -> list[str]:
    """Return the moved ones among the same lines in two orders: those of known authors if that suffices, else all."""
    if old == new:
        return []
    start = next(index for index, pair in enumerate(zip(old, new, strict=True)) if pair[0] != pair[1])
    end = len(old)
    while old[end - 1] == new[end - 1]:
        end -= 1
    unknown = [[line for line in lines if authors[line] is Author.UNKNOWN] for lines in (old, new)]
    explained = unknown[0] == unknown[1]
    return [line for line in old[start:end] if not explained or authors[line] is not Author.UNKNOWN]


# Names: Kubernetes 1.34, pkg/kubelet/kubelet_network_linux.go and pkg/proxy/{iptables,nftables}/proxier.go; Calico
# 3.28, felix/rules/rule_defs.go (in its own nftables mode, since 3.29, a table `calico`); Istio 1.28,
# tools/istio-nftables and tools/istio-iptables; Docker 29, libnetwork/drivers/bridge (table `docker-bridges`);
# containernetworking/plugins 1.6, plugins/meta/portmap.
_KUBELET = ("KUBE-FIREWALL", "KUBE-KUBELET-CANARY", "KUBE-IPTABLES-HINT")
_TABLES = {
    "kube-proxy": Author.KUBE_PROXY,
    "calico": Author.CALICO,
    "istio-": Author.ISTIO,
    "docker-": Author.DOCKER,
    "cni_": Author.CNI,
}
_PREFIXES = {
    "KUBE-": Author.KUBE_PROXY,
    "cali": Author.CALICO,
    "ISTIO": Author.ISTIO,
    "DOCKER": Author.DOCKER,
    "CNI-": Author.CNI,
}
_THE_USERS = "DOCKER-USER"
"""Docker creates this chain for rules of its users."""

_FELIX_IN_FORWARD = frozenset(
    {
        "meta mark & 0x00010000 == 0x00010000 counter accept",
        "counter meta mark set mark or 0x10000",
    }
)
"""Felix rules that name no Calico chain. Only a comment of iptables identifies them, and nft does not print it."""

_TARGET = re.compile(r"(?:^|\s)(?:jump|goto) ([^\s\"]+)(?: comment \"[^\"]*\")?$")


def _author(place: _Place, line: str) -> Author:
    table, part = place
    if not table:
        return _of_table(_word(line, 2) if line.startswith("table ") else "")
    known = _of_table(table.rpartition(" ")[2])
    if known is not Author.UNKNOWN:
        return known
    if not part:
        return _of_name(_word(line, 1) if line.endswith(" {") else "")
    known = _of_name(part.rpartition(" ")[2])
    return known if known is not Author.UNKNOWN else _of_rule(line)


def _word(line: str, index: int) -> str:
    """Return one word of the line; "" if a truncated line has fewer words than nft writes."""
    return next(iter(line.split()[index:]), "")


def _of_table(name: str) -> Author:
    return next((author for prefix, author in _TABLES.items() if name.startswith(prefix)), Author.UNKNOWN)


def _of_name(name: str) -> Author:
    if name in _KUBELET:
        return Author.KUBELET
    if name == _THE_USERS:
        return Author.UNKNOWN
    return next((author for prefix, author in _PREFIXES.items() if name.startswith(prefix)), Author.UNKNOWN)


def _of_rule(line: str) -> Author:
    """The author of a rule in a chain of unknown author: the owner of the chain that it jumps to."""
    if " ".join(line.split()) in _FELIX_IN_FORWARD:
        return Author.CALICO
    target = _TARGET.search(line)
    return _of_name(target[1]) if target else Author.UNKNOWN
