"""A node's lock as an nftables table, and nftables' answer as facts. Pure: texts in, texts out.

One table, `inet chaosext.lock`, holds one set, named by the run; the set holds one element with a timeout, at which the
kernel lets go of it, and a comment that says whose it is. A transaction of nft's is applied whole or not at all, so

- to create the table fails where anybody has it, and
- to delete or flush the set fails where the lock is no more this run's: its name is what is compared before the swap.
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
"""A run's name may begin with a digit, nft's names may not."""

_KEY = 1
"""Of the one element."""

COMMENT_LENGTH = 128
"""libnftnl's NFTNL_UDATA_COMMENT_MAXLEN, in bytes."""

_COMMENT = re.compile(r"owner=(?P<owner>\S+) holder=(?P<holder>\S+)")


def take_ruleset(claim: Claim, *, ttl_s: float = LOCK_S) -> str:
    """The transaction that locks a free node. It fails as a whole where there is a lock, expired or not."""
    return transaction(*_made(claim, ttl_s))


def takeover_ruleset(claim: Claim, run: str, *, ttl_s: float = LOCK_S) -> str:
    """The transaction that puts this lock in the place of `run`'s. It fails as a whole where that is there no more."""
    return transaction(*_removed(run), *_made(claim, ttl_s))


def renew_ruleset(claim: Claim, *, ttl_s: float = LOCK_S) -> str:
    """The transaction that starts the lock's time anew. It fails as a whole where the lock is no more this run's."""
    return transaction(f"flush set inet {LOCK_TABLE} {_set(claim.run)}", _element(claim, ttl_s))


def hold_statements(claim: Claim, *, ttl_s: float = LOCK_S) -> tuple[str, ...]:
    """What a transaction begins with that may be applied only while the lock is this run's, and has not expired.

    The kernel finds no element that has expired. The lock's time starts anew.
    """
    element = f"element inet {LOCK_TABLE} {_set(claim.run)}"
    return f"delete {element} {{ {_KEY} }}", _element(claim, ttl_s)


def release_ruleset(run: str) -> str:
    """The transaction that unlocks a node. It fails as a whole where the lock is not (or no more) the run's."""
    return transaction(*_removed(run))


def parse_lock(json_text: str) -> LockFacts | None:
    """The lock in the answer of `nft -j list table inet chaosext.lock`; None for no answer: there is no lock.

    Raises ValueError for what is not nft's JSON.
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
