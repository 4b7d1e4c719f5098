"""What runs on a node, in bash, and how its answer is read. Pure: texts only.

A script says what it does in sections, under marker lines that no line of nft's output can look like.
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
"""The text under each marker."""

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
"""`clock`: milliseconds since the node booted, in steps of 10, the time that it slept included (proc_uptime(5)).

A runner that is stopped, or whose machine is, does not stop it.
"""

SHORTEST_MS = 100
"""What a cut must have left when its rules reach a node. Not 0, which nft takes for a timeout that never ends."""

LATEST_S = 1
"""How long nft may take to apply a transaction: 0.05 s is usual, 0.3 s among 100,000 rules (nft 1.0.6), and
seconds on a node in trouble. It is ended then, on the node: the kernel would let go by so much too late, and a runner
that has healed and left must not be followed by its own rules.
"""

# Nothing is touched before `ready`. What comes then on stdin is applied when it is whole: a torn or missing
# transaction means that the runner died or thought better of it. Whatever the runner decided, it decided after `ready`;
# what comes later than it allowed, or too late for a cut that ends when it must, is not applied at all.
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
"""How much of a heal's time each of its three listings may take."""

# A huge ruleset may take long to list (100,000 rules: 5 s and more), and a heal must not wait for it. The one table is
# asked for by its name: `nft list tables` reads all rules as well (nft 1.0.6).
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


# Whether the cut is whole, while it lasts: its table by name, and the interfaces on which it drops.
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
    """What `ARM` reads once it is ready: how long after that the transaction may come, how long after that the cut
    is to end (and to begin), and the transaction.
    """
    return f"{within_ms} {lasting.armed} {lasting.delay}\n{transaction}"


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
    """The tables in a section of `ours`: the first lines of nft's text, then an answer of its JSON on a line.

    Raises ValueError when it is none.
    """
    found: list[TableFacts] = []
    header: list[str] = []
    for line in section.splitlines():
        if line.startswith(("table ", "\t")):
            header.append(line)
        elif line.strip() or Header.parse(header).dormant:
            found += parse_tables(line, Header.parse(header))
            header = []
        else:  # it went away between the two
            header = []
    return tuple(found)


def lasted(section: str) -> tuple[Lasting, float]:
    """How long the node has set its times to, and the seconds that nft took. Raises ValueError for no such answer."""
    armed, delay, took_ms = (int(word) for word in section.split())
    return Lasting(armed=armed, delay=delay), took_ms / 1000
