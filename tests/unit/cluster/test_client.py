"""The client against a little API server on loopback: bounded, verified, and clear about what is wrong."""

from __future__ import annotations

import base64
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlparse

import pytest
import yaml

from chaosext.cluster.client import Cluster, Expired, NotFound
from chaosext.cluster.execute import NoContainer, exit_code
from chaosext.cluster.object_watch import watch
from chaosext.cluster.objects import Pod
from chaosext.model.errors import Refused, Unreachable

if TYPE_CHECKING:
    from pathlib import Path

Reply = Callable[["Api"], None]


class Api(BaseHTTPRequestHandler):
    """Answers from `server.replies`: path -> JSON body, (status, body), or a function that writes by
    itself.
    """

    protocol_version = "HTTP/1.1"

    def log_message(self, *args: Any) -> None:
        pass

    @property
    def query(self) -> dict[str, str]:
        return {key: values[0] for key, values in parse_qs(urlparse(self.path).query).items()}

    def send_json(self, body: Any, status: int = 200) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def answer(self) -> None:
        self.server.seen.append(self)  # type: ignore[attr-defined]
        reply = self.server.replies[urlparse(self.path).path]  # type: ignore[attr-defined]
        if callable(reply):
            reply(self)
        elif isinstance(reply, tuple):
            self.send_json(reply[1], reply[0])
        else:
            self.send_json(reply)

    do_GET = do_DELETE = answer


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, certificate: tuple[Path, Path]) -> None:
        super().__init__(("127.0.0.1", 0), Api)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(*certificate)
        self.socket = tls.wrap_socket(self.socket, server_side=True)
        self.replies: dict[str, Any] = {}
        self.seen: list[Api] = []

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is what some of these tests are about."""


@pytest.fixture
def api(certificate: tuple[Path, Path]) -> Iterator[Server]:
    server = Server(certificate)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def write_kubeconfig(path: Path, server: str, cluster: dict[str, Any]) -> str:
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "contexts": [{"name": "kind-test", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": server, **cluster}}],
        "users": [{"name": "u", "user": {"token": "t0ken"}}],
    }
    path.write_text(yaml.safe_dump(config))
    return str(path)


@pytest.fixture
def kubeconfig(api: Server, certificate: tuple[Path, Path], tmp_path: Path) -> str:
    ca = base64.b64encode(certificate[0].read_bytes()).decode()
    url = f"https://127.0.0.1:{api.server_port}"
    return write_kubeconfig(tmp_path / "config", url, {"certificate-authority-data": ca})


@pytest.fixture
def cluster(kubeconfig: str) -> Cluster:
    return Cluster.connect("kind-test", kubeconfig, request_timeout_s=2)


def test_an_unknown_context_is_refused_and_the_known_ones_are_listed(kubeconfig: str) -> None:
    with pytest.raises(Refused, match=r"prod.*known: kind-test"):
        Cluster.connect("prod", kubeconfig)


def test_there_is_no_implicit_context(kubeconfig: str) -> None:
    with pytest.raises(Refused, match="kind-test"):
        Cluster.connect("", kubeconfig)


def test_a_missing_kubeconfig_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="it has none"):
        Cluster.connect("kind-test", str(tmp_path / "nothing"))


def test_a_file_that_is_no_kubeconfig_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config").write_text("contexts: [1, 2")
    with pytest.raises(Refused, match=r"kubeconfig .*neither YAML nor JSON"):
        Cluster.connect("kind-test", str(tmp_path / "config"))


def test_the_environments_kubeconfig_is_read_when_none_is_named(
    kubeconfig: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path / 'absent'}:{kubeconfig}")
    assert Cluster.connect("kind-test").context == "kind-test"


def test_a_kubeconfig_that_skips_verification_is_refused(tmp_path: Path) -> None:
    path = write_kubeconfig(tmp_path / "c", "https://127.0.0.1:1", {"insecure-skip-tls-verify": True})
    with pytest.raises(Refused, match="insecure-skip-tls-verify"):
        Cluster.connect("kind-test", path)


def test_a_server_without_tls_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="https"):
        Cluster.connect("kind-test", write_kubeconfig(tmp_path / "c", "http://127.0.0.1:1", {}))


def test_a_server_with_another_certificate_is_unreachable(api: Server, tmp_path: Path) -> None:
    path = write_kubeconfig(tmp_path / "c", f"https://127.0.0.1:{api.server_port}", {})
    with pytest.raises(Unreachable, match=r"(?i)certificate"):
        Cluster.connect("kind-test", path).nodes()


def test_the_token_is_sent(api: Server, cluster: Cluster) -> None:
    api.replies["/api/v1/namespaces/kube-system"] = {"metadata": {"uid": "u-1"}}
    assert cluster.namespace_uid() == "u-1"
    assert api.seen[0].headers["authorization"] == "Bearer t0ken"


def test_a_server_that_nobody_listens_at_is_unreachable(tmp_path: Path) -> None:
    path = write_kubeconfig(tmp_path / "c", "https://127.0.0.1:1", {})
    with pytest.raises(Unreachable, match=r"kind-test.*refused"):
        Cluster.connect("kind-test", path, request_timeout_s=2).nodes()


def test_a_silent_server_is_left_after_the_timeout_without_retries(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        path = write_kubeconfig(tmp_path / "c", f"https://127.0.0.1:{listener.getsockname()[1]}", {})
        start = time.monotonic()
        with pytest.raises(Unreachable):
            Cluster.connect("kind-test", path, request_timeout_s=0.5).nodes()
        assert time.monotonic() - start < 2


def test_every_page_of_a_list_is_read(api: Server, cluster: Cluster) -> None:
    def reply(request: Api) -> None:
        more = request.query.get("continue")
        token = {} if more else {"continue": "page2"}
        name = "b" if more else "a"
        request.send_json({"metadata": token, "items": [{"metadata": {"name": name}}]})

    api.replies["/api/v1/nodes"] = reply
    assert [node.name for node in cluster.nodes()] == ["a", "b"]


def test_selectors_and_namespaces_reach_the_server(api: Server, cluster: Cluster) -> None:
    api.replies["/api/v1/namespaces/kube-system/pods"] = {"items": []}
    assert cluster.pods("kube-system", "k8s-app=kube-dns") == ()
    assert api.seen[0].query["labelSelector"] == "k8s-app=kube-dns"


@pytest.mark.parametrize(
    ("status", "error", "text"),
    [
        (401, Refused, "credentials"),
        (403, Refused, 'cannot list resource "nodes"'),
        (404, NotFound, "nodes"),
        (410, Expired, "nodes"),
        (429, Unreachable, "429"),
        (500, Unreachable, "500"),
        (422, Refused, "422"),
    ],
)
def test_each_refusal_of_the_server_has_its_error(
    api: Server, cluster: Cluster, status: int, error: type[Exception], text: str
) -> None:
    message = 'nodes is forbidden: User "dev" cannot list resource "nodes"'
    api.replies["/api/v1/nodes"] = (status, {"kind": "Status", "message": message})
    with pytest.raises(error, match=text):
        cluster.nodes()


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (
            403,
            "pods \"x\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'p' denied request: hostPID",
        ),
        (422, "ValidatingAdmissionPolicy 'p' with binding 'p' denied request: expression resulted in error"),
        (403, 'admission webhook "v.example" denied the request: no'),
        (403, 'pods "x" is forbidden: violates PodSecurity "baseline:latest": host namespaces'),
    ],
)
def test_what_admission_refuses_is_not_called_a_missing_permission(
    api: Server, cluster: Cluster, status: int, message: str
) -> None:
    api.replies["/api/v1/nodes"] = (status, {"kind": "Status", "message": message})
    with pytest.raises(Refused, match="refused by the cluster") as refused:
        cluster.nodes()
    assert "missing permission" not in refused.value.message
    assert "grant" not in refused.value.fix


def test_prose_in_place_of_json_is_no_crash(api: Server, cluster: Cluster) -> None:
    def reply(request: Api) -> None:
        request.send_response(503)
        request.send_header("Content-Length", "11")
        request.end_headers()
        request.wfile.write(b"no upstream")

    api.replies["/api/v1/nodes"] = reply
    with pytest.raises(Unreachable, match="no upstream"):
        cluster.nodes()


def test_the_authoritys_digest_is_of_the_certificate_and_not_of_its_text(
    cluster: Cluster, certificate: tuple[Path, Path], api: Server, tmp_path: Path
) -> None:
    text = "# a comment\n" + certificate[0].read_text() + "\n\n"
    ca = base64.b64encode(text.encode()).decode()
    url = f"https://127.0.0.1:{api.server_port}"
    other = Cluster.connect(
        "kind-test", write_kubeconfig(tmp_path / "other", url, {"certificate-authority-data": ca})
    )
    assert cluster.ca_sha256 == other.ca_sha256
    assert len(cluster.ca_sha256) == 64


def test_a_kubeconfig_without_authority_has_no_digest(tmp_path: Path) -> None:
    assert Cluster.connect("kind-test", write_kubeconfig(tmp_path / "c", "https://x", {})).ca_sha256 == ""


def websocket(*frames: bytes, linger_s: float = 0.0) -> Reply:
    """An exec that sends `frames` (unmasked, as servers do) and closes after `linger_s`."""

    def reply(request: Api) -> None:
        from base64 import b64encode
        from hashlib import sha1

        guid = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3
        key = request.headers["Sec-WebSocket-Key"].encode()
        request.send_response(101)
        request.send_header("Upgrade", "websocket")
        request.send_header("Connection", "Upgrade")
        request.send_header("Sec-WebSocket-Protocol", "v4.channel.k8s.io")
        request.send_header("Sec-WebSocket-Accept", b64encode(sha1(key + guid).digest()).decode())  # noqa: S324
        request.end_headers()
        for frame in frames:
            size = len(frame)
            head = bytes([0x82, size]) if size < 126 else bytes([0x82, 126]) + size.to_bytes(2)
            request.wfile.write(head + frame)
        request.wfile.flush()
        time.sleep(linger_s)
        request.wfile.write(bytes([0x88, 2, 0x03, 0xE8]))  # close, 1000
        request.close_connection = True

    return reply


SUCCESS = b'\x03{"status":"Success"}'
FAILURE = b'\x03{"status":"Failure","details":{"causes":[{"reason":"ExitCode","message":"42"}]}}'
EXEC_PATH = "/api/v1/namespaces/istio-system/pods/istiod-a/exec"


def run_exec(cluster: Cluster, timeout_s: float = 3.0) -> Any:
    return cluster.exec("istio-system", "istiod-a", "discovery", ["a", "b c"], timeout_s)


def test_exec_returns_both_outputs_in_full(api: Server, cluster: Cluster) -> None:
    big = b"x" * 60000
    api.replies[EXEC_PATH] = websocket(b"\x01one ", b"\x02oops", b"\x01" + big, SUCCESS)
    result = run_exec(cluster)
    assert (result.exit_code, result.stdout, result.stderr) == (0, "one " + big.decode(), "oops")
    assert parse_qs(urlparse(api.seen[0].path).query)["command"] == ["a", "b c"]
    assert api.seen[0].headers["authorization"] == "Bearer t0ken"


def test_exec_returns_a_failing_exit_code(api: Server, cluster: Cluster) -> None:
    api.replies[EXEC_PATH] = websocket(b"\x02no", FAILURE)
    assert (run_exec(cluster).exit_code, run_exec(cluster).stderr) == (42, "no")


def test_an_exec_that_breaks_off_is_no_success(api: Server, cluster: Cluster) -> None:
    api.replies[EXEC_PATH] = websocket(b"\x01half")
    with pytest.raises(Unreachable, match="broke off"):
        run_exec(cluster)


def test_an_exec_that_does_not_end_is_bounded(api: Server, cluster: Cluster) -> None:
    api.replies[EXEC_PATH] = websocket(b"\x01half", linger_s=5)
    start = time.monotonic()
    with pytest.raises(Unreachable):
        run_exec(cluster, timeout_s=0.5)
    assert time.monotonic() - start < 3


@pytest.mark.parametrize(
    ("status", "error"), [(400, Refused), (403, Refused), (404, NoContainer), (500, Unreachable)]
)
def test_an_exec_that_is_refused_says_why(
    api: Server, cluster: Cluster, status: int, error: type[Exception]
) -> None:
    api.replies[EXEC_PATH] = (status, {"message": "pods istiod-a: no"})
    with pytest.raises(error, match="istiod-a: no"):
        run_exec(cluster)


def test_a_status_without_exit_code_is_no_result() -> None:
    with pytest.raises(Unreachable, match="broke off"):
        exit_code(b'{"status":"Failure","message":"the node is at its end"}')
    with pytest.raises(NoContainer, match="container not found"):
        exit_code(b'{"status":"Failure","message":"container not found"}')


def change(kind: str, uid: str, version: str) -> dict[str, Any]:
    return {"type": kind, "object": {"metadata": {"uid": uid, "name": uid, "resourceVersion": version}}}


class History:
    """A scripted /api/v1/pods: each GET takes the next list or the next stream of changes."""

    def __init__(self, lists: list[dict[str, Any]], streams: list[list[dict[str, Any]]]) -> None:
        self.lists, self.streams = lists, streams
        self.resumed: list[str] = []

    def __call__(self, request: Api) -> None:
        if "watch" not in request.query:
            request.send_json(self.lists.pop(0))
            return
        self.resumed.append(request.query["resourceVersion"])
        lines = self.streams.pop(0) if self.streams else []
        data = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
        request.send_response(200)
        request.send_header("Transfer-Encoding", "chunked")
        request.end_headers()
        half = len(data) // 2  # a line may come in two pieces
        for part in filter(None, (data[:half], data[half:])):
            request.wfile.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
            request.wfile.flush()
        if self.streams or lines:
            request.wfile.write(b"0\r\n\r\n")
        else:
            time.sleep(8)  # a silent stream


def listed(version: str, *uids: str) -> dict[str, Any]:
    items = [change("", uid, version)["object"] for uid in uids]
    return {"metadata": {"resourceVersion": version}, "items": items}


def collect(cluster: Cluster, count: int) -> list[tuple[str, str]]:
    stop = threading.Event()
    found = []
    for each in watch(cluster, "pods", stop):
        found.append((each["type"], each["object"]["metadata"]["uid"]))
        if len(found) == count:
            stop.set()
    return found


def test_a_watch_begins_with_what_is_there_and_resumes_where_it_was(api: Server, cluster: Cluster) -> None:
    history = History(
        [listed("10", "a")],
        [[change("ADDED", "b", "11")], [change("BOOKMARK", "x", "15")], [change("DELETED", "a", "16")]],
    )
    api.replies["/api/v1/pods"] = history
    assert collect(cluster, 3) == [("ADDED", "a"), ("ADDED", "b"), ("DELETED", "a")]
    assert history.resumed == ["10", "11", "15"]


def test_an_expired_history_is_listed_again_and_what_was_missed_is_said(
    api: Server, cluster: Cluster
) -> None:
    gone = {"type": "ERROR", "object": {"code": 410, "message": "too old resource version"}}
    again = listed("30", "b", "c")
    again["items"][0]["metadata"]["resourceVersion"] = "11"
    api.replies["/api/v1/pods"] = History([listed("11", "a", "b"), again], [[gone]])
    assert collect(cluster, 4) == [("ADDED", "a"), ("ADDED", "b"), ("DELETED", "a"), ("ADDED", "c")]


def test_a_watch_of_a_dead_server_reports_and_tries_again(api: Server, cluster: Cluster) -> None:
    api.replies["/api/v1/pods"] = (500, {"message": "etcd is away"})
    stop, troubles = threading.Event(), []

    def heard(message: str) -> None:
        troubles.append(message)
        api.replies["/api/v1/pods"] = History([listed("1", "a")], [])

    for _ in watch(cluster, "pods", stop, on_trouble=heard):
        stop.set()
    assert len(troubles) == 1
    assert "etcd is away" in troubles[0]


def test_a_watch_says_whenever_the_server_answers_and_never_when_it_does_not(
    api: Server, cluster: Cluster
) -> None:
    api.replies["/api/v1/pods"] = (500, {"message": "etcd is away"})
    stop, said = threading.Event(), []

    def heard(message: str) -> None:
        said.append("trouble")
        api.replies["/api/v1/pods"] = History([listed("1", "a")], [])

    for _ in watch(cluster, "pods", stop, on_answer=lambda: said.append("answer"), on_trouble=heard):
        stop.set()
    assert said[:2] == ["trouble", "answer"]


def test_a_watch_that_is_not_allowed_raises(api: Server, cluster: Cluster) -> None:
    api.replies["/api/v1/pods"] = (403, {"message": "cannot watch"})
    with pytest.raises(Refused):
        next(watch(cluster, "pods", threading.Event()))


def test_a_silent_watch_ends_soon_after_stop(api: Server, cluster: Cluster) -> None:
    api.replies["/api/v1/pods"] = History([listed("1")], [])
    stop = threading.Event()
    timer = threading.Timer(0.5, stop.set)
    timer.start()
    start = time.monotonic()
    assert list(watch(cluster, "pods", stop)) == []
    assert time.monotonic() - start < 5.5


@pytest.mark.parametrize("name", ["--privileged", "../../etc", "UPPER", "", "a b", "x" * 254])
def test_a_node_by_a_name_that_kubernetes_does_not_allow_is_no_proper_answer(
    api: Server, cluster: Cluster, name: str
) -> None:
    api.replies["/api/v1/nodes"] = {"items": [{"metadata": {"name": name}}]}
    with pytest.raises(Unreachable, match="not a valid name of a node"):
        cluster.nodes()


def test_names_are_quoted_in_paths(api: Server, cluster: Cluster) -> None:
    api.replies["/api/v1/namespaces/a%2F..%2Fb/pods/x%3Fy%23z"] = {"metadata": {"uid": "u"}}
    assert cluster.get("pods", "x?y#z", namespace="a/../b") == {"metadata": {"uid": "u"}}


def test_a_pod_is_deleted_by_its_uid_and_a_namesake_is_left_alone(api: Server, cluster: Cluster) -> None:
    """The replacement of a StatefulSet's Pod has the same name."""
    asked: list[tuple[str, dict[str, Any]]] = []

    def answer(request: Api) -> None:
        body = json.loads(request.rfile.read(int(request.headers["Content-Length"])))
        asked.append((request.command, body))
        is_same = body["preconditions"]["uid"] == "still-here"
        request.send_json({"kind": "Status", "message": "UID in precondition"}, 200 if is_same else 409)

    api.replies["/api/v1/namespaces/kube-system/pods/coredns-0"] = answer
    metadata = {"name": "coredns-0", "namespace": "kube-system"}
    pods = [Pod.from_json({"metadata": {**metadata, "uid": uid}}) for uid in ("still-here", "gone")]
    assert [cluster.delete_pod(pod) for pod in pods] == [True, False]
    assert [method for method, _ in asked] == ["DELETE", "DELETE"]
    api.replies["/api/v1/namespaces/kube-system/pods/coredns-0"] = (404, {"message": "not found"})
    assert not cluster.delete_pod(pods[0])
