"""Every command that the product prints, in messages, fixes, help, README and docs, as the words of a shell."""

from __future__ import annotations

import ast
import re
import shlex
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from chaosext.cli.main import COMMANDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "chaosext").rglob("*.py"))
TEXTS = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "deploy").rglob("NOTES.txt")),
]

_PROGRAMS = "chaosext|kubectl|docker|conntrack|systemctl|apt-get|pip|chaos|nft"
_COMMAND = re.compile(rf"(?:[A-Z_]+=\S+ )*(?:{_PROGRAMS}) [-a-z](?![\w-]*=)")
_NAMES_A_PROGRAM = re.compile(rf"""(?:{_PROGRAMS})[\s"'{{\\]""")
"""What a source that prints a command contains, also if the command is put together of several strings."""

_TICKED = re.compile(r"`([^`]+)`")

UNKNOWN = "name"
"""What stands for an expression that nothing is known of."""

SAMPLES = (
    (re.compile(r"ROLLED_OUT_WITHIN"), "300s"),
    (re.compile(r"^resource_path"), "/api/v1/pods"),
    (re.compile(r"^labels$"), "example.com/zone=a"),
    (re.compile(r"(?i)namespace|space|\bNAMESPACE\b"), "chaosext"),
    (re.compile(r"\bRUN\b"), "chaosext/run"),
    (re.compile(r"run\b"), "20261123t230300ab12"),
    (re.compile(r"(?i)context"), "kind-chaosext"),
    (re.compile(r"^delete$"), "nft delete table inet chaosext_20261123t230300ab12"),
    (re.compile(r"node\b"), "worker-1"),
    (re.compile(r"path\b"), "run/latest"),
)  # fmt: skip
"""An expression in a printed text -> what may stand there; a name for anything else."""


@dataclass(frozen=True, slots=True)
class Printed:
    """A command, and where it is printed."""

    place: str
    text: str

    def __str__(self) -> str:
        return f"{self.place}: {self.text}"

    @property
    def words(self) -> list[str]:
        return shlex.split(self.text)


@cache
def commands() -> tuple[Printed, ...]:
    """All of them, each once for a place."""
    found = [each for path in SOURCES for each in _in_source(path)]
    found += [each for path in TEXTS for each in _in_text(path)]
    return tuple(sorted(set(found), key=str))


def _in_source(path: Path) -> Iterator[Printed]:
    place, source = str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")
    if not _NAMES_A_PROGRAM.search(source):
        return
    for text in _printed_texts(ast.parse(source)):
        for command in _in_prose(text):
            yield Printed(place, command)


def _printed_texts(tree: ast.AST) -> Iterator[str]:
    """Every string but those that only readers of the code see; of docstrings, those that click prints."""
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    for node in ast.walk(tree):
        parent = parents.get(node)
        if isinstance(parent, ast.JoinedStr | ast.FormattedValue) or not _is_text(node):
            continue
        if isinstance(parent, ast.Expr) and not _is_help(parent, parents.get(parent)):
            continue
        yield _sampled(node)


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def _is_help(expression: ast.AST, of: ast.AST | None) -> bool:
    decorated = isinstance(of, ast.FunctionDef) and of.body[0] is expression
    return decorated and any(
        "command" in ast.unparse(each) or "group" in ast.unparse(each) for each in of.decorator_list
    )


def _sampled(node: ast.AST) -> str:
    """The text, with a sample for each expression in it."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    parts = node.values if isinstance(node, ast.JoinedStr) else []
    return "".join(map(_part, parts))


def _part(part: ast.AST) -> str:
    if isinstance(part, ast.FormattedValue):
        return _sample(ast.unparse(part.value))
    return str(part.value) if isinstance(part, ast.Constant) else ""


def _sample(expression: str) -> str:
    return next((sample for pattern, sample in SAMPLES if pattern.search(expression)), UNKNOWN)


def _in_text(path: Path) -> Iterator[Printed]:
    """Of Markdown, what stands between backquotes and in blocks of code."""
    place, text = str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")
    blocks = re.findall(r"(?ms)^ *```(?:sh|console|bash)?\n(.*?)^ *```", text)
    prose = re.sub(r"(?ms)^ *```.*?^ *```", "", text)
    for command in (*_in_prose(prose), *(each for block in blocks for each in _in_block(block))):
        yield Printed(place, command)


def _in_prose(text: str) -> Iterator[str]:
    for ticked in _TICKED.findall(text):
        yield from _split(" ".join(ticked.split()))
    yield from _in_block(_TICKED.sub("", text), strictly=True)


def _in_block(block: str, *, strictly: bool = False) -> Iterator[str]:
    """Lines that begin with a command; what stands beside it, three blanks apart or after a hash, is said of it.

    `strictly`: between other texts a line may begin with a program's name and be prose, as "chaosext needs Docker".
    """
    joined = re.sub(r"\\\n\s*", "", block)
    for line in joined.splitlines():
        said = re.split(r"\s{3,}(?=\S)|\s+#\s", line.strip())[0]
        if _COMMAND.match(said) and not (strictly and _is_prose(said)):
            yield from _split(said)


def _is_prose(line: str) -> bool:
    program, second, *rest = line.split()
    if second.startswith("-"):
        return False
    return second not in VERBS.get(program, ()) or rest[:1] in PROSE


PROSE = (["ended"],)
"""How a sentence goes on that begins as a command does: "chaosext run ended with exit code 30"."""

VERBS = {
    "chaosext": tuple(COMMANDS),
    "kubectl": (
        "annotate",
        "apply",
        "config",
        "create",
        "delete",
        "describe",
        "get",
        "label",
        "logs",
        "rollout",
    ),
    "docker": ("exec", "logs"),
    "nft": ("delete",),
    "conntrack": ("-D",),
    "systemctl": ("restart",),
    "apt-get": ("install",),
    "pip": ("install",),
    "chaos": ("run", "validate", "discover"),
}
"""Program -> what its printed commands begin with."""


def _split(text: str) -> Iterator[str]:
    """The single commands of a line, without redirections and here documents."""
    for part in re.split(r"\s*(?:\|\||&&|;|\|)\s*", text):
        command = (
            re.sub(r"\s*(?:<<|>|<)\s*\S.*$", "", part, flags=re.S).strip().replace("[", "").replace("]", "")
        )
        if _COMMAND.match(command) and command.split()[1] != UNKNOWN:
            yield re.sub(r"^(?:[A-Z_]+=\S+ )+", "", command)


def of(program: str, found: Iterable[Printed]) -> list[Printed]:
    return [each for each in found if each.text.split()[0] == program]
