"""A little API server with one Lease, on loopback: versions, preconditions and a clock of its own, as a real one."""

from __future__ import annotations

import json
import threading
import time
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chaosext.cluster.client import Cluster

ALL = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases"
ONE = f"{ALL}/chaosext"


class LeaseApi(ThreadingHTTPServer):
    """`lease`: what it holds. `ahead_s`: its clock, seconds before ours. `forbidden`: methods that get a 403."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.lease: dict[str, Any] | None = None
        self.ahead_s = 0.0
        self.forbidden: set[str] = set()
        self.seen: list[str] = []
        self.mutex = threading.Lock()
        self._version = 0

    def cluster(self) -> Cluster:
        from kubernetes.client import Configuration

        from chaosext.cluster.client import Cluster

        configuration = Configuration(host=f"http://127.0.0.1:{self.server_port}")
        return Cluster(context="kind-test", configuration=configuration, request_timeout_s=2.0)

    def reply(self, method: str, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        with self.mutex:
            self.seen.append(method)
            if method in self.forbidden:
                return 403, {
                    "message": f'leases "chaosext" is forbidden: User "u" cannot {method.lower()} it'
                }
            return getattr(self, method)(body) if (path == ALL) == (method == "POST") else (404, {})

    def GET(self, _: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        return (200, self.lease) if self.lease else (404, {"message": "not found"})

    def POST(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if self.lease:
            return 409, {"message": "already exists"}
        return self._keep(body, uid=f"uid-{self._version}")

    def PUT(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Leases may be created by a PUT, but not one that names a uid (rest.AllowCreateOnUpdate, preconditions)."""
        if self.lease is None or not _same(body["metadata"], self.lease["metadata"]):
            return 409, {"message": "the object has been modified"}
        return self._keep(body, uid=self.lease["metadata"]["uid"])

    def PATCH(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """A JSON merge patch (RFC 7386) of annotations."""
        if self.lease is None:
            return 404, {"message": "not found"}
        metadata = self.lease["metadata"]
        merged = {**(metadata.get("annotations") or {}), **body["metadata"]["annotations"]}
        notes = {key: value for key, value in merged.items() if value is not None}
        return self._keep({**self.lease, "metadata": {**metadata, "annotations": notes}}, uid=metadata["uid"])

    def DELETE(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if self.lease is None:
            return 404, {"message": "not found"}
        if not _same(body["preconditions"], self.lease["metadata"]):
            return 409, {"message": "Precondition failed"}
        self.lease = None
        return 200, {}

    def _keep(self, body: dict[str, Any], uid: str) -> tuple[int, dict[str, Any]]:
        self._version += 1
        metadata = {**body["metadata"], "uid": uid, "resourceVersion": str(self._version)}
        self.lease = {**body, "metadata": metadata}
        return 200, self.lease


class _Handler(BaseHTTPRequestHandler):
    server: LeaseApi

    def log_message(self, *_: Any) -> None:
        pass

    def date_time_string(self, timestamp: float | None = None) -> str:
        return formatdate((timestamp or time.time()) + self.server.ahead_s, usegmt=True)

    def answer(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
        status, said = self.server.reply(self.command, self.path, body)
        data = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer


def _same(wanted: dict[str, Any], found: dict[str, Any]) -> bool:
    return all(wanted.get(key) == found[key] for key in ("uid", "resourceVersion"))


@contextmanager
def serving() -> Iterator[LeaseApi]:
    api = LeaseApi()
    threading.Thread(target=api.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield api
    finally:
        api.shutdown()
        api.server_close()
