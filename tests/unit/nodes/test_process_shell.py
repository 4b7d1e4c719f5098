"""A child process that enters a node: on a machine that has none to give, and on a node that says too much."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from chaosext.model.errors import Refused, TooLarge, Unreachable
from chaosext.nodes.process_shell import LARGEST_STREAM, DockerShell, ProcessStream, run_process

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_GROWTH_MIB = 160
"""What one endless answer may take of the runner's memory; on top of its 90 MiB that is well below 300 MiB."""

ENDLESS = {"one line": "cat /dev/zero", "short lines": "yes yy", "errors": "yes no >&2"}


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.EMFILE, errno.ENOMEM, errno.EACCES])
def test_a_machine_at_its_end_is_a_node_that_can_not_be_asked(
    monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("subprocess.Popen", fail)
    with pytest.raises(Unreachable, match=rf"cp-1: docker can't be started \({os.strerror(number)}\)"):
        DockerShell("cp-1").run("true", timeout_s=1)
    with pytest.raises(Unreachable, match="cp-1: docker can't be started"):
        DockerShell("cp-1").stream("true", timeout_s=1)


def test_a_way_in_that_is_not_installed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(Refused, match="docker: no such command"):
        DockerShell("cp-1").run("true", timeout_s=1)


def entered(_exit_code: int, _stderr: str) -> bool:
    return False


@pytest.fixture
def growth_is_bounded() -> Iterator[None]:
    """The test fails where its process' peak of resident memory grows by more than `MOST_GROWTH_MIB`."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak is what is resident now (proc(5))
    before = peak_mib()
    yield
    assert peak_mib() - before < MOST_GROWTH_MIB


def peak_mib() -> float:
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024


def bash(script: str) -> list[str]:
    return ["bash", "-c", script]


@pytest.mark.usefixtures("growth_is_bounded")
@pytest.mark.parametrize(
    "script", [ENDLESS["one line"], ENDLESS["short lines"]], ids=["one line", "short lines"]
)
def test_a_script_with_endless_output_is_ended_and_named(script: str) -> None:
    with pytest.raises(TooLarge, match=r"cp-1: the answer is larger than 32 MiB"):
        run_process("cp-1", bash(script), stdin="", timeout_s=60, not_entered=entered)


@pytest.mark.usefixtures("growth_is_bounded")
@pytest.mark.parametrize(
    "script", [ENDLESS["one line"], ENDLESS["short lines"]], ids=["one line", "short lines"]
)
def test_a_stream_with_endless_output_is_ended_and_named(script: str) -> None:
    with (
        ProcessStream("cp-1", bash(script), timeout_s=60, not_entered=entered) as lines,
        pytest.raises(TooLarge, match="cp-1"),
    ):
        for _ in lines:
            pass


@pytest.mark.usefixtures("growth_is_bounded")
def test_endless_errors_keep_no_memory_and_end_in_time() -> None:
    with pytest.raises(Unreachable, match=r"no answer within 1 s"):
        run_process("cp-1", bash(ENDLESS["errors"]), stdin="", timeout_s=1, not_entered=entered)
    with ProcessStream(
        "cp-1", bash(f"{ENDLESS['errors']} & echo ready; sleep 1"), not_entered=entered
    ) as lines:
        assert next(lines) == "ready"


def test_an_answer_that_is_large_but_within_its_bounds_is_whole() -> None:
    size = LARGEST_STREAM // 4
    done = run_process(
        "cp-1", bash(f"head -c {size} /dev/zero | tr '\\0' x"), stdin="", timeout_s=60, not_entered=entered
    )
    assert len(done.stdout) == size


def test_a_script_that_never_reads_its_stdin_is_ended_in_time() -> None:
    started_s = time.monotonic()
    with pytest.raises(Unreachable, match=r"no answer within 0\.3 s"):
        run_process("cp-1", bash("sleep 30"), stdin="x" * (1 << 20), timeout_s=0.3, not_entered=entered)
    with ProcessStream("cp-1", bash("sleep 30"), timeout_s=0.3, not_entered=entered) as lines:
        lines.send("x" * (1 << 20))
    assert time.monotonic() - started_s < 10


def test_a_large_stdin_arrives_whole_while_the_script_answers() -> None:
    told = "x" * (3 << 20)
    done = run_process("cp-1", ["cat"], stdin=told, timeout_s=60, not_entered=entered)
    assert done.stdout == told


def test_only_the_end_of_a_scripts_errors_is_kept() -> None:
    script = "head -c 1000000 /dev/zero | tr '\\0' y >&2; echo last words >&2; exit 3"
    done = run_process("cp-1", bash(script), stdin="", timeout_s=60, not_entered=entered)
    assert done.exit_code == 3
    assert done.stderr.endswith("last words\n")
    assert len(done.stderr) == 1 << 16


def test_nothing_that_a_late_script_had_started_is_left(tmp_path: Path) -> None:
    witness = tmp_path / "pid"
    with pytest.raises(Unreachable):
        run_process(
            "cp-1", bash(f"sleep 60 & echo $! >{witness}; wait"), stdin="", timeout_s=0.5, not_entered=entered
        )
    deadline_s = time.monotonic() + 10
    while Path(f"/proc/{witness.read_text().strip()}").exists():
        assert time.monotonic() < deadline_s, "the script's child still lives"
        time.sleep(0.02)
