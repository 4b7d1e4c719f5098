"""Work beside the main one: its result is the same with and without a process of its own."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from chaosext.cli.beside import beside

if TYPE_CHECKING:
    from collections.abc import Callable


def own_process() -> int:
    return os.getpid()


@pytest.fixture
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})


@pytest.mark.usefixtures("two_cores")
def test_work_is_done_in_another_process_if_there_is_a_core_for_it() -> None:
    with beside(own_process) as result:
        assert result() != os.getpid()


@pytest.mark.usefixtures("two_cores")
def test_work_alone_is_done_in_this_process() -> None:
    with beside(own_process, alone=True) as result:
        assert result() == os.getpid()


def test_with_one_core_work_is_done_when_its_result_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    with beside(own_process) as result:
        assert result() == os.getpid()


def refuses() -> int:
    raise ValueError(os.getpid())


def cannot_be_sent() -> Callable[[], int]:
    return lambda: os.getpid()


@pytest.mark.usefixtures("two_cores")
def test_an_error_is_raised_where_the_result_is_asked_for() -> None:
    with beside(refuses) as result, pytest.raises(ValueError, match=str(os.getpid())):
        result()


@pytest.mark.usefixtures("two_cores")
def test_what_cannot_be_sent_is_done_again() -> None:
    with beside(cannot_be_sent) as result:
        assert result()() == os.getpid()


@pytest.mark.usefixtures("two_cores")
def test_unneeded_work_is_ended() -> None:
    with beside(lambda: os.read(os.pipe()[0], 1)):
        pass
