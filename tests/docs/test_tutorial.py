"""Every command of README and tutorial is executed: here if it needs no cluster, else by the test that is named."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
PAGES = ("README.md", "docs/tutorial.md")
STORY = "experiments/control-plane-partition.yaml"

EXECUTED = {
    "make rehearse": (0, "OK: it heals by itself"),
    "chaosext rehearse example:story": (0, "NOT OK: DNS stays down"),
    "chaosext --help": (0, "Usage: chaosext"),
    "cat examples/cutovers/all-workers.yaml": (0, "dns_after_heal: resolvable"),
    "chaosext rehearse --snapshot examples/snapshots/story.json --cut-for 8m": (0, "NOT OK: DNS stays down"),
    "chaosext rehearse --snapshot examples/snapshots/story.json --cut-for 8m --with dns-affinity": (
        0,
        "OK: it heals by itself",
    ),
    "chaosext gate --cutover examples/cutovers/all-workers.yaml --snapshot examples/snapshots/story.json": (
        10,
        "dns_after_heal",
    ),
    "chaosext gate --cutover examples/cutovers/all-workers.yaml --snapshot examples/snapshots/mitigated.json": (
        0,
        "GO (exit 0)",
    ),
}
"""Command -> its exit code, and a part of its output that the tutorial relies on."""

ELSEWHERE = {
    "chaosext snapshot": ("tests/unit/cli/test_snapshot_command.py", '"snapshot", "-o"'),
    "chaosext rehearse --snapshot cluster.json.gz": ("tests/unit/cli/test_rehearse_command.py", '"rehearse"'),
    "chaosext gate --cutover cutover.yaml --context": ("tests/kind/test_gate.py", '"gate", "--cutover"'),
    "chaosext pin --context": ("tests/unit/cli/test_pin_command.py", '"pin", "--context"'),
    "chaosext testbed up": ("tests/kind/test_testbed.py", '"testbed", "up"'),
    "chaosext testbed up --mitigation": (".github/workflows/nightly.yaml", "mitigation: dns-affinity"),
    "chaosext testbed down": ("tests/unit/cli/test_testbed_command.py", '"down"'),
    "chaosext check all": ("tests/kind/test_known_unhealthy.py", '"check", "all"'),
    "chaosext run my-cutover.yaml": ("tests/kind/test_story.py", "run(experiment)"),
    "chaosext run my-cutover.yaml --dry-run": ("tests/kind/test_refusals.py", 'run(experiment, "--dry-run")'),
    f"chaosext run {STORY} --dry-run": ("tests/kind/test_refusals.py", 'run(experiment, "--dry-run")'),
    f"chaosext run {STORY} --expect deviated": ("Makefile", "chaosext run $(EXPERIMENT) --expect deviated"),
    f"chaosext run {STORY} --expect passed": (".github/workflows/nightly.yaml", "expect: passed"),
    "chaosext report latest": ("tests/unit/cli/test_report_command.py", '"latest"'),
    "make gameday": (".ci/run", "make --no-print-directory gameday"),
    "make images": (".github/steps/common", "hack.images build"),
    "pip install .": ("tests/ci/conftest.py", '"install", "--no-deps"'),
}
"""How a command begins that needs a cluster or a network -> the test that executes it, and the words that do."""


MAKEFLAGS = f"--old-file={BIN.parent}/.installed VENV={BIN.parent}"
"""The tests' own virtual environment, as it is: make must not renew it under them."""


def commands(page: str) -> list[str]:
    text = (ROOT / page).read_text(encoding="utf-8")
    blocks = re.findall(r"(?ms)^ *```\n(.*?)^ *```", text)
    lines = [line.split(" #")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if re.match(r"(chaosext|make|pip|cat|export) ", line)]


ALL = sorted({each for page in PAGES for each in commands(page)})


def test_commands_are_found() -> None:
    assert len(ALL) > 20
    assert set(EXECUTED) <= set(ALL)


@pytest.mark.parametrize("page", ["README.md", "docs/tutorial.md", "docs/rehearsal.md"])
def test_the_screen_in_the_docs_is_the_real_one(page: str) -> None:
    command = "rehearse --snapshot examples/snapshots/story.json --cut-for 8m"
    done = subprocess.run(
        [BIN / "chaosext", *shlex.split(command)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    assert done.stdout in (ROOT / page).read_text(encoding="utf-8")


@pytest.mark.parametrize("command", [each for each in ALL if each not in EXECUTED and "export " not in each])
def test_command_that_is_not_executed_here_is_executed_by_a_named_test(command: str) -> None:
    path, words = ELSEWHERE[max((each for each in ELSEWHERE if command.startswith(each)), key=len)]
    assert words in (ROOT / path).read_text()


@pytest.mark.parametrize("command", [each for each in ALL if each.startswith("make ")])
def test_make_target_exists(command: str) -> None:
    target = next(word for word in shlex.split(command)[1:] if "=" not in word)
    assert re.search(rf"^{re.escape(target)}:.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize("command", EXECUTED)
def test_command_without_a_cluster_does_what_the_tutorial_says(command: str, tmp_path: Path) -> None:
    exit_code, said = EXECUTED[command]
    environment = {
        **os.environ,
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "MAKEFLAGS": MAKEFLAGS,
    }
    done = subprocess.run(
        shlex.split(command),
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (done.returncode, said in done.stdout) == (exit_code, True), done.stdout + done.stderr
