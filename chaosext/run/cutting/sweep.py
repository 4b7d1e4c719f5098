"""The sweep: what runs that died may have left is healed, run by run, from the intent log. Asks no API server."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from chaosext.model.errors import Refused, Unsafe
from chaosext.nodes.transport import shells
from chaosext.run.cutting.heal import heal_nodes
from chaosext.safety.intent import Outstanding, intent_log

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from chaosext.partition.reports import HealReport


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """What became of a run in the intent log; `report` is None where its process lives, and heals it itself."""

    run: str
    report: HealReport | None


def sweep(run: str | None, nodes: Collection[str] = ()) -> Iterator[Swept]:
    """Heal what was intended and not seen gone, one run after the other: only `run` (on `nodes`), where named.

    Unless it is named, a run whose process lives is left to it. Raises `Refused` when `run` is not in the log and
    `nodes` are not named; `Unsafe`, after all others, when something can't be seen gone before its TTL is over.
    """
    left: list[Unsafe] = []
    for each in intent_log().outstanding() if run is None else (_named(run, nodes),):
        if run is None and each.is_running:
            yield Swept(run=each.run, report=None)
            continue
        report = heal_nodes(each.run, shells(each.nodes, each.transport), each.let_go)
        try:
            report.require_gone(let_go=each.let_go)
        except Unsafe as unsafe:
            left.append(unsafe)
        else:
            yield Swept(run=each.run, report=report)
    if left:
        raise Unsafe("; ".join(each.message for each in left), "; ".join(each.fix for each in left))


def _named(run: str, nodes: Collection[str]) -> Outstanding:
    log = intent_log()
    known = next((each for each in log.outstanding() if each.run == run), None)
    if known is None and not nodes:
        raise Refused(
            f"run {run} is not in the intent log {log.path} as one that may have left something",
            "see `nft list tables` on the nodes, and name them with --node",
        )
    asked = known or Outstanding(run=run, nodes=(), intent={})
    return replace(asked, nodes=tuple(nodes)) if nodes else asked
