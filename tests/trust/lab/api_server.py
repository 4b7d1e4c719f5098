"""The one stub: an API server on loopback that can go away. `python -m tests.trust.lab.api_server FOLDER`.

TLS with FOLDER's `server.pem` and `server.key`. It serves what a run asks for: nodes, kube-system and its UID,
kube-dns' Pods (a deleted one comes back under another name), the Deployment coredns, IPPools, watches on which nothing
happens, and Leases with everything that an optimistic lock rests on. It says its port on stdout, then answers each line
on stdin with its counts:

`{"nodes": […]}` begins anew with these nodes; `{"join": {…}}` adds one; `{"pools": […]}` are the IPPools' prefixes;
`{"leases": {…}}` sets them (they survive `nodes`); `{"mode": M}` is how it behaves from now on. Modes: `serve`;
`refuse`: nothing listens; `hang`: connections are accepted and never answered; `vanish`: not even accepted, packets get
no answer; `drip`, `dribble`, `crawl`: of the body, of the whole answer, of all that is sent, TLS included, comes a byte
at a time; `pour`, `preface`: the body, the head has no end; `lenient`: takes every Lease from everybody. Watches that
are open behave alike.
"""

from __future__ import annotations

import json
import select
import socket
import ssl
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.trust.lab.clock import now_s

KUBE_SYSTEM_UID = "5ca1ab1e-0000-4000-8000-000000000000"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases"
PODS = "/api/v1/namespaces/kube-system/pods"
PIECE = 1 << 16
READING = ("GET", "HEAD")
TRICKLING = ("drip", "dribble", "crawl")
ENDLESS = {
    "pour": b'{"metadata":{"name":"one-more"}},' * 2048,
    "preface": b"HTTP/1.1 100 Continue\r\n\r\n" * 2048,
}
ANSWERING = ("serve", "lenient", *TRICKLING, *ENDLESS)
NONE_OF = ("/endpointslices", "/services", "/deployments", "/statefulsets", "/daemonsets")
"""Kinds of which there is nothing, unless it is said where."""

Json = dict[str, Any]


class Problem(Exception):
    """An HTTP status with Kubernetes' reason."""

    def __init__(self, status: HTTPStatus, reason: str, message: str = "") -> None:
        self.status = status
        self.body = {
            "kind": "Status",
            "apiVersion": "v1",
            "status": "Failure",
            "code": status.value,
            "reason": reason,
            "message": message or reason,
        }


@dataclass
class World:
    """What the API server holds."""

    nodes: list[Json] = field(default_factory=list)
    pods: dict[str, Json] = field(default_factory=dict)
    leases: dict[str, Json] = field(default_factory=dict)
    pools: list[str] = field(default_factory=list)
    lenient: bool = False
    numbers: Any = field(default_factory=lambda: count(100))
    lock: threading.RLock = field(default_factory=threading.RLock)

    def begin(self, nodes: list[Json]) -> None:
        self.nodes = [_node(each) for each in nodes]
        self.worker = next(each["name"] for each in nodes if not each["control_plane"])
        self.pods.clear()
        self.pools = []
        for _ in range(2):
            self.add_pod()

    def add_pod(self) -> None:
        number = next(self.numbers)
        pod = _kube_dns_pod(f"coredns-{number}", f"uid-{number}", self.worker)
        self.pods[pod["metadata"]["name"]] = pod

    def answer(self, method: str, path: str, query: dict[str, str], body: Json) -> Json:
        with self.lock:
            if path.startswith(LEASES):
                return self._lease(method, path.removeprefix(LEASES).strip("/"), body)
            if method == "DELETE" and path.startswith(PODS):
                return self._delete_pod(path.rpartition("/")[2])
            if method not in READING:
                raise Problem(HTTPStatus.METHOD_NOT_ALLOWED, "MethodNotAllowed")
            return self._read(path, query)

    def _read(self, path: str, query: dict[str, str]) -> Json:
        lists: dict[str, list[Json]] = {
            "/api/v1/nodes": self.nodes,
            PODS: self._selected_pods(query.get("labelSelector", "")),
            "/api/v1/pods": list(self.pods.values()),
            "/apis/crd.projectcalico.org/v1/ippools": [_pool(cidr) for cidr in self.pools],
            "/apis/crd.projectcalico.org/v1/blockaffinities": [],
            "/api/v1/namespaces": [{"metadata": {"name": "kube-system"}}, {"metadata": {"name": "shop"}}],
            "/apis/apps/v1/namespaces/kube-system/deployments": [_deployment()],
            "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases": [],
        }
        if path in lists:
            return _list(lists[path])
        if path == "/api/v1/namespaces/kube-system":
            return {"kind": "Namespace", "metadata": {"name": "kube-system", "uid": KUBE_SYSTEM_UID}}
        if path == "/apis/apps/v1/namespaces/kube-system/deployments/coredns":
            return _deployment()
        if path.startswith("/api/v1/namespaces/shop/") or path.endswith(NONE_OF):
            return _list([])
        raise Problem(HTTPStatus.NOT_FOUND, "NotFound", f"there is no {path}")

    def _selected_pods(self, selector: str) -> list[Json]:
        return list(self.pods.values()) if not selector or "k8s-app" in selector else []

    def _delete_pod(self, name: str) -> Json:
        if name not in self.pods:
            raise Problem(HTTPStatus.NOT_FOUND, "NotFound")
        gone = self.pods.pop(name)
        self.add_pod()
        return gone

    def _lease(self, method: str, name: str, body: Json) -> Json:
        name = name or body.get("metadata", {}).get("name", "")
        there = self.leases.get(name)
        if method == "POST":
            if there and not self.lenient:
                raise Problem(HTTPStatus.CONFLICT, "AlreadyExists", f'leases "{name}" already exists')
            return self._keep_lease(name, body, uid=f"uid-{next(self.numbers)}")
        if not there:
            raise Problem(HTTPStatus.NOT_FOUND, "NotFound", f'leases "{name}" not found')
        if method == "GET":
            return there
        wanted = body.get("preconditions", {}) if method == "DELETE" else body.get("metadata", {})
        if not self.lenient:
            _require(there["metadata"], wanted)
        if method == "DELETE":
            return self.leases.pop(name)
        if method == "PATCH":
            return self._keep_lease(name, _patched(there, body), uid=there["metadata"]["uid"])
        if method != "PUT":
            raise Problem(HTTPStatus.METHOD_NOT_ALLOWED, "MethodNotAllowed")
        return self._keep_lease(name, body, uid=there["metadata"]["uid"])

    def _keep_lease(self, name: str, body: Json, uid: str) -> Json:
        metadata = {**body.get("metadata", {}), "uid": uid, "resourceVersion": str(next(self.numbers))}
        self.leases[name] = {**body, "metadata": metadata}
        return self.leases[name]


def _patched(there: Json, patch: Json) -> Json:
    """A JSON merge patch (RFC 7386) of annotations."""
    merged = {**there["metadata"].get("annotations", {}), **patch["metadata"]["annotations"]}
    notes = {key: value for key, value in merged.items() if value is not None}
    return {**there, "metadata": {**there["metadata"], "annotations": notes}}


def _require(there: Json, wanted: Json) -> None:
    """Optimistic concurrency: whoever names a version or a UID means exactly that object."""
    for key in ("resourceVersion", "uid"):
        if wanted.get(key) and wanted[key] != there[key]:
            raise Problem(HTTPStatus.CONFLICT, "Conflict", "the object has been modified")


def _list(items: list[Json]) -> Json:
    return {"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": items}


def _pool(cidr: str) -> Json:
    return {"metadata": {"name": cidr.replace("/", "-"), "uid": cidr}, "spec": {"cidr": cidr}}


def _node(spec: Json) -> Json:
    role = {"node-role.kubernetes.io/control-plane": ""} if spec["control_plane"] else {}
    return {
        "metadata": {
            "name": spec["name"],
            "uid": f"uid-{spec['name']}",
            "resourceVersion": "1",
            "labels": role,
        },
        "spec": {},
        "status": {
            "addresses": [{"type": "InternalIP", "address": spec["address"]}],
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }


def _kube_dns_pod(name: str, uid: str, node: str) -> Json:
    return {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {
            "name": name,
            "namespace": "kube-system",
            "uid": uid,
            "resourceVersion": "1",
            "labels": {"k8s-app": "kube-dns"},
            "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "spec": {"nodeName": node, "containers": [{"name": "coredns"}]},
        "status": {
            "phase": "Running",
            "podIP": "10.244.0.2",
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }


def _deployment() -> Json:
    return {
        "metadata": {"name": "coredns", "namespace": "kube-system", "uid": "d", "resourceVersion": "1"},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"k8s-app": "kube-dns"}}},
        "status": {"replicas": 2, "readyReplicas": 2, "availableReplicas": 2, "updatedReplicas": 2},
    }


@dataclass
class ApiServer:
    """The listener and its mode."""

    folder: Path
    world: World = field(default_factory=World)
    mode: str = "serve"
    counts: Counter[str] = field(default_factory=Counter)
    mutations: list[str] = field(default_factory=list)
    silent: list[socket.socket] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.load_cert_chain(self.folder / "server.pem", self.folder / "server.key")
        self.listener: socket.socket | None = self._listen(0)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept_all, daemon=True).start()

    def _listen(self, port: int, backlog: int = 128) -> socket.socket:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(backlog)
        return listener

    def turn(self, mode: str) -> None:
        """Behave otherwise from now on."""
        self.mode = mode
        self.world.lenient = mode == "lenient"
        if self.listener:
            self.listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
            self.listener.close()
            self.listener = None
        self._forget_silent()
        if mode == "vanish":
            self._fill(self._listen(self.port, 0))
        elif mode != "refuse":
            self.listener = self._listen(self.port)
            threading.Thread(target=self._accept_all, daemon=True).start()

    def _fill(self, listener: socket.socket) -> None:
        """A full queue of connections that nobody accepts: the kernel drops further SYNs without a word."""
        self.silent.append(listener)
        for _ in range(2):
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", self.port))
            self.silent.append(client)

    def _forget_silent(self) -> None:
        while self.silent:
            self.silent.pop().close()

    def _accept_all(self) -> None:
        listener = self.listener
        while listener:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            self.counts["accepted"] += 1
            if self.mode == "hang":
                self.silent.append(client)
            else:
                threading.Thread(target=self._attend, args=(client,), daemon=True).start()

    def _attend(self, client: socket.socket) -> None:
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None:
                pass

            def answer(self) -> None:
                api.answer(self)

            do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = answer

        try:
            client.settimeout(30)
            if self.mode == "crawl":
                client = _crawling(client)
            with self.tls.wrap_socket(client, server_side=True) as wrapped:
                Handler(wrapped, ("127.0.0.1", 0), None)  # type: ignore[arg-type]
        except (OSError, ValueError):
            pass

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(request.path)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        length = int(request.headers.get("Content-Length") or 0)
        body = json.loads(request.rfile.read(length) or b"{}")
        if self._is_gone(request):
            return
        self.counts["requests"] += 1
        if request.command not in READING:
            self.counts["mutating"] += 1
            self.mutations.append(f"{request.command} {parts.path} {now_s():.3f}")
        if query.get("watch"):
            self._be_quiet(request)
            return
        try:
            said, status = self.world.answer(request.command, parts.path, query, body), 200
            status = 201 if request.command == "POST" else 200
        except Problem as problem:
            said, status = problem.body, problem.status.value
        data = json.dumps(said).encode()
        head, mode = _head(status, f"Content-Length: {len(data)}"), self.mode
        if mode == "pour":
            head, data = _head(status, "Connection: close"), b'{"kind":"List","metadata":{},"items":['
        if mode == "preface":
            head = data = b""
        if mode == "drip":
            request.wfile.write(head)
            head = b""
        self._write(request, head + data)
        while endless := ENDLESS.get(self.mode):
            request.wfile.write(endless)

    def _write(self, request: BaseHTTPRequestHandler, data: bytes) -> None:
        """All at once; or, where it trickles, a byte each 0.2 s, so that no single read ever waits for long."""
        while data and self.mode in TRICKLING and not _has_left(request):
            request.wfile.write(data[:1])
            data = data[1:]
        request.wfile.write(data)

    def _is_gone(self, request: BaseHTTPRequestHandler) -> bool:
        """On a connection from before it went away: closed where it refuses, else held without a word."""
        if self.mode in ANSWERING:
            return False
        request.close_connection = True
        while self.mode in ("hang", "vanish") and not _has_left(request):
            pass
        return True

    def _be_quiet(self, request: BaseHTTPRequestHandler) -> None:
        """A watch on which nothing happens, but for a line that never ends."""
        request.close_connection = True
        self._write(request, _head(200, "Connection: close"))
        while self.mode in ENDLESS or not _has_left(request):
            if self.mode == "refuse":
                return
            if self.mode not in ("hang", "vanish"):
                request.wfile.write(ENDLESS.get(self.mode) or b" " * (self.mode in TRICKLING))


def _has_left(request: BaseHTTPRequestHandler) -> bool:
    """Whether the client has closed its end, within 0.2 s."""
    return bool(select.select([request.connection], [], [], 0.2)[0])


def _head(status: int, header: str) -> bytes:
    lines = (f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", "Content-Type: application/json", header)
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode()


def _crawling(client: socket.socket) -> socket.socket:
    """What is said to the socket that this returns comes to the client a byte each 0.2 s."""
    outer, inner = socket.socketpair()
    inner.settimeout(30)
    threading.Thread(target=_carry, args=(client, outer, PIECE), daemon=True).start()
    threading.Thread(target=_carry, args=(outer, client, 1), daemon=True).start()
    return inner


def _carry(source: socket.socket, target: socket.socket, most_bytes: int) -> None:
    with suppress(OSError):
        while piece := source.recv(most_bytes):
            target.sendall(piece)
            time.sleep(0.2 if most_bytes == 1 else 0.0)
    for each in (source, target):
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)


def obey(server: ApiServer, order: Json) -> Json:
    if "nodes" in order:
        server.world.begin(order["nodes"])
        server.counts.clear()
        server.mutations.clear()
    if "join" in order:
        server.world.nodes.append(_node(order["join"]))
    if "pools" in order:
        server.world.pools = order["pools"]
    if "mode" in order:
        server.turn(order["mode"])
    if "leases" in order:
        server.world.leases = order["leases"]
    return {
        **server.counts,
        "at_s": now_s(),
        "mutations": server.mutations,
        "leases": server.world.leases,
    }


if __name__ == "__main__":
    api_server = ApiServer(Path(sys.argv[1]))
    print(json.dumps({"port": api_server.port}), flush=True)
    for line in sys.stdin:
        print(json.dumps(obey(api_server, json.loads(line))), flush=True)
