"""Run directories that somebody else made: whatever is planted in them, a report writes there alone, or not at all."""

from __future__ import annotations

import json
import os
import shutil
import socket
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from directories import NODE, whole
from stories import STORIES

from tests.trust.fuzz import mutate
from tests.trust.fuzz.hostile import OBEYED, TEXTS, said, with_home
from tests.trust.fuzz.subject import Subject

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

JSON = ("result.json", "journal.json", "rehearsal.json", "sentinels/clocks.json")
LINES = ("timeline.jsonl", f"sentinels/{NODE}.jsonl")
WRITTEN = ("report.html", "summary.md", "junit.xml", "report.json")
OTHERS = (
    *(f".{name}.tmp" for name in WRITTEN),
    "compared-with-r1.html",
    "compared-with-20261123t230300ab12.md",
    "requests.jsonl",
    "snapshot.json.gz",
    "sentinels",
)
NAMES = (*JSON, *LINES, *WRITTEN, *OTHERS)

KEY_LINE = "ssh-rsa AAAA owner\n"
HUGE = 1 << 40


@dataclass(frozen=True, slots=True)
class Drawn:
    """A run's directory: from which story, what is done to it, and what is asked about it. `seed`: of the acts' own."""

    story: str
    acts: tuple[str, ...]
    asked: str
    seed: int


def draw(rng: Random) -> Drawn:
    acts = tuple(rng.choice(ACT_NAMES) for _ in range(rng.choice((1, 1, 2, 3, 5))))
    return Drawn(rng.choice(sorted(STORIES)), acts, rng.choice(sorted(ASKED)), rng.randrange(1 << 30))


def feed(home: Path, drawn: Drawn) -> None:
    from random import Random

    root, outside = home / "run", home / "outside"
    for path in (root, outside):
        _removed(path)
    (outside / "sub").mkdir(parents=True)
    (outside / "authorized_keys").write_text(KEY_LINE)
    (outside / "sub" / "summary.md").write_text(KEY_LINE)
    path = whole(root, drawn.story)
    rng = Random(drawn.seed)
    for act in drawn.acts:
        with suppress(
            OSError, ValueError, RecursionError
        ):  # what an earlier act has put there may not bear it
            ACTS[act](rng, path, outside)
    before = _tree(home, path)
    found = said(*ASKED[drawn.asked](path))
    found.require(0, 10, 20, 30)
    after = _tree(home, path)
    assert after == before, f"outside: {set(after.items()) ^ set(before.items())}"
    if path.is_dir() and not path.is_symlink():
        _require_harmless(path)


def _removed(path: Path) -> None:
    if path.is_symlink():
        path.unlink()
    shutil.rmtree(path, ignore_errors=True)


def _tree(home: Path, but: Path) -> dict[str, object]:
    """Everything outside of the run's directory, by its path: what it holds, and of which kind it is."""
    found: dict[str, object] = {}
    for place, folders, files in os.walk(home):
        if Path(place) == but:
            folders.clear()
            continue
        for name in (*folders, *files):
            path = Path(place) / name
            kind = path.lstat().st_mode
            if path == but:
                continue
            found[str(path)] = (
                path.read_bytes() if stat.S_ISREG(kind) and path.stat().st_size < 1 << 20 else kind
            )
    return found


def _require_harmless(path: Path) -> None:
    """What was written is a file, and holds nothing but printable text that its own readers understand."""
    for folder in (path, path / "out"):
        for name in (*WRITTEN, *(each.name for each in folder.glob("compared-with-*"))):
            file = folder / name
            if file.is_symlink() or not file.is_file() or file.stat().st_size > 1 << 24:
                continue  # what was planted, and not replaced
            text = file.read_text(errors="surrogateescape")
            if text == KEY_LINE:
                continue  # a link to it that was planted, and not replaced
            assert not (found := OBEYED.search(text)), f"{name}: {text[max(0, found.start() - 40) :][:80]!r}"
            if name.endswith(".json"):
                json.loads(text)
            elif name.endswith(".xml"):
                ElementTree.fromstring(text)  # noqa: S314  what we wrote
            elif name.endswith(".md"):
                _require_plain(text)


def _require_plain(text: str) -> None:
    """Nothing of what was planted links, draws or notifies: it is escaped, or code."""
    import re

    told = re.sub(r"(?s)^(`{3,})text\n.*?\n\1$", "", text, flags=re.MULTILINE)
    told = re.sub(r"\\[!-/:-@\[-`{-~]|`[^`\n]+`", " ", told)
    for sign in ("@octo", "https://evil", "<img", "[click", "<!--", ":tada:", "$x$"):
        assert sign not in told, f"{sign} in {told[max(0, told.index(sign) - 80) :][:160]!r}"


# -- what is done to a directory -------------------------------------------------------------------------------


def _replaced(path: Path, name: str) -> Path:
    """The place of a file, with nothing in it any more."""
    place = path / name
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)
    return place


def _link(rng: Random, path: Path, outside: Path) -> None:
    targets = (
        outside / "authorized_keys",
        outside / "new",
        outside,
        outside / "sub",
        Path("../../outside/authorized_keys"),
        Path("/dev/zero"),
        Path("/etc/passwd"),
        Path("/proc/self/environ"),
        Path(),
    )
    name = rng.choice(NAMES)
    place = _replaced(path, name)
    place.symlink_to(rng.choice((*targets, place)))


def _hard_link(rng: Random, path: Path, outside: Path) -> None:
    _replaced(path, rng.choice(NAMES)).hardlink_to(outside / "authorized_keys")


def _pipe(rng: Random, path: Path, _: Path) -> None:
    os.mkfifo(_replaced(path, rng.choice(NAMES)))


def _socket(rng: Random, path: Path, _: Path) -> None:
    place = _replaced(path, rng.choice(NAMES))
    with socket.socket(socket.AF_UNIX) as bound, suppress(OSError):
        bound.bind(str(place))


def _device(rng: Random, path: Path, _: Path) -> None:
    os.mknod(
        _replaced(path, rng.choice(NAMES)), stat.S_IFCHR | 0o600, os.makedev(1, rng.choice((3, 5, 8, 9)))
    )


def _directory(rng: Random, path: Path, _: Path) -> None:
    _replaced(path, rng.choice(NAMES)).mkdir()


def _sparse(rng: Random, path: Path, _: Path) -> None:
    with _replaced(path, rng.choice((*JSON, *LINES))).open("wb") as file:
        file.truncate(rng.choice((1 << 20, 1 << 25, 1 << 28, HUGE)))


def _closed(rng: Random, path: Path, _: Path) -> None:
    place = path / rng.choice((*JSON, *LINES))
    _held(place)
    place.chmod(0)


def _held(place: Path) -> str:
    """What a file holds that no other act has changed into something else."""
    if place.is_symlink() or not place.is_file() or place.stat().st_size > 1 << 22:
        raise FileNotFoundError(place)
    return place.read_text(errors="replace")


def _bytes(rng: Random, path: Path, _: Path) -> None:
    place = path / rng.choice((*JSON, *LINES))
    place.write_bytes(mutate.text(rng, _held(place)))


def _value(rng: Random, path: Path, _: Path) -> None:
    _change(rng, path, lambda value: mutate.value(rng, value))


def _text(rng: Random, path: Path, _: Path) -> None:
    """A text that a terminal or a page would obey, in any place that holds a text, or as a key."""

    def changed(value: Any) -> Any:
        places = [(holder, key) for holder, key in mutate._places([value]) if isinstance(holder[key], str)]
        for holder, key in rng.sample(places, min(len(places), rng.choice((1, 1, 3, 50)))):
            holder[key] = rng.choice(
                (rng.choice(TEXTS), f"{holder[key]}{rng.choice(TEXTS)}", rng.choice(TEXTS) * 3)
            )
        return value

    _change(rng, path, changed)


def _change(rng: Random, path: Path, changed: Callable[[Any], Any]) -> None:
    name = rng.choice((*JSON, *LINES))
    texts = _held(path / name).split("\n") if name in LINES else [_held(path / name)]
    number = rng.randrange(len(texts))
    with suppress(ValueError):
        texts[number] = json.dumps(changed(json.loads(texts[number])))
    (path / name).write_text("\n".join(texts))


def _run_id(rng: Random, path: Path, _: Path) -> None:
    with suppress(ValueError, TypeError):  # another change may have left no object there
        value = {**json.loads(_held(path / "result.json")), "run": rng.choice((*TEXTS, 5, None, [], "R-1"))}
        (path / "result.json").write_text(json.dumps(value))


def _much(rng: Random, path: Path, _: Path) -> None:
    """More than anything that is meant: depth, lines, values, digits."""
    name = rng.choice((*JSON, *LINES))
    content = rng.choice(
        (
            b"[" * 100_000,
            b'{"a":' * 50_000,
            b"[" + b"[]," * 500_000 + b"[]]",
            b"9" * 1_000_000,
            b'{"run": ' + b"9" * 5000 + b"}",
            b"\n" * 1_000_000,
            b"\0" * 1_000_000,
            b"{}\n" * 200_000,
            b"x" * 3_000_000,
            b'{"a":1,"a":2}',
            b'"' + b"\\u202e" * 100_000 + b'"',
        )
    )
    _replaced(path, name).write_bytes(content)


def _events(rng: Random, path: Path, _: Path) -> None:
    """Many events, of any kind, about any object."""
    from chaosext.model.timeline import Kind

    kinds = [kind.value for kind in Kind]
    _held(path / "timeline.jsonl")
    with (path / "timeline.jsonl").open("a") as file:
        for at in range(rng.choice((10, 300, 1000))):
            about = rng.choice(
                (f"Node/w{at}", f"Pod/a/b-{at % 7}-c", rng.choice(TEXTS), f"Node/{rng.choice(TEXTS)}")
            )
            made = {
                "t_s": rng.choice((at, -at, 1e308, 9e14, -9e14, 1e9, 1e-9)),
                "kind": rng.choice(kinds),
                "object": about,
            }
            file.write(json.dumps({**made, "detail": rng.choice(TEXTS), "source": rng.choice(TEXTS)}) + "\n")


def _named(rng: Random, path: Path, _: Path) -> None:
    """A record whose name, that of its node, is a text of somebody's."""
    name = rng.choice(
        [each for each in TEXTS if each and "/" not in each and "\0" not in each and len(each) < 200]
    )
    with suppress(OSError, UnicodeEncodeError):
        (path / "sentinels" / f"{name}.jsonl").write_text(_held(path / "sentinels" / f"{NODE}.jsonl"))


def _latest(rng: Random, path: Path, outside: Path) -> None:
    place = path.parent / "latest"
    place.symlink_to(rng.choice((path.name, "../outside", outside, "/etc", "latest", "..", "x\n")))


def _elsewhere(_: Random, path: Path, outside: Path) -> None:
    """The run's directory itself leads elsewhere, by a link that another user made where he can."""
    if os.geteuid() == 0:  # nobody else can make what another user has made
        shutil.rmtree(path)
        path.symlink_to(outside / "sub")
        os.lchown(path, 65534, 65534)


ACTS: dict[str, Callable[[Random, Path, Path], None]] = {
    "link": _link,
    "hard link": _hard_link,
    "pipe": _pipe,
    "socket": _socket,
    "device": _device,
    "directory": _directory,
    "sparse": _sparse,
    "closed": _closed,
    "bytes": _bytes,
    "value": _value,
    "text": _text,
    "run id": _run_id,
    "much": _much,
    "events": _events,
    "named": _named,
    "latest": _latest,
    "elsewhere": _elsewhere,
}
ACT_NAMES = (*ACTS, "link", "link", "text", "text", "text", "value", "bytes")
"""Those that are drawn more often stand there again."""


# -- what is asked about it ------------------------------------------------------------------------------------

ASKED: dict[str, Callable[[Path], list[str]]] = {
    "all": lambda path: ["report", str(path)],
    "json": lambda path: ["report", str(path), "--json"],
    "id": lambda path: ["report", path.name, "--run-dir", str(path.parent)],
    "latest": lambda path: ["report", "latest", "--run-dir", str(path.parent)],
    "markdown": lambda path: ["report", str(path), "--format", "markdown", "-o", "-"],
    "document": lambda path: ["report", str(path), "--format", "json", "-o", "-"],
    "elsewhere": lambda path: ["report", str(path), "-o", f"{path}/out/"],
    "compared": lambda path: ["report", str(path), str(path)],
    "receipt": lambda path: ["audit", "verify", "--result", str(path / "result.json")],
    "receipts": lambda path: ["audit", "verify", "--results", str(path.parent)],
}

SUBJECTS = (Subject(name="directory", share=40, draw=draw, feed=with_home(feed)),)
