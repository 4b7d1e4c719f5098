"""The bash scripts that run on a node, and the parsers of their output. Pure: texts only.

A script prints its output in sections, under marker lines that cannot occur in nft's output.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaosext.partition.nft import (
    END_OF_TRANSACTION,
    LOCK_TABLE,
    ON_NODE,
    TABLE_PREFIX,
    Header,
    Lasting,
    TableFacts,
    disarm_ruleset,
    parse_tables,
    table_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

Sections = dict[str, str]
"""Marker -> the text below it."""

_MARK = "@@chaosext "

_PRELUDE = f"""
export LC_ALL=C
say() {{ printf '{_MARK}%s\\n' "$1"; }}
fail() {{ say failed; "$@" 2>&1 >/dev/null; exit 4; }}
table() {{
  nft -s list table inet "$1" | sed -n '/^table /p; /^\t\\(flags\\|comment\\) /p'
  nft -j list table inet "$1"; echo
}}
ours() {{
  local all family name
  all=$(nft list tables) || fail nft list tables
  while read -r _ family name; do
    if [[ $family == inet && $name == {TABLE_PREFIX}* ]]; then table "$name"; fi
  done <<<"$all"
}}
lock() {{
  local all
  all=$(nft list tables) || fail nft list tables
  [[ $'\\n'$all$'\\n' != *$'\\ntable inet {LOCK_TABLE}\\n'* ]] || nft -j list table inet {LOCK_TABLE}
}}
clock() {{ local up; read -r up _ </proc/uptime; printf '%s' "$((10#${{up/./}} * 10))"; }}
"""
"""`clock`: milliseconds since the node booted, in steps of 10, including sleep (proc_uptime(5)).

It continues even if the runner, or the runner's machine, is suspended.
"""

SHORTEST_MS = 100
"""Milliseconds that a cut must have left when its rules reach a node. 0 would mean a timeout that never ends in nft."""

LATEST_S = 1
"""Seconds that nft may take to apply a transaction: 0.05 s is usual, 0.3 s among 100,000 rules (nft 1.0.6),
seconds on a node in trouble. After that it is killed on the node: the rules would expire that much too late,
and could come into force after the runner has healed and exited."""

# Nothing is touched before `ready`. The transaction on stdin is applied only if it is complete: a truncated
# or missing one means that the runner died or changed its mind. The runner decides after `ready`; a
# transaction that comes later than the decision allows, or too late for the planned end of the cut, is not
# applied.
ARM = f"""{_PRELUDE}
command -v nft >/dev/null || {{ say failed; echo 'nft is not installed'; exit 4; }}
say foreign-before; nft -s list ruleset || fail nft list ruleset
say ours-before; ours
began=$(clock)
say ready
read -r within armed delay
transaction=$(cat)
[[ $transaction == *'{END_OF_TRANSACTION}' ]] || exit 0
waited=$(($(clock) - began + 10))
left=$((armed - waited)) wait=$((delay ? delay - waited : 0))
if ((waited > within || left < {SHORTEST_MS} || (delay && wait < {SHORTEST_MS}))); then
  say late; echo "$waited"; say end; exit 0
fi
transaction=${{transaction//{ON_NODE.armed}/$left}}
transaction=${{transaction//{ON_NODE.delay}/$wait}}
sent=$(clock)
if errors=$(printf '%s\\n' "$transaction" | timeout -s KILL {LATEST_S} nft -f - 2>&1); then
  say committed
  say lasting; echo "$left $wait $(($(clock) - sent))"
else
  say failed; printf '%s\\n' "${{errors:-nft did not end within {LATEST_S} s}}"
  say lock; lock
fi
say ours-after; ours
say foreign-after; nft -s list ruleset || fail nft list ruleset
say end
"""

LISTING_SHARE = 0.2
"""Share of a heal's time that each of its three listings may take."""

# A huge ruleset may take long to list (100,000 rules: 5 s and more), and a heal must not wait for it. So the
# script asks for the one table by its name: even `nft list tables` reads all rules (nft 1.0.6).
HEAL = f"""{_PRELUDE}
read -r within table
listed() {{ timeout "$within" nft -s list ruleset </dev/null || say unlisted; }}
say foreign-before; listed
say ours-before; timeout "$within" nft -j list table inet "$table" </dev/null 2>/dev/null || say unseen
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

# Applied or not: the output is the lock as it is afterwards.
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


# Reads what shows whether an active cut is complete: its table by name, and the interfaces on which it drops.
VERIFY = f"""{_PRELUDE}
read -r name
say boot; cat /proc/sys/kernel/random/boot_id
say links; ip -json address show || fail ip address show
say ours
if errors=$(nft list table inet "$name" 2>&1 >/dev/null); then
  table "$name"
elif [[ $errors != 'Error: No such file or directory'* ]]; then
  fail nft list table inet "$name"
fi
say end
"""


def arm_input(within_ms: int, lasting: Lasting, transaction: str) -> str:
    """Return the stdin of `ARM` after `ready`: its limits, the times of the cut, and the transaction.

    All times are counted from `ready`: when the transaction must have arrived, the end of the cut, and its
    start.
    """
    return f"{within_ms} {lasting.armed} {lasting.delay}\n{transaction}"


def heal_input(run: str, timeout_s: float) -> str:
    """Return the stdin of `HEAL`: the time limit per listing, the table, and the transaction that removes it.

    Raises `Refused` for an invalid run ID.
    """
    return f"{timeout_s * LISTING_SHARE:.2f} {table_of(run)}\n{disarm_ruleset(run)}"


def sections(lines: Iterable[str], *, until: str, holding: Iterable[str] = ()) -> Sections:
    """Split a script's output into sections, up to and including the marker `until`, or to the end if it is missing.

    If one of the sections in `holding` is missing, the output is damaged, and counts as ended before `until`.
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
    """Parse a section `ours`: for each table, the first lines of nft's text, then nft's JSON on one line.

    Raises ValueError for anything else.
    """
    found: list[TableFacts] = []
    header: list[str] = []
    for line in section.splitlines():
        if line.startswith(("table ", "\t")):
            header.append(line)
        elif line.strip() or Header.parse(header).dormant:
            found += parse_tables(line, Header.parse(header))
            header = []
        else:  # the table was removed between the two commands
            header = []
    return tuple(found)


def lasted(section: str) -> tuple[Lasting, float]:
    """Return the timeouts that the node set, and the seconds that nft took. Raises ValueError for anything else."""
    armed, delay, took_ms = (int(word) for word in section.split())
    return Lasting(armed=armed, delay=delay), took_ms / 1000
