"""Asking Prometheus: an instant query (HTTP API, GET /api/v1/query), TLS verified, bounded in time and size."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from chaosext.run.stopping.standing import Reply, Says

LONGEST = 1 << 20
"""Bytes of an answer: an expression of a stop condition yields a few series."""

SHOWN = 3
"""How many of the series found are named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """An expression, and where it is asked. `ca_file`: "" trusts the system's; `token`: "" sends none."""

    promql: str
    url: str
    timeout_s: float
    ca_file: str = ""
    token_file: str = ""
    token: str = ""

    def ask(self) -> Reply:
        """True where the expression yields any series, false where none; whatever else comes is unknown."""
        from urllib3.exceptions import HTTPError

        try:
            status, body = self._get()
        except (HTTPError, OSError, ValueError) as error:
            return Reply(Says.UNKNOWN, f"{self.url} gave no answer ({_cause(error)})")
        return judged(status, body)

    def _get(self) -> tuple[int, bytes]:
        """No redirect is followed: it could take the token elsewhere."""
        import urllib3

        words = urlencode({"query": self.promql, "timeout": f"{self.timeout_s:g}s"})
        url = f"{self.url.rstrip('/')}/api/v1/query?{words}"
        with urllib3.PoolManager(cert_reqs="CERT_REQUIRED", ca_certs=self.ca_file or None) as pool:
            response = pool.request(
                "GET",
                url,
                headers=self._headers(),
                timeout=urllib3.Timeout(total=self.timeout_s),
                retries=False,
                redirect=False,
                preload_content=False,
            )
            try:
                return response.status, response.read(LONGEST + 1, decode_content=True)
            finally:
                response.close()

    def _headers(self) -> dict[str, str]:
        token = Path(self.token_file).read_text(encoding="utf-8").strip() if self.token_file else self.token
        return {"Accept": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})}


def judged(status: int, body: bytes) -> Reply:
    """What an answer says. One that is incomplete (`warnings`, as of Thanos) and empty is not false."""
    if len(body) > LONGEST:
        return Reply(Says.UNKNOWN, f"the answer is longer than {LONGEST} bytes")
    try:
        said = json.loads(body)
        if said["status"] != "success":
            return Reply(Says.UNKNOWN, f"{said.get('errorType', 'error')}: {said.get('error', '')}"[:200])
        return _of_result(said["data"]["resultType"], said["data"]["result"], said.get("warnings") or ())
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return Reply(Says.UNKNOWN, f"HTTP {status}, and no answer of Prometheus' HTTP API")


def _of_result(kind: str, result: Any, warnings: Any) -> Reply:
    if kind != "vector":
        return Reply(
            Says.UNKNOWN, f"it yields a {kind}, which says neither yes nor no: compare it, as in `… > 0`"
        )
    if result:
        more = f" and {len(result) - SHOWN} more" if len(result) > SHOWN else ""
        return Reply(Says.TRUE, ", ".join(map(_series, result[:SHOWN])) + more)
    if warnings:
        return Reply(
            Says.UNKNOWN, f"it yields nothing, but the answer is incomplete: {str(warnings[0])[:200]}"
        )
    return Reply(Says.FALSE, "it yields nothing")


def _series(sample: Any) -> str:
    """`up{job="shop"} 0`, as Prometheus writes it."""
    metric = dict(sample["metric"])
    name = metric.pop("__name__", "")
    labels = ",".join(f'{key}="{value}"' for key, value in sorted(metric.items()))
    return f"{name}{{{labels}}} {sample['value'][1]}"[:200]


def _cause(error: BaseException) -> str:
    """The kind of the error: its text may quote the address with all that is in it."""
    reason = getattr(error, "reason", None)
    return type(reason if isinstance(reason, BaseException) else error).__name__
