"""Every printed command is one: chaosext's against click, kubectl's against kubectl, and on a real API server."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import pytest
import yaml
from printed import VERBS, Printed, commands, of

from chaosext.cli.main import cli
from chaosext.model.paths import cache_home
from oracle.controlplane import CONTEXT, ControlPlane, Programs

if TYPE_CHECKING:
    from collections.abc import Iterator

FOUND = commands()
OURS, KUBECTL = of("chaosext", FOUND), of("kubectl", FOUND)

PARTS = {"kubectl --namespace chaosext", "kubectl --context kind-chaosext"}
"""What the product puts before a command, and prints with one only."""

OTHERS = {
    "apt-get": ("install",),
    "chaos": ("discover", "run", "validate"),
    "conntrack": ("-D",),
    "docker": ("build", "exec", "info", "logs", "network", "ps", "push"),
    "nft": ("delete", "flush", "list"),
    "pip": ("install",),
    "systemctl": ("restart",),
}
"""Other programs, and what of theirs is printed; `chaos` and nft are tried elsewhere."""


def once(found: list[Printed]) -> list[Printed]:
    return list({each.text: each for each in reversed(found)}.values())


def test_commands_are_found_at_all() -> None:
    """In messages and fixes, in help, in README and docs."""
    places = {each.place for each in FOUND}
    assert {"README.md", "docs/safety.md", "chaosext/cli/abort.py", "chaosext/nodes/pod_shell.py"} <= places
    assert len(OURS) > 150
    assert len(KUBECTL) > 30
    assert any("pod-security.kubernetes.io/enforce=privileged" in each.text for each in KUBECTL)


# -- chaosext ----------------------------------------------------------------------------------------------------


def command_of(words: list[str]) -> tuple[click.Command, str, list[str]]:
    """The command that the first words name, how it is called, and what is left. Raises `click.UsageError`."""
    command: click.Command = cli
    context = click.Context(cli, info_name="chaosext")
    name = "chaosext"
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        found = command.get_command(context, words[0])
        if found is None:
            raise click.UsageError(f"{name} has no command {words[0]!r}")
        name, command, words = f"{name} {words[0]}", found, words[1:]
    return command, name, words


def options_of(command: click.Command) -> set[str]:
    return {option for each in command.params for option in each.opts} | {"--help", "--version"}


@pytest.mark.parametrize("printed", once(OURS), ids=str)
def test_a_command_of_ours_is_one_that_click_understands(printed: Printed) -> None:
    """As printed; or, where it is only mentioned, a command with options that it has."""
    command, name, rest = command_of(printed.words[1:])
    unknown = {each.partition("=")[0] for each in rest if re.match(r"--?[a-z]", each)} - options_of(command)
    assert not unknown, f"{printed}: {name} has no option {', '.join(sorted(unknown))}"
    if all(each in options_of(command) for each in rest) or "…" in printed.text:
        return
    with command.make_context(name, rest):
        pass


@pytest.mark.parametrize(
    "text",
    [
        "chaosext chek all",
        "chaosext check all --jsn",
        "chaosext cleanup --run",
        "chaosext testbed up --workers many",
        "chaosext failover restore",
    ],
)
def test_a_command_that_is_none_is_noticed(text: str) -> None:
    """Were it printed, the test above would fail, but for a mention of what it takes."""
    printed = Printed("here", text)
    if text in ("chaosext cleanup --run", "chaosext failover restore"):
        test_a_command_of_ours_is_one_that_click_understands(printed)
        return
    with pytest.raises((click.UsageError, AssertionError)):
        test_a_command_of_ours_is_one_that_click_understands(printed)


@pytest.mark.parametrize("printed", once([each for each in FOUND if each not in OURS + KUBECTL]), ids=str)
def test_what_else_is_printed_is_known(printed: Printed) -> None:
    program, *words = printed.words
    plain = [each for each in words if not each.startswith("-")]
    assert {*words[:1], *plain[:1]} & {*OTHERS[program]}


# -- kubectl -----------------------------------------------------------------------------------------------------

ASKED = [
    each
    for each in once(KUBECTL)
    if each.text not in PARTS and "…" not in each.text and len(each.words) > 2 and each.words[-1] != "--from"
]
"""Those that are more than mentioned."""

AS_IT_IS = re.compile(
    r"already exists|NotFound|not found|no objects passed to apply|does not exist|no such file|"
    r"doesn't have a resource type|no matches for kind|timed out waiting|unable to connect|refused"
)
"""What kubectl may say of a cluster that lacks the object, or has it: then the command was understood."""

WRONG = re.compile(
    r"unknown (shorthand )?flag|unknown command|--overwrite is false|flag needs an argument|required flag|"
    r"must specify|arguments? in resource/name form|exactly one|is required|at least one|invalid argument"
)
"""What it says of a command that it can't do as it stands."""


def sampled(printed: Printed) -> list[str]:
    return shlex.split(re.sub(r"\{\{[^}]*\}\}", "chaosext", printed.text))


def tool(name: str) -> str:
    built = (path / name for path in cache_home().glob("kubernetes-*") if (path / name).is_file())
    found = next(map(str, built), None) or shutil.which(name)
    if found is None:
        pytest.skip(f"no {name} here")
    return found


def kubeconfig(path: Path, cluster: dict[str, str], user: dict[str, str]) -> Path:
    names = ("oracle", "kind-chaosext", "prod-eu")
    value = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "oracle",
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": name, "context": {"cluster": "c", "user": "u"}} for name in names],
    }
    path.write_text(yaml.safe_dump(value))
    return path


def ran(printed: Printed, config: Path, folder: Path) -> str:
    """What kubectl says, run as printed where `config` leads."""
    program, *words = sampled(printed)
    (folder / "testbed.yaml").write_bytes(config.read_bytes())
    done = subprocess.run(
        [tool(program), *words],
        env={**os.environ, "KUBECONFIG": str(folder / "testbed.yaml"), "HOME": str(folder)},
        cwd=folder,
        input="",
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert not WRONG.search(done.stderr), f"{printed}: {done.stderr}"
    return done.stderr if done.returncode else ""


@pytest.mark.parametrize("printed", ASKED, ids=str)
def test_a_command_of_kubectls_is_one_that_it_understands(printed: Printed, tmp_path: Path) -> None:
    """Nobody listens: what is wrong with the command itself, kubectl says all the same."""
    nowhere = {"server": "http://127.0.0.1:9"}
    ran(printed, kubeconfig(tmp_path / "config", nowhere, {}), tmp_path)


CHANGES = re.compile(r"\b(label|annotate) \S+ \S+ \S+")


def test_labels_and_annotations_are_overwritten() -> None:
    """Whoever follows a fix may have the label already, with another value."""
    changing = [each for each in KUBECTL if CHANGES.search(each.text)]
    assert changing
    assert [str(each) for each in changing if "--overwrite" not in each.words] == []


def manifests() -> list[dict[str, Any]]:
    """What the commands are about, in the state in which they have to help."""
    pod = {"containers": [{"name": "c", "image": "i"}]}
    template = {"metadata": {"labels": {"k8s-app": "kube-dns"}}, "spec": pod}
    strict = {"pod-security.kubernetes.io/enforce": "restricted"}
    job = {"template": {"spec": {**pod, "restartPolicy": "Never"}}}
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "chaosext", "labels": strict}},
        {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": "name", "labels": {"example.com/zone": "b"}},
        },
        {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {
                "name": "chaosext",
                "namespace": "kube-system",
                "annotations": {"chaosext/abort": "an earlier one"},
            },
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "coredns", "namespace": "kube-system"},
            "spec": {"selector": {"matchLabels": {"k8s-app": "kube-dns"}}, "template": template},
        },
        {
            "apiVersion": "batch/v1",
            "kind": "CronJob",
            "metadata": {"name": "night-cutover", "namespace": "chaosext"},
            "spec": {"schedule": "0 1 * * *", "jobTemplate": {"spec": job}},
        },
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": "kube-system", "labels": {"chaosext/environment": "test"}},
        },
    ]


@pytest.fixture(scope="module")
def cluster() -> Iterator[ControlPlane]:
    """A real API server, where its programs are kept from before (`make oracle`, `chaosext testbed up`)."""
    kept = {
        name: next((path.parent for path in cache_home().glob(f"{pattern}/{program}")), None)
        for name, pattern, program in (
            ("etcd", "etcd-*", "etcd"),
            ("kubernetes", "kubernetes-*", "kube-apiserver"),
        )
    }
    if not all(kept.values()) or shutil.which("openssl") is None:
        pytest.skip("no etcd and kube-apiserver are kept here: `make oracle` builds them")
    programs = Programs(etcd=kept["etcd"], kubernetes=kept["kubernetes"], kwok=Path())  # type: ignore[arg-type]
    with tempfile.TemporaryDirectory() as folder, ControlPlane(programs, Path(folder) / "cluster") as running:
        put(running)
        yield running


def put(cluster: ControlPlane) -> None:
    """Everything in the state in which a command has to help."""
    subprocess.run(
        [tool("kubectl"), "--kubeconfig", str(cluster.kubeconfig), "apply", "-f", "-"],
        input=yaml.safe_dump({"apiVersion": "v1", "kind": "List", "items": manifests()}),
        text=True,
        capture_output=True,
        timeout=120,
        check=True,
    )


HELPED = (
    "kubectl label namespace chaosext pod-security.kubernetes.io/enforce=privileged --overwrite",
    "kubectl label namespace kube-system chaosext/environment=production --overwrite",
    "kubectl -n kube-system annotate lease chaosext chaosext/abort='checkout fails' --overwrite",
    "kubectl label node name example.com/zone=a --overwrite",
    "kubectl -n chaosext create job --from=cronjob/night-cutover now",
    "kubectl -n kube-system delete pod -l k8s-app=kube-dns",
)
"""What must be done in the end, in the state that it is to help with."""


def test_every_command_does_its_work_on_a_real_api_server(cluster: ControlPlane, tmp_path: Path) -> None:
    written = yaml.safe_load(cluster.kubeconfig.read_text())
    assert written["current-context"] == CONTEXT
    config = kubeconfig(tmp_path / "config", written["clusters"][0]["cluster"], written["users"][0]["user"])
    said: dict[str, str] = {}
    for each in ASKED:
        if CHANGES.search(each.text):
            put(cluster)
        said[each.text] = ran(each, config, tmp_path)
    assert {text: why for text, why in said.items() if why and not AS_IT_IS.search(why)} == {}
    assert [text for text in HELPED if said[text]] == []


def test_every_verb_is_one_that_is_looked_for() -> None:
    assert set(VERBS) >= {each.text.split()[0] for each in FOUND}
