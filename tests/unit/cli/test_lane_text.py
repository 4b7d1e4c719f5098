"""The lanes as they are painted, cell for cell; `GOLDEN=write pytest …` writes the files anew."""

from __future__ import annotations

import os
from dataclasses import replace
from io import StringIO
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest
from checkout import ROOT
from pictures import CART, CP, ONE, PICTURES, SIZES, TWO, hundred, night

from chaosext.cli.lane_text import STEPS_S, Cell, TerminalAxis, rows
from chaosext.cli.terminal import frame, suits
from chaosext.model.redact import hide
from chaosext.model.result import Lane

if TYPE_CHECKING:
    from rich.text import Text

GOLDEN = ROOT / "tests" / "golden" / "live"
STORY = [f"{name}.{size}.txt" for name, size in product(PICTURES, SIZES)]


def painted(lines: list[Text], width: int, height: int) -> str:
    """What a recording console of that size shows."""
    from rich.console import Console

    console = Console(width=width, height=height, record=True, file=StringIO(), color_system=None)
    for line in lines:
        console.print(line)
    return console.export_text()


@pytest.mark.parametrize("name", STORY)
def test_a_frame(name: str) -> None:
    picture, size, _ = name.split(".")
    width, height = SIZES[size]
    text = painted(frame(PICTURES[picture], width - 1, height - 1), width, height)
    if os.environ.get("GOLDEN") == "write":
        GOLDEN.mkdir(exist_ok=True)
        (GOLDEN / name).write_text(text, encoding="utf-8")
    assert text == (GOLDEN / name).read_text(encoding="utf-8")


def test_no_golden_file_is_forgotten() -> None:
    assert {path.name for path in GOLDEN.iterdir()} == set(STORY)


@pytest.mark.parametrize("picture", PICTURES)
@pytest.mark.parametrize("width", [1, 10, 40, 79, 200])
@pytest.mark.parametrize("height", [1, 3, 6, 23, 80])
def test_a_frame_fits_whatever_the_window_is(picture: str, width: int, height: int) -> None:
    lines = frame(PICTURES[picture], width, height)
    assert len(lines) <= height
    assert all(line.cell_len <= width for line in lines)


@pytest.mark.parametrize("now_s", [0.0, 0.4, 33.0, 34.0, 119.9, 5000.0, 400_000.0])
def test_all_of_the_time_fits_by_coarser_cells(now_s: float) -> None:
    axis = TerminalAxis(now_s, 33)
    assert 1 <= len(axis.stretches) <= 33
    assert axis.stretches[-1][1] >= now_s
    assert axis.step_s in STEPS_S or now_s > STEPS_S[-1] * 33


def test_a_short_outage_is_seen_however_coarse_a_cell_is() -> None:
    picture = replace(night(7000.0), outages={Lane.DNS: {f"Node/{ONE}": ((1000.2, 1000.4),)}})
    (row,) = (row for row in rows(picture, width=20, height=99) if (row.lane, row.who) == ("DNS", ONE))
    assert row.cells.count(Cell.OUT) == 1


def test_what_nobody_observes_is_never_drawn_as_well() -> None:
    picture = replace(
        night(50.0), outages={}, heard_s={CP: 0.1, ONE: 30.0}
    )  # the other worker was never heard of
    cells = {(row.lane, row.who): row for row in rows(picture, width=50, height=99)}
    assert cells["DNS", CP].cells == Cell.GOOD * 50
    assert cells["DNS", ONE].cells == Cell.GOOD * 20 + Cell.UNSEEN * 30
    assert cells["DNS", TWO].cells == Cell.UNSEEN * 50
    assert (cells["DNS", TWO].says, cells["BGP", TWO].says) == ("unseen", "unseen")


def test_what_is_looked_at_and_can_not_be_measured_is_never_drawn_as_well() -> None:
    blanks = {Lane.DNS: {f"Node/{ONE}": ((30.0, None),)}, Lane.XDS: {CART: ((30.0, None),)}}
    picture = replace(night(50.0), outages={}, unmeasured=blanks)
    found = {(row.lane, row.who): row for row in rows(picture, width=50, height=99)}
    for row, said in ((found["DNS", ONE], "unseen"), (found["xDS", ""], "1 unknown")):
        assert (row.cells, row.says) == (Cell.GOOD * 30 + Cell.UNSEEN * 20, said)
    assert found["DNS", TWO].says == "good"


def test_what_the_api_server_would_tell_is_not_drawn_as_well_while_it_is_not_heard_of() -> None:
    deaf = replace(night(50.0), outages={}, api_server_heard_s=10.0)
    cells = {(row.lane, row.who): row for row in rows(deaf, width=50, height=99)}
    assert cells["NodeReady", ONE].cells == Cell.GOOD * 40 + Cell.UNSEEN * 10
    assert (cells["probes", ""].cells[-1:], cells["probes", ""].says) == (Cell.UNSEEN, "unseen")
    assert cells["DNS", ONE].cells == Cell.GOOD * 50


def test_where_kube_dns_is_nobody_knows_while_the_api_server_is_not_heard_of() -> None:
    deaf = replace(night(50.0), api_server_heard_s=6.0)
    found = {row.who: row for row in rows(deaf, width=50, height=99) if row.lane == "kube-dns"}
    assert found[CP].cells[40:] == Cell.ASTRAY * 4 + Cell.UNSEEN * 6
    assert {row.says for row in found.values()} == {"unseen"}


def test_what_is_counted_over_all_nodes_is_not_well_while_one_of_them_is_not_observed() -> None:
    picture = replace(night(50.0), outages={}, heard_s={CP: 0.1, ONE: 0.1, TWO: 20.0})
    (xds,) = (row for row in rows(picture, width=50, height=99) if row.lane == "xDS")
    assert (xds.cells, xds.says) == (Cell.GOOD * 30 + Cell.UNSEEN * 20, "1/3 unknown")


def test_a_node_that_was_never_ready_is_not_drawn_as_well() -> None:
    (row,) = (
        row
        for row in rows(replace(night(9.0), ready={ONE: False}), width=9, height=99)
        if (row.lane, row.who) == ("NodeReady", ONE)
    )
    assert (row.cells, row.says) == (Cell.OUT * 9, "out 9s")


def test_an_outage_that_nobody_sees_any_more_is_not_said_to_last() -> None:
    dead = {Lane.DNS: {f"Node/{ONE}": ((10.0, None),)}}
    picture = replace(night(50.0), outages=dead, heard_s={CP: 0.1, ONE: 30.0, TWO: 0.1})
    (row,) = (row for row in rows(picture, width=50, height=99) if (row.lane, row.who) == ("DNS", ONE))
    assert row.cells == Cell.GOOD * 10 + Cell.OUT * 10 + Cell.UNSEEN * 30


def test_without_sentinels_nothing_that_they_watch_is_drawn_as_well() -> None:
    picture = replace(night(50.0), ready={}, heard_s={}, outages={})
    for row in rows(picture, width=50, height=99):
        if row.lane in ("DNS", "xDS", "BGP"):
            assert Cell.GOOD not in row.cells


def test_a_hundred_nodes_fold_into_groups_worst_first_and_none_is_lost() -> None:
    found = rows(hundred(480.0), width=60, height=20)
    dns = [row for row in found if row.lane == "DNS"]
    assert len(found) <= 20
    assert [row.says.partition(" ")[2] for row in dns] == ["out", "unseen", "unseen", "was out", "good"]
    assert sum(int(row.says.partition("/")[0]) for row in dns) == 101


def test_lanes_with_news_outlast_the_others_where_there_is_hardly_any_room() -> None:
    lanes = [row.lane for row in rows(hundred(480.0), width=60, height=4)]
    assert lanes == ["network", "NodeReady", "kube-dns", "DNS"]


def test_nothing_that_is_told_moves_the_cursor_or_says_a_secret() -> None:
    hide(["Tr0ub4dor"])
    said = replace(PICTURES["cut"], doing="gate: \x1b[2Jcleared\r\n Tr0ub4dor", experiment="wide \N{FIRE} 火")
    text = "\n".join(line.plain for line in frame(said, 79, 23))
    assert "gate: \\x1b[2Jcleared\\r\\n (redacted)" in text
    assert "\x1b" not in text


@pytest.mark.parametrize(
    ("environment", "terminal", "suitable"),
    [
        ({"TERM": "xterm"}, True, True),
        ({"TERM": "xterm", "NO_COLOR": "1"}, True, True),
        ({"TERM": "xterm"}, False, False),
        ({"TERM": "dumb"}, True, False),
        ({}, True, False),
        ({"TERM": "xterm", "CI": "true"}, True, False),
    ],
)
def test_lanes_grow_only_where_a_person_watches(environment: Any, terminal: bool, suitable: bool) -> None:
    class Stream:
        def isatty(self) -> bool:
            return terminal

    assert suits(Stream(), environment) is suitable  # type: ignore[arg-type]
