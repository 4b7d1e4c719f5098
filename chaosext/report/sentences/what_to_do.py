"""Next steps after a run: from its verdict, and from observed problems that outlast a recovery."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from chaosext.model.result import Lane
from chaosext.model.timeline import Kind
from chaosext.model.verdict import Outcome
from chaosext.report.data.account import Account
from chaosext.report.units import names, window
from chaosext.timeline.outages import lasts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chaosext.model.result import RunResult
    from chaosext.model.verdict import Verdict

FALSE_GREEN = "though 15021 says ready"
"""Ending of the `xds_lost` detail of a sidecar that looked ready."""


UNWATCHED = "Run it with sentinels (`chaosext_sentinel: true`): without them, what users on nodes see is not observed."
"""Used if no node's clock was measured, because then no sentinel was reachable."""

COMMAND = re.compile(r"\bdocker exec [^;`]+(?<![\s.])")
"""The commands that `partition.reports.how_to_remove` writes."""


NEXT = {
    Outcome.REFUSED: "Fix what the reason names, then run again. Nothing was touched.",
    Outcome.INCONCLUSIVE: "The run proved nothing about your cluster. Fix the cut or the observation, then run again.",
    Outcome.NOT_KNOWN: "List leftovers with `chaosext status`, remove them with `chaosext cleanup`, then run "
    "`chaosext check all`.",
}
"""The next step by outcome, independent of observations."""


def what_to_do(result: RunResult) -> tuple[str, ...]:
    """The next steps; at least one."""
    more = (*_stale_sockets(result), *_false_greens(result), *_unobserved(result))
    match result.verdict.outcome:
        case Outcome.PASSED:
            return _rehearse(result, more)
        case Outcome.DEVIATED:
            return (*_deleted(result), *_prevent(result), *_recover(result), *more)
        case Outcome.UNSAFE:
            commands = "; ".join(f"`{command}`" for command in removal(result.verdict))
            return (
                f"First, remove what is left: {commands}. Then check `chaosext status`.",
                *more,
            )
        case Outcome.INTERRUPTED:
            return (_check(result), *more)
        case outcome:
            return (NEXT[outcome], *more)


def _rehearse(result: RunResult, more: tuple[str, ...]) -> tuple[str, ...]:
    steps = more if result.clocks else (*more, UNWATCHED)
    nothing = "" if steps else "None. "
    return (*steps, f"{nothing}Keep rehearsing: zones, sizes and versions change the effect of a cutover.")


def _check(result: RunResult) -> str:
    cut = any(event.kind is Kind.CUT for event in result.events)
    state = "The cut was healed, but no rollback was run" if cut else "Nothing had been cut"
    return f"{state}: run `chaosext check all`, then run again."


def removal(verdict: Verdict) -> tuple[str, ...]:
    """Return the commands to clean up after an unsafe run, as its reasons name them; none for other runs."""
    if verdict.outcome is not Outcome.UNSAFE:
        return ()
    named = [command for reason in verdict.reasons for command in COMMAND.findall(reason)]
    return tuple(dict.fromkeys(named)) or ("chaosext cleanup",)


def _deleted(result: RunResult) -> Iterator[str]:
    """Nodes whose Node object was deleted and not registered again."""
    out = result.outages.get(Lane.NODE_READY, {})
    deleted = dict.fromkeys(event.object for event in result.events if event.kind is Kind.NODE_DELETED)
    for node in (name for name in deleted if lasts(out.get(name, ()))):
        yield (
            f"Now, on {names([node])}: restart kubelet (`systemctl restart kubelet`), which registers its Node only "
            "when it starts."
        )


def _prevent(result: RunResult) -> tuple[str, ...]:
    if not (result.briefing and result.briefing.unpeered_nodes):
        return ()
    return (
        "Before a cutover: keep kube-dns off nodes without BGP "
        f"({', '.join(result.briefing.unpeered_nodes)}) with a required node affinity on the Deployment coredns "
        "(`node-role.kubernetes.io/control-plane` DoesNotExist), or give these nodes a BGP session.",
    )


def _recover(result: RunResult) -> tuple[str, ...]:
    if result.verdict.rollback_verified:
        return (
            "During a cutover: `kubectl -n kube-system delete pod -l k8s-app=kube-dns` restored everything.",
        )
    return (
        "Now: `kubectl -n kube-system delete pod -l k8s-app=kube-dns`, check that the new Pods are on nodes with BGP, "
        "then `chaosext check all`.",
    )


def _stale_sockets(result: RunResult) -> Iterator[str]:
    """Advise on clients that keep their UDP socket: they stay broken after kube-dns recovers."""
    stale = result.outages.get(Lane.DNS_KEPT_SOCKET, {})
    if not stale:
        return
    nodes = {name.partition(" → ")[0]: found[-1][1] is None for name, found in stale.items()}
    lasting = [node for node, lasts in nodes.items() if lasts]
    when = f"Now, on {names(lasting)}" if lasting else f"After a cutover, on nodes such as {names(nodes)}"
    yield (
        f"{when}: restart clients that keep a UDP socket to kube-dns open, or delete its stale entries "
        "(`conntrack -D -p udp --dport 53`)."
    )


def _false_greens(result: RunResult) -> Iterator[str]:
    if any(event.kind is Kind.XDS_LOST and event.detail.endswith(FALSE_GREEN) for event in result.events):
        yield (
            "Don't trust a sidecar's readiness (port 15021): it stays ready without istiod. "
            "Use `chaosext check xds_synced`."
        )


def _unobserved(result: RunResult) -> Iterator[str]:
    blind = Account(result).gaps()
    if not blind:
        return
    when = (
        f" ({', '.join(window(each) for found in blind.values() for each in found)})"
        if len(blind) == 1
        else ""
    )
    yield f"Don't assume that {names(blind)} stayed healthy while unobserved{when}: check there, or run again."
