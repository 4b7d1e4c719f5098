"""Commands: their output, their environment, and failures that say enough."""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from chaosext.model.errors import ChaosextError
from chaosext.model.poll import poll
from chaosext.testbed.commands import CommandFailed, run_command


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def is_alive(pid: int) -> bool:
    with suppress(OSError):
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    return False


def test_output_and_input_are_text() -> None:
    done = run_command(python("print(input().upper())"), timeout_s=20, input="héllo\n")
    assert done.stdout == "HÉLLO\n"


def test_without_input_nothing_is_read_from_the_terminal() -> None:
    assert run_command(python("import sys; print(repr(sys.stdin.read()))"), timeout_s=20).stdout == "''\n"


def test_environment_is_added_and_directory_is_used(tmp_path: Path) -> None:
    code = "import os; print(os.environ['WORD'], 'PATH' in os.environ, os.getcwd())"
    done = run_command(python(code), timeout_s=20, env={"WORD": "x"}, cwd=tmp_path)
    assert done.stdout.split() == ["x", "True", str(tmp_path)]


def test_children_have_a_home_where_we_were_given_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME")
    done = run_command(python("import os; print(os.environ['HOME'])"), timeout_s=20)
    assert done.stdout.strip() == str(Path.home())


def test_failure_shows_the_end_of_stderr_and_the_exit_code() -> None:
    code = "import sys; [print('line', n, file=sys.stderr) for n in range(100)]; sys.exit(7)"
    with pytest.raises(CommandFailed) as caught:
        run_command(python(code), timeout_s=20)
    assert caught.value.exit_code_of_command == 7
    assert "exit code 7" in caught.value.message
    assert caught.value.message.endswith("line 99")
    assert "line 1\n" not in caught.value.message


def test_missing_command_names_it() -> None:
    with pytest.raises(CommandFailed, match="no-such-command") as caught:
        run_command(["no-such-command", "x"], timeout_s=20)
    assert caught.value.exit_code_of_command is None


def test_timeout_ends_the_command() -> None:
    with pytest.raises(CommandFailed, match=r"more than 0\.2 s"):
        run_command(python("import time; time.sleep(60)"), timeout_s=0.2)


@pytest.mark.parametrize("logged", [False, True])
def test_timeout_ends_what_the_command_has_started_too(tmp_path: Path, logged: bool) -> None:
    """Else it would hold the output's pipe, and the caller with it."""
    code = "import subprocess, time; print(subprocess.Popen(['sleep', '60']).pid, flush=True); time.sleep(60)"
    seen = tmp_path / "pid"
    argv = ["sh", "-c", 'sleep 60 & echo $! >"$0"; exec "$@"', str(seen), *python(code)]
    began_s = time.monotonic()
    with pytest.raises(CommandFailed, match="more than"):
        run_command(argv, timeout_s=5.0, log=tmp_path / "log" if logged else None)
    assert time.monotonic() - began_s < 30
    started = int(seen.read_text())
    assert poll(lambda: not is_alive(started), within_s=20, every_s=0.05)


def test_what_a_command_leaves_behind_on_purpose_is_spared(tmp_path: Path) -> None:
    done = run_command(["sh", "-c", "sleep 60 >/dev/null 2>&1 & echo $!"], timeout_s=20)
    pid = int(done.stdout)
    assert is_alive(pid)
    os.kill(pid, signal.SIGKILL)


def test_output_without_an_end_is_left() -> None:
    with pytest.raises(ChaosextError, match="larger than 32 MiB"):
        run_command(["cat", "/dev/zero"], timeout_s=60)


def test_log_gets_what_was_said_and_is_named_in_the_error(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "build.log"
    run_command(python("print('one')"), timeout_s=20, log=log)
    with pytest.raises(CommandFailed, match="two") as caught:
        run_command(python("import sys; print('two'); sys.exit(1)"), timeout_s=20, log=log)
    assert str(log) in caught.value.fix
    assert [line for line in log.read_text().splitlines() if not line.startswith("$")] == ["one", "two"]
