"""A node's lock as an nftables table, and nft's output as facts. Pure: texts in, texts out.

One table, `inet chaosext.lock`, holds one set, named after the run. The set holds one element, with a timeout
at which the kernel removes it, and a comment that names the owner. An nft transaction is applied completely
or not at all, so

- creating the table fails if any run has it, and
- deleting or flushing the set fails if the lock belongs to another run: the set's name acts as a compare-and-swap.
"""

from __future__ import annotations

import json
import re
from typing import Any

from chaosext.model.errors import MALFORMED
from chaosext.model.owner import LOCK_S, Claim, LockFacts, parsed, shortened
from chaosext.partition.cut import check_run
from chaosext.partition.nft import LOCK_TABLE, transaction

SET_PREFIX = "run_"
"""Needed because a run ID may begin with a digit, and an nft name may not."""

_KEY = 1
"""The key of the single element."""

COMMENT_LENGTH = 128
"""libnftnl's NFTNL_UDATA_COMMENT_MAXLEN, in bytes."""

_COMMENT = re.compile(r"owner=(?P<owner>\S+) holder=(?P<holder>\S+)")


def take_ruleset(claim: Claim, *, ttl_s: float = LOCK_S) -> str:
    """Return the transaction that locks a free node. It fails as a whole if there is a lock, expired or not."""
    return transaction(*_made(claim, ttl_s))


def takeover_ruleset(claim: Claim, run: str, *, ttl_s: float = LOCK_S) -> str:
    """Return the transaction that replaces the lock of `run`. It fails as a whole if that lock is gone."""
    return transaction(*_removed(run), *_made(claim, ttl_s))


def renew_ruleset(claim: Claim, *, ttl_s: float = LOCK_S) -> str:
    """Return the transaction that restarts the lock's TTL. It fails as a whole if this run no longer holds it."""
    return transaction(f"flush set inet {LOCK_TABLE} {_set(claim.run)}", _element(claim, ttl_s))


def hold_statements(claim: Claim, *, ttl_s: float = LOCK_S) -> tuple[str, ...]:
    """Return the first statements of a transaction that requires this run's unexpired lock.

    The `delete` fails for an expired element. The `add` restarts the lock's TTL.
    """
    element = f"element inet {LOCK_TABLE} {_set(claim.run)}"
    return f"delete {element} {{ {_KEY} }}", _element(claim, ttl_s)


def release_ruleset(run: str) -> str:
    """Return the transaction that unlocks a node. It fails as a whole if the run does not hold the lock."""
    return transaction(*_removed(run))


def parse_lock(json_text: str) -> LockFacts | None:
    """Parse the output of `nft -j list table inet chaosext.lock`; None if it is empty (no lock).

    Raises ValueError for anything but nft's JSON.
    """
    if not json_text.strip():
        return None
    try:
        sets = [item["set"] for item in json.loads(json_text)["nftables"] if "set" in item]
        return _facts(sets[0]) if sets else _facts({"name": ""})
    except MALFORMED as error:
        raise ValueError(f"not an answer of nft -j: {error!r:.200}") from error


def _made(claim: Claim, ttl_s: float) -> tuple[str, ...]:
    return (
        f"create table inet {LOCK_TABLE}",
        f"add set inet {LOCK_TABLE} {_set(claim.run)} {{ type mark; flags timeout; }}",
        _element(claim, ttl_s),
    )


def _removed(run: str) -> tuple[str, ...]:
    return f"delete set inet {LOCK_TABLE} {_set(run)}", f"delete table inet {LOCK_TABLE}"


def _element(claim: Claim, ttl_s: float) -> str:
    timed = f'{_KEY} timeout {round(ttl_s * 1000)}ms comment "{_comment(claim)}"'
    return f"add element inet {LOCK_TABLE} {_set(claim.run)} {{ {timed} }}"


def _comment(claim: Claim) -> str:
    begin = f"owner={claim.owner} holder="
    return f"{begin}{shortened(claim.holder, COMMENT_LENGTH - len(begin))}"


def _set(run: str) -> str:
    return SET_PREFIX + check_run(run)


def _facts(found: dict[str, Any]) -> LockFacts:
    element: dict[str, Any] = next((each["elem"] for each in found.get("elem", ())), {})
    said = _COMMENT.match(element.get("comment", ""))
    name = found["name"]
    return LockFacts(
        run=name.removeprefix(SET_PREFIX) if name.startswith(SET_PREFIX) else "",
        owner=said["owner"] if said else "",
        holder=parsed(said["holder"]) if said else None,
        remaining_s=int(element.get("expires", 0)),
        is_live=bool(element) or not name.startswith(SET_PREFIX),
    )
