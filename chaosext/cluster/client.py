"""A minimal Kubernetes API client: a named context, verified TLS, bounded calls, frozen values.

The `kubernetes` package reads the kubeconfig and creates the connection pool (certificates, tokens, exec
plugins, proxies). Requests and answers are plain JSON, so that a snapshot file and a live cluster yield the
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
from chaosext.cluster.kubeconfig import known_contexts, kubeconfig_paths
from chaosext.model.errors import Refused, TooLarge, Unreachable, did_you_mean, understood
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
    "mutatingwebhookconfigurations": "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations",
    "validatingwebhookconfigurations": "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations",
    "leases": "/apis/coordination.k8s.io/v1/{ns}leases",
    "endpointslices": "/apis/discovery.k8s.io/v1/{ns}endpointslices",
    "bgppeers": "/apis/crd.projectcalico.org/v1/bgppeers",
    "bgpconfigurations": "/apis/crd.projectcalico.org/v1/bgpconfigurations",
    "ippools": "/apis/crd.projectcalico.org/v1/ippools",
    "felixconfigurations": "/apis/crd.projectcalico.org/v1/felixconfigurations",
    "blockaffinities": "/apis/crd.projectcalico.org/v1/blockaffinities",
    "ciliumbgppeeringpolicies": "/apis/cilium.io/v2alpha1/ciliumbgppeeringpolicies",
    "ciliumbgpclusterconfigs": "/apis/cilium.io/v2alpha1/ciliumbgpclusterconfigs",
    "ciliumbgppeerconfigs": "/apis/cilium.io/v2alpha1/ciliumbgppeerconfigs",
    "ciliumbgpadvertisements": "/apis/cilium.io/v2alpha1/ciliumbgpadvertisements",
}
"""Kind (plural, as in a kubectl command) -> its path; `{ns}` becomes `namespaces/NAME/`, or "" for all namespaces."""

ENVIRONMENT = "chaosext/environment"
"""Label of the namespace kube-system that states the cluster's purpose, such as `production`."""

SERVICE_LABEL = "kubernetes.io/service-name"
"""Label of an EndpointSlice that names its Service."""

NODE_LEASES = "kube-node-lease"
"""Namespace of the Leases that kubelets renew."""

PAGE_SIZE = 500
"""Objects per answer, kubectl's default (--chunk-size)."""

MOST_OBJECTS = 200_000
"""Objects in one list; Kubernetes is designed for clusters of 150,000 Pods ("Considerations for large clusters")."""

LISTED_S = 600.0
"""Seconds that a whole list may take, whatever its number of pages."""

PLUGIN_S = 30.0
"""Seconds that a credential plugin may take at first, because those of clouds use the network. Later, the
limit of a request applies."""


AT_ADMISSION = ("ValidatingAdmissionPolicy", "admission webhook", "violates PodSecurity")
"""Phrases of an API server if admission refuses what RBAC permits (k8s.io/apiserver, pkg/admission/plugin)."""


class NotFound(Refused):
    """The object, or its kind, does not exist in this cluster."""


class Conflict(Refused):
    """The object already exists, or has changed since it was last read (409)."""


class Expired(Unreachable):
    """The requested history is gone (410): list again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiAnswer:
    """An API server's answer: HTTP status and JSON body; `at`: the server's own clock at that time."""

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
    """One cluster, through one context of a kubeconfig. Thread-safe.

    Every method raises `Unreachable` if the API server gives no valid answer within `request_timeout_s`,
    `NotFound` if the object or kind does not exist, and `Refused` (naming verb and resource) if a permission
    is missing.
    """

    def __init__(self, *, context: str, configuration: Any, request_timeout_s: float = 10.0) -> None:
        """Use `connect` instead. `configuration` is a loaded `kubernetes.client.Configuration`."""
        self.context = context
        self.server: str = configuration.host.rstrip("/")
        self.request_timeout_s = request_timeout_s
        self._configuration = configuration
        self._pool = bounded(_pool_of(configuration))

    @classmethod
    def connect(cls, context: str, kubeconfig: str | None = None, request_timeout_s: float = 10.0) -> Self:
        """Return the cluster of `context` in `kubeconfig` (default: $KUBECONFIG, else ~/.kube/config).

        Sends no request yet. Raises `Refused` for an empty or unknown context, for a server without TLS, and
        for a kubeconfig that disables verification.
        """
        paths = kubeconfig or kubeconfig_paths()
        _require_context(context, paths)
        configuration = _load(context, paths)
        _require_verified_tls(configuration, context)
        return cls(context=context, configuration=configuration, request_timeout_s=request_timeout_s)

    @property
    def ca_sha256(self) -> str:
        """SHA-256 (hex) of the certificate authorities' DER bytes; "" if the system's store is trusted instead."""
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
        """The API server's own clock, to the second; None if its answers have no date."""
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
    ) -> tuple[objects.CoreV1Event, ...]:
        """Events of one namespace, or of all (None); `field_selector` e.g. `reason=Unhealthy`."""
        found = self.items("events", namespace=namespace, fieldSelector=field_selector)
        return tuple(objects.CoreV1Event.from_json(obj) for obj in found)

    @_understood
    def service(self, namespace: str, name: str) -> objects.Service:
        return objects.Service.from_json(self.get("services", name, namespace=namespace))

    @_understood
    def services(self, namespace: str | None = None) -> tuple[objects.Service, ...]:
        """Services of one namespace, or of all (None)."""
        return tuple(objects.Service.from_json(obj) for obj in self.items("services", namespace=namespace))

    @_understood
    def endpoint_slices(self, namespace: str, service: str) -> tuple[objects.Endpoint, ...]:
        """All addresses of the Service, ready or not."""
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
        """StatefulSets, represented like Deployments: the relevant fields are the same."""
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
        """Namespace and name of each Service -> all its addresses, ready or not."""
        slices: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for obj in self.items("endpointslices", namespace=namespace):
            metadata = obj["metadata"]
            name = (metadata.get("labels") or {}).get(SERVICE_LABEL, "")
            slices.setdefault((metadata.get("namespace", ""), name), []).append(obj)
        return {service: objects.endpoints(each) for service, each in slices.items()}

    @_understood
    def bgppeers(self) -> tuple[objects.BgpPeer, ...]:
        """Calico's BGPPeers. Raises `NotFound` if Calico's resources do not exist."""
        return tuple(objects.BgpPeer.from_json(obj) for obj in self.items("bgppeers"))

    @_understood
    def ippools(self) -> tuple[objects.IpPool, ...]:
        """Calico's IPPools. Raises `NotFound` if Calico's resources do not exist."""
        return tuple(objects.IpPool.from_json(obj) for obj in self.items("ippools"))

    @_understood
    def node_to_node_mesh(self) -> bool:
        """Whether Calico's full mesh is enabled. Raises `NotFound` if Calico's resources do not exist."""
        return objects.node_to_node_mesh(self.items("bgpconfigurations"))

    @_understood
    def namespace_uid(self, name: str = "kube-system") -> str:
        """The UID of a namespace; kube-system's identifies the cluster itself."""
        return str(self.get("namespaces", name)["metadata"]["uid"])

    @_understood
    def environment(self) -> str:
        """The cluster's purpose, from a label (or annotation) of the namespace kube-system; "" if not stated."""
        metadata = self.get("namespaces", "kube-system")["metadata"]
        said = {**(metadata.get("annotations") or {}), **(metadata.get("labels") or {})}
        return str(said.get(ENVIRONMENT, ""))

    def exec(
        self, namespace: str, pod: str, container: str, argv: Sequence[str], timeout_s: float
    ) -> ExecResult:
        """Run `argv` in a container and return its exit code and output; `timeout_s` limits the whole call."""
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
        """Start `argv` in a container, with or without `stdin`; `timeout_s` limits the whole execution."""
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
        """Every object of a kind as the API serves it, page by page; `query`: e.g. `labelSelector="app=cart"`."""
        for page in self.pages(kind, namespace=namespace, timeout_s=None, **query):
            yield from page.get("items") or ()

    def pages(
        self, kind: str, *, namespace: str | None = None, timeout_s: float | None = None, **query: str | None
    ) -> Iterator[dict[str, Any]]:
        """Yield the List objects of a kind, at most `PAGE_SIZE` items each, each within `timeout_s`.

        Large objects come in smaller pages. Raises `TooLarge` for a list that does not end.
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
        """Return the JSON of a 2xx answer; any other status raises (409 as `Conflict`)."""
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
    ) -> ApiAnswer:
        """Send one request without retries, within `timeout_s` (default: the cluster's); any status is returned."""
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
        return ApiAnswer(
            status=reply.status,
            body=_decode(reply.status, reply.body, self._whose),
            at=_date(reply.headers.get("Date")),
        )

    def delete_pod(self, pod: objects.Pod) -> bool:
        """Delete this Pod, with its own grace period; False if it is gone, even if another one has its name now."""
        options = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": pod.uid}}
        path = resource_path("pods", pod.name, namespace=pod.namespace)
        try:
            self.request("DELETE", path, body=options)
        except (NotFound, Conflict):
            return False
        return True

    def open_stream(self, path: str, query: Mapping[str, str | None], *, within_s: float) -> BaseHTTPResponse:
        """Send a GET whose lines arrive as they are written (a watch); its answer must begin within `within_s`.

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
            answer = ApiAnswer(status=response.status, body=_decode(response.status, body, self._whose))
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
        """The request's authorization header; computing it for each request lets an exec plugin renew its token."""
        settings = self._configuration.auth_settings().values()
        return {item["key"]: item["value"] for item in settings if item["in"] == "header" and item["value"]}


def resource_path(kind: str, name: str = "", *, namespace: str | None = None) -> str:
    """The API path of a kind (see `PATHS`), or of its object `name`."""
    path = PATHS[kind].format(ns=f"namespaces/{quote(namespace, safe='')}/" if namespace else "")
    return f"{path}/{quote(name, safe='')}" if name else path


def raise_for(answer: ApiAnswer, method: str, path: str) -> None:
    """Raise the matching chaosext error, with its fix, for a status other than 2xx."""
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
    """Decode the body as a JSON object. Text from a proxy or a failing server becomes its `message`."""
    try:
        value = decoded(data or b"{}", whose)
    except (ValueError, RecursionError):
        value = None
    if isinstance(value, dict):
        return value
    if 200 <= status < 300:  # text must not be read as an empty list
        raise Unreachable(f"what answers as {whose} is not an API server", "check the server's address")
    return {"message": data[:200].decode(errors="replace").strip()}


def _date(header: str | None) -> datetime | None:
    """Parse an HTTP date (RFC 9110, section 5.6.7), which is always UTC; None if missing or invalid."""
    try:
        return parsedate_to_datetime(header or "").replace(tzinfo=UTC)
    except ValueError:
        return None


def _require_context(context: str, paths: str) -> None:
    known = known_contexts(paths)
    if not context:
        raise Refused(
            "context is empty", f"use one of the kubeconfig's contexts  ({', '.join(known) or 'none'})"
        )
    if context not in known:
        raise Refused(f"context {context!r} is not in the kubeconfig {paths}", _context_hint(context, known))


def _context_hint(context: str, known: Sequence[str]) -> str:
    if not known:
        return "it has none; set --kubeconfig or $KUBECONFIG to another file"
    return did_you_mean(context, known)


def _load(context: str, paths: str) -> Any:
    """Load the library's Configuration for `context`. Never written back: refreshed tokens stay in memory."""
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
    except Exception as error:  # the library fails on malformed entries, and its message may quote them
        raise Refused(
            f"context {context!r} can't be read from the kubeconfig {paths} ({type(error).__name__})",
            "compare its entries with those that `kubectl config view` shows",
        ) from error
    return configuration


def _pool_of(configuration: Any) -> Any:
    """Create the library's connection pool, with certificates, proxy and proxy exceptions. Raises `Refused`."""
    from kubernetes.client.rest import RESTClientObject

    try:
        return RESTClientObject(configuration).pool_manager
    except (ImportError, ValueError) as error:  # a SOCKS proxy without PySocks, or a scheme that no proxy has
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
    """SHA-256 (hex) over the DER bytes of every certificate in `pem`; ignores any text around them."""
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    blocks = (begin + part.partition(end)[0] + end for part in pem.split(begin)[1:])
    return sha256(b"".join(ssl.PEM_cert_to_DER_cert(block) for block in blocks)).hexdigest()
