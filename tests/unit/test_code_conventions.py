"""One way to print, one to write a file, one to read what people and others prepared: the rest of the code has none."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import chaosext

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PACKAGE = Path(chaosext.__file__).parent

PRINTS = {
    "model/printable.py": "the one way",
    "cli/output.py": "a console of rich's, which is given nothing but what passed one_line",
    "cli/terminal.py": "frames, of texts that passed one_line",
    "testbed/commands.py": "a line of a build's log",
}
WRITES = {
    "model/files.py": "the one way",
    "run/stdio.py": "/dev/null",
    "cluster/credentials.py": "a file in memory",
    "sentinel/sample_log.py": "on the node, in a directory of its own",
    "cli/output.py": "/dev/null",
    "cli/main.py": "/dev/null",
    "cli/beside.py": "/dev/null",
    "testbed/": "builds in directories that it has made, and a machine's Docker Engine",
}
READS = {
    "model/files.py": "the one way",
    "model/clock.py": "/proc",
    "model/owner.py": "/proc",
    "sentinel/sample_log.py": "on the node, in a directory of its own",
    "sentinel/sentinel_image.py": "the package's own files",
    "nodes/image_names.py": "the package's own files",
    "report/render/html/page.py": "the package's own files",
    "rehearsal/snapshot/input_files.py": "members of archives that are open already",
    "run/monitor/sentinel_reader.py": "what this process wrote itself",
    "gameday/notify.py": "packs a run's directory into memory",
    "cluster/client.py": "the authority that TLS is verified with",
    "testbed/": "what it has built, and the machine's own files",
}
PARSES = {
    "testbed/": "manifests of pinned projects, and kubeadm's own file",
}

WRITERS = frozenset(
    [
        "write_text",
        "write_bytes",
        "symlink_to",
        "hardlink_to",
        "rename",
        "touch",
        "mkstemp",
        "NamedTemporaryFile",
        "TemporaryFile",
        "copyfile",
        "copytree",
        "write_to_textfile",
    ]
)
READERS = frozenset(["read_text", "read_bytes"])


def is_print(call: ast.Call, name: str, of: str) -> bool:
    writes = name in ("write", "writelines") and of in ("stdout", "stderr", "_stream", "stream")
    return name in ("print", "echo", "secho", "Console", "print_exc") or writes


def is_write(call: ast.Call, name: str, of: str) -> bool:
    if name in ("open", "fdopen"):
        words = [
            each.value for each in call.args if isinstance(each, ast.Constant) and isinstance(each.value, str)
        ]
        return any(set(word) & set("wax+") and len(word) <= 3 for word in words) or of == "os"
    if name == "replace":  # a text's takes two, a path's one
        return of == "os" or (len(call.args) == 1 and not call.keywords)
    return name in WRITERS


def is_read(call: ast.Call, name: str, of: str) -> bool:
    return name in READERS or (name == "open" and not is_write(call, name, of))


def is_parse(call: ast.Call, name: str, of: str) -> bool:
    return of == "yaml" and name.startswith(("load", "safe_load"))


def calls(source: str) -> Iterator[tuple[ast.Call, str, str]]:
    """Every call with its function's name, and the name of what that is taken from."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            match node.func:
                case ast.Name(id=name):
                    yield node, name, ""
                case ast.Attribute(attr=name, value=ast.Name(id=of) | ast.Attribute(attr=of)):
                    yield node, name, of
                case ast.Attribute(attr=name):
                    yield node, name, ""


@pytest.mark.parametrize(
    ("is_one", "allowed"),
    [(is_print, PRINTS), (is_write, WRITES), (is_read, READS), (is_parse, PARSES)],
    ids=["print", "write", "read", "parse"],
)
def test_there_is_one_way(is_one: Callable[[ast.Call, str, str], bool], allowed: dict[str, str]) -> None:
    found: dict[str, list[int]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        lines = [call.lineno for call, name, of in calls(path.read_text()) if is_one(call, name, of)]
        if lines:
            found[str(path.relative_to(PACKAGE))] = lines
    unknown = {name: lines for name, lines in found.items() if not name.startswith(tuple(allowed))}
    assert unknown == {}, (
        "use chaosext.model.printable, chaosext.model.files or chaosext.cluster.object_files"
    )
    stale = [name for name in allowed if not any(each.startswith(name) for each in found)]
    assert stale == []


@pytest.mark.parametrize(
    ("source", "is_one"),
    [
        ("print(1)", is_print),
        ("click.echo(x)", is_print),
        ("sys.stdout.write(x)", is_print),
        ("sys.stderr.writelines(x)", is_print),
        ("(path / 'x').write_text('y')", is_write),
        ("path.open('w')", is_write),
        ("open(path, 'ab')", is_write),
        ("Path(a).replace(b)", is_write),
        ("os.replace(a, b)", is_write),
        ("path.read_text()", is_read),
        ("path.open()", is_read),
        ("path.open('rb')", is_read),
        ("yaml.safe_load(x)", is_parse),
    ],
)
def test_what_is_another_way_is_seen(source: str, is_one: Callable[[ast.Call, str, str], bool]) -> None:
    assert [is_one(*call) for call in calls(source)][:1] == [True]


def test_a_text_may_be_changed() -> None:
    assert not any(is_write(*call) for call in calls("'a'.replace('b', 'c'); path.open(); path.open('rb')"))
