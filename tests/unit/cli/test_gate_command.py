"""`chaosext gate` as people and pipelines call it: the bundled snapshots, the printed patches, the page, bad input."""

from __future__ import annotations

import json
import os
import re
import shlex
import socket
import subprocess
import sys
from copy import deepcopy
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import yaml
from checkout import ROOT
from jsonschema import Draft202012Validator
from pages import read, without_the_inlined

from chaosext.cli.main import invoke
from chaosext.gate.remedies import Search, Searched

SCHEMA = ROOT / "docs" / "schemas" / "gate.schema.json"
GOLDEN = ROOT / "tests" / "golden" / "gate"
STORY, MITIGATED = "examples/snapshots/story.json", "examples/snapshots/mitigated.json"
PLAN = "examples/cutovers/all-workers.yaml"
AT = "2026-11-23T21:00:00+00:00"
UNHURRIED = ("--time-budget", "1h")
"""However busy the machine is, all is simulated."""

PATCHES = ("dns-affinity", "longer-tolerations", "bgp-on-control-plane", "pause-evictions")


@pytest.fixture(autouse=True)
def in_the_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page names the files as they were given."""
    monkeypatch.chdir(ROOT)


@pytest.fixture
def gate(capsys: pytest.CaptureFixture[str]) -> Any:
    def calling(*arguments: str) -> tuple[int, str, str]:
        budget = () if "--time-budget" in arguments else UNHURRIED
        longest = () if "--longest" in arguments else ("--no-longest",)
        code = invoke(["gate", *arguments, *longest, *budget])
        said = capsys.readouterr()
        return code, said.out, said.err

    return calling


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, dict[str, str]]]:
    """Snapshot -> exit code and what was written; asked once, in processes whose hashes differ."""
    found = {}
    for seed, snapshot in enumerate((STORY, MITIGATED)):
        folder = tmp_path_factory.mktemp("gate")
        places = [folder / f"page.{form}" for form in ("md", "html", "json")]
        done = _called(str(seed), snapshot, places)
        found[snapshot] = done.returncode, {place.suffix: place.read_text() for place in places}
    return found


def _called(seed: str, snapshot: str, places: list[Path]) -> subprocess.CompletedProcess[bytes]:
    reports = [word for place in places for word in ("--report", str(place))]
    arguments = ["gate", "--cutover", PLAN, "--snapshot", snapshot, "--at", AT, *UNHURRIED, *reports]
    program = "import sys; from chaosext.cli.main import main; main(sys.argv[1:])"
    environment = {**os.environ, "PYTHONHASHSEED": seed, "LOGNAME": "who"}
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        timeout=600,
        check=False,
    )


def told(asked: Any, snapshot: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(asked[snapshot][1][".json"])
    return found


def without_host(text: str) -> str:
    return re.sub(r"who@[\w.-]+", "who@host", text)


# -- the story -------------------------------------------------------------------------------------------------


def test_the_story_s_cluster_is_no_go_and_the_mitigated_one_is_go(asked: Any) -> None:
    assert (asked[STORY][0], asked[MITIGATED][0]) == (10, 0)
    no_go, go = told(asked, STORY), told(asked, MITIGATED)
    assert (no_go["decision"], no_go["exit_code"], no_go["known"]) == ("no-go", 10, True)
    assert {each["check"] for each in no_go["reasons"]} == {
        "dns_after_heal",
        "self_heals",
        "dns_outage",
        "services_at_end",
    }
    assert (go["decision"], go["reasons"], go["remedies"]) == ("go", [], [])
    assert [each["mitigations"] for each in no_go["remedies"]] == [[name] for name in PATCHES]


def test_flags_that_are_given_are_in_force(gate: Any) -> None:
    flag = ("--controller-manager-arg", "node-monitor-grace-period=1h")
    _, said, _ = gate("--cutover", PLAN, "--snapshot", STORY, "--at", AT, "--json", *flag)
    found = json.loads(said)
    assert {each["verdict"] for each in found["rehearsed"]} == {"passed"}


@pytest.mark.parametrize("patch", PATCHES)
def test_each_printed_patch_applied_to_the_snapshot_turns_it_to_go(
    asked: Any, gate: Any, tmp_path: Path, patch: str
) -> None:
    (remedy,) = (each for each in told(asked, STORY)["remedies"] if each["mitigations"] == [patch])
    listed = applied(json.loads(Path(STORY).read_text()), remedy["commands"][0])
    path = tmp_path / "patched.json"
    path.write_text(json.dumps(listed))
    code, said, _ = gate("--cutover", PLAN, "--snapshot", str(path), "--at", AT)
    assert code == 0, said


def applied(listed: dict[str, Any], commands: str) -> dict[str, Any]:
    """What kubectl would make of it, as far as these commands go: objects are added, kube-dns' template is patched."""
    listed = deepcopy(listed)
    if "ssh " in commands:
        return edited(listed, commands)
    if "apply --filename -" in commands:
        listed["items"].append(given(commands))
        return listed
    words = shlex.split(commands.splitlines()[0])
    assert words[:6] == ["kubectl", "--namespace", "kube-system", "patch", "deployment", "coredns"]
    spec = given(commands)["spec"]["template"]["spec"]
    for item in listed["items"]:
        if item["kind"] == "Pod" and item["metadata"].get("labels", {}).get("k8s-app") == "kube-dns":
            affinity = {**item["spec"].get("affinity", {}), **spec.get("affinity", {})}
            item["spec"].update({**spec, **({"affinity": affinity} if affinity else {})})
    return listed


def given(commands: str) -> Any:
    """The YAML that the first command gets as its input."""
    return yaml.safe_load(commands.partition("<<'EOF'\n")[2].partition("\nEOF")[0])


def edited(listed: dict[str, Any], commands: str) -> dict[str, Any]:
    """What the edited manifest makes of kube-controller-manager's static Pod: sed does it, as the command says."""
    edit = re.search(r"sed -i '([^']*)'", commands)
    assert edit
    before = "--controllers=*,bootstrapsigner,tokencleaner"
    done = subprocess.run(["sed", edit[1]], input=before, capture_output=True, text=True, check=True)
    for item in listed["items"]:
        if item["metadata"]["name"].startswith("kube-controller-manager-"):
            item["spec"]["containers"][0].setdefault("command", []).append(done.stdout)
    return listed


def test_the_same_snapshot_plan_and_date_give_the_same_bytes(asked: Any, tmp_path: Path) -> None:
    again = tmp_path / "again.json"
    _called("7", MITIGATED, [again])
    assert again.read_text() == asked[MITIGATED][1][".json"]


# -- the page --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("snapshot", [STORY, MITIGATED])
@pytest.mark.parametrize("form", ["md", "html"])
def test_the_page_for_the_change_ticket(asked: Any, snapshot: str, form: str) -> None:
    """`GOLDEN=write pytest …` writes the files anew."""
    path = GOLDEN / f"{Path(snapshot).stem}.{form}"
    text = without_the_inlined(without_host(asked[snapshot][1][f".{form}"]))
    if os.environ.get("GOLDEN") == "write":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("snapshot", [STORY, MITIGATED])
def test_the_page_is_well_formed_and_refers_to_nothing_outside(asked: Any, snapshot: str) -> None:
    reader = read(asked[snapshot][1][".html"])
    assert len(reader.ids) == len(set(reader.ids))
    assert set(reader.references) <= set(reader.ids)
    assert (reader.levels[0], reader.levels.count(1)) == (1, 1)
    assert all(after - before <= 1 for before, after in zip(reader.levels, reader.levels[1:], strict=False))
    assert set(reader.links) == {"data:,"}


def test_where_the_page_is_stands_on_stderr(gate: Any, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    _, said, error = gate("--cutover", PLAN, "--snapshot", STORY, "--at", AT, "--report", str(page), "--json")
    assert f"report: {page}\n" in error
    assert json.loads(said)["decision"] == "no-go"


@pytest.mark.parametrize("form", [".md", ".html"])
def test_the_page_says_who_asked_what_of_which_cluster_and_how_to_verify_it(asked: Any, form: str) -> None:
    text = asked[STORY][1][form]
    for fact in (
        "No-go",
        "CHG-4711",
        "v1.34.4",
        "worker-1 and worker-2",
        "2036-11-29 22:00+01:00 Europe/Berlin",
        "2026-11-23 21:00:00+00:00",
        sha256(Path(PLAN).read_bytes()).hexdigest(),
        sha256(Path(STORY).read_bytes()).hexdigest(),
    ):
        assert fact in text


@pytest.mark.parametrize("snapshot", [STORY, MITIGATED])
def test_the_json_is_as_the_schema_says(asked: Any, snapshot: str) -> None:
    Draft202012Validator(json.loads(SCHEMA.read_text())).validate(told(asked, snapshot))


def test_the_page_says_how_long_the_cut_may_last(asked: Any) -> None:
    story, mitigated = (told(asked, snapshot)["longest"] for snapshot in (STORY, MITIGATED))
    assert (story["plan"]["safe_s"], story["plan"]["limit"]) == (0, "breaks")
    assert "the first kube-dns Pod moves to cp-1" in story["plan"]["answer"]
    assert mitigated["plan"]["answer"] == "safe up to 16m, the longest tried (99%)"
    assert mitigated["plan"]["no_return"] == "2036-11-29T22:16:00+01:00"
    for form in (".md", ".html"):
        assert "safe up to 16m" in asked[MITIGATED][1][form]
        assert "Point of no return: 2036-11-29 22:16:00 CET" in asked[MITIGATED][1][form]


def test_the_longest_safe_cut_is_not_searched_if_not_wanted(gate: Any) -> None:
    _, said, _ = gate("--cutover", PLAN, "--snapshot", STORY, "--at", AT, "--json", "--no-longest")
    found = json.loads(said)
    Draft202012Validator(json.loads(SCHEMA.read_text())).validate(found)
    assert found["longest"] is None


def test_what_a_snapshot_can_t_say_is_said_to_be_unchecked(asked: Any) -> None:
    assert {"xds_synced", "dns_resolvable", "bgp_established", "the cluster now"} <= told(asked, MITIGATED)[
        "not_checked"
    ].keys()


# -- what is unknown, and bad input --------------------------------------------------------------------------


def test_what_cant_be_known_is_no_go_by_an_exit_code_of_its_own(gate: Any, tmp_path: Path) -> None:
    listed = json.loads(Path(MITIGATED).read_text())
    listed["items"] = [each for each in listed["items"] if each["kind"] != "BGPPeer"]
    path = tmp_path / "without.json"
    path.write_text(json.dumps(listed))
    code, said, _ = gate("--cutover", PLAN, "--snapshot", str(path), "--at", AT)
    assert code == 30
    assert "NO-GO, as it is unknown (exit 30): " in said
    assert "no BGPPeer in the snapshot" in said


@pytest.mark.parametrize("snapshot", [STORY, MITIGATED])
def test_where_the_time_budget_is_too_short_it_is_inconclusive(gate: Any, snapshot: str) -> None:
    code, said, _ = gate(
        "--cutover", PLAN, "--snapshot", snapshot, "--at", AT, "--time-budget", "1ms", "--json"
    )
    found = json.loads(said)
    Draft202012Validator(json.loads(SCHEMA.read_text())).validate(found)
    assert (code, found["known"]) == (30, False)
    assert [each["simulations"]["made"] for each in found["rehearsed"]] == [0]
    assert {each["check"] for each in found["reasons"]} >= {"dns_after_heal", "self_heals"}
    assert "only 0 of 500 simulations were completed in time" in found["reasons"][0]["summary"]


def test_a_page_of_what_was_not_simulated_calls_nothing_well(gate: Any, tmp_path: Path) -> None:
    for form in ("md", "html"):
        page = tmp_path / f"page.{form}"
        words = ("--cutover", PLAN, "--snapshot", STORY, "--at", AT, "--time-budget", "1ms")
        assert gate(*words, "--report", str(page))[0] == 30
        text = page.read_text()
        assert "unknown: 0 of 500 random simulations" in text
        assert "no node becomes NotReady" not in text
        assert "no Pod is evicted" not in text


def test_patches_that_there_was_no_time_for_are_said(gate: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cut is judged; when patches are looked for, the time is up."""
    monkeypatch.setattr(Search, "search", lambda _: Searched(untried=("dns-affinity", "spread")))
    code, said, _ = gate("--cutover", PLAN, "--snapshot", STORY, "--at", AT, "--json")
    found = json.loads(said)
    assert (code, found["remedies"]) == (10, [])
    assert "before these were simulated: dns-affinity, spread" in found["not_checked"]["patches"]


def test_cuts_that_come_and_go_are_one_plan(gate: Any, tmp_path: Path) -> None:
    """Four cuts of 16 s, 10 s apart, under a grace period of 20 s: each of them alone would be a go."""
    plan = tmp_path / "flap.yaml"
    plan.write_text("title: t\ncut: {nodes: [worker-1, worker-2], flap: {on: 16s, off: 10s, times: 4}}\n")
    code, said, _ = gate("--cutover", str(plan), "--snapshot", STORY, "--at", AT, "--json", "--longest")
    found = json.loads(said)
    Draft202012Validator(json.loads(SCHEMA.read_text())).validate(found)
    assert code == 10
    assert found["longest"] is None
    assert found["cutover"]["flap"] == {"on_s": 16, "off_s": 10, "times": 4}
    (rehearsed,) = found["rehearsed"]
    assert rehearsed["cuts"] == [[0, 16], [26, 42], [52, 68], [78, 94]]
    assert rehearsed["headline"].startswith("deviated, it does not heal by itself in ")


def test_the_network_is_not_touched(gate: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a gate on a snapshot opened a socket")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setenv("KUBECONFIG", "/nowhere")
    plan = tmp_path / "short.yaml"
    plan.write_text("title: t\ncut: {nodes: [worker-1], for: 5s}\n")
    assert gate("--cutover", str(plan), "--snapshot", STORY)[0] == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "--cutover"),
        (("--cutover", PLAN), "--context and --snapshot: neither given"),
        (("--cutover", PLAN, "--snapshot", STORY, "--context", "x"), "--context and --snapshot: both given"),
        (("--cutover", "/nowhere.yaml", "--snapshot", STORY), "--cutover /nowhere.yaml"),
        (("--cutover", PLAN, "--snapshot", "/nowhere.json"), "/nowhere.json"),
        (("--cutover", PLAN, "--snapshot", PLAN), PLAN),
        (("--cutover", PLAN, "--snapshot", STORY, "--report", "page.pdf"), "--report page.pdf"),
        (
            ("--cutover", PLAN, "--snapshot", STORY, "--report", "no/such/page.html"),
            "there is no directory no/such",
        ),
        (("--cutover", PLAN, "--snapshot", STORY, "--keep-snapshot", "x"), "--keep-snapshot"),
        (("--cutover", PLAN, "--snapshot", STORY, "--at", "2040-01-01T00:00:00Z"), "when.start"),
        (("--cutover", PLAN, "--snapshot", STORY, "--at", "soon"), "--at"),
        (("--cutover", PLAN, "--context", "nobody-s"), "context nobody-s is not pinned"),
    ],
)
def test_bad_input_is_refused_with_its_field(gate: Any, arguments: tuple[str, ...], says: str) -> None:
    code, said, error = gate(*arguments)
    assert code == 20
    assert says in said + error


@pytest.mark.parametrize(
    ("cut", "says"),
    [
        ("nodes: [worker-1, worker-9]", "cut.nodes[1]: there is no node 'worker-9'"),
        ("nodes: [cp-1]", "cut.nodes: selects control-plane nodes (cp-1)"),
        ("selector: pool=old", "cut.selector: selects no nodes"),
        ("zones: [b]", "cut.zones[0]: no node has the label topology.kubernetes.io/zone=b"),
        ("racks: [r1]", "cut.racks: cannot find the label that names a rack"),
    ],
)
def test_a_plan_that_does_not_fit_the_cluster_is_refused(
    gate: Any, tmp_path: Path, cut: str, says: str
) -> None:
    plan = tmp_path / "cutover.yaml"
    plan.write_text(f"title: t\ncut: {{{cut}, for: 8m}}\n")
    code, _, error = gate("--cutover", str(plan), "--snapshot", STORY)
    assert code == 20
    assert says in error
    assert "fix: " in error
