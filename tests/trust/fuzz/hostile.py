"""`python -m tests.trust.fuzz.hostile COUNT SEED [SUBJECT…]`: what other people prepared, fed to the real commands.

Run directories full of traps, documents and snapshots that are bombs, texts that a terminal would obey: nothing outside
of the directory is written, nothing but printable text leaves, no input takes long, and all of them little memory.
`… 0 SUBJECT/SEED` feeds one input once more.
"""

from __future__ import annotations

import io
import json
import re
import resource
import sys
import tempfile
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, process_time
from typing import TYPE_CHECKING, Any

from tests.trust.fuzz.__main__ import move_into

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.trust.fuzz.subject import Subject

LONGEST_S = 10.0
"""Of one input, of a processor's time, which no other load on the machine is in. What waits for ever ends the row."""

MOST_MIB = 300
ENOUGH = 40

OBEYED = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff"
    "\U000e0000-\U000e007f]"
)
"""What a terminal or a reader would obey, or not see; written down here once more, not taken from what is tried."""

TEXTS = (
    "\x1b]0;owned\x07", "\x1b[2J\x1b[H", "\x1b]8;;https://evil.example\x1b\\here\x1b]8;;\x1b\\", "\x1bP+q544e\x1b\\",
    "\x9b31m", "\x9d0;x\x9c", "\r\x1b[Kpassed (exit 0)", "\b\b\b\bpassed", "a\nverdict: passed (exit 0)", "\x00",
    "\x7f", "\u202egnihton\u202c", "\u2066x\u2069", "\u200bzero\u200d", "\u2028next", "\ufeff", "\ud800",
    "\U000e0041\U000e0042", "\n# passed\n", "[click](javascript:alert(1))", "![x](https://evil.example/x.png)",
    "<img src=x onerror=alert(1)>", "<!--", "-->", "`", "```", "````\n", "~~~", "| a | b |", "</details>", "$x$",
    "@octo-org/everybody", "#1", ":tada:", "[red]markup[/red]", "[bold", "[/]", "{{ 7 * 7 }}", "%s%n", "]]>", "&lt;",
    "<![CDATA[", "\ufffe", "é𝕏﷽", "a" * 3000, "../../outside/authorized_keys", "/etc/passwd", "x\nssh-rsa A mallory\n",
    "..", ".", "", "latest", "a/b", "-o",
)  # fmt: skip
"""What somebody writes who wants more than to be read."""


@dataclass(slots=True)
class Said:
    """What a command printed, and how it ended."""

    code: int
    out: str
    err: str

    def require(self, *codes: int) -> None:
        """Raise AssertionError for another end, a fault of ours, or anything that a terminal would obey."""
        assert "internal error" not in self.err, self.err[-500:]
        assert self.code in codes, f"ended with {self.code}: {self.err[-300:]}"
        for text in (self.out, self.err):
            assert not (found := OBEYED.search(text)), f"said {text[max(0, found.start() - 40) :][:80]!r}"


def said(*arguments: str) -> Said:
    """`chaosext ARGUMENTS`, in this process."""
    from chaosext.cli.main import invoke

    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", errors="surrogatepass", newline="") for _ in range(2))
    with redirect_stdout(out), redirect_stderr(err):
        code = invoke(list(arguments))
    texts = (stream.buffer.getvalue().decode(errors="surrogateescape") for stream in (out, err))  # type: ignore[attr-defined]
    return Said(code, *texts)


@dataclass(slots=True)
class Played:
    """How many inputs were fed, and what was wrong."""

    fed: dict[str, int] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    longest_s: float = 0.0
    longest: str = ""

    def feed(self, subject: Subject, seed: str) -> None:
        from tests.trust.fuzz.subject import try_one

        began_s = process_time()
        wrong = try_one(subject, seed)
        took_s = process_time() - began_s
        self.fed[subject.name] = self.fed.get(subject.name, 0) + 1
        if took_s > self.longest_s:
            self.longest_s, self.longest = took_s, f"{subject.name}/{seed}"
        if wrong and len(self.failures) < ENOUGH:
            self.failures.append(wrong)


def play(count: int, seed: str, names: Sequence[str] = ()) -> dict[str, Any]:
    """Feed `count` inputs, shared out among the subjects."""
    from tests.trust.fuzz import hostile_directories, hostile_documents, hostile_terminal
    from tests.trust.fuzz.subject import replay, shares

    every = (*hostile_directories.SUBJECTS, *hostile_documents.SUBJECTS, *hostile_terminal.SUBJECTS)
    played = Played()
    if not count:
        return replay(every, seed)
    for subject, share in shares(tuple(each for each in every if not names or each.name in names), count):
        for index in range(share):
            played.feed(subject, f"{seed}-{index}")
    mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if mib > MOST_MIB:
        played.failures.append(f"seed {seed}: {mib:.0f} MiB of memory at the peak")
    if played.longest_s > LONGEST_S:
        played.failures.append(f"{played.longest}: took {played.longest_s:.1f} s")
    return {
        "fed": played.fed,
        "failures": played.failures,
        "longest_s": round(played.longest_s, 1),
        "longest": played.longest,
        "mib": round(mib),
    }


def main() -> None:
    count, seed, *names = sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix="h") as directory:
        move_into(directory)
        began_s = monotonic()
        played = play(int(count), seed, names)
    print(json.dumps({**played, "seconds": round(monotonic() - began_s, 1)}))


def home() -> Path:
    """This process' own directory, fresh for it."""
    import os

    return Path(os.environ["HOME"])


def with_home(feed: Callable[[Path, Any], object]) -> Callable[[Any], object]:
    return lambda drawn: feed(home(), drawn)


if __name__ == "__main__":
    main()
