"""The record is kept whole: over restarts, for one run only, within bounds, and on a disk that fails."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from example_counts import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from chaosext.model.signal import Sample, Signal, StreamHead, Watched
from chaosext.sentinel.sample_log import FILE, Journal, parse_line, parse_record

if TYPE_CHECKING:
    from pathlib import Path


def head(run: str = "run-1", mono_s: float = 1.0) -> StreamHead:
    signals = (Signal(kind=Watched.TCP, target="10.0.0.1:443"),)
    return StreamHead(run=run, node="w1", boot="b", mono_s=mono_s, wall_s=2.0, signals=signals)


def begun(directory: Path, run: str = "run-1", samples: int = 3, **more: int) -> Journal:
    journal = Journal(directory, run, **more)
    journal.head(head(run))
    for number in range(samples):
        journal.sample(Sample(number, float(number), "+"))
    return journal


def numbers(lines: bytes) -> list[int]:
    return [each.n for each in parse_record(lines.decode().splitlines()) if isinstance(each, Sample)]


def test_it_is_read_on_from_where_one_was(tmp_path: Path) -> None:
    journal = begun(tmp_path)
    lines, size = journal.read(0)
    assert (size, numbers(lines)) == (len(lines), [0, 1, 2])
    journal.sample(Sample(3, 3.0, "t"))
    more, bigger = journal.read(size)
    assert more == b'{"n":3,"t":3.000,"m":"t"}\n'
    assert journal.read(bigger) == (b"", bigger)
    assert (tmp_path / FILE).read_bytes() == lines + more


def test_the_next_process_of_the_run_goes_on_with_it(tmp_path: Path) -> None:
    lines, size = begun(tmp_path).read(0)
    again = begun(tmp_path, samples=1)
    assert again.read(size)[0].startswith(b'{"sentinel"')
    assert again.read(0)[0].startswith(lines)
    assert numbers((tmp_path / FILE).read_bytes()) == [0, 1, 2, 0]


def test_another_runs_record_is_removed(tmp_path: Path) -> None:
    begun(tmp_path, run="run-0")
    assert b"run-0" not in begun(tmp_path).read(0)[0]
    assert b"run-0" not in (tmp_path / FILE).read_bytes()


@pytest.mark.parametrize(
    "left", [b"", b"\n", b"nonsense\n", b'{"n":1,"t":1,"m":"+"}\n', b"\xff\xfe\n", b'{"sentinel"']
)
def test_what_is_no_record_is_not_taken_up(tmp_path: Path, left: bytes) -> None:
    (tmp_path / FILE).write_bytes(left)
    assert numbers(begun(tmp_path).read(0)[0]) == [0, 1, 2]


def test_a_line_that_was_torn_by_the_machines_death_is_cut_off(tmp_path: Path) -> None:
    lines, _ = begun(tmp_path).read(0)
    (tmp_path / FILE).write_bytes(lines[:-5])
    again = begun(tmp_path, samples=1)
    assert numbers(again.read(0)[0]) == [0, 1, 0]
    assert all(parse_line(line) for line in (tmp_path / FILE).read_text().splitlines())


def test_a_record_that_grows_too_long_loses_its_oldest_samples_and_says_so(tmp_path: Path) -> None:
    journal = begun(tmp_path, samples=1000, bound_bytes=4000)
    lines, size = journal.read(0)
    first = parse_line(lines.decode().splitlines()[0])
    assert len(lines.strip()) <= 4000
    assert isinstance(first, StreamHead)
    assert first.lost.startswith("the oldest ")
    assert numbers(lines) == list(range(numbers(lines)[0], 1000))
    assert (len(lines), journal.read(size)) == (size, (b"", size))
    assert numbers((tmp_path / FILE).read_bytes()) == list(range(1000))


def test_a_reader_who_keeps_up_misses_nothing_when_the_oldest_are_dropped(tmp_path: Path) -> None:
    journal = begun(tmp_path, samples=0, bound_bytes=4000)
    said, size = journal.read(0)
    for number in range(1000):
        journal.sample(Sample(number, float(number), "+"))
        if number % 7 == 0:
            more, size = journal.read(size)
            said += more
    assert numbers(said + journal.read(size)[0]) == list(range(1000))


def test_a_reader_who_was_away_too_long_goes_on_with_what_there_is(tmp_path: Path) -> None:
    journal = begun(tmp_path, samples=2, bound_bytes=4000)
    _, size = journal.read(0)
    for number in range(2, 1000):
        journal.sample(Sample(number, float(number), "+"))
    lines, bigger = journal.read(size)
    assert isinstance(parse_line(lines.decode().splitlines()[0]), StreamHead)
    assert numbers(lines)[-1] == 999
    assert bigger == size + len(lines)
    assert journal.read(bigger) == (b"", bigger)


def test_a_disk_that_fails_costs_nothing_while_the_process_lives_and_is_caught_up(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    journal = begun(disk, samples=2)
    (disk / FILE).unlink()
    (disk / FILE).mkdir()
    journal.sample(Sample(2, 2.0, "+"))
    assert journal.trouble == "Is a directory"
    assert numbers(journal.read(0)[0]) == [0, 1, 2]
    (disk / FILE).rmdir()
    journal.sample(Sample(3, 3.0, "+"))
    assert journal.trouble == ""


def test_what_only_the_dead_process_had_is_passed_over_by_the_reader_who_had_it(tmp_path: Path) -> None:
    """The reader has had more than the disk took: it goes on with the next process's head, not in the middle of it."""
    journal = begun(tmp_path, samples=2)
    kept = (tmp_path / FILE).read_bytes()
    for number in range(2, 9):
        journal.sample(Sample(number, float(number), "+"))
    _, size = journal.read(0)
    (tmp_path / FILE).write_bytes(kept)
    again = begun(tmp_path, samples=30)
    lines, bigger = again.read(size)
    assert isinstance(parse_line(lines.decode().splitlines()[0]), StreamHead)
    assert numbers(lines) == list(range(30))
    assert bigger == size + len(lines)
    again.sample(Sample(30, 30.0, "+"))
    assert numbers((tmp_path / FILE).read_bytes()) == [0, 1, *range(31)]


def test_a_disk_that_was_full_for_longer_than_the_memory_reaches_gets_blanks_for_the_rest(
    tmp_path: Path,
) -> None:
    journal = begun(tmp_path, samples=2, bound_bytes=4000)
    (tmp_path / FILE).unlink()
    (tmp_path / FILE).mkdir()
    for number in range(2, 1000):
        journal.sample(Sample(number, float(number), "+"))
    (tmp_path / FILE).rmdir()
    journal.sample(Sample(1000, 1000.0, "+"))
    _, size = journal.read(0)
    assert (tmp_path / FILE).stat().st_size == size
    assert numbers((tmp_path / FILE).read_bytes())[-50:] == list(range(951, 1001))


@settings(max_examples=examples(40))
@given(st.lists(st.tuples(st.integers(1, 40), st.booleans()), max_size=12))
def test_whenever_it_is_read_the_reader_ends_up_with_whole_lines(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, bool]]
) -> None:
    """Samples, readings, bounds and restarts in any order: no torn line, no number twice within one process."""
    directory = tmp_path_factory.mktemp("record")
    journal, said, size, number = begun(directory, samples=0, bound_bytes=600), b"", 0, 0
    for count, restart in steps:
        for _ in range(count):
            journal.sample(Sample(number, float(number), "+"))
            number += 1
        more, size = journal.read(size)
        said += more
        if restart:
            journal = begun(directory, samples=0, bound_bytes=600)
    lines = [line for line in said.decode().splitlines() if line.strip()]
    assert len(list(parse_record(lines))) == len(lines)
    assert numbers(said) == sorted(set(numbers(said)))
    assert numbers(said)[-1:] == [number - 1][: len(numbers(said))]
