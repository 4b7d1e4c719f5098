"""One topology in network namespaces, with real BIRD and FRR: it is built, cut, healed and watched."""

from __future__ import annotations

import socket
import subprocess
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import IO, TYPE_CHECKING

from children import die_with_parent
from cut.lab import Namespaces

from chaosext.partition.cut import Cut, NodeCut, peers_of
from chaosext.partition.nft import arm_ruleset, disarm_ruleset
from chaosext.rehearsal.network.network_model import routes_of

from .calico_bird import bird_config, bird_leaf_config, frr_config
from .route_log import Change, RouteLog, Tables, lasting

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from chaosext.rehearsal.network.routes import Periods, Routes

    from .packages import Programs
    from .route_log import RouteEvent
    from .topologies import Leaf, Topology

WIRE, SPINE = "wire", "spine"
CONVERGES_WITHIN_S = 90.0
SETTLED_S = 3.0
"""A network whose routes have not changed for this long is at rest."""

REPLACED_WITHIN_S = 1.0
"""A route that is back this soon was replaced, not lost."""

POLL_S = 0.25

FRR_START = (
    'mount --bind "$1" /etc/group; mount -t tmpfs none /var/tmp; mount -t tmpfs none /run; shift; exec "$@"'
)
"""FRR insists on a group of its own and on directories of the system: in mounts that only it sees (`ip netns exec`)."""

FRR_GROUPS = "root:x:0:\nfrrvty:x:1:root\n"

Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen: the cuts in seconds from the first one's begin, and each pair's changes.

    A pair's first change is its state before the cut.
    """

    periods: Periods
    changes: Mapping[Pair, tuple[Change, ...]]


@dataclass
class BgpLab:
    topology: Topology
    programs: Programs
    directory: Path
    tag: str
    namespaces: Namespaces = field(init=False)
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    logs: list[RouteLog] = field(default_factory=list)
    events: list[RouteEvent] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.namespaces = Namespaces(self.tag)
        self._tables = Tables(self.topology.owners)

    def play(self) -> Seen:
        """Build the network, wait until it is at rest, cut and heal it, and return what was seen."""
        try:
            self._wire()
            self._start()
            self._wait(self._is_at_rest, CONVERGES_WITHIN_S)
            begin, periods = self._cut_and_heal()
            self._watch_until_back(begin, periods)
            return Seen(periods, self._changes(begin))
        finally:
            self._end()

    # -- building --------------------------------------------------------------------------------------------

    def _wire(self) -> None:
        """A bridge for each rack; a leaf is on its rack's, and on the spine."""
        wired = self.topology
        roles = (*(node.name for node in wired.nodes), *(leaf.name for leaf in wired.leafs))
        self.namespaces.make(WIRE, *roles)
        racks = {wired.rack(node.name) for node in wired.nodes}
        bridges = (SPINE, *(f"rack{rack}" for rack in sorted(racks)))
        for bridge in bridges:
            self.namespaces.ip(WIRE, f"link add {bridge} type bridge", f"link set {bridge} up")
        for role in roles:
            self._monitor(role)
        for leaf in wired.leafs:
            self._plug(leaf.name, "eth0", f"rack{leaf.rack}", leaf.ip)
            self._plug(leaf.name, "eth1", SPINE, leaf.spine_ip)
            self.namespaces.ip(leaf.name, f"route add blackhole {wired.pool.cidr} proto kernel")
            self.namespaces.sysctl(leaf.name, "net.ipv4.ip_forward=1")
        for node in wired.nodes:
            self._plug(node.name, "eth0", f"rack{wired.rack(node.name)}", wired.address(node.name))
            if leaf_of_it := wired.leaf_of(node.name):
                self._route_through(node.name, leaf_of_it)

    def _plug(self, role: str, interface: str, bridge: str, address: str) -> None:
        end = f"{role}-{interface}"
        self.namespaces.ip(
            WIRE,
            f"link add {end} type veth peer name {interface} netns {self.namespaces.name(role)}",
            f"link set {end} master {bridge}",
            f"link set {end} up",
        )
        self.namespaces.ip(role, f"link set {interface} up", f"addr add {address}/24 dev {interface}")

    def _route_through(self, role: str, leaf: Leaf) -> None:
        """Send everything that has no route of its own to the leaf.

        The routes are `proto kernel`, as in the testbed: BIRD learns any others, and would announce them.
        """
        everything = ("default", self.topology.pool.cidr)
        self.namespaces.ip(role, *(f"route add {to} via {leaf.ip} proto kernel" for to in everything))

    def _monitor(self, role: str) -> None:
        """Record the namespace's routes from now on."""
        path = self.directory / f"{role}.routes"
        argv = ["ip", "-netns", self.namespaces.name(role), "-oneline", "-tshort", "-4", "monitor", "route"]
        with path.open("wb") as output:
            self._spawn(argv, output)

        def hears() -> bool:
            self.namespaces.ip(role, "route add blackhole 192.0.2.1", "route del blackhole 192.0.2.1")
            return path.stat().st_size > 0

        self._wait(hears, CONVERGES_WITHIN_S)
        self.logs.append(RouteLog(role, path))

    def _start(self) -> None:
        for leaf in self.topology.leafs:
            self._start_leaf(leaf)
        for node in self.topology.nodes:
            self._bird(node.name, bird_config(self.topology, node, self._log(node.name)))

    def _start_leaf(self, leaf: Leaf) -> None:
        if leaf.program == "bird":
            self._bird(leaf.name, bird_leaf_config(self.topology, leaf, self._log(leaf.name)))
            return
        config = self.directory / f"{leaf.name}.conf"
        config.write_text(frr_config(self.topology, leaf, self._log(leaf.name)))
        groups, zebra = self.directory / f"{leaf.name}.group", self.directory / f"{leaf.name}.zserv"
        groups.write_text(FRR_GROUPS)
        for daemon in ("zebra", "bgpd"):
            own = self.directory / f"{leaf.name}-{daemon}"
            own.mkdir()
            argv = ["sh", "-euc", FRR_START, "sh", groups, self.programs.frr(daemon),
                    "--user", "root", "--group", "root", "--config_file", config, "--socket", zebra,
                    "--vty_socket", own, "--vty_port", "0", "--pid_file", own / "pid",
                    "--moduledir", self.programs.modules]  # fmt: skip
            self._spawn_in(leaf.name, [str(word) for word in argv])
            if daemon == "zebra":
                self._wait(zebra.exists, CONVERGES_WITHIN_S)

    def _bird(self, role: str, text: str) -> None:
        config = self.directory / f"{role}.conf"
        config.write_text(text)
        control, pid = self.directory / f"{role}.ctl", self.directory / f"{role}.pid"
        argv = [self.programs.bird, "-f", "-c", config, "-s", control, "-P", pid]
        self._spawn_in(role, [str(word) for word in argv])

    def _log(self, role: str) -> str:
        return str(self.directory / f"{role}.log")

    def _spawn_in(self, role: str, argv: list[str]) -> None:
        with (self.directory / f"{role}.out").open("ab") as output:
            self._spawn(["ip", "netns", "exec", self.namespaces.name(role), *argv], output)

    def _spawn(self, argv: list[str], output: IO[bytes]) -> None:
        self.processes.append(
            subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self.programs.environment,
                preexec_fn=die_with_parent,
            )
        )

    def _end(self) -> None:
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.wait(timeout=10)
        self.namespaces.remove()

    # -- watching --------------------------------------------------------------------------------------------

    def _wait(self, condition: Callable[[], bool], within_s: float) -> None:
        limit = time.monotonic() + within_s
        while not condition():
            ended = [process.args for process in self.processes if process.poll() is not None]
            assert not ended, f"{ended} ended: see {self.directory}"
            assert time.monotonic() < limit, (
                f"not within {within_s:g} s: {self._unlike(0)}; see {self.directory}"
            )
            time.sleep(POLL_S)

    def _is_at_rest(self) -> bool:
        self._read()
        quiet_s = time.time() - max((event.at for event in self.events), default=0.0)
        return not self._unlike(0) and quiet_s > SETTLED_S and self._are_sessions_up()

    def _are_sessions_up(self) -> bool:
        """Whether every BIRD has all its sessions: a graceful restart keeps the routes of one that is down."""
        try:
            answers = [protocols(control) for control in self.directory.glob("*.ctl")]
        except OSError:  # one is not ready yet
            return False
        return all(" BGP " not in line or "Established" in line for lines in answers for line in lines)

    def _read(self) -> None:
        new = sorted((event for log in self.logs for event in log.new()), key=lambda event: event.at)
        for event in new:
            self._tables.apply(event)
        self.events += new

    def _unlike(self, changes: int) -> list[str]:
        """Name the pairs that are not what the model says after this many changes."""
        routes = self.routes(self.topology.periods)
        return [
            f"{client} reaches {host}: {found}"
            for client, host in self._pairs
            if (found := self._reach(self._tables, client, host))
            != self.said(routes, (client, host), changes)
        ]

    def routes(self, periods: Periods) -> Routes:
        """Return the model's routes for these cuts."""
        return routes_of(self.topology.world, self.topology.cut, periods=periods)

    def said(self, routes: Routes, pair: Pair, changes: int) -> bool | None:
        """Return the model's answer for a pair after this many changes."""
        numbers = {node.name: number for number, node in enumerate(self.topology.nodes)}
        return routes.reaches(numbers[pair[0]], numbers[pair[1]], changes)

    @property
    def _pairs(self) -> list[Pair]:
        everybody = [node.name for node in self.topology.nodes]
        return [(client, host) for client in everybody for host in everybody if client != host]

    def _reach(self, tables: Tables, client: str, host: str) -> bool:
        return tables.reach(client, host, self.topology.pod(host))

    def _changes(self, begin: float) -> Mapping[Pair, tuple[Change, ...]]:
        """Return each pair's changes, in seconds from the first cut's begin."""
        tables = Tables(self.topology.owners)
        found: dict[Pair, list[Change]] = {pair: [] for pair in self._pairs}
        ordered = sorted(self.events, key=lambda event: event.at)
        for event in (each for each in ordered if each.at < begin):
            tables.apply(event)
        for pair, changes in found.items():
            changes.append(Change(-1.0, self._reach(tables, *pair)))
        for event in (each for each in ordered if each.at >= begin):
            tables.apply(event)
            for pair, changes in found.items():
                if (reaches := self._reach(tables, *pair)) != changes[-1].reaches:
                    changes.append(Change(event.at - begin, reaches))
        return {pair: lasting(changes, REPLACED_WITHIN_S) for pair, changes in found.items()}

    # -- cutting ---------------------------------------------------------------------------------------------

    def _cut_and_heal(self) -> tuple[float, Periods]:
        """Return the first cut's begin, in seconds since the epoch, and the times at which all cuts were whole."""
        begin, periods = 0.0, []
        for number, (start, end) in enumerate(self.topology.periods):
            _sleep_until(begin + start)
            self._arm(f"cut{number}")
            armed = time.time()
            begin = begin or armed
            _sleep_until(begin + end)
            periods.append((armed - begin, time.time() - begin))
            self._disarm(f"cut{number}")
        return begin, tuple(periods)

    def _arm(self, run: str) -> None:
        """Drop what comes from or goes to the cut nodes, as the product does it, in the control plane's namespaces."""
        addresses = [self.topology.address(name) for name in self.topology.cut]
        for name in self.topology.hubs:
            node = NodeCut(node=name, uplinks=("eth0",))
            cut = Cut(run=run, owner="test@lab", nodes=(node,), peers=peers_of(addresses, ()), ttl_s=300.0)
            self.namespaces.nft(name, arm_ruleset(cut, node, datetime.now(UTC)))

    def _disarm(self, run: str) -> None:
        for name in self.topology.hubs:
            self.namespaces.nft(name, disarm_ruleset(run))

    def _watch_until_back(self, begin: float, periods: Periods) -> None:
        """Watch until every pair is as before, and for a hold time after the heal."""
        healed_s = periods[-1][1]
        latest_s = max(self.routes(periods).changes_s(lambda _, high: high), default=healed_s)
        _sleep_until(begin + healed_s + self.topology.hold_s + SETTLED_S)
        limit = begin + latest_s + SETTLED_S
        self._read()
        while self._unlike(0) and time.time() < limit:
            time.sleep(POLL_S)
            self._read()


def protocols(control: Path) -> list[str]:
    """Return the lines with which a BIRD answers `show protocols` at its control socket."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(5.0)
        client.connect(str(control))
        client.sendall(b"show protocols\n")
        said = ""
        while "\n0000 " not in said:
            part = client.recv(4096)
            assert part, f"{control} was closed"
            said += part.decode()
    return said.splitlines()


def _sleep_until(at: float) -> None:
    time.sleep(max(0.0, at - time.time()))
