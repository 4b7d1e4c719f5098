"""A run's directory is read whatever has become of it: what is missing or torn is said, and never taken for healthy."""

from __future__ import annotations

import json
import shutil
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from directories import BOOT, JOURNAL, NODE, SIGNALS, clocks, record, whole
from runs import FORESEEN
from stories import STORIES

from chaosext.model.errors import Refused
from chaosext.model.findings import Status
from chaosext.model.result import Lane
from chaosext.model.signal import Mark
from chaosext.model.verdict import Outcome
from chaosext.report.data.run_data import read_run
from chaosext.report.data.sentinel_spans import Stretch

if TYPE_CHECKING:
    from pathlib import Path

STORY = STORIES["deviated-rollback-verified"]
DNS, BGP = SIGNALS


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return whole(tmp_path)


def test_a_whole_directory_is_read_whole(path: Path) -> None:
    data = read_run(path)
    assert data.missing == ()
    assert data.sentinels
    assert data.result.to_json() == STORY.to_json()
    assert data.result.events == STORY.events
    assert data.prediction == FORESEEN
    assert [(each.name, each.status, each.said) for each in data.activities] == [
        ("sever", Status.HEALTHY, "returned 'cut'")
    ]
    assert data.stretches[NODE][DNS] == (
        Stretch(0.0, 10.0, Mark.GOOD),
        Stretch(10.0, 20.0, Mark.TIMED_OUT),
    )
    assert data.stretches[NODE][BGP] == (Stretch(0.0, 20.0, Mark.GOOD),)


def test_a_killed_run_is_reported_as_far_as_it_got(path: Path) -> None:
    (path / "result.json").unlink()
    data = read_run(path)
    assert data.result.verdict.outcome is Outcome.NOT_KNOWN
    assert data.result.experiment == JOURNAL["experiment"]["title"]
    assert data.result.started_at == JOURNAL["start"]
    assert data.result.outages[Lane.DNS] == STORY.outages[Lane.DNS]
    assert data.missing == (f"{path.name} has no result.json",)


def test_the_timeline_of_a_killed_run_is_put_in_the_order_of_time(path: Path) -> None:
    lines = (path / "timeline.jsonl").read_text().splitlines(keepends=True)
    (path / "timeline.jsonl").write_text("".join(reversed(lines)))
    times = [event.t_s for event in read_run(path).result.events]
    assert times == sorted(times)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        (
            "result.json",
            '{"schema": "chaosext.result/v1", "run"',
            "result.json can't be read (JSONDecodeError",
        ),
        ("result.json", '{"schema": "chaosext.result/v9"}', "schema 'chaosext.result/v9'"),
        ("result.json", "[]", "result.json can't be read (TypeError: not a JSON object)"),
        ("result.json", "[" * 100_000, "result.json can't be read (BeyondBounds: nested too deeply"),
        ("journal.json", "\x00", "journal.json can't be read (JSONDecodeError"),
        ("rehearsal.json", '{"schema": "other"}', "rehearsal.json can't be read (ValueError: schema 'other'"),
        ("rehearsal.json", '{"schema": "chaosext.rehearsal/v1", "timeline": [1]}', "rehearsal.json can't be"),
        ("timeline.jsonl", '{"t_s": 1.0}\nhalf a li', "timeline.jsonl: 2 of its lines can't be read"),
        ("sentinels/clocks.json", "{", "sentinels/clocks.json can't be read (JSONDecodeError)"),
        ("sentinels/clocks.json", '{"schema": "x"}', "sentinels/clocks.json can't be read (ValueError)"),
    ],
)
def test_what_is_torn_or_foreign_is_said(path: Path, name: str, text: str, said: str) -> None:
    (path / name).write_text(text)
    assert any(said in line for line in read_run(path).missing), read_run(path).missing


@pytest.mark.parametrize("name", ["result.json", "journal.json", "timeline.jsonl"])
def test_what_is_not_there_is_said(path: Path, name: str) -> None:
    (path / name).unlink()
    assert any(f"{path.name} has no {name}" in line for line in read_run(path).missing)


def test_a_line_that_is_not_text_is_passed_over(path: Path) -> None:
    with (path / "timeline.jsonl").open("ab") as file:
        file.write(b"\xff\xfe{\n")
    data = read_run(path)
    assert data.result.events == STORY.events
    assert data.missing == ("timeline.jsonl: 1 of its lines can't be read",)


def test_torn_lines_of_a_record_are_a_hole_and_counted(path: Path) -> None:
    file = path / "sentinels" / f"{NODE}.jsonl"
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join((*lines[:4], '{"n":3,"t":10\n', *lines[5:])))
    data = read_run(path)
    assert data.missing == (f"sentinels/{NODE}.jsonl: 1 line can't be read",)
    assert [each.mark for each in data.stretches[NODE][BGP]] == [Mark.GOOD, Mark.UNKNOWN, Mark.GOOD]


def test_a_record_of_another_run_is_left_out(path: Path) -> None:
    (path / "sentinels" / f"{NODE}.jsonl").write_text(record("another"))
    data = read_run(path)
    assert data.stretches == {}
    assert data.missing == (f"sentinels/{NODE}.jsonl: 21 lines of another run or node ignored",)


def test_a_boot_without_a_clock_has_no_time(path: Path) -> None:
    (path / "sentinels" / "clocks.json").write_text(json.dumps(clocks(NODE, "another")))
    data = read_run(path)
    assert data.stretches == {}
    assert data.missing == (
        f"sentinels/{NODE}.jsonl: no clock was measured for boot {BOOT}: the times of its samples are unknown",
    )


def test_nobody_saw_what_lies_between_two_boots(path: Path) -> None:
    again = record(STORY.run, boot="b2", start_s=5.0, ok=[True] * 5)
    with (path / "sentinels" / f"{NODE}.jsonl").open("a") as file:
        file.write(again)
    (path / "sentinels" / "clocks.json").write_text(json.dumps(clocks(NODE, BOOT, b2=25.0)))
    stretches = read_run(path).stretches[NODE][DNS]
    unknown = [each for each in stretches if each.mark is Mark.UNKNOWN]
    assert (unknown[0].start_s, unknown[-1].end_s) == (20.0, 30.0)
    assert all(one.end_s == two.start_s for one, two in pairwise(stretches))


def test_two_boots_never_overlap_however_badly_their_clocks_are_known(path: Path) -> None:
    with (path / "sentinels" / f"{NODE}.jsonl").open("a") as file:
        file.write(record(STORY.run, boot="b2", start_s=5.0, ok=[True] * 9))
    (path / "sentinels" / "clocks.json").write_text(json.dumps(clocks(NODE, BOOT, b2=13.0)))
    stretches = read_run(path).stretches[NODE][DNS]
    assert all(one.end_s == two.start_s for one, two in pairwise(stretches))
    assert stretches[-1].end_s == 27.0


def test_that_nobody_watched_is_said_unless_it_was_meant_so(path: Path) -> None:
    shutil.rmtree(path / "sentinels")
    assert read_run(path).missing == ("sentinels/ holds no record: no sentinel watched from the nodes",)
    journal = {**JOURNAL, "experiment": {"configuration": {"chaosext_sentinel": False}}}
    (path / "journal.json").write_text(json.dumps(journal))
    data = read_run(path)
    assert (data.missing, data.sentinels, data.stretches) == ((), False, {})


def test_a_result_of_before_there_were_sentinels_is_told_from_its_timeline(path: Path) -> None:
    value = json.loads((path / "result.json").read_text())
    for name in ("outages_s", "unobserved_s", "clocks", "timing", "rules", "foreign_rules", "audit"):
        del value[name]
    (path / "result.json").write_text(json.dumps(value))
    data = read_run(path)
    assert data.missing == ()
    assert data.result.outages == STORY.outages
    assert data.result.timing == STORY.timing


@pytest.mark.parametrize("name", ["nowhere", "empty", "file"])
def test_where_no_run_is_nothing_is_reported(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    with pytest.raises(Refused, match=name) as refused:
        read_run(tmp_path / name)
    assert "latest" in refused.value.fix
