"""`chaosext matrix`, as people and scripts meet it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from kept_cells import kept_cell

from chaosext.cli.main import invoke
from chaosext.matrix import play_cell
from chaosext.matrix.cell_review import CellReview
from chaosext.matrix.kept_runs import CellFailure, MatrixStore
from chaosext.matrix.play_cell import CellNotPlayed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from chaosext.matrix.cells import MatrixCell

STORY = "calico-bgp/istio/coredns"


@pytest.fixture
def kept(tmp_path: Path) -> MatrixStore:
    return MatrixStore(tmp_path / "matrix")


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Cell -> the run that playing it makes, or the error."""
    ways: dict[str, Any] = {}

    def play(self: Any, cell: MatrixCell, repeats: int = 1) -> Iterator[CellReview]:
        way = ways[cell.name]
        if isinstance(way, Exception):
            raise way
        yield from (CellReview(way) for _ in range(repeats))

    monkeypatch.setattr(play_cell.CellPlayer, "play", play)
    return ways


def answer(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def test_list_says_what_is_known_of_each_cell(kept: MatrixStore, capsys: pytest.CaptureFixture[str]) -> None:
    kept.keep(kept_cell(STORY))
    kept.fail(CellFailure(cell="flannel/istio/coredns", step="up", reason="no image", at="2026-11-30"))
    assert invoke(["matrix", "list", "--kept", str(kept.root), "--cells", "*/istio/coredns", "--json"]) == 0
    rows = {row["cell"]: row for row in answer(capsys)}
    assert rows[STORY] == {
        "cell": STORY,
        "seen": "yes",
        "heals": "no",
        "dns": "dead",
        "last": "2026-11-30",
        "reason": "",
    }
    assert (rows["flannel/istio/coredns"]["seen"], rows["flannel/istio/coredns"]["reason"]) == (
        "failed",
        "no image",
    )
    assert rows["macvlan/istio/coredns"]["seen"] == "no"


def test_dry_run_prints_the_cells_that_are_left(
    kept: MatrixStore, capsys: pytest.CaptureFixture[str]
) -> None:
    kept.keep(kept_cell(STORY))
    words = ["matrix", "run", "--kept", str(kept.root), "--dry-run", STORY, "macvlan/none"]
    assert invoke(words) == 0
    assert capsys.readouterr().out == "macvlan/none/coredns: testbed up --network macvlan --mesh none\n"
    assert invoke([*words, "--again", "--json"]) == 0
    assert [each["cell"] for each in answer(capsys)] == [STORY, "macvlan/none/coredns"]


def test_repeats_count_the_runs_that_are_kept(kept: MatrixStore, capsys: pytest.CaptureFixture[str]) -> None:
    kept.keep(kept_cell(STORY))
    assert (
        invoke(["matrix", "run", "--kept", str(kept.root), "--dry-run", STORY, "--repeats", "10", "--json"])
        == 0
    )
    assert [each["runs"] for each in answer(capsys)] == [9]


def test_outcome_that_was_predicted_exits_with_0_and_another_with_10(
    kept: MatrixStore, played: dict[str, Any]
) -> None:
    played[STORY] = kept_cell(STORY)
    assert invoke(["matrix", "run", "--kept", str(kept.root), STORY]) == 0
    played[STORY] = kept_cell(STORY, outcomes={"resolvable": 1.0}, verdict="passed")
    assert invoke(["matrix", "run", "--kept", str(kept.root), STORY]) == 10


@pytest.mark.parametrize(("option", "count"), [("--keep-going", 1), ("--fail-fast", 0)])
def test_cell_that_can_not_be_played_exits_with_30(
    kept: MatrixStore, played: dict[str, Any], capsys: pytest.CaptureFixture[str], option: str, count: int
) -> None:
    played |= {"flannel/istio/coredns": CellNotPlayed("up", "no image"), STORY: kept_cell(STORY)}
    words = ["matrix", "run", "--kept", str(kept.root), "flannel", STORY, option, "--json"]
    assert invoke(words) == 30
    found = answer(capsys)
    assert found["failed"] == {"flannel/istio/coredns": "up: no image"}
    assert len(found["played"]) == count


def test_show_compares_each_kept_run_with_its_prediction(
    kept: MatrixStore, capsys: pytest.CaptureFixture[str]
) -> None:
    kept.keep(kept_cell(STORY))
    assert invoke(["matrix", "show", "calico-bgp", "--kept", str(kept.root)]) == 0
    shown = capsys.readouterr().out
    assert "predicted after the heal: DNS dead 90%, partial 10%" in shown
    assert "after the heal: **DNS dead on workers**" in shown


def test_show_of_a_cell_that_was_not_played_says_how_to(
    kept: MatrixStore, capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke(["matrix", "show", "flannel", "--kept", str(kept.root)]) == 20
    assert "fix: play it: chaosext matrix run flannel/istio/coredns" in capsys.readouterr().err


def test_page_is_the_same_in_a_file_and_on_stdout(
    kept: MatrixStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept.keep(kept_cell(STORY))
    assert invoke(["matrix", "page", "--kept", str(kept.root)]) == 0
    text = capsys.readouterr().out
    file = tmp_path / "page.md"
    assert invoke(["matrix", "page", "--kept", str(kept.root), "-o", str(file)]) == 0
    assert file.read_text() == text


def test_page_in_a_directory_that_does_not_exist_is_refused(kept: MatrixStore, tmp_path: Path) -> None:
    assert invoke(["matrix", "page", "--kept", str(kept.root), "-o", str(tmp_path / "no" / "page.md")]) == 20
