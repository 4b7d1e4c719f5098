"""What runs on a node, in bash, and how its answer is read. Pure: texts only.

A script says what it does in sections, under marker lines that no line of nft's output can look like.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaosext.partition.nft import (
    END_OF_TRANSACTION,
    LOCK_TABLE,
    TABLE_PREFIX,
    TableFacts,
    disarm_ruleset,
    parse_tables,
    table_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

Sections = dict[str, str]
"""The text under each marker."""

_MARK = "@@chaosext "

_PRELUDE = f"""
export LC_ALL=C
say() {{ printf '{_MARK}%s\\n' "$1"; }}
fail() {{ say failed; "$@" 2>&1 >/dev/null; exit 4; }}
ours() {{
  local all family name
  all=$(nft list tables) || fail nft list tables
  while read -r _ family name; do
    if [[ $family == inet && $name == {TABLE_PREFIX}* ]]; then nft -j list table inet "$name"; echo; fi
  done <<<"$all"
}}
lock() {{
  local all
  all=$(nft list tables) || fail nft list tables
  [[ $'\\n'$all$'\\n' != *$'\\ntable inet {LOCK_TABLE}\\n'* ]] || nft -j list table inet {LOCK_TABLE}
}}
"""

LATEST_S = 2
"""How long nft may take to apply a transaction of ours: 0.3 s among 100,000 rules (nft 1.0.6), and seconds on a node in
trouble. It is ended then, on the node: a runner that has healed and left must not be followed by its own rules."""

# Nothing is touched before `ready`. What comes then on stdin is applied when it is whole: a torn or missing
# transaction means that the runner died or thought better of it.
ARM = f"""{_PRELUDE}
command -v nft >/dev/null || {{ say failed; echo 'nft is not installed'; exit 4; }}
say foreign-before; nft -s list ruleset || fail nft list ruleset
say ours-before; ours
say ready
transaction=$(cat)
[[ $transaction == *'{END_OF_TRANSACTION}' ]] || exit 0
if errors=$(printf '%s\\n' "$transaction" | timeout -s KILL {LATEST_S} nft -f - 2>&1); then
  say committed
else
  say failed; printf '%s\\n' "${{errors:-nft did not end within {LATEST_S} s}}"
fi
say ours-after; ours
say foreign-after; nft -s list ruleset || fail nft list ruleset
say end
"""

LISTING_SHARE = 0.2
"""How much of a heal's time each of its two listings may take."""

# A huge ruleset may take long to list (100,000 rules: 5 s and more), and a heal must not wait for it. The one table is
# asked for by its name: `nft list tables` reads all rules as well (nft 1.0.6).
HEAL = f"""{_PRELUDE}
read -r within table
listed() {{ timeout "$within" nft -s list ruleset </dev/null || say unlisted; }}
say foreign-before; listed
say disarm; nft -f - 2>&1
say tables
if left=$(nft list table inet "$table" 2>&1); then
  echo "table inet $table"
elif [[ $left != 'Error: No such file or directory'* ]]; then
  fail nft list table inet "$table"
fi
say foreign-after; listed
say end
"""

# Whoever got the lock, or has it still: what is said is who has it afterwards.
LOCK = f"""{_PRELUDE}
command -v nft >/dev/null || {{ say failed; echo 'nft is not installed'; exit 4; }}
transaction=$(cat)
[[ $transaction == *'{END_OF_TRANSACTION}' ]] || exit 0
say nft; printf '%s\\n' "$transaction" | nft -f - 2>&1
say lock; lock
say end
"""

INSPECT = f"""{_PRELUDE}
say ours; ours
say lock; lock
say end
"""


def heal_input(run: str, timeout_s: float) -> str:
    """What `HEAL` reads: how long each listing may take, which table goes, and the transaction that takes it away.

    Raises `Refused` for what can't name a run.
    """
    return f"{timeout_s * LISTING_SHARE:.2f} {table_of(run)}\n{disarm_ruleset(run)}"


def sections(lines: Iterable[str], *, until: str, holding: Iterable[str] = ()) -> Sections:
    """What the script said, up to and including the marker `until`, or to its end when that never comes.

    One that lacks a section that it must be `holding` is damaged: it counts as ended before `until`.
    """
    found: dict[str, list[str]] = {}
    name = ""
    for line in lines:
        if line.startswith(_MARK):
            name = line.removeprefix(_MARK)
            found[name] = []
            if name == until:
                break
        elif name:
            found[name].append(line)
    if not set(holding) <= found.keys():
        found.pop(until, None)
    return {name: "\n".join(text) for name, text in found.items()}


def tables(section: str) -> tuple[TableFacts, ...]:
    """The tables in a section of `ours`: one answer of nft's a line. Raises ValueError when it is none."""
    return tuple(facts for line in section.splitlines() if line.strip() for facts in parse_tables(line))
