"""The changes that no test notices, and why they do no harm: `tests/trust/survivors.toml`."""

from __future__ import annotations

import tomllib
from collections import Counter
from typing import TYPE_CHECKING

from tests.trust import ROOT

if TYPE_CHECKING:
    from collections.abc import Collection

    from tests.trust.mutants.mutmut import Mutant

ARGUED = ROOT / "tests" / "trust" / "survivors.toml"
Key = tuple[str, str, str]
"""Function, what was there, what is put in its place."""


def argued() -> Counter[Key]:
    """Every change that may survive; each with an argument, or it is not listed."""
    listed = tomllib.loads(ARGUED.read_text())["survivor"]
    if without := [each["function"] for each in listed if not each["why"].strip()]:
        raise ValueError(f"no argument for {without}")
    return Counter((each["function"], each["was"].strip(), each["becomes"].strip()) for each in listed)


def differences(tried: Collection[Mutant], listed: Counter[Key], sources: Collection[str]) -> list[str]:
    """What survives without an argument, and what is argued for and is noticed (or not there any more)."""
    modules = tuple(source.removesuffix(".py").replace("/", ".") + "." for source in sources)
    alive = Counter(key_of(mutant) for mutant in tried if not mutant.noticed)
    mine = Counter({key: count for key, count in listed.items() if key[0].startswith(modules)})
    return [
        *(f"survives: {_told(key)}" for key in sorted(alive - mine)),
        *(f"listed, but noticed or gone: {_told(key)}" for key in sorted(mine - alive)),
    ]


def key_of(mutant: Mutant) -> Key:
    return mutant.function, mutant.was, mutant.becomes


def _told(key: Key) -> str:
    function, was, becomes = (" ".join(part.split()) for part in key)
    return f"{function}: `{was}` → `{becomes}`"
