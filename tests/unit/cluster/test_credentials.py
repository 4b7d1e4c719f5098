"""A kubeconfig's private key is used, and on no disk: neither while the process lives nor when it was killed."""

from __future__ import annotations

import base64
import json
import os
import signal
import ssl
import subprocess
import sys
import threading
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from chaosext.cluster import credentials
from chaosext.cluster.client import Cluster
from chaosext.cluster.credentials import in_memory
from chaosext.model.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Iterator

NODES = {"kind": "NodeList", "items": []}


class Api(BaseHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        data = json.dumps(NODES).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def kubeconfig(certificate: tuple[Path, Path], tmp_path: Path) -> Iterator[Path]:
    """A server that wants to see the client's certificate, and who may go there, keys and all as data."""
    cert, key = certificate
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(cert, key)
    tls.load_verify_locations(cert)
    tls.verify_mode = ssl.CERT_REQUIRED
    server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
    server.daemon_threads = True
    server.socket = tls.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    cert_data, key_data = (base64.b64encode(path.read_bytes()).decode() for path in certificate)
    url = f"https://127.0.0.1:{server.server_port}"
    made = {
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": url, "certificate-authority-data": cert_data}}],
        "users": [{"name": "u", "user": {"client-certificate-data": cert_data, "client-key-data": key_data}}],
    }
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps(made))
    yield path
    server.shutdown()
    server.server_close()


ASKING = """
import os, signal, sys
from chaosext.cluster.client import Cluster
assert Cluster.connect("c", sys.argv[1], request_timeout_s=10).nodes() == ()
from kubernetes import client, config
config.load_kube_config(sys.argv[1])
client.CoreV1Api().list_node(_request_timeout=10)
print("asked", flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_key_is_used_and_left_on_no_disk_by_a_process_that_is_killed(
    kubeconfig: Path, tmp_path: Path
) -> None:
    """Neither by us, nor by the package when other people's activities use it beside us."""
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    environment = {
        **os.environ,
        "TMPDIR": str(temporary),
        "HOME": str(temporary),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    done = subprocess.run(
        [sys.executable, "-c", ASKING, kubeconfig],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert done.stdout == "asked\n"
    assert list(temporary.rglob("*")) == []


def test_the_pin_is_of_the_authority_in_memory(kubeconfig: Path, certificate: tuple[Path, Path]) -> None:
    cluster = Cluster.connect("c", str(kubeconfig))
    der = ssl.PEM_cert_to_DER_cert(certificate[0].read_text())
    assert cluster.ca_sha256 == sha256(der).hexdigest()


def test_one_content_has_one_file_and_no_child_inherits_it() -> None:
    first, second = in_memory("a key"), in_memory(b"a key")
    assert first == second != in_memory("another")
    assert Path(first).read_bytes() == b"a key"
    assert not os.get_inheritable(int(Path(first).name))


def test_a_package_that_writes_keys_in_another_way_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "_WRITER", "_in_another_way")
    with pytest.raises(Refused, match="would write a kubeconfig's keys to the disk"):
        credentials.keep_keys_in_memory()
