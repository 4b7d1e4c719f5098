"""The command line: light to start, one line for each error, and exit codes that mean what `--help` says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from checkout import ROOT

from chaosext.cli import main
from chaosext.cli.main import COMMANDS, invoke
from chaosext.cli.output import event_line, finding_lines, plan_lines
from chaosext.model.errors import Inconclusive, Refused, Unreachable, Unsafe
from chaosext.model.findings import Evidence, Finding, Status
from chaosext.model.result import Briefing
from chaosext.model.timeline import Event, Kind
from chaosext.partition.cut import Cut, NodeCut, peers_of
from chaosext.partition.nft import arm_ruleset, disarm_ruleset
from chaosext.run.dry_run import DryRun

EXAMPLE = ROOT / "experiments" / "control-plane-partition.yaml"
HEAVY = ("kubernetes", "chaoslib", "chaosk8s", "rich", "pydantic", "yaml")


def compare(name: str, text: str) -> None:
    """With `GOLDEN=write` the file is written anew."""
    path = ROOT / "tests" / "golden" / "cli" / name
    if os.environ.get("GOLDEN") == "write":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "code", ["import chaosext.cli.main", "import chaosext", "from chaosext import actions, probes"]
)
def test_starting_loads_nothing_heavy(code: str) -> None:
    script = f"import sys; {code}; print(*(name for name in {HEAVY!r} if name in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout.split() == []


def test_help_loads_nothing_heavy() -> None:
    script = (
        "import sys; from chaosext.cli.main import invoke; code = invoke(['--help']); "
        f"print(code, *(name for name in {HEAVY!r} if name in sys.modules), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stderr.split() == ["0"]


def test_help(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    assert invoke(["--help"]) == 0
    compare("help.txt", capsys.readouterr().out)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke([command, "--help"]) == 0
    assert f"Usage: chaosext {command}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        ["no-such-command"],
        ["run"],
        ["run", "x.yaml", "--expect", "luck"],
        ["run", "x.yaml", "--no-such-option"],
    ],
)
def test_what_is_not_understood_is_refused(arguments: list[str]) -> None:
    assert invoke(arguments) == 20


@pytest.mark.parametrize(
    ("error", "exit_code"),
    [
        (Refused("ttl_s: 0", "give seconds"), 20),
        (Inconclusive("no proof", "see the evidence"), 30),
        (Unreachable("no answer"), 30),
        (Unsafe("left on cp", "docker exec cp nft …"), 40),
        (KeyboardInterrupt(), 130),
    ],
)
def test_an_error_is_a_line_with_its_fix(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: BaseException, exit_code: int
) -> None:
    def failing(**_: Any) -> None:
        raise error

    monkeypatch.setattr(main, "cli", SimpleNamespace(main=failing))
    assert invoke(["run"]) == exit_code
    out, err = capsys.readouterr()
    assert not out
    lines = err.splitlines()
    assert lines[0].startswith("chaosext: ")
    assert lines[1:] == ([f"     fix: {error.fix}"] if getattr(error, "fix", "") else [])


def experiment(path: Path, **changes: Any) -> Path:
    import yaml

    value = yaml.safe_load(EXAMPLE.read_text())
    value["method"][0]["provider"].update(changes)
    path.write_text(json.dumps(value))
    return path


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"func": "sever_controlplane"}, "does not expose a function called 'sever_controlplane'"),
        ({"arguments": {"ttl": 60}}, "ttl"),
        ({"argument": {}}, "method[0].provider.argument: unknown key"),
        ({"secrets": ["kubernets"]}, "'kubernets' is not a group of secrets"),
    ],
)
def test_a_faulty_experiment_is_refused_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, Any], said: str
) -> None:
    path = experiment(tmp_path / "e.json", **changes)
    assert invoke(["run", str(path), "--run-dir", str(tmp_path / "run")]) == 20
    err = capsys.readouterr().err
    assert said in err
    assert "fix: " in err


def test_another_context_than_the_pinned_one_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke(["run", str(EXAMPLE), "--context", "production", "--run-dir", str(tmp_path)]) == 20
    assert "'production' is not the experiment's ('kind-chaosext')" in capsys.readouterr().err


@pytest.mark.parametrize(("expect", "exit_code"), [(None, 20), ("passed", 20), ("refused", 0)])
def test_a_run_that_is_refused_at_the_door_leaves_its_reason(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    expect: str | None,
    exit_code: int,
) -> None:
    from chaosext.run import runner
    from chaosext.run.session import run_context

    def closed(*_: Any) -> None:
        raise Refused("context kind-chaosext: no such cluster", "chaosext testbed up")

    monkeypatch.setattr(runner, "ready", closed)
    monkeypatch.setattr(run_context, "_current", None)
    options = ["--expect", expect] if expect else []
    assert invoke(["run", str(EXAMPLE), "--json", "--run-dir", str(tmp_path), *options]) == exit_code
    printed = json.loads(capsys.readouterr().out)
    report = Path(printed.pop("report"))
    assert report.parent == (tmp_path / "latest").resolve()
    assert printed == json.loads((tmp_path / "latest" / "result.json").read_text())
    assert (printed["verdict"], printed["exit_code"], printed["expected"]) == ("refused", exit_code, expect)
    assert printed["reasons"] == ["context kind-chaosext: no such cluster: chaosext testbed up"]
    assert (tmp_path / "latest" / "summary.md").exists()
    assert (tmp_path / "latest" / "journal.json").exists()


def test_an_unknown_check_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["check", "dns_resolvabel"]) == 20
    assert "did you mean dns_resolvable?" in capsys.readouterr().err


def test_dry_run() -> None:
    run, node = "20261123t230300ab12", NodeCut(node="chaosext-control-plane", uplinks=("eth0",))
    cut = Cut(
        run=run,
        owner="alice@laptop",
        nodes=(node,),
        peers=peers_of(["172.18.0.3", "172.18.0.4", "fc00:f853:ccd:e793::3"], ["10.244.0.0/16"]),
        ttl_s=120,
    )
    plan = DryRun(
        briefing=Briefing(
            context="kind-chaosext", timings={}, outlook=(), unpeered_nodes=(), kube_dns_nodes=()
        ),
        steps=("method[0]: sever the control plane from the nodes", "method[1]: heal the network"),
        rules={node.node: (arm_ruleset(cut, node, armed_at=datetime(2026, 11, 23, 23, 3, tzinfo=UTC)),)},
        heal=disarm_ruleset(run),
    )
    compare("dry-run.txt", "\n".join(plan_lines(plan)) + "\n")
    assert plan.to_json()["rules"] == {node.node: list(plan.rules[node.node])}


def test_a_line_of_the_live_timeline() -> None:
    event = Event(t_s=55.04, kind=Kind.DNS_DEAD, object="Node/worker", detail="timed out", source="x")
    assert event_line(event) == "   +55.0s  dns_dead           Node/worker  timed out"


@pytest.mark.parametrize(
    ("status", "verbose", "count"), [("healthy", False, 1), ("healthy", True, 2), ("unknown", False, 2)]
)
def test_evidence_is_shown_where_it_matters(status: str, verbose: bool, count: int) -> None:
    evidence = (Evidence(subject="Node/a", status=Status(status), detail="…"),)
    finding = Finding(check="dns_resolvable", status=Status(status), summary="…", evidence=evidence)
    assert len(list(finding_lines(finding, verbose=verbose))) == count
