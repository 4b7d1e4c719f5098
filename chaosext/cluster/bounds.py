"""A bound for API calls that are not ours: chaostoolkit-kubernetes names no time limit with most of its calls."""

from __future__ import annotations

from functools import wraps
from typing import Any

_limit_s = 0.0


def bound_api_calls(limit_s: float) -> None:
    """From here on each call of the `kubernetes` package in this process that names no limit has `limit_s` seconds.

    Asked again it only changes the limit. Retries are off as well: urllib3's three would make it four limits.
    Without `_request_timeout` the package hands urllib3 no timeout at all, whatever the sockets' default is
    (kubernetes/client/rest.py).
    """
    global _limit_s
    _limit_s = limit_s
    from kubernetes.client.rest import RESTClientObject

    unbounded = RESTClientObject.request
    if getattr(unbounded, "bounded_by_chaosext", False):
        return

    @wraps(unbounded)
    def request(self: Any, *arguments: Any, _request_timeout: Any = None, **more: Any) -> Any:
        self.pool_manager.connection_pool_kw.setdefault("retries", False)
        return unbounded(self, *arguments, _request_timeout=_request_timeout or _limit_s, **more)

    request.bounded_by_chaosext = True  # type: ignore[attr-defined]
    RESTClientObject.request = request
