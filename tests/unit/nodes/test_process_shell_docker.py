"""The docker transport against a stand-in for the docker command, which says what the real one says."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from chaosext.model.errors import Refused, Unreachable
from chaosext.nodes.process_shell import DockerShell, docker_not_entered

if TYPE_CHECKING:
    from pathlib import Path

STAND_IN = """#!/bin/bash
[[ $1 == exec && $2 == -i && $3 == -- ]] || { echo "unexpected: $*" >&2; exit 99; }
node=$4; shift 4
case $node in
  gone) echo 'Error response from daemon: No such container: gone' >&2; exit 1;;
  *) exec "$@";;
esac
"""


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = tmp_path / "docker"
    command.write_text(STAND_IN)
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")


@pytest.mark.usefixtures("docker")
class TestDockerShell:
    def test_a_script_runs_with_its_stdin_and_its_exit_code_is_returned(self) -> None:
        result = DockerShell("cp").run("tr a-z A-Z; echo oops >&2; exit 7", stdin="hello", timeout_s=5)
        assert (result.exit_code, result.stdout, result.stderr) == (7, "HELLO", "oops\n")

    def test_a_node_that_is_not_there_is_unreachable_and_named(self) -> None:
        with pytest.raises(Unreachable, match=r"gone: .*No such container"):
            DockerShell("gone").run("true", timeout_s=5)

    def test_a_stream_from_a_node_that_is_not_there_is_unreachable(self) -> None:
        with (
            DockerShell("gone").stream("echo never") as lines,
            pytest.raises(Unreachable, match="No such container"),
        ):
            next(lines)

    def test_no_answer_in_time_is_unreachable_even_with_children_that_hold_the_pipes(self) -> None:
        started = time.monotonic()
        with pytest.raises(Unreachable, match=r"cp: no answer within 0.3 s"):
            DockerShell("cp").run("sleep 30 & sleep 30", timeout_s=0.3)
        assert time.monotonic() - started < 10

    def test_a_stream_that_says_nothing_ends_at_its_time(self) -> None:
        started = time.monotonic()
        with (
            DockerShell("cp").stream("sleep 30", timeout_s=0.3) as lines,
            pytest.raises(Unreachable, match=r"0\.3 s"),
        ):
            next(lines)
        assert time.monotonic() - started < 10

    def test_lines_come_while_the_script_runs_and_what_is_sent_arrives(self) -> None:
        with DockerShell("cp").stream("echo ready; read answer; echo got $answer; exit 3") as lines:
            assert next(lines) == "ready"
            lines.send("yes\n")
            assert list(lines) == ["got yes"]

    def test_leaving_a_stream_ends_its_script_by_eof(self, tmp_path: Path) -> None:
        with DockerShell("cp").stream(f"echo ready; cat >/dev/null; touch {tmp_path}/ended") as lines:
            next(lines)
        assert (tmp_path / "ended").exists()

    def test_a_script_that_ignores_eof_is_killed(self) -> None:
        started = time.monotonic()
        with DockerShell("cp").stream("echo ready; sleep 30") as lines:
            next(lines)
        assert time.monotonic() - started < 10

    def test_a_name_that_would_be_an_option_is_refused_and_docker_is_not_asked(self) -> None:
        for name in ("--privileged", "-u0", "a/b", "a b", "", "x" * 254):
            with pytest.raises(Refused, match="not a valid name of a node"):
                DockerShell(name).run("true", timeout_s=5)
            with pytest.raises(Refused, match="not a valid name of a node"):
                DockerShell(name).stream("true")

    def test_sending_to_a_script_that_is_gone_does_no_harm(self) -> None:
        with DockerShell("cp").stream("exit 0") as lines:
            assert list(lines) == []
            lines.send("anyone?")


def test_without_docker_it_is_refused_with_the_fix(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Refused, match="docker: no such command: install it"):
        DockerShell("cp").run("true", timeout_s=1)
    with pytest.raises(Refused):
        DockerShell("cp").stream("true")


@pytest.mark.parametrize(
    "said",
    [
        "Error: No such container: cp",
        "Error response from daemon: No such container: cp",
        "Error response from daemon: Container 3f2a is not running",
        "Error response from daemon: Container 3f2a is paused, unpause the container before exec",
        "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?",
        "permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock",
        'OCI runtime exec failed: exec failed: unable to start container process: exec: "bash": not found',
    ],
)
def test_the_clients_own_failures_are_told_from_the_scripts(said: str) -> None:
    assert docker_not_entered(1, said)
    assert not docker_not_entered(1, "grep: no such file")
    assert not docker_not_entered(4, said)  # a script's own exit code, whatever it printed
