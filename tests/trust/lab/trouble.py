"""Nodes in trouble: an `ip` and an `nft` that stand before the real ones on a trial's PATH.

`ip netns exec NODE …` is the way into a node, so this `ip` can keep anybody out of it; whatever runs there finds this
`nft`. What they do is written in files of the folder that `TRUST_TROUBLE` names; without one they do nothing special.
"""

from __future__ import annotations

import os
import shutil
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pathlib import Path

    from tests.trust.lab.trial import Trial

How = Literal["fail", "die", "hang", "stall", "lines", "line", "errors"]
"""`fail`: ends at once with 1; `die`: is killed in the middle; `hang`: never ends; `stall`: begins `STALL_S` late.

And without an end it says: `lines`; a `line`; `errors`, lines on stderr.
"""

STALL_S = 1.5
DIES_AFTER_S = 0.03

IP = r"""#!/bin/sh
real=REAL trouble=$TRUST_TROUBLE
[ "$1 $2" = "netns exec" ] || exec $real "$@"
export TRUST_NODE=$3
number=1
while ! mkdir "$trouble/$3.$number" 2>/dev/null; do number=$((number + 1)); done
how=
[ -e "$trouble/$3.from" ] && read -r from how <"$trouble/$3.from" && [ "$number" -lt "$from" ] && how=
[ -e "$trouble/$3.at" ] && read -r at how <"$trouble/$3.at" && [ "$number" -ne "$at" ] && how=
case $how in
fail) exit 1 ;;
hang) exec sleep 600 ;;
stall) sleep STALL ;;
lines) exec $real netns exec "$3" yes ;;
line) exec $real netns exec "$3" cat /dev/zero ;;
errors) exec $real netns exec "$3" yes >&2 ;;
die)
  exec 3<&0
  $real "$@" <&3 &
  sleep DIES
  kill -9 $!
  exit 137 ;;
esac
exec $real "$@"
"""

NFT = r"""#!/bin/bash
real=REAL trouble=$TRUST_TROUBLE/nft.$TRUST_NODE
[[ $* == "-f -" && -e $trouble ]] || exec $real "$@"
text=$(cat)
if [[ $text == *"create table inet chaosext_"* ]]; then
  case $(<"$trouble") in
  nothing) exit 0 ;;
  no-elements) text=$(sed '/^ *elements = /d' <<<"$text") ;;
  no-ipv6) text=$(sed '/peers6 {/,/}/{/elements = /d}' <<<"$text") ;;
  no-drops) text=$(sed 's/ drop / accept /; s/ drop$/ accept/' <<<"$text") ;;
  no-timeout) text=$(sed 's/ timeout [0-9]*ms//g' <<<"$text") ;;
  *) exit 64 ;;
  esac
fi
exec $real -f - <<<"$text"
"""


@dataclass
class Trouble:
    """A trial's own tools, and what its nodes' troubles are."""

    trial: Trial
    folder: Path = field(init=False)

    def __post_init__(self) -> None:
        self.folder = self.trial.home / "trouble"
        tools = self.folder / "bin"
        tools.mkdir(parents=True)
        for name, text in (("ip", IP), ("nft", NFT)):
            text = text.replace("REAL", shutil.which(name) or name)
            tool = tools / name
            tool.write_text(text.replace("STALL", f"{STALL_S}").replace("DIES", f"{DIES_AFTER_S}"))
            tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
        self.trial.environment |= {
            "PATH": f"{tools}:{os.environ['PATH']}",
            "TRUST_TROUBLE": str(self.folder),
        }

    def entering(self, role: str, how: How, at: int) -> None:
        """The `at`-th time that somebody enters the node, this happens."""
        (self.folder / f"{self._node(role)}.at").write_text(f"{at} {how}\n")

    def from_now_on(self, role: str, how: How) -> None:
        """Whoever enters the node meets this."""
        (self.folder / f"{self._node(role)}.from").write_text(f"0 {how}\n")

    def over(self) -> None:
        """All is well again."""
        for each in (*self.folder.glob("*.at"), *self.folder.glob("*.from"), *self.folder.glob("nft.*")):
            each.unlink()

    def nft(self, role: str, what: str) -> None:
        """What this node's nft does when it is to arm."""
        (self.folder / f"nft.{self._node(role)}").write_text(what)

    def entries(self, role: str) -> int:
        """How often the node was entered so far."""
        return len([each for each in self.folder.glob(f"{self._node(role)}.*") if each.is_dir()])

    def _node(self, role: str) -> str:
        return self.trial.lab.node(role)
