"""A run in a real terminal: its lanes grow, and however it ends the terminal is as it was."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

import pytest
from crash_stage import act, experiment
from terminal import Terminal

if TYPE_CHECKING:
    from pathlib import Path

SYNCHRONISED = re.compile(rb"\x1b\[\?2026h(.*?)\x1b\[\?2026l", re.DOTALL)
ALTERNATE_SCREEN = b"\x1b[?1049h"


def night(step_s: float = 0.7, last: str = "") -> dict[str, Any]:
    activity = act("night", name="the night", step_s=step_s, last=last)
    return experiment([{**activity, "provider": {**activity["provider"], "module": "terminal_activities"}}])


def assert_sane(terminal: Terminal) -> None:
    assert not terminal.screen.cursor.hidden
    assert ALTERNATE_SCREEN not in terminal.raw


def test_the_lanes_grow_and_the_result_comes_below_them(tmp_path: Path) -> None:
    with Terminal(tmp_path, night(), lines=60) as terminal:
        cut = terminal.shows("CUT ACTIVE")
        assert any(re.match(r"method: the night +\(\d+s\)", line) for line in cut)
        assert any(re.match(r"network +█+ cut$", line) for line in cut)
        dead = terminal.shows(lambda lines: any(re.search(r"worker-1 +─+█+ out", line) for line in lines))
        assert any(re.search(r"worker-2 +─+ good$", line) for line in dead)
        assert any("dns_dead" in line and "timed out" in line for line in dead)
        assert terminal.ends() == 0
        shown = terminal.lines()
        place = next(number for number, line in enumerate(shown) if line.startswith("verdict: passed"))
        assert any(line.startswith("ended: passed (exit 0)") for line in shown[:place])
        assert any(re.search(r"worker-1 +─+█+─* was out", line) for line in shown[:place])
        assert_sane(terminal)


def test_no_frame_is_cleared_before_it_is_painted_and_there_are_few_of_them(tmp_path: Path) -> None:
    with Terminal(tmp_path, night(step_s=0.2), lines=40) as terminal:
        began_s = time.monotonic()
        assert terminal.ends() == 0
        frames = SYNCHRONISED.findall(terminal.raw)
        assert 3 <= len(frames) <= 4 * (time.monotonic() - began_s)
        for frame in frames:
            assert b"\x1b[2J" not in frame
            assert frame.endswith(b"\x1b[J\x1b[?25h")


@pytest.mark.parametrize("size", [(60, 20), (140, 50)])
def test_a_window_of_another_size_is_painted_anew(tmp_path: Path, size: tuple[int, int]) -> None:
    columns, lines = size
    with Terminal(tmp_path, night(last="heal"), columns=100, lines=32) as terminal:
        terminal.shows("heal ")
        terminal.becomes(columns, lines)
        written = len(terminal.raw)
        shown = terminal.shows(
            lambda found: (
                b"\x1b[2J" in terminal.raw[written:] and any(line.startswith("probes") for line in found)
            )
        )
        assert sum(line.startswith("run ") for line in shown) == 1
        assert sum(line.startswith("network ") for line in shown) == 1
        assert all(len(line) <= columns for line in shown)
        terminal.types(b"\x03")
        terminal.ends()


def test_ctrl_c_leaves_the_terminal_sane_and_the_verdict_on_it(tmp_path: Path) -> None:
    with Terminal(tmp_path, night(last="cut"), lines=40) as terminal:
        terminal.shows("CUT ACTIVE")
        terminal.types(b"\x03")
        assert terminal.ends() == 130
        shown = terminal.lines()
        assert any(line.startswith("verdict: interrupted") for line in shown)
        assert any(line.startswith("network ") for line in shown)
        assert_sane(terminal)


def test_a_terminal_that_takes_nothing_any_more_holds_up_nothing_of_the_run(tmp_path: Path) -> None:
    value = night(step_s=1.2)
    value["method"] += [act("mark", word="on"), act("mark", word="and-on")]
    with Terminal(tmp_path, value, lines=40) as terminal:
        terminal.shows("CUT ACTIVE")
        terminal.reads.clear()
        began_s = time.monotonic()
        log = tmp_path / "log"
        while not (log.exists() and "and-on" in log.read_text()):
            assert time.monotonic() - began_s < 15
            time.sleep(0.05)
        terminal.reads.set()
        assert terminal.ends() == 0
        assert any(line.startswith("verdict: passed") for line in terminal.lines())


@pytest.mark.parametrize(
    ("options", "environment"),
    [(["--plain"], {}), ([], {"TERM": "dumb"}), ([], {"CI": "true"}), (["--json"], {})],
    ids=["--plain", "TERM=dumb", "CI", "--json"],
)
def test_where_no_lanes_are_wanted_lines_are_printed(
    tmp_path: Path, options: list[str], environment: dict[str, str]
) -> None:
    with Terminal(tmp_path, night(step_s=0.1), *options, columns=200, lines=60, **environment) as terminal:
        assert terminal.ends() == 0
        assert not SYNCHRONISED.search(terminal.raw)
        assert b"dns_dead           Node/worker-1  10.2.112.10:53/udp timed out" in terminal.raw


def test_without_colours_lanes_are_told_apart_by_their_shapes(tmp_path: Path) -> None:
    with Terminal(tmp_path, night(), lines=40, NO_COLOR="1") as terminal:
        terminal.shows(lambda lines: any(re.search(r"worker-1 +─+█+ out", line) for line in lines))
        assert terminal.ends() == 0
        assert not re.search(rb"\x1b\[[0-9;]*(3[0-7]|9[0-7])[;m]", terminal.raw)
