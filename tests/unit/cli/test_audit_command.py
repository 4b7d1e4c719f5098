"""`chaosext audit`: what it says and how it ends."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from checkout import ROOT

from chaosext.cli.main import invoke
from chaosext.safety.audit_log import AuditEvent, AuditLog, Deed, audit_log, digest_of

if TYPE_CHECKING:
    from pathlib import Path

EXAMPLE = ROOT / "experiments" / "control-plane-partition.yaml"


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AuditLog:
    """Two runs' entries, in a home of their own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    for run in ("r1", "r2"):
        audit_log().append(
            Deed(
                event=AuditEvent.ARMED,
                owner="alice@laptop",
                run=run,
                context="kind-x",
                nodes=("cp-1", "cp-2"),
            )
        )
        audit_log().append(
            Deed(event=AuditEvent.RUN_ENDED, owner="alice@laptop", run=run, verdict="passed", exit_code=0)
        )
    return audit_log()


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    code = invoke(["audit", *arguments])
    return code, capsys.readouterr().out


def test_a_whole_log_is_said_with_its_last_entry(log: AuditLog, capsys: pytest.CaptureFixture[str]) -> None:
    last = log.verified().entries[-1].end
    assert said(capsys, "verify") == (
        0,
        f"intact: {log.path}: 4 entries, the last one is 4 ({last.hash})\n",
    )
    code, text = said(capsys, "verify", "--json")
    assert (code, json.loads(text)["whole"], json.loads(text)["last"]) == (0, True, last.to_json())


def test_a_broken_log_names_its_first_bad_line(log: AuditLog, capsys: pytest.CaptureFixture[str]) -> None:
    log.path.write_text(log.path.read_text().replace('"run":"r2"', '"run":"r3"'))
    code, text = said(capsys, "verify")
    assert code == 10
    assert text.startswith(f"broken: {log.path}: line 3: altered: ")
    code, text = said(capsys, "verify", "--json")
    assert (code, json.loads(text)["fault"]["line"], json.loads(text)["fault"]["what"]) == (10, 3, "altered")
    code, text = said(capsys, "show")
    assert (code, len(text.splitlines())) == (10, 2)


def test_a_torn_end_is_whole_and_said(log: AuditLog, capsys: pytest.CaptureFixture[str]) -> None:
    with log.path.open("a") as file:
        file.write('{"seq":5,')
    code, text = said(capsys, "verify")
    assert code == 0
    assert "9 bytes of a line cut short by a crash" in text


def test_a_result_whose_entry_is_not_there_is_broken(
    log: AuditLog, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    result = tmp_path / "result.json"
    result.write_text(json.dumps({"audit": {"seq": 5, "hash": "0" * 64}}))
    code, text = said(capsys, "verify", "--result", str(result))
    assert (code, text.splitlines()[-1]) == (10, f"missing: {result}: entry 5 is not in the log")
    result.write_text(json.dumps({"audit": log.verified().entries[1].end.to_json()}))
    assert said(capsys, "verify", "--result", str(result))[0] == 0
    assert said(capsys, "verify", "--result", str(tmp_path / "none"))[0] == 20


def test_the_results_of_all_runs_in_a_directory_are_held_against_the_log(
    log: AuditLog, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    ends = [entry.end for entry in log.verified().entries]
    for run, end in (("r1", ends[1]), ("r2", ends[3])):
        (tmp_path / "run" / run).mkdir(parents=True)
        (tmp_path / "run" / run / "result.json").write_text(json.dumps({"audit": end.to_json()}))
    (tmp_path / "run" / "latest").symlink_to("r2")
    assert said(capsys, "verify", "--results", str(tmp_path / "run"))[0] == 0
    log.path.write_bytes(log.path.read_bytes().splitlines(keepends=True)[0])
    log.head_path.write_text(json.dumps(ends[0].to_json()))
    assert said(capsys, "verify")[0] == 0  # both were cut back: only what is kept elsewhere shows it
    code, text = said(capsys, "verify", "--results", str(tmp_path / "run"))
    assert (code, text.count("missing: ")) == (10, 2)
    assert said(capsys, "verify", "--results", str(tmp_path))[0] == 20


def test_no_log_is_no_whole_one(log: AuditLog, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    result = tmp_path / "result.json"
    result.write_text(json.dumps({"audit": log.verified().entries[0].end.to_json()}))
    log.path.unlink()
    assert said(capsys, "verify")[0] == 10  # its head is there
    log.head_path.unlink()
    assert invoke(["audit", "verify"]) == 30
    assert "or was removed together with its head" in capsys.readouterr().err
    assert said(capsys, "verify", "--result", str(result))[0] == 10


def test_entries_are_shown_by_run(log: AuditLog, capsys: pytest.CaptureFixture[str]) -> None:
    code, text = said(capsys, "show", "--run", "r2")
    assert code == 0
    first, second = text.splitlines()
    assert first.split()[0] == "3"
    assert first.endswith("armed          run r2  by alice@laptop  on kind-x  nodes cp-1, cp-2")
    assert second.endswith("run_ended      run r2  by alice@laptop  verdict passed  exit 0")
    assert [entry["seq"] for entry in json.loads(said(capsys, "show", "--json")[1])] == [1, 2, 3, 4]


def test_no_letter_of_an_entry_reaches_the_terminal_as_a_command(
    log: AuditLog, capsys: pytest.CaptureFixture[str]
) -> None:
    log.append(Deed(event=AuditEvent.PINNED, owner="o", context="\x1b[2Jkind\n\u202e"))
    assert said(capsys, "show")[1].split("\n")[-2].endswith("on \\x1b[2Jkind\\n\\u202e")


def test_a_copy_of_a_log_can_be_verified_and_none_is_refused(
    log: AuditLog, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    copy = AuditLog(tmp_path / "copy.jsonl")
    copy.path.write_bytes(log.path.read_bytes())
    assert said(capsys, "verify", "--log", str(copy.path))[0] == 10  # its head was not copied
    copy.head_path.write_bytes(log.head_path.read_bytes())
    assert said(capsys, "verify", "--log", str(copy.path))[0] == 0
    assert said(capsys, "verify", "--log", str(tmp_path / "none.jsonl"))[0] == 20


def test_the_digest_is_the_one_that_is_written_down(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    import yaml

    experiment = yaml.safe_load(EXAMPLE.read_text())
    (tmp_path / "same.json").write_text(json.dumps(experiment))
    digests = {said(capsys, "digest", str(path))[1].strip() for path in (EXAMPLE, tmp_path / "same.json")}
    assert digests == {digest_of(experiment)}
