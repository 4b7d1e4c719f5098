"""Malformed inputs from good ones: values changed where their structure allows it, texts changed anywhere."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

DEEP: Any = []
for _ in range(80):
    DEEP = [DEEP]

ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 0.5, 1e308, float("inf"), float("nan"), 2**31, 2**63, 10**400, -(10**25),
    "", " ", "\0", "\n", "x", "0", "-1", "1e9", "NaN", "null", "yes", "é𝕏﷽", "\u202e", "\ud800", "a" * 5000, "٣", "²",
    "../../etc", "${x}", "{}", "%s%n", "10.0.0.1", "10.0.0.0/8", "::", "fe80::1%eth0", "0.0.0.0/0", "2001-99-99",
    "2026-01-01T00:00:00", "[", "{", "1_000", "0x10", "lo", "ipv4",
    [], {}, [[]], [None], {"": ""}, {"name": None}, [{}], DEEP,
)  # fmt: skip
"""Values that a program written for good ones trips over."""

STRANGE_BYTES = (
    b"\0", b"\xff", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\r\n", b"\t", b"&a ", b"*a", b"!!python/object:x ",
    b"!!binary ", b"<<: ", b"? ", b"- ", b": ", b"#", b"'", b'"', b"{", b"}", b"[", b"]", b"%", b"---\n", b"...\n",
    b"9" * 5000, b" " * 300, b"@@chaosext ", b"@@chaosext end\n", b"[" * 3000, b'{"a":' * 3000,
)  # fmt: skip


def value(rng: Random, good: Any) -> Any:
    """`good` with one to three changes at places of its structure."""
    changed = [copy.deepcopy(good)]
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        holder, key = rng.choice(list(_places(changed)))
        rng.choice(CHANGES)(rng, holder, key)
        if not changed:
            return None
    return changed[0]


def text(rng: Random, good: str) -> bytes:
    """`good` with one to three changes anywhere: bytes, lines, or its end."""
    return _damaged(rng, good, DAMAGES)


def damaged(rng: Random, good: str) -> str:
    """`good` with one to three losses on its way."""
    return _damaged(rng, good, LOSSES).decode(errors="replace")


def _damaged(rng: Random, good: str, damages: Sequence[Callable[[Random, bytes], bytes]]) -> bytes:
    data = good.encode()
    for _ in range(rng.choice((1, 1, 2, 3))):
        data = rng.choice(damages)(rng, data)
    return data


def torn(rng: Random, good: str) -> str:
    """`good` as far as it came before its writer died."""
    return good[: rng.randrange(len(good) + 1)]


def spelt(rng: Random, changed: Any) -> bytes:
    """A value as a file holds it; now and then the file is damaged as well."""
    try:
        written = json.dumps(changed, ensure_ascii=rng.random() < 0.5)
    except (ValueError, TypeError):  # a cycle or a key that JSON has not
        written = repr(changed)
    if rng.random() < 0.1:
        return text(rng, written.encode(errors="replace").decode())
    return written.encode(errors="surrogatepass")


def _places(within: Any) -> list[tuple[Any, Any]]:
    """Every (holder, key) in a nested value."""
    found, rest = [], [within]
    while rest:
        holder = rest.pop()
        members = holder.items() if isinstance(holder, dict) else enumerate(holder)
        for key, member in members:
            found.append((holder, key))
            if isinstance(member, dict | list) and member is not DEEP:
                rest.append(member)
    return found


def _odd(rng: Random) -> Any:
    """One of its own: a change within a shared one would change all of them, and in the end hold itself."""
    return copy.deepcopy(rng.choice(ODD))


def _replace(rng: Random, holder: Any, key: Any) -> None:
    holder[key] = _odd(rng)


def _delete(rng: Random, holder: Any, key: Any) -> None:
    del holder[key]


def _rename(rng: Random, holder: Any, key: Any) -> None:
    if isinstance(holder, dict):
        old = holder.pop(key)
        holder[rng.choice((f"{key}s", str(key).upper(), str(key)[:-1], f" {key}", "é", "dry", "x-a"))] = old
    else:
        holder.insert(rng.randrange(len(holder) + 1), copy.deepcopy(holder[key]))


def _wrap(rng: Random, holder: Any, key: Any) -> None:
    inner = holder[key]
    holder[key] = rng.choice(([inner], {"a": inner}, [inner, inner], str(inner), [str(inner)] * 200))


def _add(rng: Random, holder: Any, key: Any) -> None:
    if isinstance(holder, dict):
        holder[str(rng.choice(ODD))[:40]] = _odd(rng)
    else:
        holder.append(_odd(rng))


def _swap(rng: Random, holder: Any, key: Any) -> None:
    other = rng.choice(list(holder)) if isinstance(holder, dict) else rng.randrange(len(holder))
    holder[key], holder[other] = holder[other], holder[key]


CHANGES: tuple[Callable[[Random, Any, Any], None], ...] = (
    _replace, _replace, _replace, _delete, _rename, _wrap, _add, _swap,
)  # fmt: skip


def _cut_short(rng: Random, data: bytes) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def _insert(rng: Random, data: bytes) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.choice(STRANGE_BYTES) + data[at:]


def _garble(rng: Random, data: bytes) -> bytes:
    if not data:
        return b"?"
    at = rng.randrange(len(data))
    return data[:at] + bytes([rng.randrange(256)]) + data[at + 1 :]


def _lose_line(rng: Random, data: bytes) -> bytes:
    lines = data.split(b"\n")
    del lines[rng.randrange(len(lines))]
    return b"\n".join(lines)


def _repeat_line(rng: Random, data: bytes) -> bytes:
    lines = data.split(b"\n")
    lines.insert(rng.randrange(len(lines) + 1), rng.choice(lines))
    return b"\n".join(lines)


def _much(rng: Random, data: bytes) -> bytes:
    return data * rng.choice((2, 3, 20))


LOSSES: tuple[Callable[[Random, bytes], bytes], ...] = (_cut_short, _insert, _garble, _lose_line)
"""What can happen to an answer on its way. None of it tells another story."""

DAMAGES = (*LOSSES, _insert, _garble, _repeat_line, _much)


def embedded(rng: Random, good: str) -> str:
    """A text with JSON in it, such as a script's answer: one of its JSON lines changed, or the text itself."""
    lines = good.split("\n")
    holding = [index for index, line in enumerate(lines) if line[:1] in ("{", "[")]
    if not holding or rng.random() < 0.35:
        return text(rng, good).decode(errors="replace")
    index = rng.choice(holding)
    lines[index] = (
        spelt(rng, value(rng, json.loads(lines[index]))).decode(errors="replace").replace("\n", " ")
    )
    return "\n".join(lines)
