"""What users have: the wheel with the example project's tests, and the action as a workflow plays it."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING

import pytest
from workflow_tools import played

from .conftest import NAME, ROOT

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("steady_afterwards")


def results(directory: Path) -> list[dict[str, object]]:
    """The results of the runs in `directory`, oldest first."""
    return [json.loads(path.read_text()) for path in sorted(directory.glob("2*/result.json"))]


def test_the_example_projects_tests_pass_from_an_installed_wheel(tmp_path: Path) -> None:
    runs = tmp_path / "run"
    done = subprocess.run(
        [str(ROOT / ".github/steps/example"), "--chaosext-testbed", NAME],
        env={**os.environ, "RUN_DIR": str(runs)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=3600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout
    assert [each["verdict"] for each in results(runs)] == ["passed", "deviated"]
    assert (runs / "junit.xml").is_file()


@pytest.mark.skipif(NAME != "chaosext", reason="the nightly workflow's experiment is for the default testbed")
def test_the_nightly_workflow_reproduces_the_story_and_keeps_its_report(tmp_path: Path) -> None:
    done = played(tmp_path, "cutover", matrix="name:story", timeout_s=3600)
    assert done.returncode == 0, done.stdout
    (result,) = results(tmp_path / "artifacts" / "story")
    assert (result["verdict"], result["exit_code"]) == ("deviated", 0)
    assert "::set-output:: verdict=deviated" in done.stdout
    for name in ("report.html", "summary.md", "junit.xml"):
        assert next((tmp_path / "artifacts" / "story").glob(f"2*/{name}")).stat().st_size
