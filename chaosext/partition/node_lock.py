"""Lock the nodes themselves, in their kernels: works without an API server, and expires by itself.

Nothing relies on a prior check: each step is a transaction that fails if the lock is not in the expected
state.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaosext.model.crash import crash_point
from chaosext.model.errors import ChaosextError, Refused
from chaosext.model.owner import LOCK_S
from chaosext.partition.apply import TIMEOUT_S, on_each
from chaosext.partition.lock_table import (
    parse_lock,
    release_ruleset,
    renew_ruleset,
    take_ruleset,
    takeover_ruleset,
)
from chaosext.partition.scripts import LOCK, sections

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from chaosext.model.owner import Claim, LockFacts
    from chaosext.nodes.shell import NodeShell

ATTEMPTS = 3
"""Attempts to take a lock that changed in between: it may have been released or expired by then."""

Problems = dict[str, str]
"""Node -> problem, for each node that has one."""


def lock_nodes(
    claim: Claim, shells: Mapping[str, NodeShell], *, ttl_s: float = LOCK_S, timeout_s: float = TIMEOUT_S
) -> None:
    """Lock every node of `shells` for `ttl_s`, or none.

    The first node by name decides between concurrent runs; the others follow in parallel. Raises `Refused`,
    saying which run holds which node, and `Unreachable` for a node that does not answer; locks already taken
    are released.
    """
    first, *others = (shells[name] for name in sorted(shells))
    try:
        _lock(claim, first, ttl_s, timeout_s)
        crash_point("first-node-locked")
        on_each(others, lambda shell: _lock(claim, shell, ttl_s, timeout_s))
    except BaseException:  # an interrupt must not leave a lock behind either
        remove_lock(claim.run, shells, timeout_s=timeout_s)
        raise
    crash_point("nodes-locked")


def renew_lock(
    claim: Claim, shells: Mapping[str, NodeShell], *, ttl_s: float = LOCK_S, timeout_s: float = TIMEOUT_S
) -> Problems:
    """Restart the TTL of the locks. Returns the nodes whose lock this run has lost, and who holds it.

    A node that does not answer is not included: its lock is unchanged.
    """
    transaction = renew_ruleset(claim, ttl_s=ttl_s)
    return _problems(shells.values(), lambda shell: _renew(claim, transaction, shell, timeout_s))


def remove_lock(run: str, shells: Mapping[str, NodeShell], *, timeout_s: float = TIMEOUT_S) -> Problems:
    """Unlock every node that `run` holds, and no other run's. Returns the nodes on which a lock may be left, and why.

    May be repeated. Raises `Refused` for an invalid run ID.
    """
    transaction = release_ruleset(run)
    return _problems(shells.values(), lambda shell: _remove(run, transaction, shell, timeout_s))


def _lock(claim: Claim, shell: NodeShell, ttl_s: float, timeout_s: float) -> None:
    found, said = None, ""
    for _ in range(ATTEMPTS):
        found, said = _apply(_taking(claim, found, ttl_s), shell, timeout_s)
        if found is not None and found.run == claim.run and found.is_live:
            return
        if found is not None and not found.may_be_taken:
            raise found.refusal(f"node {shell.node}")
    raise Refused(f"lock: node {shell.node} can't be locked ({said or 'others are faster'})", "run again")


def _taking(claim: Claim, found: LockFacts | None, ttl_s: float) -> str:
    return takeover_ruleset(claim, found.run, ttl_s=ttl_s) if found else take_ruleset(claim, ttl_s=ttl_s)


def _renew(claim: Claim, transaction: str, shell: NodeShell, timeout_s: float) -> str:
    try:
        found, _ = _apply(transaction, shell, timeout_s)
    except ChaosextError:
        return ""
    if found is None:
        return "it is no longer held"
    return "" if found.run == claim.run else f"{found} took it over"


def _remove(run: str, transaction: str, shell: NodeShell, timeout_s: float) -> str:
    try:
        found, said = _apply(transaction, shell, timeout_s)
    except ChaosextError as error:
        return str(error)
    return said or "it is still there" if found is not None and found.run == run else ""


def _apply(transaction: str, shell: NodeShell, timeout_s: float) -> tuple[LockFacts | None, str]:
    """Apply the transaction. Returns the lock afterwards, and nft's error message ("": applied).

    Raises `Unreachable` for a node that does not answer, `Refused` if nft is missing or its output is not
    understood.
    """
    result = shell.run(LOCK, stdin=transaction, timeout_s=timeout_s)
    said = sections(result.stdout.splitlines(), until="end", holding=("nft", "lock"))
    if "end" not in said:
        problem = (said.get("failed", "") + result.stderr).strip() or "the script ended early"
        raise Refused(f"lock: node {shell.node}: {problem}", "see `nft list tables` there")
    try:
        return parse_lock(said["lock"]), said["nft"].strip()
    except ValueError as error:
        raise Refused(
            f"lock: node {shell.node}: {error}", "see `nft list table inet chaosext.lock` there"
        ) from None


def _problems(shells: Iterable[NodeShell], work: Callable[[NodeShell], str]) -> Problems:
    shells = tuple(shells)
    answers = zip(shells, on_each(shells, work), strict=True)
    return {shell.node: problem for shell, problem in answers if problem}
