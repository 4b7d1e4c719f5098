"""Queries Prometheus: an instant query (HTTP API, GET /api/v1/query), TLS verified, bounded in time and size."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from chaosext.cluster import bounded_http
from chaosext.cluster.bounded_http import decoded
from chaosext.model.errors import MALFORMED, TooLarge, Unreachable
from chaosext.model.files import read_file
from chaosext.run.stop.condition_state import ConditionReply, Says

LONGEST = 1 << 20
"""Limit of an answer, bytes: an expression of a stop condition yields a few series."""

SHOWN = 3
"""Series that are named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """An expression, and its server. `ca_file`: "" trusts the system's; `token`: "" sends none."""

    promql: str
    url: str
    timeout_s: float
    ca_file: str = ""
    token_file: str = ""
    token: str = ""

    def ask(self) -> ConditionReply:
        """True if the expression yields any series, false if none; anything else is unknown."""
        try:
            reply = self._get()
        except TooLarge:
            return ConditionReply(Says.UNKNOWN, f"the answer is longer than {LONGEST} bytes")
        except (Unreachable, OSError, ValueError) as error:
            return ConditionReply(Says.UNKNOWN, f"{self.url} gave no answer ({_cause(error)})")
        return judged(reply.status, reply.body)

    def _get(self) -> bounded_http.HttpReply:
        """No redirect is followed: it could take the token elsewhere."""
        words = urlencode({"query": self.promql, "timeout": f"{self.timeout_s:g}s"})
        with bounded_http.trusting(self.ca_file or None) as pool:
            return bounded_http.ask(
                pool,
                "GET",
                f"{self.url.rstrip('/')}/api/v1/query?{words}",
                whose=self.url,
                within_s=self.timeout_s,
                headers=self._headers(),
                most_bytes=LONGEST,
            )

    def _headers(self) -> dict[str, str]:
        token = read_file(Path(self.token_file)).decode().strip() if self.token_file else self.token
        if token and urlsplit(self.url).scheme != "https":
            raise ValueError("a token requires https")
        return {"Accept": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})}


def judged(status: int, body: bytes) -> ConditionReply:
    """Interpret an answer. An incomplete one (`warnings`, as from Thanos) that is empty is not false."""
    try:
        said = decoded(body, "Prometheus")
        if said["status"] != "success":
            return ConditionReply(
                Says.UNKNOWN, f"{said.get('errorType', 'error')}: {said.get('error', '')}"[:200]
            )
        return _of_result(said["data"]["resultType"], said["data"]["result"], said.get("warnings") or ())
    except TooLarge as error:
        return ConditionReply(Says.UNKNOWN, error.message)
    except MALFORMED:
        return ConditionReply(Says.UNKNOWN, f"HTTP {status}, not an answer of the Prometheus HTTP API")


def _of_result(kind: str, result: Any, warnings: Any) -> ConditionReply:
    if kind != "vector":
        return ConditionReply(
            Says.UNKNOWN, f"it yields a {kind}, which is neither true nor false: compare it, as in `… > 0`"
        )
    if result:
        more = f" and {len(result) - SHOWN} more" if len(result) > SHOWN else ""
        return ConditionReply(Says.TRUE, ", ".join(map(_series, result[:SHOWN])) + more)
    if warnings:
        return ConditionReply(
            Says.UNKNOWN, f"it yields nothing, but the answer is incomplete: {str(warnings[0])[:200]}"
        )
    return ConditionReply(Says.FALSE, "it yields nothing")


def _series(sample: Any) -> str:
    """`up{job="shop"} 0`, as Prometheus writes it."""
    metric = dict(sample["metric"])
    name = metric.pop("__name__", "")
    labels = ",".join(f'{key}="{value}"' for key, value in sorted(metric.items()))
    return f"{name}{{{labels}}} {sample['value'][1]}"[:200]


def _cause(error: BaseException) -> str:
    """The kind of the error: its text may quote the address with its secrets."""
    inner = error.__cause__ or error
    reason = getattr(inner, "reason", None)
    return type(reason if isinstance(reason, BaseException) else inner).__name__
