"""Files that other programs read: pre-commit's hooks and the forms of issues."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from checkout import ROOT
from workflow_tools import BIN

HOOKS = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yaml"))


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook["id"])
def test_pre_commit_hook_runs_a_program_of_the_lock_file(hook: dict[str, str]) -> None:
    program = hook["entry"].split()[0]
    assert program.startswith(".venv/bin/")
    assert (BIN / Path(program).name).is_file()


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_issue_form_has_what_the_forge_requires(form: Path) -> None:
    value = yaml.safe_load(form.read_text())
    fields = [each for each in value["body"] if each["type"] != "markdown"]
    assert {"name", "description", "body"} <= value.keys()
    assert fields
    assert len({each["id"] for each in fields}) == len(fields)
    assert all(each["type"] in {"input", "textarea"} and each["attributes"]["label"] for each in fields)
