"""A lab: three nodes of a control plane and a worker, wired up, watched by an eye, with an API server.

cp1 ── ┐
cp2 ── ┤ w1 (its eth0 is the bridge)
cp3 ── ┘

A trial plays in the first `controls` of them. Between two trials a lab is clean, or the trial before is at fault.
"""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, ClassVar

from chaosext.safety.pins import Pin, write_pin
from tests.netns.cut.lab import Namespaces
from tests.trust import ROOT
from tests.trust.lab.api_server import KUBE_SYSTEM_UID
from tests.trust.lab.clock import now_s
from tests.trust.lab.nftables import Nftables

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

CONTROLS = ("cp1", "cp2", "cp3")
WORKER = "w1"
ADDRESSES = {
    role: (f"10.79.0.{number}", f"fd79::{number}") for number, role in enumerate((*CONTROLS, WORKER), start=1)
}
PORTS = dict.fromkeys(CONTROLS, 6443) | {WORKER: 10250}
CONTEXT = "lab"
WATCHING_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A path that closed or opened: `at_s` by the boot clock."""

    path: str
    open: bool
    at_s: float


class Child:
    """A process that answers lines of JSON with lines of JSON."""

    def __init__(self, *argv: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", *argv],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            start_new_session=True,
        )

    @property
    def out(self) -> IO[str]:
        assert self._process.stdout
        return self._process.stdout

    def tell(self, value: object) -> None:
        assert self._process.stdin
        self._process.stdin.write(json.dumps(value) + "\n")
        self._process.stdin.flush()

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        self.out.close()


@dataclass
class Eye:
    """The process of `eye.py`, and what it has seen since it was told what to watch."""

    child: Child
    turns: list[Turn] = field(default_factory=list)
    watching: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        threading.Thread(target=self._read, daemon=True).start()

    def watch(self, pairs: Sequence[tuple[str, str]]) -> None:
        """From now on these ways, all of which must be open."""
        self.watching.clear()
        self.child.tell(pairs)
        if not self.watching.wait(WATCHING_S):
            raise AssertionError(f"a path is not open in a lab that should be clean: {self.turns[-8:]}")
        self.turns.clear()

    def rest(self) -> None:
        """Watch nothing, which costs nothing, until `watch`."""
        self.watch(())

    def _read(self) -> None:
        for line in self.child.out:
            said = json.loads(line)
            if "watching" in said:
                self.watching.set()
            else:
                self.turns.append(Turn(**said))

    @property
    def closed(self) -> tuple[Turn, ...]:
        return tuple(turn for turn in tuple(self.turns) if not turn.open)

    @property
    def cut_s(self) -> float | None:
        """When the first path closed; None: none did."""
        return min((turn.at_s for turn in self.closed), default=None)

    @property
    def open_s(self) -> float | None:
        """When the last path opened; None where one is still closed, or none ever closed."""
        last: dict[str, Turn] = {}
        for turn in tuple(self.turns):
            last[turn.path] = turn
        if not last or not all(turn.open for turn in last.values()):
            return None
        return max(turn.at_s for turn in last.values())

    def closures(self) -> dict[str, int]:
        """How often each path closed."""
        counts: dict[str, int] = {}
        for turn in self.closed:
            counts[turn.path] = counts.get(turn.path, 0) + 1
        return counts


@dataclass
class Api:
    """The process of `api_server.py`."""

    child: Child
    port: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.port = json.loads(self.child.out.readline())["port"]

    def tell(self, **order: Any) -> dict[str, Any]:
        """Give an order; the counts so far, and `mutations` one a line."""
        with self._lock:
            self.child.tell(order)
            answer: dict[str, Any] = json.loads(self.child.out.readline())
            return answer


@dataclass
class Lab:
    """`folder` holds the certificates that all labs share."""

    number: int
    folder: Path
    spaces: Namespaces = field(init=False)
    eye: Eye = field(init=False)
    api: Api = field(init=False)
    rulesets: dict[str, Nftables] = field(default_factory=dict)
    controls: tuple[str, ...] = ("cp1",)

    where: ClassVar[Mapping[str, str]] = {"context": CONTEXT, "transport": "netns"}

    def up(self) -> None:
        self.spaces = Namespaces(f"t{self.number}")
        self.spaces.make(WORKER, *CONTROLS)
        self.rulesets = {role: Nftables(self.node(role)) for role in (*CONTROLS, WORKER)}
        self._wire()
        spec = {
            role: {"netns": self.node(role), "port": PORTS[role], "addresses": ADDRESSES[role]}
            for role in (*CONTROLS, WORKER)
        }
        self.eye = Eye(Child("tests.trust.lab.eye", json.dumps(spec)))
        self.api = Api(Child("tests.trust.lab.api_server", str(self.folder)))

    def down(self) -> None:
        for child in (self.eye.child, self.api.child):
            with suppress(OSError, RuntimeError, ValueError):  # a thread may be about to read from it
                child.end()
        for ruleset in self.rulesets.values():
            ruleset.close()
        self.spaces.remove()

    def node(self, role: str) -> str:
        """The node's name: its network namespace."""
        return self.spaces.name(role)

    @property
    def nodes(self) -> tuple[str, ...]:
        return tuple(self.node(role) for role in (*self.controls, WORKER))

    @property
    def looking(self) -> list[str]:
        """The options of `status` and `cleanup` that name these nodes."""
        return ["--transport", "netns", *(word for node in self.nodes for word in ("--node", node))]

    def introduce(self, home: Path) -> None:
        """Make `home` one whose kubeconfig and pin lead to this API server."""
        authority = self.folder / "server.pem"
        server = f"https://127.0.0.1:{self.api.port}"
        cluster = {"server": server, "certificate-authority": str(authority)}
        config = {
            "clusters": [{"name": CONTEXT, "cluster": cluster}],
            "users": [{"name": "trust", "user": {"token": "a-token"}}],
            "contexts": [{"name": CONTEXT, "context": {"cluster": CONTEXT, "user": "trust"}}],
        }
        (home / ".kube").mkdir()
        (home / ".kube" / "config").write_text(json.dumps({"apiVersion": "v1", "kind": "Config", **config}))
        digest = sha256(ssl.PEM_cert_to_DER_cert(authority.read_text())).hexdigest()
        pin = Pin(context=CONTEXT, server=server, ca_sha256=digest, kube_system_uid=KUBE_SYSTEM_UID)
        write_pin(pin, home / "config" / "chaosext" / "pins.json")

    def begin(self, controls: int = 1) -> None:
        """Ready for a trial with so many nodes of a control plane. Raises AssertionError where it isn't clean."""
        self.controls = CONTROLS[:controls]
        roles = [*self.controls, WORKER]
        nodes = [
            {"name": self.node(role), "address": ADDRESSES[role][0], "control_plane": role != WORKER}
            for role in roles
        ]
        self.api.tell(nodes=nodes, mode="serve", leases={})  # a killed run leaves its Lease
        left = self.residue()
        assert not left, left
        self.eye.watch([pair for role in self.controls for pair in ((role, WORKER), (WORKER, role))])

    def residue(self) -> tuple[str, ...]:
        """What of ours is on the nodes: tables and processes. Empty: nothing."""
        tables = (f"{role}: {line}" for role in self.rulesets for line in self._tables(role))
        return (*tables, *self._processes())

    def clean(self) -> None:
        """After a failed trial, so that the next one is judged by itself alone."""
        for ruleset in self.rulesets.values():
            ruleset.run("flush ruleset")
        self.api.tell(mode="serve", leases={})

    def rules(self, role: str) -> str:
        return self.rulesets[role].run("list ruleset")

    def _tables(self, role: str) -> list[str]:
        return self.rulesets[role].run("list tables").splitlines()

    def _processes(self) -> Iterator[str]:
        """Yield the processes on the nodes, by one look at all processes."""
        roles = {(Path("/run/netns") / self.node(role)).stat().st_ino: role for role in self.rulesets}
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # it has ended meanwhile
                role = roles.get((process / "ns" / "net").stat().st_ino)
                command = (process / "cmdline").read_text().replace("\0", " ")[:80] if role else ""
                if command:
                    yield f"{role}: process {process.name}: {command}"

    def _wire(self) -> None:
        """The worker's uplink is the bridge that the others are plugged into."""
        spaces = self.spaces
        spaces.ip(WORKER, "link add eth0 type bridge", "link set eth0 up")
        for role in CONTROLS:
            spaces.ip(WORKER, f"link add v-{role} type veth peer name eth0 netns {self.node(role)}")
            spaces.ip(WORKER, f"link set v-{role} master eth0", f"link set v-{role} up")
            spaces.ip(role, "link set eth0 up")
        for role in (*CONTROLS, WORKER):
            four, six = ADDRESSES[role]
            spaces.ip(role, f"addr add {four}/24 dev eth0", f"addr add {six}/64 dev eth0 nodad")


def certificates(folder: Path) -> None:
    """A certificate for the API servers, which is its own authority. Needs openssl."""
    argv = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    argv += ["-keyout", f"{folder}/server.key", "-out", f"{folder}/server.pem", "-days", "2"]
    argv += ["-subj", "/CN=lab", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(argv, check=True, capture_output=True, timeout=30)


def kubelets(folder: Path, lab: Lab) -> None:
    """Where the worker's kubelet connects, laid over /etc by `ip netns exec` (ip-netns(8))."""
    conf = folder / "etc" / "netns" / lab.node(WORKER) / "kubernetes" / "kubelet.conf"
    conf.parent.mkdir(parents=True, exist_ok=True)
    conf.write_text(f"    server: https://{ADDRESSES['cp1'][0]}:6443\n")


def wait_until(condition: Callable[[], bool], within_s: float, every_s: float = 0.01) -> bool:
    """Whether `condition` came true in time."""
    deadline_s = now_s() + within_s
    while not condition():
        if now_s() > deadline_s:
            return False
        time.sleep(every_s)
    return True
