"""What one process measured before its cut, as another one reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaosext.run.cutting import baseline
from chaosext.steady.cut import CutEvidence, Path
from chaosext.steady.tcp import Connect, Reach, Target

if TYPE_CHECKING:
    import pathlib

    import pytest


def test_paths_to_a_load_balancer_and_blind_nodes_are_kept(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    path = Path(source="w1", towards="", target=Target("fc00::9", 6443))
    connect = Connect(node="w1", target=path.target, reach=Reach.OPEN)
    evidence = CutEvidence(paths=(path,), connects={path: connect}, blind=("w2",))
    baseline.save("uid", evidence)
    assert baseline.load("uid") == evidence
