"""Commands: their output, their environment, and failures that say enough."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from chaosext.testbed.commands import CommandFailed, run_command


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


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


def test_log_gets_what_was_said_and_is_named_in_the_error(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "build.log"
    run_command(python("print('one')"), timeout_s=20, log=log)
    with pytest.raises(CommandFailed, match="two") as caught:
        run_command(python("import sys; print('two'); sys.exit(1)"), timeout_s=20, log=log)
    assert str(log) in caught.value.fix
    assert [line for line in log.read_text().splitlines() if not line.startswith("$")] == ["one", "two"]
