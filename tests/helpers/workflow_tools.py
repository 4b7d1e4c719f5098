"""The tools that judge and play workflows: GitHub's own runner can't be had, so `act` plays them, in a shell."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from checkout import ROOT

from chaosext.model.errors import Refused
from chaosext.testbed.stage_progress import Progress
from hack.images.go import GoBuild, GoModule, ensure_go_commands

BIN = Path(sys.executable).parent
STEPS = ROOT / ".github" / "steps"
ACTION = ROOT / "action.yml"
WORKFLOWS = (
    ROOT / ".github" / "workflows" / "check.yaml",
    ROOT / ".github" / "workflows" / "nightly.yaml",
    ROOT / "examples" / "shop-tests" / ".github" / "workflows" / "cutover.yaml",
)

ACTIONLINT = GoBuild(
    name="actionlint",
    module=GoModule(path="github.com/rhysd/actionlint", version="v1.7.12"),
    commands={"github.com/rhysd/actionlint/cmd/actionlint": "actionlint"},
    language="1.25.0",
)
ACT = GoBuild(
    name="act",
    module=GoModule(path="github.com/nektos/act", version="v0.2.89"),
    commands={"github.com/nektos/act": "act"},
    language="1.25.0",
)


def built(build: GoBuild) -> Path:
    """The command of that name. Skips where it is neither kept from before nor can be built."""
    try:
        return ensure_go_commands(build, Progress()) / build.name
    except Refused as error:
        pytest.skip(f"{build.name}: {error}")


def played(
    directory: Path, job: str, *words: str, matrix: str = "", timeout_s: float = 1800, **environment: str
) -> subprocess.CompletedProcess[str]:
    """`job` of this checkout's nightly workflow, played by `act` with this machine as its runner; files in `directory`.

    What is uploaded goes to `directory`/artifacts.
    """
    upload = _stand_in_for_upload(directory)
    options = ["--matrix", matrix] if matrix else []
    argv = [
        built(ACT), "workflow_dispatch", "--strict", "--workflows", ROOT / ".github/workflows/nightly.yaml",
        "--job", job, *options, "--platform", "ubuntu-latest=-self-hosted", "--no-cache-server",
        "--action-cache-path", directory / "act", "--local-repository", upload, *words,
    ]  # fmt: skip
    return subprocess.run(
        list(map(str, argv)), cwd=ROOT, env={**os.environ, **environment}, timeout=timeout_s, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
    )  # fmt: skip


def _stand_in_for_upload(directory: Path) -> str:
    """actions/upload-artifact only works on GitHub; in its place a step that copies, for act's --local-repository."""
    action = directory / "upload-artifact" / "action.yml"
    action.parent.mkdir()
    (directory / "artifacts").mkdir()
    kept = f"{directory}/artifacts/$NAME"
    step = {
        "shell": "bash",
        "run": f'mkdir "{kept}" && cp -r "$(head -n 1 <<< "$FILES")" "{kept}/"',
        "env": {"NAME": "${{ inputs.name }}", "FILES": "${{ inputs.path }}"},
    }
    value = {
        "name": "upload-artifact",
        "description": "Copies",
        "inputs": {name: {"description": name, "required": True} for name in ("name", "path")},
        "runs": {"using": "composite", "steps": [step]},
    }
    action.write_text(yaml.safe_dump(value))
    used = next(each for each in pins() if each.startswith("actions/upload-artifact@"))
    return f"{used}={action.parent}"


def pins() -> list[str]:
    """What the workflows and the action use of others, as `owner/repository@ref`."""
    texts = "\n".join(path.read_text() for path in (ACTION, *WORKFLOWS)).splitlines()
    used = [
        line.partition("uses: ")[2].split()[0] for line in texts if line.lstrip("- ").startswith("uses: ")
    ]
    return sorted({each for each in used if not each.startswith("./")})
