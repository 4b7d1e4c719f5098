"""A child process that enters a node, on a machine that has none to give."""

from __future__ import annotations

import errno
import os
from typing import Any

import pytest

from chaosext.model.errors import Refused, Unreachable
from chaosext.nodes.docker import DockerShell


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


def test_without_room_for_a_temporary_file_no_script_is_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("chaosext.nodes.process.TemporaryFile", full)
    with pytest.raises(Unreachable, match="cp-1: no temporary file"):
        DockerShell("cp-1").stream("true", timeout_s=1)


def test_a_way_in_that_is_not_installed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(Refused, match="docker: no such command"):
        DockerShell("cp-1").run("true", timeout_s=1)
