"""The few things we ask of an API server: a named context, verified TLS, bounded calls, our own frozen
values.

The `kubernetes` package reads the kubeconfig and makes the connection pool (certificates, tokens, exec
plugins, proxies); requests and answers are plain JSON, so that a snapshot file and a live cluster give the
same values.
"""

from __future__ import annotations

import json
import ssl
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import partial, wraps
from hashlib import sha256
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Self, TypeVar
from urllib.parse import quote, urlencode

from chaosext.cluster import bounded_http, objects
from chaosext.cluster.answer_bounds import bounded_plugins
from chaosext.cluster.bounded_http import allowed, bounded, cause_of, connect, decoded
from chaosext.cluster.credentials import keep_keys_in_memory
from chaosext.cluster.execute import Exec, ExecResult
from chaosext.cluster.kubeconfig import kubeconfig_files, kubeconfig_paths
from chaosext.cluster.object_files import read_document
from chaosext.model.errors import MALFORMED, Refused, TooLarge, Unreachable, understood
from chaosext.model.output_bounds import MIB

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime

    from urllib3.response import BaseHTTPResponse

PATHS = {
    "nodes": "/api/v1/nodes",
    "namespaces": "/api/v1/namespaces",
    "pods": "/api/v1/{ns}pods",
    "events": "/api/v1/{ns}events",
    "configmaps": "/api/v1/{ns}configmaps",
    "services": "/api/v1/{ns}services",
    "deployments": "/apis/apps/v1/{ns}deployments",
    "replicasets": "/apis/apps/v1/{ns}replicasets",
    "daemonsets": "/apis/apps/v1/{ns}daemonsets",
    "statefulsets": "/apis/apps/v1/{ns}statefulsets",
    "jobs": "/apis/batch/v1/{ns}jobs",
    "poddisruptionbudgets": "/apis/policy/v1/{ns}poddisruptionbudgets",
    "mutatingwebhookconfigurations": ("/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"),
    "leases": "/apis/coordination.k8s.io/v1/{ns}leases",
    "endpointslices": "/apis/discovery.k8s.io/v1/{ns}endpointslices",
    "bgppeers": "/apis/crd.projectcalico.org/v1/bgppeers",
    "bgpconfigurations": "/apis/crd.projectcalico.org/v1/bgpconfigurations",
    "ippools": "/apis/crd.projectcalico.org/v1/ippools",
    "felixconfigurations": "/apis/crd.projectcalico.org/v1/felixconfigurations",
    "blockaffinities": "/apis/crd.projectcalico.org/v1/blockaffinities",
}
"""Kind (plural, as in a kubectl command) -> its path; `{ns}` becomes `namespaces/NAME/`, or "" for all of
them.
"""

ENVIRONMENT = "chaosext/environment"
"""The label of the namespace kube-system that says what the cluster is for, such as `production`."""

SERVICE_LABEL = "kubernetes.io/service-name"
"""The label by which an EndpointSlice names its Service."""

NODE_LEASES = "kube-node-lease"
"""The namespace of the Leases that kubelets renew."""

PAGE_SIZE = 500
"""Objects in one answer, as kubectl asks for them (its --chunk-size default)."""

MOST_OBJECTS = 200_000
"""In one list; Kubernetes is made for clusters of 150,000 Pods ("Considerations for large clusters")."""

LISTED_S = 600.0
"""How long a whole list may take, however many pages it has."""

PLUGIN_S = 30.0
"""How long a credential plugin may take at first: those of clouds ask over the network. Later, what a request may."""


AT_ADMISSION = ("ValidatingAdmissionPolicy", "admission webhook", "violates PodSecurity")
"""What an API server says where admission refuses what RBAC permits (k8s.io/apiserver, pkg/admission/plugin)."""


class NotFound(Refused):
    """The object, or the kind itself, doesn't exist in this cluster."""


class Conflict(Refused):
    """The object exists already, or is no more what we last saw of it (409)."""


class Expired(Unreachable):
    """The history that we asked for is gone (410): list again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the API server said to one request: an HTTP status and a JSON body; `at` is its own clock then."""

    status: int
    body: dict[str, Any]
    at: datetime | None = None


Asked = ParamSpec("Asked")
Value = TypeVar("Value")


def _understood(
    read: Callable[Concatenate[Cluster, Asked], Value],
) -> Callable[Concatenate[Cluster, Asked], Value]:
    @wraps(read)
    def reading(cluster: Cluster, /, *arguments: Asked.args, **more: Asked.kwargs) -> Value:
        with understood(f"the API server of context {cluster.context}"):
            return read(cluster, *arguments, **more)

    return reading


class Cluster:
    """One cluster, through one context of a kubeconfig. Safe to use from several threads.

    Every method raises `Unreachable` when the API server gives no (proper) answer within `request_timeout_s`,
    `NotFound` when there is no such object or kind, and `Refused` (naming verb and resource) when we may
    not ask.
    """

    def __init__(self, *, context: str, configuration: Any, request_timeout_s: float = 10.0) -> None:
        """`configuration` is a loaded `kubernetes.client.Configuration`; people use `connect`."""
        self.context = context
        self.server: str = configuration.host.rstrip("/")
        self.request_timeout_s = request_timeout_s
        self._configuration = configuration
        self._pool = bounded(_pool_of(configuration))

    @classmethod
    def connect(cls, context: str, kubeconfig: str | None = None, request_timeout_s: float = 10.0) -> Self:
        """The cluster of `context` in `kubeconfig` (default: $KUBECONFIG, else ~/.kube/config). Asks
        nothing yet.

        Raises `Refused` without a context, for one that isn't in the kubeconfig, for a server without TLS
        and for a kubeconfig that turns verification off.
        """
        paths = kubeconfig or kubeconfig_paths()
        _require_context(context, paths)
        configuration = _load(context, paths)
        _require_verified_tls(configuration, context)
        return cls(context=context, configuration=configuration, request_timeout_s=request_timeout_s)

    @property
    def ca_sha256(self) -> str:
        """SHA-256 (hex) of the certificate authorities' DER bytes; "" when the system's store is trusted
        instead.
        """
        path = self._configuration.ssl_ca_cert
        return _digest_of_certificates(Path(path).read_text()) if path else ""

    @_understood
    def nodes(self) -> tuple[objects.Node, ...]:
        return tuple(objects.Node.from_json(obj) for obj in self.items("nodes"))

    @_understood
    def node_leases(self) -> tuple[objects.NodeLease, ...]:
        """The Leases that kubelets renew."""
        found = self.items("leases", namespace=NODE_LEASES)
        return tuple(objects.NodeLease.from_json(obj) for obj in found)

    def now(self) -> datetime | None:
        """The API server's own clock, to the second; None where its answers bear no date."""
        answer = self.ask("GET", "/version")
        raise_for(answer, "GET", "/version")
        return answer.at

    @_understood
    def pods(
        self, namespace: str | None = None, label_selector: str | None = None
    ) -> tuple[objects.Pod, ...]:
        """Pods of one namespace, or of all (None); `label_selector` as in `kubectl get -l`."""
        found = self.items("pods", namespace=namespace, labelSelector=label_selector)
        return tuple(objects.Pod.from_json(obj) for obj in found)

    @_understood
    def events(
        self, namespace: str | None = None, field_selector: str | None = None
    ) -> tuple[objects.Event, ...]:
        """Events of one namespace, or of all (None); `field_selector` e.g. `reason=Unhealthy`."""
        found = self.items("events", namespace=namespace, fieldSelector=field_selector)
        return tuple(objects.Event.from_json(obj) for obj in found)

    @_understood
    def service(self, namespace: str, name: str) -> objects.Service:
        return objects.Service.from_json(self.get("services", name, namespace=namespace))

    @_understood
    def services(self, namespace: str | None = None) -> tuple[objects.Service, ...]:
        """Services of one namespace, or of all (None)."""
        return tuple(objects.Service.from_json(obj) for obj in self.items("services", namespace=namespace))

    @_understood
    def endpoint_slices(self, namespace: str, service: str) -> tuple[objects.Endpoint, ...]:
        """Every address behind the Service, ready or not."""
        selector = f"{SERVICE_LABEL}={service}"
        return objects.endpoints(self.items("endpointslices", namespace=namespace, labelSelector=selector))

    @_understood
    def deployments(self, namespace: str | None = None) -> tuple[objects.Deployment, ...]:
        return tuple(
            objects.Deployment.from_json(obj) for obj in self.items("deployments", namespace=namespace)
        )

    @_understood
    def deployment(self, namespace: str, name: str) -> objects.Deployment:
        return objects.Deployment.from_json(self.get("deployments", name, namespace=namespace))

    @_understood
    def stateful_sets(self, namespace: str | None = None) -> tuple[objects.Deployment, ...]:
        """StatefulSets: what counts of them is written as a Deployment's."""
        return tuple(
            objects.Deployment.from_json(obj) for obj in self.items("statefulsets", namespace=namespace)
        )

    @_understood
    def daemon_sets(self, namespace: str | None = None) -> tuple[objects.DaemonSet, ...]:
        found = self.items("daemonsets", namespace=namespace)
        return tuple(objects.DaemonSet.from_json(obj) for obj in found)

    @_understood
    def namespaces(self) -> tuple[str, ...]:
        return tuple(str(obj["metadata"]["name"]) for obj in self.items("namespaces"))

    @_understood
    def endpoints_by_service(
        self, namespace: str | None = None
    ) -> dict[tuple[str, str], tuple[objects.Endpoint, ...]]:
        """Namespace and name of each Service -> every address behind it, ready or not."""
        slices: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for obj in self.items("endpointslices", namespace=namespace):
            metadata = obj["metadata"]
            name = (metadata.get("labels") or {}).get(SERVICE_LABEL, "")
            slices.setdefault((metadata.get("namespace", ""), name), []).append(obj)
        return {service: objects.endpoints(each) for service, each in slices.items()}

    @_understood
    def bgppeers(self) -> tuple[objects.BgpPeer, ...]:
        """Calico's BGPPeers. Raises `NotFound` where Calico's resources don't exist."""
        return tuple(objects.BgpPeer.from_json(obj) for obj in self.items("bgppeers"))

    @_understood
    def ippools(self) -> tuple[objects.IpPool, ...]:
        """Calico's IPPools. Raises `NotFound` where Calico's resources don't exist."""
        return tuple(objects.IpPool.from_json(obj) for obj in self.items("ippools"))

    @_understood
    def node_to_node_mesh(self) -> bool:
        """Whether Calico's full mesh is on. Raises `NotFound` where Calico's resources don't exist."""
        return objects.node_to_node_mesh(self.items("bgpconfigurations"))

    @_understood
    def namespace_uid(self, name: str = "kube-system") -> str:
        """The namespace's uid; kube-system's names the cluster itself."""
        return str(self.get("namespaces", name)["metadata"]["uid"])

    @_understood
    def environment(self) -> str:
        """What the cluster is for, as its namespace kube-system is labelled (or annotated); "": nothing is said."""
        metadata = self.get("namespaces", "kube-system")["metadata"]
        said = {**(metadata.get("annotations") or {}), **(metadata.get("labels") or {})}
        return str(said.get(ENVIRONMENT, ""))

    def exec(
        self, namespace: str, pod: str, container: str, argv: Sequence[str], timeout_s: float
    ) -> ExecResult:
        """Run `argv` in a container : its exit code and output; `timeout_s` bounds the whole call."""
        with self.open_exec(namespace, pod, container, argv, timeout_s=timeout_s) as running:
            return running.result()

    def open_exec(
        self,
        namespace: str,
        pod: str,
        container: str,
        argv: Sequence[str],
        *,
        stdin: bool = False,
        timeout_s: float | None,
    ) -> Exec:
        """Begin to run `argv` in a container, with a `stdin` or without one; `timeout_s` bounds all of it."""
        query = [("container", container), ("stdout", "true"), ("stderr", "true")]
        query += [("stdin", "true")] if stdin else []
        query += [("command", word) for word in argv]
        path = f"{resource_path('pods', pod, namespace=namespace)}/exec?{urlencode(query)}"
        return Exec(
            partial(connect, self._pool),
            self.server + path,
            self._credentials,
            timeout_s=timeout_s,
            connect_s=self.request_timeout_s,
        )

    def get(self, kind: str, name: str, *, namespace: str | None = None) -> dict[str, Any]:
        """One object as the API serves it."""
        return self.request("GET", resource_path(kind, name, namespace=namespace))

    def items(
        self, kind: str, *, namespace: str | None = None, **query: str | None
    ) -> Iterator[dict[str, Any]]:
        """Every object of a kind as the API serves it, page by page; `query` e.g.
        `labelSelector="app=cart"`.
        """
        for page in self.pages(kind, namespace=namespace, timeout_s=None, **query):
            yield from page.get("items") or ()

    def pages(
        self, kind: str, *, namespace: str | None = None, timeout_s: float | None = None, **query: str | None
    ) -> Iterator[dict[str, Any]]:
        """The List objects that make up a kind, at most `PAGE_SIZE` items each, each within `timeout_s`.

        Large objects come in smaller pages. Raises `Unreachable` for a list without an end.
        """
        path, token, size, seen = resource_path(kind, namespace=namespace), "", PAGE_SIZE, 0
        over_s = monotonic() + LISTED_S
        while True:
            words = {**query, "limit": str(size), "continue": token}
            try:
                page = self.request("GET", path, query=words, timeout_s=timeout_s)
            except TooLarge:
                if size == 1:
                    raise
                size = max(1, size // 10)
                continue
            yield page
            before, token = token, (page.get("metadata") or {}).get("continue") or ""
            seen += max(1, len(page.get("items") or ()))
            if not token:
                return
            if token == before or seen > MOST_OBJECTS or monotonic() > over_s:
                raise TooLarge(
                    f"API server of context {self.context}: its list of {kind} has no end "
                    f"(more than {MOST_OBJECTS:,} objects, or {LISTED_S:g} s)",
                    f"see what answers there: `kubectl get --raw {resource_path(kind, namespace=namespace)}`",
                )

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str | None] | None = None,
        body: Mapping[str, Any] | None = None,
        timeout_s: float | None = None,
    ) -> dict[str, Any]:
        """The JSON that the API server answers with; anything but a 2xx is raised (409 as `Conflict`)."""
        answer = self.ask(method, path, query=query, body=body, timeout_s=timeout_s)
        raise_for(answer, method, path)
        return answer.body

    def ask(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str | None] | None = None,
        body: Mapping[str, Any] | None = None,
        timeout_s: float | None = None,
    ) -> Answer:
        """One request without retries, within `timeout_s` (default: the cluster's); any status is returned."""
        within_s = timeout_s or self.request_timeout_s
        with allowed(within_s):
            reply = bounded_http.ask(
                self._pool,
                method,
                self._url(path, query),
                whose=self._whose,
                within_s=within_s,
                headers=self._headers(method),
                body=None if body is None else json.dumps(body),
            )
        return Answer(
            status=reply.status,
            body=_decode(reply.status, reply.body, self._whose),
            at=_date(reply.headers.get("Date")),
        )

    def open_stream(self, path: str, query: Mapping[str, str | None], *, within_s: float) -> BaseHTTPResponse:
        """A GET whose lines come as they are written (a watch): its answer has begun within `within_s`.

        Each read of it needs an allowance of its own (bounded_http.py).
        """
        from urllib3.exceptions import HTTPError

        with allowed(within_s) as allowance:
            try:
                response = bounded_http.send(
                    self._pool, "GET", self._url(path, query), headers=self._headers("GET")
                )
                body = b"" if response.status == 200 else response.read(MIB, decode_content=False)
            except (HTTPError, OSError) as error:
                raise allowance.error(self._whose, cause_of(error)) from error
        if response.status != 200:
            response.close()
            answer = Answer(status=response.status, body=_decode(response.status, body, self._whose))
            raise_for(answer, "GET", path)
        return response

    @property
    def _whose(self) -> str:
        return f"API server of context {self.context}"

    def _url(self, path: str, query: Mapping[str, str | None] | None) -> str:
        words = {key: value for key, value in (query or {}).items() if value}
        return f"{self.server}{path}?{urlencode(words)}" if words else f"{self.server}{path}"

    def _headers(self, method: str) -> dict[str, str]:
        content = "application/merge-patch+json" if method == "PATCH" else "application/json"
        return {**self._credentials(), "Accept": "application/json", "Content-Type": content}

    def _credentials(self) -> dict[str, str]:
        """The request's authorization header; asking anew each time lets an exec plugin renew its token."""
        settings = self._configuration.auth_settings().values()
        return {item["key"]: item["value"] for item in settings if item["in"] == "header" and item["value"]}


def resource_path(kind: str, name: str = "", *, namespace: str | None = None) -> str:
    """The API path of a kind (see `PATHS`), or of the object `name` of it."""
    path = PATHS[kind].format(ns=f"namespaces/{quote(namespace, safe='')}/" if namespace else "")
    return f"{path}/{quote(name, safe='')}" if name else path


def raise_for(answer: Answer, method: str, path: str) -> None:
    """Turn a status that isn't 2xx into the error of ours that says what to do."""
    if 200 <= answer.status < 300:
        return
    message = answer.body.get("message") or f"HTTP {answer.status}"
    asked = f"{method} {path}"
    if answer.status == 401:
        raise Refused(
            f"{asked}: the API server rejects our credentials", "log in again or renew the kubeconfig"
        )
    if answer.status in (403, 422) and any(each in message for each in AT_ADMISSION):
        raise Refused(
            f"{asked}: refused by the cluster: {message}", "satisfy that policy, or have it changed or lifted"
        )
    if answer.status == 403:
        raise Refused(f"missing permission: {message}", "grant that verb on that resource to this user")
    if answer.status == 404:
        raise NotFound(f"{asked}: {message}", "check the name, and that the cluster has this kind")
    if answer.status == 409:
        raise Conflict(f"{asked}: {message}", "see who else is at it, then try again")
    if answer.status == 410:
        raise Expired(f"{asked}: {message}")
    if answer.status == 429 or answer.status >= 500:
        raise Unreachable(f"{asked}: {message} (HTTP {answer.status})")
    raise Refused(f"{asked}: {message} (HTTP {answer.status})", "check the request's values")


def _decode(status: int, data: bytes, whose: str) -> dict[str, Any]:
    """The body as a JSON object; proxies and dying servers refuse in prose, which becomes its `message`."""
    try:
        value = decoded(data or b"{}", whose)
    except (ValueError, RecursionError):
        value = None
    if isinstance(value, dict):
        return value
    if 200 <= status < 300:  # prose is no list without items
        raise Unreachable(f"what answers as {whose} is not an API server", "check the server's address")
    return {"message": data[:200].decode(errors="replace").strip()}


def _date(header: str | None) -> datetime | None:
    """An HTTP date (RFC 9110, section 5.6.7), which is always UTC; None for none."""
    try:
        return parsedate_to_datetime(header or "").replace(tzinfo=UTC)
    except ValueError:
        return None


def _require_context(context: str, paths: str) -> None:
    known = _known_contexts(paths)
    listed = ", ".join(known) or "none"
    if not context:
        raise Refused("context is empty", f"use one of the kubeconfig's contexts  ({listed})")
    if context not in known:
        raise Refused(
            f"context {context!r} is not in the kubeconfig {paths}", f"known contexts are: {listed}"
        )


def _known_contexts(paths: str) -> list[str]:
    """Names of the contexts in the kubeconfigs `paths` (separated as in $KUBECONFIG); files that lack are
    skipped.
    """
    names: list[str] = []
    for path in kubeconfig_files(paths):
        if path.is_file():
            config, _ = read_document(path, "kubeconfig")
            try:
                names += [str(item["name"]) for item in (config or {}).get("contexts") or ()]
            except MALFORMED as error:
                raise Refused(f"{path} is not a kubeconfig", "check the file, or use another one") from error
    return names


def _load(context: str, paths: str) -> Any:
    """The library's Configuration for `context`. Never written back: refreshed tokens stay in memory."""
    from kubernetes.client import Configuration
    from kubernetes.config import ConfigException, load_kube_config

    keep_keys_in_memory()
    configuration = Configuration()
    configuration.connection_pool_maxsize = 16
    try:
        with allowed(PLUGIN_S), bounded_plugins(f"context {context!r}"):
            load_kube_config(paths, context=context, client_configuration=configuration, persist_config=False)
    except Refused:
        raise
    except ConfigException as error:
        raise Refused(
            f"context {context!r} can't be used ({error})", "check its cluster and user entries"
        ) from error
    except Exception as error:  # the library trips over malformed entries; what it says may quote them
        raise Refused(
            f"context {context!r} can't be read from the kubeconfig {paths} ({type(error).__name__})",
            "compare its entries with those that `kubectl config view` shows",
        ) from error
    return configuration


def _pool_of(configuration: Any) -> Any:
    """The library's connection pool: certificates, the kubeconfig's proxy and what it is not for. Raises `Refused`."""
    from kubernetes.client.rest import RESTClientObject

    try:
        return RESTClientObject(configuration).pool_manager
    except (ImportError, ValueError) as error:  # a SOCKS proxy without PySocks; a scheme that is no proxy's
        raise Refused(
            f"the kubeconfig's proxy {configuration.proxy!r:.80} can't be used ({type(error).__name__})",
            "name an http:// or https:// proxy in proxy-url, or install PySocks for socks5://",
        ) from error


def _require_verified_tls(configuration: Any, context: str) -> None:
    if not configuration.verify_ssl:
        raise Refused(
            f"context {context!r} says insecure-skip-tls-verify",
            "remove it and give the cluster's certificate-authority in the kubeconfig",
        )
    if not configuration.host.startswith("https://"):
        raise Refused(f"server of context {context!r} is {configuration.host}", "use an https:// address")


def _digest_of_certificates(pem: str) -> str:
    """SHA-256 (hex) over the DER bytes of every certificate in `pem`: the text around them doesn't matter."""
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    blocks = (begin + part.partition(end)[0] + end for part in pem.split(begin)[1:])
    return sha256(b"".join(ssl.PEM_cert_to_DER_cert(block) for block in blocks)).hexdigest()
