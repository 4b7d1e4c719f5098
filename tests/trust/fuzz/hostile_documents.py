"""Documents and snapshots that are bombs, or lead to something else than a file: refused by name, at once."""

from __future__ import annotations

import gzip
import io
import json
import os
import zipfile
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from listings import SMALL as CLUSTER
from listings import listed

from chaosext.model.errors import Inconclusive, Refused
from tests.trust.fuzz import mutate
from tests.trust.fuzz.hostile import TEXTS, said, with_home
from tests.trust.fuzz.inputs import INTENT, LIMITS, PIN, SMALL
from tests.trust.fuzz.stage import CONTEXT
from tests.trust.fuzz.subject import Subject

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from random import Random

ROOT = Path(__file__).parents[3]
NOW = datetime(2026, 10, 2, tzinfo=UTC)
CUTOVER = {"title": "t", "cut": {"for": "8m", "nodes": ["worker-1"]}, "accept": {"self_heals": True}}
SCENARIOS = [
    {"name": "a", "cut_for": "8m"},
    {"name": "b", "cut_nodes": ["worker-1"], "with": ["dns-affinity"]},
]
APPROVAL = {
    "said": "approved",
    "at": "2026-10-02T12:00:00+00:00",
    "until": None,
    "by": "a@b",
    "sha256": "ab",
    "cluster_uid": "u",
    "context": CONTEXT,
    "title": "t",
    "note": "",
    "values": {},
}


def bomb(rng: Random) -> bytes:
    """A document of at most a few hundred KiB whose value, or whose reading, is beyond all measure."""
    return rng.choice(BOMBS)(rng)


def _aliases(rng: Random) -> bytes:
    width, depth = rng.randrange(2, 40), rng.randrange(5, 40)
    lines = [f"a0: &a0 [{', '.join(['x'] * width)}]"]
    for n in range(1, depth):
        inner = ", ".join([f"*a{n - 1}"] * width)
        lines.append(f"a{n}: &a{n} " + rng.choice((f"[{inner}]", f"{{k: [{inner}], l: *a{n - 1}}}")))
    return "\n".join(lines).encode()


def _merges(rng: Random) -> bytes:
    keys = ", ".join(f"k{n}: 1" for n in range(rng.randrange(1, 500)))
    lines = [f"m0: &m0 {{{keys}}}"]
    for n in range(1, rng.randrange(2, 30)):
        merged = ", ".join([f"*m{n - 1}"] * rng.randrange(1, 30))
        lines.append(f"m{n}: &m{n} {{<<: [{merged}], own{n}: 1}}")
    return "\n".join(lines).encode()


def _selves(rng: Random) -> bytes:
    return rng.choice(
        (b"a: &a [*a]", b"&a {b: *a}", b"a: &a {<<: *a}", b"&a [&b [*a, *b]]", b"? &a [*a]\n: 1", b"a: *a")
    )


def _deep(rng: Random) -> bytes:
    depth = rng.choice((99, 101, 1000, 20_000, 100_000))
    begin, end = rng.choice(
        (("[", "]"), ("{a: ", "}"), ('{"a":', "}"), ("- ", ""), ("? ", ""), ("[&a ", "]"), ("!!seq [", "]"))
    )
    return (begin * depth + rng.choice(("1", "")) + end * rng.choice((depth, 0))).encode()


def _blocks(rng: Random) -> bytes:
    return "\n".join(f"{' ' * n}a{n}:" for n in range(rng.choice((90, 300, 700)))).encode()


def _numbers(rng: Random) -> bytes:
    digits = rng.choice((20, 400, 5000, 300_000))
    number = rng.choice(
        (
            "9" * digits,
            "0x" + "f" * digits,
            ":".join(["59"] * digits),
            "1." + "9" * digits,
            "0o" + "7" * digits,
        )
    )
    return f"max_ttl_s: {number}\nttl_s: -{number}\n".encode()


def _keys(rng: Random) -> bytes:
    return rng.choice(
        (
            b"a: 1\na: 2",
            b'{"a": 1, "a": 2}',
            b"1: a\n0x1: b",
            b"? [a]\n: b",
            b"? {a: b}\n: c",
            b"~: 1\nnull: 2",
        )
    )


def _bytes(rng: Random) -> bytes:
    return rng.choice(
        (
            b"a: \0",
            b"\xff\xfea\0:\0",
            b"a: \xed\xa0\x80",
            b"\xef\xbb\xbfa: 1",
            b"\x80",
            b"a: \x1b[2J",
            bytes(5000),
        )
    )


def _tags(rng: Random) -> bytes:
    return rng.choice(
        (
            b"!!python/object/apply:os.system [id]",
            b"!!python/name:os.system x",
            b"a: !!timestamp soon",
            b"a: !!binary x",
            b"a: !!set {[a]: 1}",
            b"!!omap [a]",
            b"a: !include /etc/passwd",
            b"%YAML 9.9\n--- a",
            b"%TAG ! x\n--- !y z",
        )
    )


def _much(rng: Random) -> bytes:
    size = rng.choice((10_000, 100_000, 400_000))
    unit = rng.choice(
        (b"- a\n", b"a ", b"# x\n", b"[],", b"'", b'"\\u202e', b"a: b\n", b"--- a\n", b"&a ", b"| \n", b"\t")
    )
    return rng.choice((b"", b"[", b"a: ", b"a: '")) + unit * (size // len(unit))


def _text(rng: Random) -> bytes:
    key, value = rng.choice(TEXTS), rng.choice(TEXTS)
    return json.dumps({key: value, "title": rng.choice(TEXTS), "cut": rng.choice(TEXTS)}).encode()


BOMBS: tuple[Callable[[Random], bytes], ...] = (
    _aliases, _aliases, _merges, _selves, _deep, _deep, _blocks, _numbers, _keys, _bytes, _tags, _much, _text,
)  # fmt: skip


def _draw(*good: Any) -> Callable[[Random], tuple[int, bytes]]:
    def draw(rng: Random) -> tuple[int, bytes]:
        chosen = rng.choice(good)
        if rng.random() < 0.5:
            return rng.randrange(1 << 30), bomb(rng)
        if rng.random() < 0.5:
            return rng.randrange(1 << 30), mutate.spelt(rng, mutate.value(rng, chosen))
        return rng.randrange(1 << 30), mutate.text(rng, yaml.safe_dump(chosen))

    return draw


def _file(home: Path, data: bytes, number: int) -> Path:
    """The document, in a file; now and then what is no file at all stands there."""
    path = home / "document.yaml"
    path.unlink(missing_ok=True)
    if number % 97 == 0:
        path.symlink_to(("/dev/zero", "/proc/self/mem", home, "document.yaml", "/dev/stdin")[number % 5])
    elif number % 101 == 0:
        with path.open("wb") as file:
            file.truncate(1 << 40)
    else:
        path.write_bytes(data)
    return path


def _commands(home: Path, drawn: tuple[int, bytes]) -> None:
    """Every command that reads a document, up to where it has read it."""
    number, data = drawn
    path = str(_file(home, data, number))
    arguments = (
        ("audit", "digest", path),
        ("run", path, "--dry-run"),
        ("gate", "--cutover", path, "--context", CONTEXT),
        ("schedule", "--settings", path, "--check"),
        ("schedule", "--fleet", path),
        ("rehearse", "--snapshot", str(_snapshot()), "--scenarios", path, "--samples", "1"),
        ("audit", "verify", "--result", path),
        ("audit", "verify", "--log", path),
        ("report", path),
        ("rehearse", "--snapshot", path, "--samples", "1", "--no-advice"),
    )
    said(*arguments[number % len(arguments)]).require(0, 10, 20, 30)


def _readers(home: Path, drawn: tuple[int, bytes]) -> None:
    """Every file that chaosext keeps, or that an operator writes, by its reader."""
    from chaosext.experiment.cutover_plan_file import read_cutover
    from chaosext.experiment.load import load_experiment
    from chaosext.experiment.operator_limits import read_limits
    from chaosext.gameday.cluster_fleet import read_fleet
    from chaosext.gameday.gameday_settings import read_settings
    from chaosext.safety.approvals import read_words
    from chaosext.safety.audit_log import AuditLog
    from chaosext.safety.intent import IntentLog
    from chaosext.safety.pins import read_pins

    number, data = drawn
    path = _file(home, data, number)
    readers: tuple[Callable[[], object], ...] = (
        lambda: load_experiment(path),
        lambda: read_limits(path),
        lambda: read_cutover(path, NOW),
        lambda: read_pins(path),
        lambda: read_words([path]),
        lambda: read_settings(path),
        lambda: read_fleet(path),
        lambda: IntentLog(path).outstanding(),
        lambda: AuditLog(path).verified(),
    )
    with _fix_named():
        readers[number % len(readers)]()


@contextmanager
def _fix_named() -> Iterator[None]:
    try:
        yield
    except (Refused, Inconclusive) as error:
        if not error.fix:
            raise AssertionError(f"no fix: {error.message}") from error
        raise


@cache
def _snapshot() -> Path:
    path = Path(os.environ["HOME"]) / "cluster.json"
    path.write_text(json.dumps(listed(*CLUSTER)))
    return path


def _draw_snapshot(rng: Random) -> bytes:
    whole = listed(*CLUSTER)
    if rng.random() < 0.3:
        return rng.choice(SNAPSHOTS)(rng)
    changed = mutate.value(rng, whole)
    if rng.random() < 0.4:
        places = [(holder, key) for holder, key in mutate._places([changed]) if isinstance(holder[key], str)]
        for holder, key in rng.sample(places, min(len(places), 5)):
            holder[key] = rng.choice(TEXTS)
    data = mutate.spelt(rng, changed)
    return gzip.compress(data, 1) if rng.random() < 0.2 else data


ITEM = b'{"kind":"Pod","metadata":{"name":"a"}}'

SNAPSHOTS: tuple[Callable[[Random], bytes], ...] = (
    lambda rng: gzip.compress(bytes(rng.choice((1 << 20, 1 << 26, 1 << 27))), 9),
    lambda rng: gzip.compress(b'{"items":[' + rng.choice((b"0,", b"{},", ITEM + b",")) * 400_000 + b"0]}", 9),
    lambda rng: gzip.compress(gzip.compress(bytes(1 << 26), 9), 9),
    lambda rng: gzip.compress(b" " * (1 << 24)) * rng.choice((1, 8)),
    lambda rng: gzip.compress(b'{"items":[]}')[: rng.randrange(30)],
    lambda rng: b'{"items":[' + rng.choice((b"0,", b"{},", b"[],", b"null,")) * 300_000 + b"0]}",
    lambda rng: b'{"items":[' + (ITEM + b",") * rng.choice((1, 1000, 20_000)) + ITEM + b"]}",
    lambda rng: b'{"items":[{"kind":"Node","metadata":' + b'{"labels":' * 5000,
    lambda rng: b'{"kind":' + b"[" * rng.choice((100, 100_000)),
    lambda rng: b'{"items":[],' + b'"a":1,' * 200_000 + b'"b":2}',
    lambda rng: b'{"items":[]}' * rng.choice((2, 20_000)),
    lambda rng: b"{" * 1000 + b"[" * 1000,
    lambda rng: b"items:\n" + b"- kind: Pod\n  metadata: {name: a}\n" * rng.choice((1, 1000)),
    lambda rng: b"a: &a [x, x]\n" + b"".join(b"b%d: &a [*a, *a]\n" % n for n in range(rng.choice((3, 60)))),
    lambda rng: b"kind: " + rng.choice((b"[", b"{a: ", b"- ", b"? ")) * 10_000,
    lambda rng: _zipped(bytes(rng.choice((1 << 20, 1 << 27)))),
    lambda rng: _zipped(b'{"kind":"List","items":[' + ITEM + b"]}")[: rng.randrange(20, 300)],
)


def _zipped(content: bytes) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("../a.json", content)
    return data.getvalue()


def _rehearsed(home: Path, data: bytes) -> None:
    path = home / "snapshot.json"
    path.write_bytes(data)
    said("rehearse", "--snapshot", str(path), "--samples", "1", "--no-advice").require(0, 20)
    with suppress(Refused):
        from chaosext.rehearsal.snapshot.snapshot_files import read_files

        read_files([path])


EXPERIMENT = {**SMALL, "configuration": {}}
PINS = {CONTEXT: PIN}

SUBJECTS = (
    Subject(
        name="document",
        share=25,
        draw=_draw(EXPERIMENT, CUTOVER, SCENARIOS, LIMITS),
        feed=with_home(_commands),
    ),
    Subject(
        name="reader",
        share=100,
        draw=_draw(EXPERIMENT, CUTOVER, LIMITS, PINS, APPROVAL, INTENT),
        feed=with_home(_readers),
        allowed=(Refused, Inconclusive),
    ),
    Subject(name="snapshot", share=15, draw=_draw_snapshot, feed=with_home(_rehearsed)),
)
