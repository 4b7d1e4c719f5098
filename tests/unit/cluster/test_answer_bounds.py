"""chaostoolkit-kubernetes' calls are bounded from the moment that a run talks to its cluster."""

from __future__ import annotations

import inspect
import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from chaosk8s.node.probes import nodes_must_be_healthy
from hostile_server import OK, HostileServer
from kubernetes.client.rest import RESTClientObject, RESTResponse
from kubernetes.config import kube_config

from chaosext.cluster.answer_bounds import bound_api_calls
from chaosext.experiment.settings import Settings
from chaosext.model.errors import Refused
from chaosext.run.session.connection import connect

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECRETS = {"KUBERNETES_CONTEXT": "kind-silent", "KUBERNETES_VERIFY_SSL": "true"}


@pytest.fixture
def silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A context whose API server takes connections and says nothing; the package as it comes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        leads_to(f"https://127.0.0.1:{listener.getsockname()[1]}", tmp_path, monkeypatch)
        yield


@pytest.fixture
def hostile(
    certificate: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[HostileServer]:
    """A context whose API server answers as the test says."""
    server = HostileServer(certificate)
    leads_to(server.url, tmp_path, monkeypatch, **{"certificate-authority": str(certificate[0])})
    yield server
    server.close()


def leads_to(server: str, folder: Path, monkeypatch: pytest.MonkeyPatch, **more: str) -> None:
    """The package as it comes, and a kubeconfig whose context leads to `server`."""
    for kind, name in ((RESTClientObject, "request"), (RESTResponse, "read")):
        monkeypatch.setattr(kind, name, inspect.unwrap(getattr(kind, name)))
    monkeypatch.delenv("HTTP_PROXY", raising=False)
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "contexts": [{"name": "kind-silent", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": server, **more}}],
        "users": [{"name": "u", "user": {"token": "t0ken"}}],
    }
    (folder / "config").write_text(yaml.safe_dump(config))
    monkeypatch.setenv("KUBECONFIG", str(folder / "config"))
    monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(folder / "config"))


def ends_of_a_probe(within_s: float = 10.0) -> list[str]:
    """With what chaostoolkit-kubernetes' probe ended; nothing where it still hangs after `within_s`."""
    ends: list[str] = []

    def ask() -> None:
        try:
            nodes_must_be_healthy(secrets=SECRETS)
        except Exception as error:
            ends.append(str(error))

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(within_s)
    return ends


@pytest.mark.usefixtures("silent")
def test_a_run_that_talks_to_its_cluster_bounds_the_probes_of_others() -> None:
    with pytest.raises(Refused, match="did not answer"):
        connect(Settings(context="kind-silent", request_timeout_s=0.3))
    (end,) = ends_of_a_probe()
    assert "timed out" in end


@pytest.mark.usefixtures("silent")
def test_asking_again_changes_the_limit_and_wraps_nothing_twice() -> None:
    bound_api_calls(60)
    once = RESTClientObject.request
    bound_api_calls(0.3)
    assert RESTClientObject.request is once
    (end,) = ends_of_a_probe()
    assert "timed out" in end


TRICKLES = {
    "its head": lambda it: it.drip_for_ever(),
    "its body": lambda it: (it.say(OK + b"Content-Length: 9999\r\n\r\n"), it.drip_for_ever())[0],
}


@pytest.mark.parametrize("answer", TRICKLES.values(), ids=TRICKLES)
def test_an_answer_that_trickles_to_others_is_left_in_time(hostile: HostileServer, answer: Any) -> None:
    hostile.answer = answer
    bound_api_calls(0.3)
    (end,) = ends_of_a_probe()
    assert "timed out" in end


def test_an_answer_without_end_to_others_is_left(hostile: HostileServer) -> None:
    hostile.answer = lambda it: (it.say(OK + b"\r\n"), it.pour())[0]
    bound_api_calls(60.0)
    (end,) = ends_of_a_probe(within_s=60.0)
    assert "too large" in end
