"""`kubectl exec` without kubectl: one command in a container over a websocket, bounded as a whole."""

from __future__ import annotations

import json
import ssl
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Any

from chaosext.model.errors import Refused, Unreachable

if TYPE_CHECKING:
    from collections.abc import Mapping

PROTOCOL = "v4.channel.k8s.io"
"""Kubernetes' remote command protocol: every message starts with its channel's number; 3 ends with a Status
object.
"""

STDOUT, STDERR, ERROR = 1, 2, 3


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecResult:
    """How a command in a container ended."""

    exit_code: int
    stdout: str
    stderr: str


def execute(configuration: Any, url: str, headers: Mapping[str, str], *, timeout_s: float) -> ExecResult:
    """Run the command that `url` (an https Pod exec address with its query) names.

    Raises `Unreachable` when it can't be reached, doesn't end within `timeout_s`, or the connection breaks
    before its end; `Refused` when we may not, or there is no such Pod or container.
    """
    from websocket import WebSocketBadStatusException, WebSocketException

    deadline = monotonic() + timeout_s
    try:
        return _converse(configuration, url, headers, deadline)
    except WebSocketBadStatusException as error:
        raise _refusal(error) from error
    except (WebSocketException, OSError) as error:
        raise Unreachable(f"exec in a container gave no answer ({type(error).__name__}: {error})") from error


def _converse(configuration: Any, url: str, headers: Mapping[str, str], deadline: float) -> ExecResult:
    from websocket import ABNF, create_connection

    channels = {STDOUT: bytearray(), STDERR: bytearray(), ERROR: bytearray()}
    connection = create_connection(
        url.replace("http", "ws", 1),
        timeout=_left_s(deadline),
        header=[f"{key}: {value}" for key, value in headers.items()],
        subprotocols=[PROTOCOL],
        sslopt=_tls(configuration),
    )
    try:
        while not channels[ERROR]:
            connection.settimeout(_left_s(deadline))
            opcode, frame = connection.recv_data()
            if opcode == ABNF.OPCODE_CLOSE:
                break
            if not frame:
                continue
            channels.get(frame[0], bytearray()).extend(frame[1:])
    finally:
        connection.shutdown()  # type: ignore[no-untyped-call]
    return ExecResult(
        exit_code=exit_code(bytes(channels[ERROR])),
        stdout=channels[STDOUT].decode(errors="replace"),
        stderr=channels[STDERR].decode(errors="replace"),
    )


def exit_code(status: bytes) -> int:
    """The command's exit code in the Status object that ends an exec. Raises `Unreachable` when there is
    none.
    """
    verdict = json.loads(status) if status else {}
    if verdict.get("status") == "Success":
        return 0
    causes = (verdict.get("details") or {}).get("causes") or ()
    codes = [cause["message"] for cause in causes if cause.get("reason") == "ExitCode"]
    if not codes:
        raise Unreachable(
            f"exec broke off ({verdict.get('message') or 'the connection closed before its end'})"
        )
    return int(codes[0])


def _left_s(deadline: float) -> float:
    left = deadline - monotonic()
    if left <= 0:
        raise TimeoutError("timed out")
    return left


def _tls(configuration: Any) -> dict[str, Any]:
    """TLS options of the websocket, verified like every other call."""
    options = {
        "cert_reqs": ssl.CERT_REQUIRED,
        "ca_certs": configuration.ssl_ca_cert,
        "certfile": configuration.cert_file,
        "keyfile": configuration.key_file,
        "server_hostname": configuration.tls_server_name,
    }
    return {key: value for key, value in options.items() if value is not None}


def _refusal(error: Any) -> Exception:
    """The error for a handshake that the API server answered with an HTTP status."""
    body = (error.resp_body or b"").decode(errors="replace")
    try:
        message = json.loads(body).get("message", body)
    except (ValueError, AttributeError):
        message = body[:200]
    if error.status_code in (401, 403):
        return Refused(f"missing permission: {message}", "grant create on pods/exec to this user")
    if 400 <= error.status_code < 500:
        return Refused(f"exec: {message}", "check namespace, Pod and container")
    return Unreachable(f"exec: {message} (HTTP {error.status_code})")
