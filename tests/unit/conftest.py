"""No unit test reads or writes the home of who runs it: no state, no configuration, no kubeconfig."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def state_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("state")


@pytest.fixture(autouse=True)
def own_state(state_of_the_tests: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(state_of_the_tests))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(state_of_the_tests / "config"))
    monkeypatch.setenv("KUBECONFIG", str(state_of_the_tests / "kubeconfig"))
    monkeypatch.delenv("CHAOSEXT_CONFIG", raising=False)
