"""`chaosext compare`, and `chaosext rehearse --change`."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from checkout import ROOT
from jsonschema import Draft202012Validator
from small_snapshots import leafed, reflected, written

from chaosext.cli.change_text import ROWS, WIDTH
from chaosext.cli.main import invoke

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA = ROOT / "docs" / "schemas" / "changes.schema.json"
SHORT = ("--samples", "8", "--time-budget", "1h")
RELABELLED = "Node/rr-1: {metadata: {labels: {route-reflector: null}}}"


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Any:
    def calling(*arguments: object) -> tuple[int, str]:
        code = invoke([*map(str, arguments), *SHORT])
        captured = capsys.readouterr()
        return code, captured.out + captured.err

    return calling


def test_the_first_line_says_that_all_routes_go_and_by_which_label(said: Any, tmp_path: Path) -> None:
    path = written(reflected(), tmp_path / "rr.json")
    code, text = said("rehearse", "--snapshot", path, "--change", RELABELLED)
    assert code == 0
    first = " ".join(text.splitlines()[:2])
    assert "WORSE: all 20 cross-node Pod routes are lost" in first
    assert "Node/rr-1 (metadata.labels.route-reflector removed)" in first


def test_the_text_fits_on_one_screen(said: Any, tmp_path: Path) -> None:
    path = written(reflected(), tmp_path / "rr.json")
    changes = [f"Node/worker-{at}: {{metadata: {{labels: {{rack: {'x' * 200}}}}}}}" for at in (1, 2, 3)]
    options = [word for each in (RELABELLED, *changes) for word in ("--change", each)]
    _, text = said("rehearse", "--snapshot", path, *options)
    lines = text.splitlines()
    assert len(lines) <= ROWS
    assert max(map(len, lines)) <= WIDTH


@pytest.mark.parametrize(
    ("change", "fail_on", "code"),
    [
        (RELABELLED, "worse", 10),
        (RELABELLED, "deviated", 10),
        (RELABELLED, "unknown", 0),
        ("Node/rr-1: {metadata: {labels: {harmless: 'yes'}}}", "worse", 0),
        ("Node/rr-1: {metadata: {annotations: {unread: 'yes'}}}", "worse", 0),
    ],
)
def test_a_pipeline_is_told_by_the_exit_code(
    said: Any, tmp_path: Path, change: str, fail_on: str, code: int
) -> None:
    path = written(reflected(), tmp_path / "rr.json")
    assert said("rehearse", "--snapshot", path, "--change", change, "--fail-on", fail_on)[0] == code


def test_changes_come_from_files_in_yaml_and_json(said: Any, tmp_path: Path) -> None:
    path = written(leafed(), tmp_path / "leaf.json")
    (tmp_path / "patch.yaml").write_text(
        "BGPPeer/leaf: null\n---\nNode/worker-1: {metadata: {labels: {a: b}}}\n"
    )
    removed = {"kind": "BGPPeer", "metadata": {"name": "leaf"}, "$patch": "delete"}
    (tmp_path / "patch.json").write_text(json.dumps({"items": [removed]}))
    for change in (tmp_path / "patch.yaml", tmp_path / "patch.json"):
        code, text = said("rehearse", "--snapshot", path, "--change", change, "--json")
        assert code == 0
        found = json.loads(text)
        Draft202012Validator(json.loads(SCHEMA.read_text())).validate(found)
        assert found["routes"]["after"]["reached"] == 0
        assert found["differences"][0]["by"] == ["BGPPeer/leaf"]


def test_changes_come_from_stdin(tmp_path: Path) -> None:
    path = written(leafed(), tmp_path / "leaf.json")
    words = ["rehearse", str(path), "--change", "-", "--fail-on", "worse", *SHORT]
    done = subprocess.run(
        [sys.executable, "-m", "chaosext", *words],
        input=b"BGPPeer/leaf: null\n",
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 10, done.stderr


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        (("--change", "nowhere.yaml"), "No such file"),
        (("--change", "{a: [b"), "neither YAML nor JSON"),
        (("--change", "[]"), "no such file"),
        (("--change", RELABELLED, "--scenarios", "x.yaml"), "--scenarios and --change are both set"),
        (("--change", RELABELLED, "--patch", "dns-affinity"), "--patch and --change are both set"),
        (("--fail-on", "worse"), "--fail-on worse is set without --change"),
    ],
)
def test_bad_changes_are_refused(said: Any, tmp_path: Path, options: tuple[str, ...], wanted: str) -> None:
    path = written(leafed(), tmp_path / "leaf.json")
    code, text = said("rehearse", "--snapshot", path, *options)
    assert code == 20
    assert wanted.lower() in text.lower()


def test_compare_lists_what_became_worse_and_fails_on_request(said: Any, tmp_path: Path) -> None:
    before = written(reflected(), tmp_path / "before.json")
    objects = reflected()
    del next(each for each in objects if each["metadata"]["name"] == "rr-1")["metadata"]["labels"][
        "route-reflector"
    ]
    after = written(objects, tmp_path / "after.json")
    code, text = said("compare", before, after, "--fail-on", "worse")
    assert code == 10
    assert "WORSE: all 20 cross-node Pod routes are lost, by Node/rr-1" in text
    code, text = said("compare", after, before, "--json", "--fail-on", "worse")
    assert code == 0
    found = json.loads(text)
    Draft202012Validator(json.loads(SCHEMA.read_text())).validate(found)
    assert found["worse"] == 0 < found["better"]
    assert found["sentence"].startswith("BETTER: ")


def test_a_snapshot_compared_with_itself_is_the_same(said: Any, tmp_path: Path) -> None:
    path = written(leafed(), tmp_path / "leaf.json")
    code, text = said("compare", path, path, "--fail-on", "worse")
    assert code == 0
    assert text.startswith("SAME: nothing changed that a prediction reads")


def test_what_stays_unknown_is_not_called_the_same(said: Any, tmp_path: Path) -> None:
    objects = [each for each in leafed() if each["kind"] not in ("BGPPeer", "IPPool")]
    before = written(objects, tmp_path / "before.json")
    for each in objects:
        if each["metadata"]["name"] == "worker-1":
            each["metadata"]["labels"]["rack"] = "z"
    _, text = said("compare", before, written(objects, tmp_path / "after.json"))
    assert text.startswith(
        "UNKNOWN: no effect is known of what changed, but unknown before and after: routes and"
    )


@pytest.mark.parametrize(
    "change",
    [
        "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {namespace: shop, name: deny}}",
        "Node/worker-1: {metadata: {annotations: {team: blue}}}",
        "Deployment/kube-dns: {spec: {template: {spec: {containers: [{name: main, image: x}]}}}}",
    ],
)
def test_a_change_that_no_prediction_reads_is_not_called_the_same(
    said: Any, tmp_path: Path, change: str
) -> None:
    path = written(leafed(), tmp_path / "leaf.json")
    _, text = said("rehearse", "--snapshot", path, "--change", change)
    assert text.startswith("UNKNOWN: no prediction reads what changed: ")


def test_a_domain_that_is_never_known_is_said_beside_the_rest(said: Any, tmp_path: Path) -> None:
    path = written(leafed(), tmp_path / "leaf.json")
    _, text = said("rehearse", "--snapshot", path, "--change", "Node/worker-1: {metadata: {labels: {a: b}}}")
    assert text.startswith("SAME: nothing became worse or better; unknown as before: control-plane node cp-1")


def test_two_runs_are_compared_as_by_report(said: Any, tmp_path: Path) -> None:
    code = invoke(["compare", "20261123t230300ab12", "latest"])
    assert code == 20  # there are none; the message is that of `chaosext report`
    code, text = said("compare", tmp_path / "no.json", "latest")
    assert code == 20
    assert "no.json" in text
