"""Limits for what the `kubernetes` package does on its own: API calls of other code, and credential plugins."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from functools import wraps
from subprocess import PIPE
from typing import TYPE_CHECKING, Any

from chaosext.cluster.bounded_http import LARGEST_BODY, allowed, bounded, current
from chaosext.model import child_process
from chaosext.model.child_process import TimeIsUp
from chaosext.model.errors import Refused, TooLarge
from chaosext.model.output_bounds import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_limit_s = 0.0


def bound_api_calls(limit_s: float) -> None:
    """Limit calls of the `kubernetes` package that set no timeout to `limit_s` seconds, in this whole process.

    The limit applies separately to the head and the body of an answer, however slowly they arrive; the size
    limit is `LARGEST_BODY` bytes. A watch's body has no end, so only its head is limited. Further calls only
    change the limit. Retries are disabled, because urllib3's three retries would multiply the limit by four.
    Without `_request_timeout`, the package sets no timeout in urllib3, whatever the default of sockets
    (kubernetes/client/rest.py).
    """
    global _limit_s
    _limit_s = limit_s
    from kubernetes.client.rest import RESTClientObject, RESTResponse

    unbounded, unbounded_read = RESTClientObject.request, RESTResponse.read
    if getattr(unbounded, "bounded_by_chaosext", False):
        return

    @wraps(unbounded)
    def request(self: Any, *arguments: Any, _request_timeout: Any = None, **more: Any) -> Any:
        bounded(self.pool_manager).connection_pool_kw.setdefault("retries", False)
        timeout = _request_timeout or _limit_s
        with allowed(sum(timeout) if isinstance(timeout, tuple) else timeout, LARGEST_BODY):
            answer = unbounded(self, *arguments, _request_timeout=timeout, **more)
        answer.response.decode_content = False  # none was requested, and a small answer can be huge
        return answer

    @wraps(unbounded_read)
    def read(self: Any) -> Any:
        with allowed(_limit_s, LARGEST_BODY):
            return unbounded_read(self)

    request.bounded_by_chaosext = True  # type: ignore[attr-defined]
    RESTClientObject.request, RESTResponse.read = request, read


LARGEST_CREDENTIAL = MIB
"""Bytes that a credential plugin may print: an ExecCredential of a few KiB."""

_plugins = threading.local()


class _Plugin:
    """Replaces `subprocess.Popen` in the package: runs a credential plugin, and ends it with all its children in time.

    The plugin has no terminal for input, and its standard error is never shown, because it may contain
    anything.
    """

    def __init__(
        self, argv: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: str | None = None, **_: Any
    ) -> None:
        self._argv, self._env, self._cwd = argv, env, cwd
        self._exit_code = 0

    def communicate(self) -> tuple[str, str]:
        name = self._argv[0]
        allowance = current()
        within_s = allowance.left_s if allowance else _limit_s
        try:
            done = child_process.run(
                self._argv, timeout_s=within_s, most_bytes=LARGEST_CREDENTIAL, env=self._env, cwd=self._cwd
            )
        except (TimeIsUp, TooLarge, OSError) as error:
            why = f"did not end within {within_s:.0f} s" if isinstance(error, TimeIsUp) else str(error)
            _plugins.failed = f"its credential plugin {name!r:.80} {why}"
            raise RuntimeError("the credential plugin failed") from None
        self._exit_code = done.exit_code
        if done.exit_code:
            _plugins.failed = f"its credential plugin {name!r:.80} ended with exit code {done.exit_code}"
        return done.stdout, ""

    def wait(self) -> int:
        return self._exit_code


class _Subprocess:
    """Replaces the module `subprocess` in the package."""

    Popen, PIPE = _Plugin, PIPE


@contextmanager
def bounded_plugins(whose: str) -> Iterator[None]:
    """Limit credential plugins from now on, even if they are called again later (then by the current allowance).

    Raises `Refused`, naming `whose` plugin it was, if one failed inside the block: the package only logs
    that, and continues without credentials.
    """
    from kubernetes.config import exec_provider, kube_config

    exec_provider.subprocess = kube_config.subprocess = _Subprocess
    _plugins.failed = ""
    yield
    if _plugins.failed:
        raise Refused(
            f"{whose}: {_plugins.failed}", "run it by itself to see why, log in if it asks, then try again"
        )
