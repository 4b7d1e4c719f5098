"""`chaosext baseline save`, and the file that it writes: read again by checks and runs."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from chaosext.cli.main import invoke
from chaosext.cluster import kubeconfig
from chaosext.model.findings import Evidence, Finding, Status
from chaosext.model.known_unhealthy import Known, entries_of
from chaosext.run.monitor import steady_baseline as module
from chaosext.run.monitor import steady_state
from chaosext.run.monitor.steady_baseline import Seen

if TYPE_CHECKING:
    from pathlib import Path

ROWS = (
    Evidence(subject="Pod/shop/cart-6c9f7d5b8-kx2vn", status=Status.UNHEALTHY, detail="not Ready"),
    Evidence(subject="Pod/shop/cart-6c9f7d5b8-p9w7t", status=Status.HEALTHY, detail="Ready"),
)
PROBES = Finding(check="probes_healthy", status=Status.UNHEALTHY, summary="1 of 2 Pods well", evidence=ROWS)


@pytest.fixture
def unknown(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    given: list[Any] = []

    def observe(settings: Any, until: datetime, reason: str) -> Seen:
        given.append(settings)
        return Seen(entries=entries_of([PROBES], until=until, reason=reason), unknown=tuple(lines))

    monkeypatch.setattr(module, "observe", observe)
    monkeypatch.setattr(kubeconfig, "current_context", lambda: "kind-chaosext")
    return lines


def test_what_is_unhealthy_is_saved_with_reason_and_expiry(
    unknown: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "known.yaml"
    assert invoke(["baseline", "save", "-o", str(path), "--until", "14d", "--reason", "CHG-4711"]) == 0
    (entry,) = yaml.safe_load(path.read_text())["known_unhealthy"]
    until = datetime.fromisoformat(entry.pop("until"))
    assert abs(until - datetime.now(UTC) - timedelta(days=14)) < timedelta(minutes=5)
    assert entry == {
        "check": "probes_healthy",
        "object": "Pod/shop/cart-*",
        "reason": "CHG-4711",
        "was": "1 of 2",
    }
    assert "probes_healthy: Pod/shop/cart-* (1 of 2 well)" in capsys.readouterr().err


def test_what_is_unknown_is_said_and_has_an_exit_code_of_its_own(
    unknown: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unknown.append("xds_synced: Pod/shop/x: no answer")
    assert invoke(["baseline", "save", "-o", str(tmp_path / "k.yaml"), "--until", "1d"]) == 30
    assert (
        "unknown, and therefore not in the file: xds_synced: Pod/shop/x: no answer" in capsys.readouterr().err
    )


@pytest.mark.usefixtures("unknown")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-o", "k.yaml"], "--until"),
        (["--until", "14d"], "--output"),
        (["-o", "k.yaml", "--until", "soon"], "--until: 'soon' is not a time"),
        (["-o", "k.yaml", "--until", "2020-01-01T00:00Z"], "is in the past"),
        (["-o", "k.yaml", "--until", "91d"], "90 days"),
        (["-o", "/nowhere/k.yaml", "--until", "1d"], "/nowhere/k.yaml"),
    ],
)
def test_bad_input_is_refused(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    assert invoke(["baseline", "save", *arguments]) == 20
    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("unknown")
def test_a_check_with_the_saved_file_is_well_while_nothing_is_worse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "known.yaml"
    assert invoke(["baseline", "save", "-o", str(path), "--until", "14d", "--reason", "CHG-4711"]) == 0

    def ask_now(settings: Any, *_: Any) -> tuple[Finding, ...]:
        return (Known(entries=settings.known).excuse(PROBES) if settings.known else PROBES,)

    monkeypatch.setattr(steady_state, "ask_now", ask_now)
    assert invoke(["check", "all"]) == 10
    assert invoke(["check", "all", "--known", str(path)]) == 0
    out = capsys.readouterr().out
    assert "unhealthy Pod/shop/cart-6c9f7d5b8-kx2vn: not Ready (known: CHG-4711)" in out
    assert invoke(["check", "all", "--known", str(path), "--json"]) == 0
    (finding,) = json.loads(capsys.readouterr().out)
    assert [row.get("known") for row in finding["evidence"]] == ["CHG-4711", None]
    assert invoke(["check", "all", "--known", str(tmp_path / "nowhere")]) == 20
