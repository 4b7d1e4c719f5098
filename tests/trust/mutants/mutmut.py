"""mutmut, run in a copy of the project: what it changed, and what no test noticed."""

from __future__ import annotations

import ast
import difflib
import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from tests.trust import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.trust.mutants.scope import Scope

COPIED = (
    "chaosext",
    "experiments",
    "tests/conftest.py",
    "tests/golden",
    "tests/helpers",
    "tests/unit",
    "kind-config.yaml",
    "README.md",
    "pyproject.toml",
)
SURVIVED, NOBODY_CALLED, REFUSED_BY_TYPE = 0, 33, 37
"""mutmut's exit codes of a mutant: the tests passed with it, no test comes by it, mypy refuses it."""

TYPE_CHECK = ("-m", "mypy", "--output=json", "--no-warn-unused-ignores", "--disable-error-code=no-redef")
"""What `make lint` runs as well: a change that it refuses is noticed, without a test. What mutmut adds (every function
many times, with the attributes that it declares) is no error of the change.
"""

CONFIGURATION = """
[tool.mutmut]
source_paths = ["chaosext"]
only_mutate = {sources}
pytest_add_cli_args = ["-p", "no:cacheprovider", "-p", "no:xdist"]
pytest_add_cli_args_test_selection = {tests}
also_copy = ["experiments", "kind-config.yaml", "README.md"]
type_check_command = {types}
use_git_change_detection = false
track_dependencies = false
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """A change: in which function (dotted, with its class), and the lines that it took and put, without indentation.

    `noticed`: by a test, or `by_type`: by mypy.
    """

    function: str
    was: str
    becomes: str
    noticed: bool
    by_type: bool


def mutants(scope: Scope, folder: Path, *, children: int, limit_s: float) -> list[Mutant]:
    """Try every change that mutmut knows on a copy in `folder`. Raises RuntimeError where it could not be tried."""
    _copy(scope, folder)
    argv = [sys.executable, "-m", "mutmut", "run", "--max-children", str(children)]
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=limit_s, check=False)
    if done.returncode:
        raise RuntimeError(f"mutmut: {(done.stdout + done.stderr)[-2000:]}")
    return [mutant for source in scope.sources for mutant in _read(folder / "mutants" / source)]


def _copy(scope: Scope, folder: Path) -> None:
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    types = [sys.executable, *TYPE_CHECK, *scope.sources]
    text = CONFIGURATION.format(
        sources=json.dumps(scope.sources), tests=json.dumps(scope.tests), types=json.dumps(types)
    )
    with (folder / "pyproject.toml").open("a") as file:
        file.write(text)


def _read(mutated: Path) -> Iterator[Mutant]:
    codes = json.loads(mutated.with_suffix(".py.meta").read_text())["exit_code_by_key"]
    for key, code in codes.items():
        if code is None:
            raise RuntimeError(f"mutmut did not try {key}")
        module, _, name = key.rpartition(".")
        original = f"{name.rpartition('__mutmut_')[0]}__mutmut_orig"
        was, becomes = _change(_functions(mutated)[original], _functions(mutated)[name])
        function = f"{module}.{_plain(original)}"
        yield Mutant(
            function=function,
            was=was,
            becomes=becomes,
            noticed=code not in (SURVIVED, NOBODY_CALLED),
            by_type=code == REFUSED_BY_TYPE,
        )


@cache
def _functions(path: Path) -> dict[str, list[str]]:
    """Each function's lines, as they are in the mutated file, without the first (its name)."""
    text = path.read_text()
    lines = text.splitlines()
    found = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)]
    return {node.name: [line.strip() for line in lines[node.lineno - 1 : node.end_lineno]] for node in found}


def _change(original: list[str], mutated: list[str]) -> tuple[str, str]:
    """The lines that were taken, and those that were put, each as one text."""
    named = original[0].partition("(")[0], mutated[0].partition("(")[0]
    before, after = (
        [lines[0].removeprefix(name), *lines[1:]]
        for lines, name in zip((original, mutated), named, strict=True)
    )
    lines = [line for line in difflib.ndiff(before, after) if line[:2] in ("- ", "+ ")]
    taken, put = ("\n".join(line[2:] for line in lines if line[0] == sign) for sign in "-+")
    return taken, put


def _plain(mangled: str) -> str:
    """`xǁCutǁ__post_init____mutmut_orig` is `Cut.__post_init__`, `x__peer__mutmut_orig` is `_peer`."""
    name = mangled.removesuffix("__mutmut_orig")
    return name.removeprefix("xǁ").replace("ǁ", ".") if name.startswith("xǁ") else name.removeprefix("x_")
