"""What is changed about Chaos Toolkit's providers of activities.

Process and HTTP activities have limited output, and leave no child processes; the error that a Python activity
raised is kept as a value.
"""

from __future__ import annotations

import itertools
import logging
import math
import shutil
import threading
from functools import wraps
from pathlib import Path
from typing import Any

from chaosext.experiment.journal_redaction import LARGER
from chaosext.model import child_process
from chaosext.model.child_process import TimeIsUp
from chaosext.model.errors import ChaosextError, TooLarge
from chaosext.model.output_bounds import LARGEST_ANSWER

logger = logging.getLogger("chaostoolkit")

PIECE = 1 << 16
_calling = threading.local()
"""Whether this thread makes an activity's HTTP call: other downloads are not bounded here. And the error of chaosext
that its last Python activity raised.
"""


def bound_providers() -> None:
    """Bound activities of the types `process` and `http`, and keep the errors of `python`, from now on. Idempotent.

    chaoslib keeps all that a command prints or a server answers, and at a `timeout` ends only the command itself. Of
    an error it keeps only the text.
    """
    from chaoslib import activity
    from requests.adapters import HTTPAdapter

    if activity.run_process_activity is run_command:
        return
    activity.run_process_activity = run_command
    activity.run_python_activity = _keeping_its_error(activity.run_python_activity)
    activity.run_http_activity = _within_bounds(activity.run_http_activity)
    HTTPAdapter.send = _bounded(HTTPAdapter.send)  # type: ignore[method-assign]


def take_error() -> ChaosextError | None:
    """Return the error of chaosext that this thread's last Python activity raised, and forget it."""
    error, _calling.error = getattr(_calling, "error", None), None
    return error


def _keeping_its_error(call: Any) -> Any:
    from chaoslib.exceptions import ActivityFailed

    @wraps(call)
    def calling(*arguments: Any) -> Any:
        try:
            return call(*arguments)
        except ActivityFailed as error:
            raised = error.__context__
            _calling.error = raised if isinstance(raised, ChaosextError) else None
            raise

    return calling


def run_command(activity: Any, configuration: Any, secrets: Any) -> dict[str, Any]:
    """As chaoslib's (chaoslib/provider/process.py), in what it returns and raises.

    Background processes of the command stay, unless the command itself is ended.
    """
    from chaoslib.exceptions import ActivityFailed

    provider = activity["provider"]
    try:
        done = child_process.run(
            _argv(provider, configuration, secrets),
            timeout_s=provider.get("timeout") or math.inf,
            spares_others=True,
        )
    except TimeIsUp:
        raise ActivityFailed("process activity took too long to complete") from None
    except TooLarge:
        raise ActivityFailed(LARGER) from None
    except OSError as error:
        raise ActivityFailed(f"the command can't be started ({error.strerror})") from None
    if "tolerance" not in activity and done.exit_code > 0:
        logger.warning("This process returned a non-zero exit code. This may indicate some error.")
    return {"status": done.exit_code, "stdout": done.stdout, "stderr": done.stderr}


def _argv(provider: Any, configuration: Any, secrets: Any) -> list[str]:
    """The command line; a text of arguments goes to a shell, as in chaoslib."""
    from chaoslib import substitute

    arguments = provider.get("arguments", [])
    if arguments and (configuration or secrets):
        arguments = substitute(arguments, configuration, secrets)
    path = shutil.which(str(Path(provider["path"]).expanduser())) or provider["path"]
    if isinstance(arguments, str):
        return ["/bin/sh", "-c", f"{path} {arguments}"]
    if isinstance(arguments, dict):
        arguments = itertools.chain.from_iterable(arguments.items())
    return [path, *(str(each) for each in arguments if each not in (None, ""))]


def _within_bounds(call: Any) -> Any:
    @wraps(call)
    def calling(*arguments: Any) -> Any:
        _calling.bounded = True
        try:
            return call(*arguments)
        finally:
            _calling.bounded = False

    return calling


def _bounded(send: Any) -> Any:
    @wraps(send)
    def sending(self: Any, request: Any, **more: Any) -> Any:
        bounded = getattr(_calling, "bounded", False)
        response = send(self, request, **({**more, "stream": True} if bounded else more))
        if bounded:
            response._content = _content(response)
        return response

    return sending


def _content(response: Any) -> bytes:
    """The body, decoded. Raises chaoslib's ActivityFailed if it is too large."""
    from chaoslib.exceptions import ActivityFailed

    body = bytearray()
    for piece in response.iter_content(PIECE):
        body += piece
        if len(body) > LARGEST_ANSWER:
            response.close()
            raise ActivityFailed(LARGER)
    return bytes(body)
