"""What one process measured before its cut, as another one reads it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from chaosext.checks.cut_effective import CutEvidence, LeftOut, Path
from chaosext.checks.tcp_reachability import Connect, Reach, Target
from chaosext.run.fault import paths_before

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
    paths_before.save("uid", evidence)
    assert paths_before.load("uid") == evidence


def test_what_must_stay_open_and_what_was_left_out_are_kept_too(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    path = Path(source="w", towards="cp1", target=Target("172.18.0.2", 6443))
    between = Path(source="cp1", towards="cp2", target=Target("172.18.0.5", 2380))
    connects = {
        each: Connect(node=each.source, target=each.target, reach=Reach.OPEN) for each in (path, between)
    }
    evidence = CutEvidence(
        paths=(path,), connects=connects, kept=(between,), left_out=LeftOut(paths=7, nodes=("w9",))
    )
    paths_before.save("uid", evidence)
    assert paths_before.load("uid") == evidence


def test_a_baseline_of_an_earlier_version_says_nothing(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    paths_before.save("uid", CutEvidence(paths=(), connects={}))
    (file,) = tmp_path.rglob("baseline-uid.json")
    old = json.loads(file.read_text())
    del old["kept"]
    file.write_text(json.dumps(old))
    assert paths_before.load("uid") is None
