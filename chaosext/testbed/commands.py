"""Run the commands that build the testbed (docker, kind, kubectl, go …), with timeouts and clear errors."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import IO, TYPE_CHECKING, TextIO

from chaosext.model import child_process
from chaosext.model.errors import ChaosextError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from chaosext.testbed.config import Blueprint

TAIL_LINES = 15


class CommandFailed(ChaosextError):
    """A command is missing, ended with a non-zero exit code, or took too long.

    `exit_code_of_command` is None if it never ran or timed out.
    """

    def __init__(self, message: str, fix: str = "", *, exit_code_of_command: int | None = None) -> None:
        super().__init__(message, fix)
        self.exit_code_of_command = exit_code_of_command


def run_command(
    argv: Sequence[str | Path],
    *,
    timeout_s: float,
    input: str | Path | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    log: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run `argv` without a shell and return its output as text.

    `input` is the standard input: a text, or a file. `env` is added to the environment. With `log`, the
    output is appended to that file while the command runs, so that a long build can be watched; stdout and
    stderr are then not returned. Raises `CommandFailed` with the end of the command's output.
    """
    words = [str(word) for word in argv]
    try:
        done = _run(words, timeout_s=timeout_s, input=input, env=env, cwd=cwd, log=log)
    except FileNotFoundError as error:
        raise CommandFailed(f"{words[0]} cannot be run ({error.strerror})", f"install {words[0]}") from error
    except (subprocess.TimeoutExpired, child_process.TimeIsUp) as error:
        raise CommandFailed(f"`{_shown(words)}` took more than {timeout_s:g} s", _where(log)) from error
    if done.returncode:
        said = log.read_text(errors="replace") if log else done.stderr or done.stdout
        raise CommandFailed(
            f"`{_shown(words)}` ended with exit code {done.returncode}: {_tail(said)}",
            _where(log),
            exit_code_of_command=done.returncode,
        )
    return done


def _run(
    words: list[str],
    *,
    timeout_s: float,
    input: str | Path | None,
    env: Mapping[str, str] | None,
    cwd: Path | None,
    log: Path | None,
) -> subprocess.CompletedProcess[str]:
    """Run the command; on a timeout, end it together with its children.

    Otherwise background children are left alone: they may be daemons.
    """
    env = {**_home(), **os.environ, **(env or {})}
    if log is None and not isinstance(input, Path):
        done = child_process.run(
            words,
            timeout_s=timeout_s,
            stdin=input or "",
            whose=f"`{_shown(words)}`",
            env=env,
            cwd=cwd,
            spares_others=True,
        )
        return subprocess.CompletedProcess(words, done.exit_code, done.stdout, done.stderr)
    with ExitStack() as files:
        source: IO[bytes] | int = subprocess.PIPE if isinstance(input, str) else subprocess.DEVNULL
        if isinstance(input, Path):
            source = files.enter_context(input.open("rb"))
        sink: TextIO | int = subprocess.PIPE
        if log is not None:
            sink = files.enter_context(_opened(log))
            print(f"$ {_shown(words)}", file=sink, flush=True)
        process = subprocess.Popen(
            words,
            stdin=source,
            stdout=sink,
            stderr=subprocess.PIPE if log is None else subprocess.STDOUT,
            start_new_session=True,
            env=env,
            cwd=cwd,
        )
        try:
            said = process.communicate(input.encode() if isinstance(input, str) else None, timeout=timeout_s)
        finally:
            child_process.end(process, spares_others=process.returncode is not None)
        return subprocess.CompletedProcess(
            words, process.returncode, *((part or b"").decode(errors="replace") for part in said)
        )


def _opened(log: Path) -> TextIO:
    log.parent.mkdir(parents=True, exist_ok=True)
    return log.open("a")


def _home() -> dict[str, str]:
    """Return HOME if it is unset, as in cron and some services: Go's caches and kind's kubeconfig need it."""
    return {} if "HOME" in os.environ else {"HOME": str(Path.home())}


def _shown(words: list[str]) -> str:
    shown = shlex.join(words)
    return shown if len(shown) <= 200 else f"{shown[:200]}…"


def _tail(text: str) -> str:
    return "\n".join(text.strip().splitlines()[-TAIL_LINES:]) or "it printed nothing"


def _where(log: Path | None) -> str:
    return f"see {log}" if log else ""


CREATE_TIMEOUT_S = 600
EXPORT_TIMEOUT_S = 30


def create_cluster(kind: Path, blueprint: Blueprint, node_image: str, kubernetes: str) -> None:
    """Create the nodes and join them; without a network they are not Ready yet. Raises `CommandFailed`.

    `kubernetes` is the version in `node_image`.

    kind writes context `kind-NAME` into the user's kubeconfig. If it fails, it deletes its nodes.
    """
    argv: list[str | Path] = [
        kind,
        "create",
        "cluster",
        "--name",
        blueprint.name,
        "--image",
        node_image,
        "--config",
        "-",
    ]
    config = blueprint.kind_yaml(kubernetes)
    run_command([*_dies_with_us(), *argv], timeout_s=CREATE_TIMEOUT_S, input=config)


def export_kubeconfig(kind: Path, name: str) -> None:
    """Write context `kind-NAME` into the user's kubeconfig. Raises `CommandFailed`."""
    run_command([kind, "export", "kubeconfig", "--name", name], timeout_s=EXPORT_TIMEOUT_S)


def _dies_with_us() -> list[str]:
    """Return a prefix that kills kind when `up` dies.

    A kind that outlived it, and failed, would delete the nodes of the next `up`.
    """
    return ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
