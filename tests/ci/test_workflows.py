"""The nightly workflow and the action: linted; each step's script as it is; a dry run from end to end."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from checkout import ROOT
from workflow_tools import ACTION, ACTIONLINT, BIN, STEPS, WORKFLOWS, built, pins, played

EXPERIMENT = ROOT / "experiments" / "control-plane-partition.yaml"
SCRIPTS = sorted(each for each in STEPS.iterdir() if os.access(each, os.X_OK))


def finds_nothing(*argv: str | Path) -> None:
    done = subprocess.run([str(each) for each in argv], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def needs(package: str) -> set[str]:
    """What it requires, as its own metadata says for this Python."""
    from packaging.requirements import Requirement

    said = map(Requirement, metadata.requires(package) or ())
    return {each.name for each in said if each.marker is None or each.marker.evaluate({"extra": ""})}


class TestLint:
    def test_actionlint_finds_nothing(self) -> None:
        finds_nothing(built(ACTIONLINT), "-shellcheck", BIN / "shellcheck", *WORKFLOWS)

    def test_zizmor_finds_nothing(self) -> None:
        finds_nothing(
            BIN / "zizmor", "--quiet", "--offline", "--persona=pedantic", "--strict-collection",
            "--format=plain", "--no-progress", ACTION, *WORKFLOWS,
        )  # fmt: skip

    def test_shellcheck_finds_nothing(self) -> None:
        finds_nothing(BIN / "shellcheck", "--external-sources", f"--source-path={STEPS}", *SCRIPTS)

    def test_what_is_used_of_others_is_pinned_by_its_commit(self) -> None:
        assert [each for each in pins() if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", each)] == []

    def test_no_input_is_pasted_into_a_script(self) -> None:
        documents = [yaml.safe_load(path.read_text()) for path in (ACTION, *WORKFLOWS)]
        jobs = [job for each in documents for job in (*each.get("jobs", {}).values(), each.get("runs", {}))]
        scripts = [step["run"] for job in jobs for step in job.get("steps", []) if "run" in step]
        assert len(scripts) >= 6
        assert [script for script in scripts if "${{" in script] == []

    def test_every_package_is_installed_by_hash_or_from_this_checkout(self) -> None:
        """A name alone is whatever somebody has put under it on the index by then."""
        texts = [path.read_text() for path in (*SCRIPTS, STEPS / "common")]
        calls = [line for text in texts for line in text.splitlines() if re.search(r"/pip[\"']? ", line)]
        assert len(calls) == 4
        for call in calls:
            words = call.split()
            if "--require-hashes" not in words:
                assert words[-1] in ('"$source"', '"$work"/dist/chaosext-*.whl'), call
                assert "--no-deps" in words
                assert "--no-build-isolation" in words or words[-1].endswith(".whl"), call

    def test_what_is_locked_for_building_and_testing_has_hashes_and_is_complete(self, tmp_path: Path) -> None:
        """pip itself refuses what is needed and not named; nothing is downloaded."""
        for names in ("BUILD", "PYTEST"):
            script = f'. "{STEPS}/common"; locked "${{{names}[@]}}"'
            listed = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True).stdout
            entries = re.split(r"\n(?=\S)", listed.strip())
            wanted = subprocess.run(
                ["bash", "-c", f'. "{STEPS}/common"; printf "%s\\n" "${{{names}[@]}}"'],
                capture_output=True, text=True, check=True,
            ).stdout.split()  # fmt: skip
            assert [each.partition("==")[0] for each in entries] == wanted
            assert all("--hash=sha256:" in each for each in entries)
            assert {need for name in wanted for need in needs(name)} <= set(wanted)

    def test_an_input_reaches_each_script_that_reads_it(self) -> None:
        """A step's `env` that its script doesn't read, or the other way round, is a slip of the pen."""
        for step in yaml.safe_load(ACTION.read_text())["runs"]["steps"]:
            if "run" in step and "env" in step:
                text = (STEPS / step["run"].strip("'\"").rsplit("/", 1)[1]).read_text()
                read = set(re.findall(r"\$\{?([A-Z][A-Z_]+)", text + (STEPS / "common").read_text()))
                assert set(step["env"]) <= read, step["name"]


SLOW = """#!/usr/bin/env bash
trap 'sleep 1; echo healed > cut; echo "{\\"verdict\\": \\"interrupted\\"}"; exit 143' TERM
touch cut
while true; do sleep 0.1; done
"""
"""A run that takes its time to leave."""


@pytest.fixture
def told(tmp_path: Path) -> dict[str, str]:
    """What GitHub's runner tells a step, and a machine without Docker Engine and without state."""
    files = {name: str(tmp_path / name) for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY", "GITHUB_PATH")}
    places = {f"XDG_{kind}_HOME": str(tmp_path / kind) for kind in ("STATE", "CONFIG", "CACHE")}
    for path in files.values():
        Path(path).touch()
    return {
        **os.environ, **files, **places, "PATH": f"{BIN}:{os.environ['PATH']}", "RUNNER_TEMP": str(tmp_path),
        "RUN_DIR": str(tmp_path / "run"), "KUBECONFIG": str(tmp_path / "none"),
        "DOCKER_HOST": f"unix://{tmp_path}/none",
    }  # fmt: skip


def step(name: str, told: dict[str, str], **environment: str) -> subprocess.CompletedProcess[str]:
    """The step's script, run as a composite action runs it."""
    argv = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", f'"{STEPS}/{name}"']
    return subprocess.run(
        argv,
        env={**told, **environment},
        cwd=told["RUNNER_TEMP"],
        capture_output=True,
        text=True,
        check=False,
    )


def outputs(told: dict[str, str]) -> dict[str, str]:
    return dict(line.split("=", 1) for line in Path(told["GITHUB_OUTPUT"]).read_text().splitlines())


class TestSteps:
    def test_a_run_tells_its_verdict_its_directory_and_its_summary(self, told: dict[str, str]) -> None:
        assert step("run", told, EXPERIMENT=str(EXPERIMENT)).returncode == 20
        found = outputs(told)
        assert (found["verdict"], found["exit-code"]) == ("refused", "20")
        assert Path(found["run-dir"], "junit.xml").is_file()
        assert Path(found["report"]) == Path(found["run-dir"], "report.html")
        assert Path(told["GITHUB_STEP_SUMMARY"]).read_text().startswith("# Refused (exit 20)")

    def test_a_run_that_ends_as_expected_is_green(self, told: dict[str, str]) -> None:
        assert step("run", told, EXPERIMENT=str(EXPERIMENT), EXPECT="refused").returncode == 0
        assert outputs(told)["verdict"] == "refused"

    def test_a_cancelled_job_lets_its_run_heal(self, told: dict[str, str], tmp_path: Path) -> None:
        """GitHub's runner sends INT to the step's process alone, and kills it 10 s later."""
        (tmp_path / "bin").mkdir()
        slow = tmp_path / "bin" / "chaosext"
        slow.write_text(SLOW)
        slow.chmod(0o755)
        environment = {**told, "PATH": f"{slow.parent}:{told['PATH']}"}
        step_alone = ["env", "--default-signal=INT", STEPS / "run"]  # whoever runs the tests may ignore it
        with subprocess.Popen(step_alone, env=environment, cwd=tmp_path) as process:
            while not (tmp_path / "cut").exists():
                time.sleep(0.05)
            process.send_signal(signal.SIGINT)
        assert (tmp_path / "cut").read_text() == "healed\n"
        assert process.returncode == 143
        assert (outputs(told)["verdict"], outputs(told)["exit-code"]) == ("interrupted", "143")

    def test_what_was_refused_before_it_had_a_directory_says_why(self, told: dict[str, str]) -> None:
        assert step("run", told, EXPERIMENT="no-such-experiment").returncode == 20
        assert (outputs(told)["verdict"], outputs(told)["run-dir"]) == ("refused", "")
        assert "no-such-experiment" in Path(told["GITHUB_STEP_SUMMARY"]).read_text()

    @pytest.mark.parametrize("name", ["$(touch broken)", "`touch broken`", "x; touch broken", "a'b\"c"])
    def test_an_input_is_never_executed(self, told: dict[str, str], name: str, tmp_path: Path) -> None:
        assert step("run", told, EXPERIMENT=name).returncode == 20
        assert step("up", told, TESTBED=name).returncode == 20
        assert not (tmp_path / "broken").exists()

    def test_up_fails_where_there_can_be_no_testbed_and_says_it_was_not_there(
        self, told: dict[str, str]
    ) -> None:
        done = step("up", told, WORKERS="3", MITIGATION="dns-affinity")
        assert done.returncode == 20
        assert "no engine answers there" in done.stderr
        assert outputs(told) == {"was-there": "false"}

    def test_up_passes_every_input_on(self, told: dict[str, str]) -> None:
        inputs = {
            "WORKERS": "3",
            "MITIGATION": "dns-affinity, b",
            "SIDECARS": "native",
            "TIMINGS": "production",
            "NETWORK": "calico-vxlan",
            "MESH": "istio-dns-capture",
            "DNS": "nodelocal",
        }
        said = step("up", told, DRY_RUN="true", **inputs).stderr
        assert "would run: python -m hack.images build --profile auto" in said
        words = (
            "--sidecars native --timings production --network calico-vxlan --mesh istio-dns-capture --dns nodelocal"
            " --workers 3 --mitigation dns-affinity --mitigation b"
        )
        assert f"would run: chaosext testbed up --name chaosext {words}" in said.replace("'", "")

    def test_up_names_no_sidecars_without_a_mesh(self, told: dict[str, str]) -> None:
        said = step("up", told, DRY_RUN="true", MESH="none").stderr.replace("'", "")
        assert "would run: chaosext testbed up --name chaosext --timings accelerated --mesh none" in said

    def test_down_leaves_a_testbed_that_was_there(self, told: dict[str, str]) -> None:
        for was_there, down in (("true", False), ("", False), ("false", True)):
            said = step("down", told, DRY_RUN="true", WAS_THERE=was_there).stderr
            assert "'cleanup'" in said
            assert ("'down'" in said) is down

    def test_down_is_as_red_as_the_cleanup(self, told: dict[str, str]) -> None:
        assert step("down", told, WAS_THERE="true").returncode == 30

    def test_down_has_nothing_to_do_where_nothing_was_installed(self, told: dict[str, str]) -> None:
        assert step("down", {**told, "PATH": "/usr/bin:/bin"}, WAS_THERE="").returncode == 0


def test_a_dry_run_of_the_nightly_workflow_passes(tmp_path: Path) -> None:
    """By `act`, in a copy of this checkout: the action is installed with what it needs, its experiment validated."""
    done = played(tmp_path, "cutover", "--input", "dry-run=true", matrix="name:mitigated")
    assert done.returncode == 0, done.stdout
    assert "Job succeeded" in done.stdout
    for said in (
        "experiment syntax and semantic look valid",
        "'--mitigation' 'dns-affinity'",
        "'--expect' 'passed'",
    ):
        assert said in done.stdout
