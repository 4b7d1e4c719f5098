"""The shell through the API server: what goes over the wire, when a Pod is put anew, and what is said without one."""

from __future__ import annotations

import subprocess
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from chaosext.cluster.client import NotFound
from chaosext.cluster.execute import NoContainer
from chaosext.cluster.pods_on_nodes import NodePod, is_over, is_running
from chaosext.model.errors import Refused, Unreachable
from chaosext.nodes import pod_shell
from chaosext.nodes.pod_shell import ENTERED, FRAME, PodShell, framed, pod_on, put
from chaosext.nodes.shell import NodeAccess
from chaosext.nodes.transport import shells

if TYPE_CHECKING:
    from collections.abc import Iterator

WAY = NodeAccess(
    transport="pod", context="kind-a", namespace="ns", image="img:1", run="r1", owner="a@b", start_s=1.0
)


class Bash:
    """bash on this machine, fed as the websocket feeds it: its stdin stays open until the connection is closed."""

    def __init__(self, argv: list[str]) -> None:
        pipes: dict[str, Any] = {
            "stdin": subprocess.PIPE,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
        }
        self.process = subprocess.Popen(argv, text=True, **pipes)

    def send(self, text: str) -> None:
        assert self.process.stdin
        with suppress(BrokenPipeError):
            self.process.stdin.write(text)
            self.process.stdin.flush()

    def line(self) -> str | None:
        assert self.process.stdout
        return self.process.stdout.readline().rstrip("\n") or None

    def result(self) -> Any:
        assert self.process.stdout
        assert self.process.stderr
        said, errors = self.process.stdout.read(), self.process.stderr.read()
        return _Ended(self.process.wait(), said, errors)

    def close(self) -> None:
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert pipe
            with suppress(BrokenPipeError):
                pipe.close()
        self.process.wait(5)

    def __enter__(self) -> Bash:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Ended:
    def __init__(self, exit_code: int, stdout: str, stderr: str) -> None:
        self.exit_code, self.stdout, self.stderr = exit_code, stdout, stderr


class Api:
    """An API server with Pods that run at once; `entered` answers an exec, or is what it raises."""

    context, request_timeout_s = "kind-a", 1.0

    def __init__(self) -> None:
        self.pods: dict[str, dict[str, Any]] = {}
        self.execs: list[tuple[str, list[str]]] = []
        self.made: list[dict[str, Any]] = []
        self.forbidden = ""
        self.starts = True

    def request(self, method: str, path: str, *, body: Any = None, timeout_s: float | None = None) -> Any:
        if self.forbidden:
            raise Refused(f"missing permission: {self.forbidden}", "grant it")
        name = path.rpartition("/")[2]
        if method == "POST":
            self.made.append(body)
            state = {"running": {}} if self.starts else {"waiting": {}}
            status = {"phase": "Running", "containerStatuses": [{"state": state}]}
            self.pods[body["metadata"]["name"]] = {"metadata": dict(body["metadata"]), "status": status}
            return body
        if name not in self.pods:
            raise NotFound(f"pods {name} not found", "")
        if method == "DELETE":
            self.pods[name]["metadata"]["deletionTimestamp"] = "now"
        return self.pods[name]

    def open_exec(self, namespace: str, name: str, container: str, argv: list[str], **_: Any) -> Bash:
        self.execs.append((f"{namespace}/{name}/{container}", list(argv)))
        if name not in self.pods or is_over(self.pods[name]):
            raise NoContainer("exec: container not found", "")
        return Bash(list(argv))


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    made = Api()
    monkeypatch.setattr(pod_shell, "POLL_S", 0.01)
    pod_shell._turns.clear()
    pod_shell.reach_by(made)  # type: ignore[arg-type]
    yield made
    pod_shell._clusters.clear()


def shell(way: NodeAccess = WAY, node: str = "cp1") -> PodShell:
    return PodShell(node, way)


def test_a_script_and_its_stdin_arrive_whole(api: Api) -> None:
    text = "wörld\n@@x\n" * 20_000  # more than a pipe holds
    result = shell().run('echo "to $(wc -c) bytes"; echo oops >&2; exit 7', stdin=text, timeout_s=10)
    assert (result.exit_code, result.stdout, result.stderr) == (
        7,
        f"to {len(text.encode())} bytes\n",
        "oops\n",
    )


def test_a_script_that_reads_nothing_of_its_stdin_ends_all_the_same(api: Api) -> None:
    assert shell().run("exit 3", stdin="x\n" * 100, timeout_s=10).exit_code == 3


def test_what_a_stream_says_comes_before_it_is_fed(api: Api) -> None:
    with shell().stream("echo ready; got=$(cat); echo got $got", timeout_s=10) as lines:
        assert next(lines) == "ready"
        lines.send("the rules\n")
        assert list(lines) == ["got the rules"]


def test_a_connection_that_breaks_ends_a_script_that_waits_for_its_stdin() -> None:
    said = subprocess.run(
        ["bash", "-c", FRAME], input=framed("cat; echo over"), capture_output=True, text=True, timeout=5
    )
    assert said.stdout.splitlines() == [ENTERED, "over"]


def test_a_script_is_bounded_on_its_node_too(api: Api) -> None:
    shell().run("true", timeout_s=10)
    ((where, argv),) = [each for each in api.execs if each[1]][-1:]
    assert where == f"ns/{pod_on('cp1', WAY).name}/node"
    assert argv[:3] == ["timeout", "-k", "1"]
    assert float(argv[3]) == pytest.approx(11, abs=0.5)


def test_a_pod_that_was_taken_away_is_put_anew_under_another_name(api: Api) -> None:
    put(WAY, "cp1", within_s=1)
    first = pod_on("cp1", WAY).name
    api.pods[first]["metadata"]["deletionTimestamp"] = "now"
    assert shell().run("echo hi", timeout_s=5).stdout == "hi\n"
    assert [each["metadata"]["name"] for each in api.made] == [first, pod_on("cp1", WAY).name]
    assert first != pod_on("cp1", WAY).name


def test_an_evicted_pod_is_put_anew(api: Api) -> None:
    put(WAY, "cp1", within_s=1)
    api.pods[pod_on("cp1", WAY).name]["status"] = {"phase": "Failed", "reason": "Evicted"}
    assert shell().run("echo hi", timeout_s=5).stdout == "hi\n"


def test_a_node_without_a_pod_that_runs_is_unreachable_and_says_where_to_look(api: Api) -> None:
    api.starts = False
    with pytest.raises(Unreachable, match=r"cp1: Pod ns/node-r1-.* does not run within") as error:
        shell().run("true", timeout_s=0.3)
    assert "kubectl -n ns describe pod node-r1-" in error.value.fix


def test_whether_an_api_server_gets_through_is_tried_cut_off_or_not(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(WAY, "w1", within_s=1)
    cut_off = shell(replace(WAY, only=frozenset()), "w1")
    assert cut_off.is_reached(timeout_s=5) is True
    assert shell(WAY, "w2").is_reached(timeout_s=5) is None, "nothing runs there"

    def silent(*_: object, **__: object) -> None:
        raise Unreachable("no answer within 5 s")

    monkeypatch.setattr(api, "open_exec", silent)
    monkeypatch.setattr(api, "ask", lambda *_, **__: None, raising=False)
    assert cut_off.is_reached(timeout_s=5) is False
    monkeypatch.setattr(api, "ask", silent, raising=False)
    assert cut_off.is_reached(timeout_s=5) is None, "nobody answers at all"


def test_what_is_cut_off_or_closed_is_not_tried(api: Api) -> None:
    with pytest.raises(Unreachable, match="w1: it is cut off"):
        shell(replace(WAY, only=frozenset(["cp1"])), "w1").run("true", timeout_s=5)
    with pytest.raises(Unreachable, match="cp1: not pinned"):
        shell(replace(WAY, closed="not pinned")).run("true", timeout_s=5)
    assert (api.execs, api.made) == ([], [])


@pytest.mark.parametrize(
    ("said", "fix"),
    [
        (
            'pods is forbidden: violates PodSecurity "restricted:latest"',
            "pod-security.kubernetes.io/enforce=privileged",
        ),
        ('namespaces "ns" not found', "kubectl create namespace ns"),
        ('User "u" cannot create resource "pods"', "grant it"),
    ],
)
def test_what_may_not_be_made_is_refused_with_what_helps(api: Api, said: str, fix: str) -> None:
    api.forbidden = said
    with pytest.raises(Refused) as error:
        pod_shell.make(WAY, "cp1")
    assert "node cp1" in error.value.message
    assert said in error.value.message
    assert fix in error.value.fix


def test_a_pod_has_one_capability_and_nothing_of_its_node_but_the_network() -> None:
    spec = NodePod(run="r1", owner="a@b", node="n" * 253, namespace="ns", image="img").manifest()["spec"]
    (container,) = spec["containers"]
    assert spec["hostNetwork"]
    assert not {"hostPID", "hostIPC", "serviceAccountName"} & spec.keys()
    assert spec["automountServiceAccountToken"] is False
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"], "add": ["NET_ADMIN"]}
    assert container["securityContext"]["privileged"] is False
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert [volume for volume in spec["volumes"] if "hostPath" in volume] == []
    assert spec["tolerations"] == [{"operator": "Exists"}]


def test_birds_socket_is_mounted_where_it_is_and_can_not_be_written_beside() -> None:
    seeing = NodePod(run="r1", owner="a@b", node="n", namespace="ns", image="img", with_bird=True)
    spec = seeing.manifest()["spec"]
    assert [each["mountPath"] for each in spec["containers"][0]["volumeMounts"] if each.get("readOnly")] == [
        "/var/run/calico"
    ]
    assert spec["volumes"][-1]["hostPath"] == {"path": "/var/run/calico", "type": "Directory"}


def test_names_fit_and_differ_by_run_node_and_turn() -> None:
    pods = [
        replace(NodePod(run="r1", owner="", node="n" * 253, namespace="ns", image=""), **change)  # type: ignore[arg-type]
        for change in ({}, {"run": "r2"}, {"node": "m"}, {"turn": 1})
    ]
    assert len({each.name for each in pods}) == 4
    assert all(len(each.name) <= 63 for each in pods)


def test_a_running_pod_is_told_from_one_that_is_over() -> None:
    running = {"metadata": {}, "status": {"containerStatuses": [{"state": {"running": {}}}]}}
    assert is_running(running)
    assert not is_running({**running, "metadata": {"deletionTimestamp": "now"}})
    assert not is_running({"metadata": {}, "status": {}})
    assert is_over({"metadata": {}, "status": {"phase": "Succeeded"}})


def test_shells_by_pods_are_made_by_name() -> None:
    assert shells(["b", "a"], WAY) == {"a": PodShell("a", WAY), "b": PodShell("b", WAY)}
