"""The pytest plugin: whose testbed it is, what a run must have come to, and what a failure tells."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from directories import whole

from chaosext.cli.main import invoke
from chaosext.model.errors import Refused
from chaosext.run.runner import refusal
from chaosext.testbed import containers
from chaosext.testing import command, session_testbed

SLOW_S = 300.0
"""What a pytest may take to start or to end on a crowded machine."""

PROGRAM = Path(__file__).with_name("program.py")

CONFTEST = f"""
import chaosext.testbed.containers as containers
import chaosext.testing.session_testbed as bed
import chaosext.testing.command as command
from pathlib import Path
command.PROGRAM = ({sys.executable!r}, {str(PROGRAM)!r})
here = Path(__file__).parent
containers.engine_problem = lambda: "no docker here" if (here / "no-engine").exists() else ""
bed._is_there = lambda name: (here / "there").exists()
"""

TEST = """
def test_cutover(chaosext_run, chaosext_testbed):
    run = chaosext_run("control-plane-partition", {arguments})
    {assertion}
"""


@pytest.fixture
def here(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's project, with a stand-in for the command, which has a deviated run prepared."""
    pytester.makeconftest(CONFTEST)
    for module, patched in (
        (containers, "engine_problem"),
        (session_testbed, "_is_there"),
        (command, "PROGRAM"),
    ):
        monkeypatch.setattr(
            module, patched, getattr(module, patched)
        )  # the conftest's, undone after this test
    for name in ("CHAOSEXT_RUN_DIR", "CI", "PYTEST_ADDOPTS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PROGRAM_HERE", str(pytester.path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(pytester.path / "cache"))
    assert invoke(["report", str(whole(pytester.path / "prepared"))]) == 0
    return pytester.path


def calls(here: Path) -> list[str]:
    return (here / "calls").read_text().splitlines() if (here / "calls").exists() else []


def play(
    pytester: pytest.Pytester, *words: str, assertion: str = "assert run", arguments: str = ""
) -> pytest.RunResult:
    pytester.makepyfile(test_cutover=TEST.format(assertion=assertion, arguments=arguments))
    return pytester.runpytest_inprocess("-W", "error", "--strict-markers", *words)


UP = "testbed up --name chaosext --json"
DOWN = "testbed down --name chaosext"
STATUS = "testbed status --name chaosext --json"
RUN = "run control-plane-partition --context kind-chaosext"


@pytest.mark.usefixtures("here")
class TestWhoseTestbedItIs:
    def test_one_that_was_not_there_is_brought_up_and_taken_down(
        self, pytester: pytest.Pytester, here: Path
    ) -> None:
        play(pytester).assert_outcomes(passed=1)
        assert calls(here) == [UP, RUN, "TTL None", DOWN]

    def test_one_that_was_there_is_used_and_stays(self, pytester: pytest.Pytester, here: Path) -> None:
        (here / "there").touch()
        play(pytester).assert_outcomes(passed=1)
        assert calls(here) == [STATUS, RUN, "TTL None"]

    def test_one_that_was_there_must_be_as_asked_for(self, pytester: pytest.Pytester, here: Path) -> None:
        (here / "there").touch()
        words = ("--chaosext-workers", "3", "--chaosext-mitigation", "dns-affinity")
        play(pytester, *words).assert_outcomes(passed=1)
        assert calls(here)[0] == f"{UP} --workers 3 --mitigation dns-affinity"
        assert DOWN not in calls(here)

    def test_one_that_is_not_steady_is_an_error_that_says_what_is_missing(
        self, pytester: pytest.Pytester, here: Path
    ) -> None:
        for name in ("there", "unsteady"):
            (here / name).touch()
        result = play(pytester)
        result.assert_outcomes(errors=1)
        result.stdout.fnmatch_lines(["*testbed chaosext exists, but is not steady: node w is not Ready*"])
        assert calls(here) == [STATUS]

    def test_keep_cluster_leaves_it(self, pytester: pytest.Pytester, here: Path) -> None:
        result = play(pytester, "--keep-cluster", "--chaosext-testbed", "mine")
        result.assert_outcomes(passed=1)
        result.stderr.fnmatch_lines(["*testbed mine stays: chaosext testbed down --name mine"])
        assert not [call for call in calls(here) if "down" in call]

    def test_half_a_testbed_is_taken_down_again(self, pytester: pytest.Pytester, here: Path) -> None:
        (here / "up-fails").touch()
        play(pytester).assert_outcomes(errors=1)
        assert calls(here) == [UP, DOWN]

    def test_a_test_that_fails_leaves_no_testbed(self, pytester: pytest.Pytester, here: Path) -> None:
        play(pytester, assertion="raise OSError").assert_outcomes(failed=1)
        assert calls(here)[-1] == DOWN

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
    def test_a_signal_ends_the_run_in_order_and_takes_the_testbed_down(
        self, pytester: pytest.Pytester, here: Path, number: signal.Signals
    ) -> None:
        (here / "hangs").touch()
        pytester.makepyfile(TEST.format(assertion="pass", arguments=""))
        session = subprocess.Popen(
            [sys.executable, "-m", "pytest", "-q"],
            cwd=here,
            stdout=subprocess.DEVNULL,
            preexec_fn=lambda: signal.signal(
                signal.SIGINT, signal.SIG_DFL
            ),  # a shell's background job ignores it
        )
        until_s = time.monotonic() + SLOW_S
        while not (here / "hanging").exists() and time.monotonic() < until_s:
            time.sleep(0.05)
        session.send_signal(number)
        assert session.wait(timeout=SLOW_S) == pytest.ExitCode.INTERRUPTED
        assert calls(here) == [UP, RUN, "healed", DOWN]


@pytest.mark.usefixtures("here")
class TestARun:
    def test_answers_questions_about_its_timeline(self, pytester: pytest.Pytester) -> None:
        assertion = """
    assert run.outcome == "deviated" and run.verdict.rollback_verified and run.exit_code == 10
    assert run.first("heal").t_s < run.first("dns_dead", "worker2").t_s
    assert run.events("heal") and not run.events("dns_dead", "no-such-node")
    assert 60 < run.longest_outage_s("dns") < 100 and len(run.outages("dns")) == 3
    assert (run.directory / "report.html").is_file() and chaosext_testbed.context == "kind-chaosext"
    assert repr(run) == f"<run {run.directory.name}: deviated, rollback verified>"
"""
        play(pytester, assertion=assertion).assert_outcomes(passed=1)

    @pytest.mark.parametrize("question", ["first('dns_daed')", "longest_outage_s('dsn')"])
    def test_a_question_about_what_cannot_happen_fails(
        self, pytester: pytest.Pytester, question: str
    ) -> None:
        play(pytester, assertion=f"assert not run.{question}").assert_outcomes(failed=1)

    def test_is_given_the_environment(self, pytester: pytest.Pytester, here: Path) -> None:
        play(pytester, arguments="CHAOSEXT_TTL_S=60").assert_outcomes(passed=1)
        assert "TTL 60" in calls(here)

    def test_may_be_given_as_a_value(self, pytester: pytest.Pytester, here: Path) -> None:
        pytester.makepyfile("def test_it(chaosext_run): chaosext_run({'title': 'mine'}, expect='deviated')")
        pytester.runpytest_inprocess().assert_outcomes(passed=1)
        path = calls(here)[1].split()[1]
        assert Path(path).read_text() == "title: mine\n"

    def test_is_on_the_sessions_testbed_whatever_it_was_written_for(
        self, pytester: pytest.Pytester, here: Path
    ) -> None:
        play(pytester, "--chaosext-testbed", "mine").assert_outcomes(passed=1)
        _, path, *words = calls(here)[1].split()
        assert words == ["--context", "kind-mine"]
        assert "KUBERNETES_CONTEXT: kind-mine" in Path(path).read_text()
        assert "kind-chaosext" not in Path(path).read_text()

    def test_that_ends_otherwise_than_expected_fails(self, pytester: pytest.Pytester) -> None:
        result = play(pytester, arguments="expect='passed'")
        result.assert_outcomes(failed=1)
        result.stdout.fnmatch_lines(["*the run ended deviated, rollback verified, not passed: <run 2*"])

    def test_without_an_answer_fails_whatever_is_asserted(
        self, pytester: pytest.Pytester, here: Path
    ) -> None:
        verdict = refusal(Refused("steady state not met", "mend it"))
        (here / "refusal.json").write_text(json.dumps(verdict.to_json()))
        result = play(pytester, assertion="assert run.first('dns_dead') is None")
        result.assert_outcomes(failed=1)
        result.stdout.fnmatch_lines(
            ["*ended refused, not with an answer: <no run, refused; steady state not met: mend it>"]
        )

    def test_may_be_expected_to_be_refused(self, pytester: pytest.Pytester, here: Path) -> None:
        verdict = refusal(Refused("steady state not met", "mend it"))
        (here / "refusal.json").write_text(json.dumps(verdict.to_json()))
        assertion = "assert run.outcome == 'refused' and run.directory is None"
        play(pytester, arguments="expect='refused'", assertion=assertion).assert_outcomes(passed=1)

    def test_that_was_killed_is_cleaned_up_after(self, pytester: pytest.Pytester, here: Path) -> None:
        (here / "killed").touch()
        result = play(pytester)
        result.assert_outcomes(failed=1)
        result.stdout.fnmatch_lines(["*chaosext run ended with exit code -9, and no result*"])
        assert calls(here) == [UP, RUN, "cleanup", DOWN]


@pytest.mark.usefixtures("here")
class TestWhatIsTold:
    def test_a_failure_tells_the_runs_story(self, pytester: pytest.Pytester) -> None:
        result = play(pytester, assertion="assert run.outcome == 'passed'")
        result.assert_outcomes(failed=1)
        result.stdout.fnmatch_lines(
            [
                "*- chaosext run 2*",
                "# Deviated, rollback verified (exit 10)",
                "*DNS stopped working*",
                "*/report.html",
            ]
        )

    def test_junit_names_every_run(self, pytester: pytest.Pytester, here: Path) -> None:
        play(pytester, f"--junit-xml={here}/ci.xml").assert_outcomes(passed=1)
        assert 'name="chaosext_run" value="&lt;run 2' in (here / "ci.xml").read_text()

    def test_progress_is_seen_though_output_is_captured(self, pytester: pytest.Pytester) -> None:
        pytester.makepyfile(TEST.format(assertion="pass", arguments=""))
        result = pytester.runpytest_subprocess()
        assert [line for line in result.errlines if line.startswith("progress of")] == [
            "progress of testbed",
            "progress of run",
            "progress of testbed",
        ]


@pytest.mark.usefixtures("here")
class TestWithoutDocker:
    def test_tests_are_skipped_with_the_reason(self, pytester: pytest.Pytester, here: Path) -> None:
        (here / "no-engine").touch()
        result = play(pytester, "-rs")
        result.assert_outcomes(skipped=1)
        result.stdout.fnmatch_lines(["*chaosext needs Docker Engine, and none answers: no docker here*"])
        assert calls(here) == []

    def test_or_fail_where_they_must_not_be_skipped(self, pytester: pytest.Pytester, here: Path) -> None:
        (here / "no-engine").touch()
        play(pytester, "--chaosext-require").assert_outcomes(errors=1)

    def test_the_marker_alone_skips_as_well(self, pytester: pytest.Pytester, here: Path) -> None:
        (here / "no-engine").touch()
        pytester.makepyfile("import pytest\n\n@pytest.mark.chaosext\ndef test_it(): raise AssertionError")
        pytester.runpytest_inprocess("--strict-markers").assert_outcomes(skipped=1)

    def test_users_of_the_fixtures_are_marked(self, pytester: pytest.Pytester, here: Path) -> None:
        play(pytester, "-m", "not chaosext").assert_outcomes(deselected=1)


@pytest.mark.usefixtures("here")
class TestWithXdist:
    def test_two_workers_are_refused(self, pytester: pytest.Pytester, here: Path) -> None:
        result = play(pytester, "-n", "2")
        result.assert_outcomes(errors=1)
        result.stdout.fnmatch_lines(["*run them with `pytest -m chaosext -n 0`*"])
        assert calls(here) == []

    def test_one_worker_may(self, pytester: pytest.Pytester, here: Path) -> None:
        play(pytester, "-n", "1").assert_outcomes(passed=1)
        assert calls(here) == [UP, RUN, "TTL None", DOWN]


def test_loading_it_imports_nothing_that_is_slow() -> None:
    code = "import sys, pytest, chaosext.testing.plugin; print([m for m in sys.modules if m.startswith('chaosext')])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ
    )
    assert done.stdout.strip() == "['chaosext', 'chaosext.testing', 'chaosext.testing.plugin']"
