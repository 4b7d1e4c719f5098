"""A fleet: an index a cluster; one that can't be asked fails alone, and the summary says so."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from checkout import ROOT

from chaosext.cli.main import invoke
from chaosext.gameday import cluster_fleet
from chaosext.gameday.cluster_fleet import Fleet, files_of, objects, read_fleet
from chaosext.model.errors import Refused

SNAPSHOTS = ROOT / "examples" / "snapshots"


def values(**changes: Any) -> dict[str, Any]:
    clusters = [
        {"name": name, "context": f"ctx-{name}", "kubeconfig": {"secret": f"{name}-kubeconfig"}}
        for name in ("story", "mitigated", "gone")
    ]
    return {"name": "fleet", "clusters": clusters, "rehearse": {"fail_on": ["deviated"]}, **changes}


@pytest.fixture
def fleet_file(tmp_path: Path) -> Path:
    path = tmp_path / "fleet.yaml"
    path.write_text(yaml.safe_dump(values()))
    return path


@pytest.fixture
def kubeconfigs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of two clusters; taking a snapshot of one is to copy the one of that name that comes along."""
    directory = tmp_path / "kubeconfigs"
    directory.mkdir()
    for name in ("story", "mitigated"):
        (directory / name).write_text("{}")
    command = cluster_fleet._command

    def play(words: list[str], kubeconfig: Path) -> Any:
        if words[0] != "snapshot":
            return command(words, kubeconfig)
        shutil.copy(SNAPSHOTS / f"{kubeconfig.name}.json", words[-1].removesuffix(".gz"))
        return command(["rehearse", "--help"], kubeconfig)

    monkeypatch.setattr(cluster_fleet, "_command", play)
    monkeypatch.setattr(cluster_fleet, "SNAPSHOT_FILE", "snapshot.json")
    return directory


def test_each_index_rehearses_its_cluster_and_the_summary_tells_of_all(
    fleet_file: Path, kubeconfigs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--settings", str(fleet_file), "--results", str(tmp_path / "kept")]
    codes = [
        invoke(["fleet", *words, "--index", str(index), "--kubeconfigs", str(kubeconfigs)])
        for index in range(3)
    ]
    assert codes == [10, 0, 20]
    assert json.loads((tmp_path / "kept/story/answer.json").read_text())["verdict"] == "deviated"

    capsys.readouterr()
    assert invoke(["fleet", *words, "--summary"]) == 20
    story, mitigated, gone = capsys.readouterr().out.splitlines()
    assert story.startswith("story: deviated (exit 10)")
    assert mitigated.startswith("mitigated: passed (exit 0)")
    assert gone == "gone: failed (exit 20): Secret gone-kubeconfig has no kubeconfig"
    invoke(["fleet", *words, "--summary", "-o", "wide"])
    header, *rows = capsys.readouterr().out.splitlines()
    assert header.split()[:3] == ["CLUSTER", "VERDICT", "EXIT"]
    assert [row.split()[:3] for row in rows][2] == ["gone", "failed", "20"]


def without(kind: str) -> Any:
    """The bundled snapshot of the mitigated cluster, but for a kind."""
    listed = json.loads((SNAPSHOTS / "mitigated.json").read_text())
    return {**listed, "items": [each for each in listed["items"] if each["kind"] != kind]}


@pytest.mark.parametrize("plan", ["", "plan.yaml"])
def test_a_cluster_of_which_nothing_is_known_says_why(
    kubeconfigs: Path,
    tmp_path: Path,
    plan: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = cluster_fleet._command

    def incomplete(words: list[str], kubeconfig: Path) -> Any:
        done = command(words, kubeconfig)
        if words[0] == "snapshot":
            (tmp_path / "kept" / "mitigated" / "snapshot.json").write_text(json.dumps(without("BGPPeer")))
        return done

    monkeypatch.setattr(cluster_fleet, "_command", incomplete)
    shutil.copy(ROOT / "examples" / "cutovers" / "all-workers.yaml", tmp_path / "plan.yaml")
    settings = tmp_path / "fleet.yaml"
    settings.write_text(yaml.safe_dump(values(cutover=plan, rehearse={"fail_on": ["unknown"]})))
    words = ["--settings", str(settings), "--results", str(tmp_path / "kept")]
    assert invoke(["fleet", *words, "--index", "1", "--kubeconfigs", str(kubeconfigs)]) == 30
    said = capsys.readouterr().out
    assert said.startswith("mitigated: no-go, unknown" if plan else "mitigated: unknown")
    assert "no BGPPeer in the snapshot" in said


def test_the_gate_s_answer_is_a_line_as_well(
    kubeconfigs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(ROOT / "examples" / "cutovers" / "all-workers.yaml", tmp_path / "plan.yaml")
    settings = tmp_path / "fleet.yaml"
    settings.write_text(yaml.safe_dump(values(cutover="plan.yaml")))
    words = ["--settings", str(settings), "--results", str(tmp_path / "kept")]
    codes = [
        invoke(["fleet", *words, "--index", str(index), "--kubeconfigs", str(kubeconfigs)])
        for index in (0, 1)
    ]
    story, mitigated = capsys.readouterr().out.splitlines()
    assert codes == [10, 0]
    assert story.startswith("story: no-go (exit 10): dns_after_heal: DNS resolvable after the heal in")
    assert mitigated == "mitigated: go (exit 0)"


def test_a_cluster_that_was_not_asked_yet_is_not_well(fleet_file: Path, tmp_path: Path) -> None:
    assert (
        invoke(["fleet", "--settings", str(fleet_file), "--results", str(tmp_path / "none"), "--summary"])
        == 30
    )


@pytest.mark.parametrize("index", ["3", "-1", "x", ""])
def test_an_index_that_there_is_not_is_refused(
    fleet_file: Path, index: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("JOB_COMPLETION_INDEX", index)
    assert invoke(["fleet", "--settings", str(fleet_file)]) == 20
    assert "index" in capsys.readouterr().err


class TestJob:
    def job(self, **changes: Any) -> dict[str, Any]:
        return objects(Fleet.model_validate(values(**changes)), {})[-1]

    def test_it_has_an_index_a_cluster_and_none_fails_the_others(self) -> None:
        spec = self.job(parallelism=2)["spec"]
        assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", 3, 2)
        assert spec["backoffLimitPerIndex"] == 1
        assert spec["maxFailedIndexes"] == 3
        (rule,) = spec["podFailurePolicy"]["rules"]
        assert rule == {"action": "FailIndex", "onExitCodes": {"operator": "In", "values": [10, 20]}}

    def test_each_kubeconfig_is_mounted_by_its_clusters_name_and_no_token_is(self) -> None:
        pod = self.job()["spec"]["template"]["spec"]
        assert pod["automountServiceAccountToken"] is False
        (clusters,) = (volume for volume in pod["volumes"] if volume["name"] == "clusters")
        assert [source["secret"]["items"][0]["path"] for source in clusters["projected"]["sources"]] == [
            "story",
            "mitigated",
            "gone",
        ]

    def test_with_a_schedule_it_is_a_cron_job(self) -> None:
        made = self.job(schedule="0 6 * * Mon", time_zone="Europe/Berlin")
        assert (made["kind"], made["spec"]["timeZone"]) == ("CronJob", "Europe/Berlin")
        assert made["spec"]["jobTemplate"]["spec"] == self.job()["spec"]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"clusters": []}, "clusters: it is empty"),
        ({"clusters": [values()["clusters"][0]] * 2}, "clusters: story occurs twice"),
        ({"clusters": [{"name": "a", "context": "b"}]}, r"clusters\[0\]\.kubeconfig is not set"),
        ({"rehearse": {"cut_for": "8 minutes"}}, "rehearse.cut_for: String should match"),
        ({"rehearse": {"cut_nods": "x"}}, "rehearse.cut_nods: unknown key"),
        ({"schedule": "never"}, "schedule: expected five fields"),
        ({"time_zone": "Mars"}, "time_zone: there is no time zone"),
        ({"parallelism": 0}, "parallelism: Input should be greater"),
    ],
)
def test_a_bad_value_is_refused_by_field(fleet_file: Path, changes: dict[str, Any], problem: str) -> None:
    fleet_file.write_text(yaml.safe_dump(values(**changes)))
    with pytest.raises(Refused, match=problem):
        read_fleet(fleet_file)


def test_the_plan_of_a_cutover_goes_along(tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_text("title: x\n")
    fleet = Fleet.model_validate(values(cutover="plan.yaml"))
    assert files_of(fleet, tmp_path)["cutover.yaml"] == "title: x\n"
    with pytest.raises(Refused, match=r"cutover: .*none\.yaml cannot be read"):
        files_of(Fleet.model_validate(values(cutover="none.yaml")), tmp_path)


def test_the_example_is_understood() -> None:
    assert len(read_fleet(ROOT / "deploy/fleet.yaml").clusters) == 2


@pytest.fixture
def quick(kubeconfigs: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, but a rehearsal always passes, and a comparison is a worse one if the snapshots differ."""
    command = cluster_fleet._command

    def play(words: list[str], kubeconfig: Path) -> Any:
        if words[0] == "compare":
            one, other = (json.loads(Path(word).read_text()) for word in words[1:3])
            worse, sentence = (0, "SAME: nothing") if one == other else (2, "WORSE: all routes")
            said = {"worse": worse, "better": 0, "left_out": [], "sentence": sentence}
        elif words[0] == "rehearse":
            said = {"verdict": "passed", "outcomes": []}
        else:
            return command(words, kubeconfig)
        return subprocess.CompletedProcess(words, 0, stdout=json.dumps(said), stderr="")

    monkeypatch.setattr(cluster_fleet, "_command", play)
    monkeypatch.setattr(cluster_fleet, "BEFORE_FILE", "before.json")
    return kubeconfigs


def asked(
    fleet_file: Path, kubeconfigs: Path, results: Path, today: str, name: str = "story"
) -> cluster_fleet.Line:
    known = read_fleet(fleet_file)
    member = next(each for each in known.clusters if each.name == name)
    return cluster_fleet.ask(known, member, fleet_file.parent, results, kubeconfigs, today=today)


def test_each_day_is_compared_with_the_day_before_and_kept(
    fleet_file: Path, quick: Path, tmp_path: Path
) -> None:
    fleet_file.write_text(yaml.safe_dump(values(rehearse={"fail_on": ["worse"]})))
    results = tmp_path / "kept"
    first = asked(fleet_file, quick, results, "2026-11-28")
    assert (first.worse, first.since, first.exit_code) == (None, "", 0)

    shutil.copy(SNAPSHOTS / "mitigated.json", results / "story" / "snapshot.json")  # it was better yesterday
    second = asked(fleet_file, quick, results, "2026-11-29")
    assert second.exit_code == 10
    assert second.worse
    assert second.since == "WORSE: all routes"

    again = asked(fleet_file, quick, results, "2026-11-29")
    assert again == second, "a second run on the same day compares with the same day before"

    third = asked(fleet_file, quick, results, "2026-11-30")
    assert (third.worse, third.exit_code) == (0, 0)
    days = cluster_fleet.history_of(results / "story")
    assert [(each.date, each.worse) for each in days] == [
        ("2026-11-28", None),
        ("2026-11-29", second.worse),
        ("2026-11-30", 0),
    ]


def test_a_comparison_that_fails_is_said_and_fails_on_request(
    fleet_file: Path, quick: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet_file.write_text(yaml.safe_dump(values(rehearse={"fail_on": ["worse"]})))
    asked(fleet_file, quick, tmp_path, "2026-11-28")
    command = cluster_fleet._command
    refused = subprocess.CompletedProcess([], 20, stdout="", stderr="chaosext: damaged")
    monkeypatch.setattr(
        cluster_fleet, "_command", lambda words, at: refused if words[0] == "compare" else command(words, at)
    )
    line = asked(fleet_file, quick, tmp_path, "2026-11-29")
    assert line.exit_code == 30
    assert line.since == "not compared: chaosext: damaged"


def test_a_damaged_history_begins_anew(fleet_file: Path, quick: Path, tmp_path: Path) -> None:
    asked(fleet_file, quick, tmp_path, "2026-11-28")
    (tmp_path / "story" / "history.json").write_text('[{"date": 7}]')
    assert cluster_fleet.history_of(tmp_path / "story") == ()
    asked(fleet_file, quick, tmp_path, "2026-11-29")
    assert [each.date for each in cluster_fleet.history_of(tmp_path / "story")] == ["2026-11-29"]


def test_the_page_has_a_row_for_each_cluster(
    fleet_file: Path, quick: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked(fleet_file, quick, tmp_path / "kept", "2026-11-28")
    page = tmp_path / "fleet.html"
    words = ["--settings", str(fleet_file), "--results", str(tmp_path / "kept")]
    invoke(["fleet", *words, "--summary", "--page", str(page)])
    text = page.read_text()
    assert all(f'<th scope="row">{name}</th>' in text for name in ("story", "mitigated", "gone"))
    assert f"report: {page}" in capsys.readouterr().err
    assert invoke(["fleet", *words, "--page", str(page)]) == 20
