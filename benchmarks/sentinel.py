"""What a sentinel costs its node: CPU time and peak memory over a minute, by the kernel's own accounts.

In namespaces of its own, against real peers on loopback: 3 DNS servers asked in 3 ways, 5 TCP targets, 8 sidecars on
both of their ports, 2 BGP sessions of a BIRD, 3 routes, and a runner that reads the record each second. At 1 Hz.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SECONDS = 60
WARM_UP_S = 5
CPU_SHARE, MEMORY_MIB = 0.02, 64
"""The budget a node: issue "sentinel, timeline, report"."""

HOST, PORT, WORD = "127.0.0.1", 19911, "a-word-of-the-benchmark"
DNS = ("127.0.2.1", "127.0.2.2", "127.0.2.3")
TCP = tuple(f"127.0.3.{last}:443" for last in range(1, 6))
SIDECARS = tuple(f"127.0.4.{last}" for last in range(1, 9))
PEERS = ("172.18.0.5", "172.18.0.6")
CALICO = Path("/run/calico")
PATTERN = "+" * (9 + 5 + 16 + 2 + 3)


def main() -> None:
    """Print the share of a core and the peak of memory, each with its ratio to the budget."""
    argv = ["unshare", "--net", "--mount", sys.executable, "-m", "benchmarks.sentinel", "inside"]
    subprocess.run(argv, check=True, timeout=SECONDS + 60)


def inside() -> None:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(CALICO.parent)], check=True)
    CALICO.mkdir()
    peers = subprocess.Popen([sys.executable, "-m", "benchmarks.sentinel", "peers"], stdout=subprocess.PIPE)
    assert peers.stdout is not None
    peers.stdout.readline()
    with tempfile.TemporaryDirectory() as directory:
        sentinel = subprocess.Popen([sys.executable, "-m", "chaosext.sentinel"], env=_environment(directory))
        try:
            _measure(sentinel.pid)
        finally:
            for each in (sentinel, peers):
                each.terminate()
                each.wait(timeout=10)
            peers.stdout.close()


def _environment(directory: str) -> dict[str, str]:
    from chaosext.sentinel.watch_plan import Named, Sidecar, WatchPlan

    plan = WatchPlan(
        run="benchmark",
        dns_name="kubernetes.default.svc.cluster.local",
        dns_expected=("192.0.2.1",),
        dns_servers=tuple(Named(target=each) for each in DNS),
        tcp=tuple(Named(target=each) for each in TCP),
        istiod=TCP[0],
        sidecars=tuple(Sidecar(node="node", pod=f"Pod/shop/{each}", address=each) for each in SIDECARS),
        bgp_peers={"node": PEERS},
        routes=tuple(Named(target=each) for each in DNS),
    )
    return os.environ | {
        "CHAOSEXT_NODE": "node",
        "CHAOSEXT_HOST_IP": HOST,
        "CHAOSEXT_PORT": str(PORT),
        "CHAOSEXT_TOKEN": WORD,
        "CHAOSEXT_PLAN": json.dumps(plan.to_json()),
        "CHAOSEXT_RECORD_DIR": directory,
    }


def _measure(pid: int) -> None:
    from chaosext.model.signal import Sample
    from chaosext.sentinel.sample_log import parse_record
    from chaosext.timeline.sentinel_client import Reader

    reader, said = Reader("node", HOST, PORT, WORD), b""
    time.sleep(WARM_UP_S)
    began_s, used_s = time.monotonic(), _cpu_s(pid)
    for _ in range(SECONDS):
        said += reader.read_from(len(said))[0]
        time.sleep(1)
    share = (_cpu_s(pid) - used_s) / (time.monotonic() - began_s)
    reader.close()
    marks = [each.marks for each in parse_record(said.decode().splitlines()) if isinstance(each, Sample)]
    good = sum(each == PATTERN for each in marks)
    print(f"{len(marks)} rounds of {len(PATTERN)} signals, {good} of them all good")
    print(f"CPU: {share:.2%} of a core; {share / CPU_SHARE:.2f} of the budget of {CPU_SHARE:.0%}")
    peak_mib = _peak_mib(pid)
    print(
        f"memory: {peak_mib:.1f} MiB at the peak; {peak_mib / MEMORY_MIB:.2f} of the budget of {MEMORY_MIB} MiB"
    )


def _cpu_s(pid: int) -> float:
    """User and system time of all its threads (proc(5), stat, fields 14 and 15)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _peak_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def _reply(query: bytes) -> bytes:
    record = b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x05\x00\x04" + bytes((192, 0, 2, 1))
    return query[:2] + b"\x80\x00\x00\x01\x00\x01\x00\x00\x00\x00" + query[12:] + record


class _Udp(asyncio.DatagramProtocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.transport.sendto(_reply(data), addr)  # type: ignore[attr-defined]


async def _dns(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    reply = _reply(await reader.readexactly(int.from_bytes(await reader.readexactly(2))))
    writer.write(len(reply).to_bytes(2) + reply)
    writer.close()


async def _accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()


STATS = "".join(
    f'# TYPE envoy_cluster_upstream_{name} gauge\nenvoy_cluster_upstream_{name}{{cluster_name="xds-grpc"}} {value}\n'
    for name, value in (("cx_rx_bytes_total", 227408), ("rq_total", 21), ("rq_active", 1))
).encode()
BIRD = b"".join(
    b"1002-Node_%d BGP      master   up     13:40:02    Established\n" % number
    + b"1006-" + b"  Description: some of what BIRD says\n " * 25
    + f"  Neighbor address: {peer}\n".encode()
    for number, peer in enumerate(PEERS)
) + b"0000 \n"  # fmt: skip


async def _http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n" + STATS)
    writer.close()


async def _bird(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"0001 BIRD 1.6.8 ready.\n")
    await reader.readline()
    writer.write(BIRD)
    await reader.read()
    writer.close()


async def _peers() -> None:
    for each in DNS:
        await asyncio.get_running_loop().create_datagram_endpoint(_Udp, local_addr=(each, 53))
        await asyncio.start_server(_dns, each, 53)
    for each in TCP:
        await asyncio.start_server(_accept, each.partition(":")[0], 443)
    for each in SIDECARS:
        await asyncio.start_server(_http, each, 15021)
        await asyncio.start_server(_http, each, 15090)
    await asyncio.start_unix_server(_bird, CALICO / "bird.ctl")
    print("serving", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    {"inside": inside, "peers": lambda: asyncio.run(_peers())}[sys.argv[1]]()
