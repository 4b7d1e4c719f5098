"""Files, stdin, examples, names and contexts mean the same in every command, and completion never fails."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import click
import pytest
from checkout import ROOT
from click.shell_completion import ShellComplete

from chaosext.cli import examples
from chaosext.cli.bundled_examples import EXAMPLES, Example
from chaosext.cli.main import cli, invoke
from chaosext.cluster.kubeconfig import current_context, known_contexts
from chaosext.model.errors import Refused

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = """
contexts: [{name: prod-eu}, {name: kind-chaosext}]
current-context: %s
"""


def chaosext(*words: str, stdin: Any = subprocess.DEVNULL) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "chaosext", *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        argv, stdin=stdin, capture_output=True, text=True, env=environment, check=False, timeout=60
    )


# -- files and stdin ---------------------------------------------------------------------------------------------


def test_a_plan_may_come_from_stdin() -> None:
    with (ROOT / "examples/cutovers/all-workers.yaml").open("rb") as plan:
        done = chaosext("gate", "--cutover", "-", "--snapshot", "example:mitigated", "--json", stdin=plan)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["decision"] == "go"


def test_a_plan_may_come_from_a_pipe_and_an_empty_one_is_refused() -> None:
    argv = [sys.executable, "-m", "chaosext", "gate", "--cutover", "-", "--snapshot", "example:story"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        argv, input="title: t\nct: {}\n", capture_output=True, text=True, env=environment, check=False
    )
    assert (done.returncode, "did you mean cut?" in done.stderr) == (20, True)
    done = subprocess.run(argv, input="", capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 20
    assert "a mapping is expected" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["gate", "--cutover", "-", "--snapshot", "-"], "- is given for --cutover and --snapshot"),
        (["rehearse", "-", "--scenarios", "-"], "stdin can be read only once"),
        (["rehearse", "-", "-"], "- is given for files twice"),
    ],
)
def test_stdin_is_read_once(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(arguments) == 20
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["gate", "--cutover", "{}", "--snapshot", "example:story"], "is a directory, not a file"),
        (["gate", "--cutover", "{}/none", "--snapshot", "example:story"], "No such file"),
        (["rehearse", "example:story", "--scenarios", "{}"], "is a directory, not a file"),
        (["rehearse", "{}/none"], "No such file"),
        (["run", "{}/none.yaml"], "No such file"),
        (["schedule", "--settings", "{}"], "is a directory, not a file"),
        (["check", "all", "--context", "x", "--known", "{}"], "is a directory, not a file"),
    ],
)
def test_what_cannot_be_read_is_refused(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke([word.format(tmp_path) for word in arguments]) == 20
    error = capsys.readouterr().err
    assert said in error
    assert "     fix: " in error


@pytest.mark.parametrize("command", [["snapshot"], ["baseline", "save", "--until", "1d"]])
def test_a_format_is_not_taken_for_a_file(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert invoke([*command, "-o", "json"]) == 20
    assert "'json' is a format, but a file is expected here" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


# -- examples ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_an_example_is_there_and_its_command_is_one(example: Example) -> None:
    assert example.path.is_file()
    words = example.use.split()[1:]
    command = cli.get_command(click.Context(cli), words[0])
    assert command is not None
    command.make_context(words[0], words[1:])


def test_every_bundled_file_has_a_name() -> None:
    patterns = ("examples/*/*.yaml", "examples/*/*.json*", "experiments/*.yaml")
    files = {str(path.relative_to(ROOT)) for pattern in patterns for path in ROOT.glob(pattern)}
    assert files <= {each.source for each in EXAMPLES}
    assert all(each.path.is_file() for each in EXAMPLES)
    assert len({each.name for each in EXAMPLES}) == len(EXAMPLES)


@pytest.mark.parametrize(
    ("arguments", "fix"),
    [
        (["rehearse", "example:stroy"], "did you mean example:story?"),
        (["rehearse", "example:zones"], "is of kind scenarios, not snapshot"),
        (["gate", "--cutover", "example:story"], "is of kind snapshot, not cutover"),
        (["rehearse", "story"], "did you mean example:story?"),
        (["examples", "larg"], "did you mean larger?"),
    ],
)
def test_an_unknown_example_is_refused_with_the_nearest(
    arguments: list[str], fix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke(arguments) == 20
    assert fix in capsys.readouterr().err


def test_an_example_can_be_copied(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["examples", "all-workers"]) == 0
    assert capsys.readouterr().out == (ROOT / "examples/cutovers/all-workers.yaml").read_text()
    assert invoke(["examples", "larger"]) == 0
    assert json.loads(capsys.readouterr().out)["kind"] == "List"


# -- names -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said", "fix"),
    [
        (["rehears"], "no such command rehears", "did you mean rehearse?"),
        (["testbed", "upp"], "no such command upp", "did you mean up?"),
        (["audit", "verfy"], "no such command verfy", "did you mean verify?"),
        (["rehearse", "--snapsht", "x"], "no such option --snapsht", "did you mean --snapshot?"),
        (["rehearse", "x", "--with", "dns-afinity"], "unknown name 'dns-afinity'", "did you mean dns-affinity?"),
        (["status", "--transport", "pdo"], "unknown name 'pdo'", "did you mean pod?"),
        (["gate", "-o", "jsn"], "unknown name 'jsn'", "did you mean json?"),
        (["gate"], "missing option '--cutover'", "see `chaosext gate --help`"),
    ],
)  # fmt: skip
def test_a_mistyped_word_is_refused_with_the_nearest(
    arguments: list[str], said: str, fix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke(arguments) == 20
    out, error = capsys.readouterr()
    assert (out, error.splitlines()[1]) == ("", f"     fix: {fix}")
    assert said in error.splitlines()[0]


# -- clusters ----------------------------------------------------------------------------------------------------


def test_the_current_context_is_that_of_the_first_file_that_has_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "none").write_text(CONFIG % "''")
    (tmp_path / "some").write_text(CONFIG % "prod-eu")
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path / 'none'}{os.pathsep}{tmp_path / 'some'}")
    assert current_context() == "prod-eu"
    assert known_contexts() == ("prod-eu", "kind-chaosext")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    with pytest.raises(Refused, match=r"no current context.*set --context to one of: prod-eu, kind-chaosext"):
        current_context()


def test_a_kubeconfig_holds_for_one_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config").write_text(CONFIG % "prod-eu")
    plan = ["gate", "--cutover", "example:all-workers"]
    before = os.environ["KUBECONFIG"]
    assert invoke([*plan, "--kubeconfig", str(tmp_path / "nowhere")]) == 20
    assert "there is no file" in capsys.readouterr().err
    assert invoke([*plan, "--kubeconfig", str(tmp_path / "config")]) == 20
    assert "context prod-eu is not pinned" in capsys.readouterr().err
    assert os.environ["KUBECONFIG"] == before
    assert invoke(plan) == 20
    assert "--context and --snapshot: neither given" in capsys.readouterr().err


# -- completion --------------------------------------------------------------------------------------------------


def completed(*words: str) -> list[str]:
    *before, incomplete = words
    return [
        each.value for each in ShellComplete(cli, {}, "chaosext", "_X").get_completions(before, incomplete)
    ]


def test_values_are_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config").write_text(CONFIG % "prod-eu")
    (tmp_path / "run" / "20261123t230300ab12").mkdir(parents=True)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    monkeypatch.setenv("CHAOSEXT_RUN_DIR", str(tmp_path / "run"))
    assert completed("reh") == ["rehearse"]
    assert completed("check", "all", "--context", "pr") == ["prod-eu"]
    assert completed("status", "--context", "k") == ["kind-chaosext"]
    assert completed("check", "dns") == ["dns_resolvable"]
    assert completed("rehearse", "--with", "dns-a") == ["dns-affinity"]
    assert completed("rehearse", "example:s") == ["example:story"]
    assert completed("gate", "--cutover", "example:") == ["example:all-workers", "example:one-zone"]
    assert completed("report", "") == ["latest", "20261123t230300ab12"]
    assert completed("gate", "-o", "y") == ["yaml"]


def test_completion_never_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config").write_text("contexts: [")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    monkeypatch.setenv("CHAOSEXT_RUN_DIR", str(tmp_path / "nowhere"))
    assert completed("check", "all", "--context", "") == []
    assert completed("report", "") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_has_a_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["completion", shell]) == 0
    out = capsys.readouterr().out
    assert f"_CHAOSEXT_COMPLETE={shell}_complete" in out


# -- what is wrong with chaosext itself --------------------------------------------------------------------------


def fails(*_: Any, **__: Any) -> None:
    raise KeyError("zone")


@pytest.mark.parametrize("words", [[], ["-v"]])
def test_an_internal_error_is_a_line_and_a_file(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(examples.list_examples, "callback", fails)
    monkeypatch.delenv("CHAOSEXT_DEBUG", raising=False)
    assert invoke(["examples", *words]) == 70
    error = capsys.readouterr().err
    *trace, message, fix = error.splitlines()
    assert message.startswith("chaosext: internal error in ")
    assert message.endswith("KeyError: 'zone'")
    assert bool(trace) is bool(words)
    with open(fix.removeprefix("     fix: please report it with ")) as kept:  # noqa: PTH123
        assert "Traceback" in kept.read()


def test_a_reader_that_leaves_is_no_error() -> None:
    code = f"{sys.executable} -m chaosext examples larger | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert (done.stdout, done.stderr) == ("141\n", "")
