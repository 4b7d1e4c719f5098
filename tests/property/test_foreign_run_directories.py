"""A run's directory that is torn, mixed up or somebody else's: a report that says so, or one line; no traceback."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from directories import NODE, whole
from example_counts import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from chaosext.model.errors import Refused
from chaosext.report.data.run_comparison import compare
from chaosext.report.data.run_data import read_run
from chaosext.report.render.formats import COMPARISONS, FORMATS

if TYPE_CHECKING:
    from collections.abc import Callable

JSON = ("result.json", "journal.json", "rehearsal.json", "sentinels/clocks.json")
LINES = ("timeline.jsonl", f"sentinels/{NODE}.jsonl")

VALUES = (
    None, True, -1, 10**400, float("nan"), float("inf"), -1e308, "", "\ud800", "\x00", [], {}, [[]], "cut", "Node/",
)  # fmt: skip
"""What stands where something else should."""


def require_reported(change: Callable[[Path], None]) -> None:
    """Whatever `change` does to a run's directory, it can be reported on and compared, or is refused."""
    with TemporaryDirectory() as directory:
        path, other = whole(Path(directory)), whole(Path(directory) / "other", "passed")
        change(path)
        try:
            data = read_run(path)
        except Refused:
            return
        for render in FORMATS.values():
            assert render(data)
        for compared in COMPARISONS.values():
            assert compared(compare(data, read_run(other)))
            assert compared(compare(read_run(other), data))


@settings(max_examples=examples(50))
@given(st.sampled_from((*JSON, *LINES)), st.floats(0, 1), st.binary(max_size=8))
def test_bytes_in_the_middle_of_a_file(name: str, where: float, junk: bytes) -> None:
    def tear(path: Path) -> None:
        content = (path / name).read_bytes()
        cut = int(len(content) * where)
        (path / name).write_bytes(content[:cut] + junk + content[cut + len(junk) :])

    require_reported(tear)


@settings(max_examples=examples(150))
@given(st.sampled_from((*JSON, *LINES)), st.data())
def test_another_value_in_any_place(name: str, data: st.DataObject) -> None:
    def swap(path: Path) -> None:
        texts = (path / name).read_text().splitlines() if name in LINES else [(path / name).read_text()]
        number = data.draw(st.integers(0, len(texts) - 1))
        value = json.loads(texts[number])
        places = list(every_place(value))
        keys = data.draw(st.sampled_from(places))
        texts[number] = json.dumps(replaced(value, keys, data.draw(st.sampled_from(VALUES))))
        (path / name).write_text("\n".join(texts) + "\n")

    require_reported(swap)


@settings(max_examples=examples(15))
@given(st.permutations((*JSON, *LINES)))
def test_files_under_other_names(names: list[str]) -> None:
    def mix(path: Path) -> None:
        with TemporaryDirectory() as aside:
            for number, name in enumerate((*JSON, *LINES)):
                shutil.move(path / name, Path(aside) / str(number))
            for number, name in enumerate(names):
                shutil.move(Path(aside) / str(number), path / name)

    require_reported(mix)


def every_place(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(place for key, member in inner for place in every_place(member, (*at, key)))]


def replaced(value: Any, keys: tuple[Any, ...], new: Any) -> Any:
    if not keys:
        return new
    copy = value.copy()
    copy[keys[0]] = replaced(value[keys[0]], keys[1:], new)
    return copy
