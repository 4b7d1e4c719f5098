"""The testbed as a bed for trials: kind's nodes, the real API server, and the same eye in the nodes' own namespaces."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from tests.trust.lab.lab import Child, Eye, wait_until
from tests.trust.lab.stage import Nursery
from tests.trust.row import NotHere
from tests.trust.table import CLUSTER

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

PORT = 16443
"""Where the eye's datagrams go: nobody else's port."""

COMMAND_S = 60
ANSWERS_S = 240.0
ENDS_S = 10.0
"""How long what a trial ran on a node may take to end after it, on a busy machine."""
TABLES = ("inet chaosext_", "inet chaosext.lock")
SCRIPT = b"@@chaosext"
"""In the command line of whatever chaosext runs on a node (partition/scripts.py)."""


def docker(*argv: str) -> str:
    done = subprocess.run(["docker", *argv], capture_output=True, text=True, timeout=COMMAND_S, check=False)
    assert done.returncode == 0, f"docker {argv}: {done.stderr}"
    return done.stdout


def kubectl(*argv: str) -> str:
    line = ["kubectl", "--context", CLUSTER, "--request-timeout=10s", *argv]
    done = subprocess.run(line, capture_output=True, text=True, timeout=COMMAND_S, check=False)
    assert done.returncode == 0, f"kubectl {argv}: {done.stderr}"
    return done.stdout


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """A running container: its first process, and its addresses (IPv4 first)."""

    name: str
    pid: int
    addresses: tuple[str, ...]

    @property
    def netns(self) -> str:
        return f"/proc/{self.pid}/ns/net"

    @classmethod
    def named(cls, name: str) -> Container:
        (found,) = json.loads(docker("inspect", name))
        (network,) = found["NetworkSettings"]["Networks"].values()
        given = (network["IPAddress"], network["GlobalIPv6Address"])
        return cls(name=name, pid=found["State"]["Pid"], addresses=tuple(filter(None, given)))


def eye_on(containers: Sequence[Container]) -> Eye:
    """An eye in these containers as they run now; one that is restarted has another network namespace."""
    spec = {
        each.name: {"netns": each.netns, "port": PORT, "addresses": each.addresses, "listens": False}
        for each in containers
    }
    return Eye(Child("tests.trust.lab.eye", json.dumps(spec)))


@contextmanager
def testbed_paused() -> Iterator[None]:
    """Freeze the testbed's nodes: without work for them they still take 0.4 of a core from those that go on."""
    nodes = docker(
        "ps", "--quiet", "--filter", f"label=io.x-k8s.kind.cluster={CLUSTER.removeprefix('kind-')}"
    )
    docker("pause", *nodes.split())
    try:
        yield
    finally:
        docker("unpause", *nodes.split())


@dataclass
class NoStub:
    """The testbed's API server is a real one: nobody tells it anything."""

    def tell(self, **_: Any) -> dict[str, Any]:
        return {"leases": {}}


@dataclass
class Testbed:
    """The control-plane node and the workers of kind-chaosext."""

    control: Container
    workers: tuple[Container, ...]
    eye: Eye = field(init=False)
    api: NoStub = field(default_factory=NoStub)
    where: ClassVar[Mapping[str, str]] = {"context": CLUSTER, "transport": "docker"}
    looking: ClassVar[list[str]] = ["--cluster", CLUSTER.removeprefix("kind-")]

    def __post_init__(self) -> None:
        self.eye = eye_on(self._all)

    @property
    def _all(self) -> tuple[Container, ...]:
        return (self.control, *self.workers)

    @property
    def nodes(self) -> tuple[str, ...]:
        return tuple(each.name for each in self._all)

    def node(self, role: str) -> str:
        return role

    def introduce(self, home: Path) -> None:
        """A home that knows the cluster as this user does: kubeconfig and pins; bare containers need none."""
        if not self.control.name.startswith(CLUSTER.removeprefix("kind-")):
            return
        (home / ".kube").mkdir()
        (home / ".kube" / "config").write_text(kubectl("config", "view", "--raw", "--minify", "--flatten"))
        pins = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "chaosext" / "pins.json"
        (home / "config" / "chaosext").mkdir(parents=True)
        shutil.copy(pins, home / "config" / "chaosext" / "pins.json")

    def begin(self, controls: int = 1) -> None:
        assert controls == 1, "the testbed has one control-plane node"
        wait_until(
            lambda: not self.residue(), ENDS_S, 0.3
        )  # a script ends a moment after the process that ran it
        if left := self.residue():  # another's run, or what it left: neither is ours to clean away
            raise NotHere(f"{CLUSTER} is in use or was left so: {', '.join(left)}; see `chaosext status`")
        pairs = [(self.control.name, worker.name) for worker in self.workers]
        self.eye.watch([way for a, b in pairs for way in ((a, b), (b, a))])

    def residue(self) -> tuple[str, ...]:
        return tuple(
            f"{each.name}: {what}" for each in self._all for what in (*_tables(each), *_scripts(each))
        )

    def clean(self) -> None:
        for each in self._all:
            for table in _tables(each):
                docker("exec", each.name, "nft", "delete", *table.split())

    def look_anew(self) -> None:
        """After the control-plane node was restarted: its network namespace is another one."""
        self.close()
        self.control = Container.named(self.control.name)
        self.eye = eye_on(self._all)

    def close(self) -> None:
        self.eye.child.end()


@contextmanager
def testbed() -> Iterator[tuple[Testbed, Nursery]]:
    """The testbed, and a nursery for trials on it."""
    folder = Path(tempfile.mkdtemp(prefix="trust-kind-"))
    names = docker(
        "ps",
        "--format",
        "{{.Names}}",
        "--filter",
        f"label=io.x-k8s.kind.cluster={CLUSTER.removeprefix('kind-')}",
    ).split()
    (control,) = (name for name in names if name.endswith("-control-plane"))
    bed = Testbed(
        control=Container.named(control),
        workers=tuple(Container.named(name) for name in sorted(names) if "-worker" in name),
    )
    nursery = Nursery(folder)
    try:
        yield bed, nursery
    finally:
        nursery.close()
        bed.close()
        shutil.rmtree(folder, ignore_errors=True)


def wait_for_cluster() -> None:
    """Until the API server answers and every node is Ready. Raises AssertionError when that takes too long."""
    deadline_s = time.monotonic() + ANSWERS_S
    while True:
        try:
            kubectl("wait", "node", "--all", "--for=condition=Ready", "--timeout=30s")
            return
        except (AssertionError, subprocess.TimeoutExpired):
            assert time.monotonic() < deadline_s, f"the testbed is not back within {ANSWERS_S:g} s"
            time.sleep(1)


def _tables(container: Container) -> list[str]:
    listed = docker("exec", container.name, "nft", "list", "tables").splitlines()
    return [line for line in listed if line.removeprefix("table ").startswith(TABLES)]


def _scripts(container: Container) -> list[str]:
    """Scripts of chaosext's that still run in the container, by this machine's own list of processes."""
    home = Path(container.netns).readlink()
    return [f"process {each.name}" for each in Path("/proc").glob("[0-9]*") if _is_script_in(each, home)]


def _is_script_in(process: Path, netns: Path) -> bool:
    try:
        return SCRIPT in (process / "cmdline").read_bytes() and (process / "ns" / "net").readlink() == netns
    except OSError:
        return False
