"""`chaosext diagnose` on recordings: its screen, its pages, its exit codes, and what it refuses."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from made_cluster import W1, W2, MadeCluster

from chaosext.cli.main import invoke
from chaosext.report.render.screen import COLUMNS, ROWS

if TYPE_CHECKING:
    from pathlib import Path


def broken() -> MadeCluster:
    made = MadeCluster()
    made.move_dns()
    made.measure()
    for node in (W1, W2):
        made.fail("dns_resolvable", f"Node/{node} →")
    return made


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    file = tmp_path / "incident.json"
    file.write_text(broken().text())
    return file


def test_screen_fits_and_shows_the_command(recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["diagnose", "--snapshot", str(recording)]) == 10
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("BROKEN, EXPLAINED (exit 10): kube-dns (all Pods) runs on cp")
    assert len(lines) <= ROWS
    assert all(len(line) <= COLUMNS for line in lines)
    assert any(line.strip().endswith("-n kube-system delete pod -l k8s-app=kube-dns") for line in lines)


def test_answers_for_machines_and_pages_have_the_same_root_cause(
    recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pages = [tmp_path / f"page{suffix}" for suffix in (".html", ".md", ".json")]
    assert (
        invoke(
            [
                "diagnose",
                "--snapshot",
                str(recording),
                "--json",
                *(w for each in pages for w in ("--report", str(each))),
            ]
        )
        == 10
    )
    found = json.loads(capsys.readouterr().out)
    assert found["schema"] == "chaosext.diagnosis/v1"
    assert found["root_causes"][0]["rule"] == "kube_dns_unreachable"
    said = found["root_causes"][0]["said"].partition(",")[0]
    assert all(said in each.read_text() for each in pages)


@pytest.mark.parametrize(("change", "code"), [("healthy", 0), ("blind", 30), ("unexplained", 11)])
def test_exit_code_says_what_is_known(change: str, code: int, tmp_path: Path) -> None:
    made = MadeCluster()
    if change == "blind":
        made.blind_to_nodes()
    if change == "unexplained":
        made.fail("xds_synced", "cart", "absent")
    file = tmp_path / "cluster.json"
    file.write_text(made.text())
    assert invoke(["diagnose", "--snapshot", str(file)]) == code


def test_snapshot_of_a_rehearsal_is_never_healthy_and_has_no_false_cause(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert invoke(["diagnose", "--snapshot", "example:story", "--json"]) == 30
    assert json.loads(capsys.readouterr().out)["root_causes"] == []


@pytest.mark.parametrize(
    ("words", "field"),
    [
        (["--context", "a", "--snapshot", "x.json"], "--context and --snapshot"),
        (["--keep-snapshot", "y.json", "--snapshot", "x.json"], "--keep-snapshot"),
        (["--snapshot", "x.json", "--report", "page.txt"], "--report"),
        (["--snapshot", "missing.json"], "missing.json"),
        (["--node", "w1=root@10.0.0.5", "--snapshot", "x.json"], "--node"),
    ],
)
def test_mistake_is_refused_by_name(
    words: list[str],
    field: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.json").write_text(MadeCluster().text())
    assert invoke(["diagnose", *words]) == 20
    assert field in capsys.readouterr().err
