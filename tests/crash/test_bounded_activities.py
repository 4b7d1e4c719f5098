"""Commands and HTTP calls of an experiment: what Chaos Toolkit makes of them, but bounded."""

from __future__ import annotations

import gzip
import http.server
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from chaoslib import activity as activities
from chaoslib.activity import run_activity
from chaoslib.exceptions import ActivityFailed
from chaoslib.provider.process import run_process_activity
from crash_run import Run
from crash_stage import act, experiment

from chaosext.run.providers import bound_providers, run_command

if TYPE_CHECKING:
    from collections.abc import Iterator

MIB = 1 << 20
MOST_GROWTH_MIB = 160.0


@pytest.fixture(autouse=True)
def bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    from requests.adapters import HTTPAdapter

    for place, name in (
        (activities, "run_process_activity"),
        (activities, "run_http_activity"),
        (HTTPAdapter, "send"),
    ):
        monkeypatch.setattr(place, name, getattr(place, name))
    bound_providers()
    bound_providers()


def peak_mib() -> float:
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024


@pytest.fixture
def growth_is_bounded() -> Iterator[None]:
    Path("/proc/self/clear_refs").write_text("5")  # the peak is what is resident now (proc(5))
    before = peak_mib()
    yield
    assert peak_mib() - before < MOST_GROWTH_MIB


def command(*arguments: Any, path: str = "sh", **more: Any) -> dict[str, Any]:
    given = arguments[0] if len(arguments) == 1 and not isinstance(arguments[0], list) else list(arguments)
    provider = {"type": "process", "path": path, "arguments": given, **more}
    return {"type": "probe", "name": "a command", "provider": provider}


@pytest.mark.parametrize(
    "asked",
    [
        command("-c", "echo out; echo err >&2; exit 3"),
        command("-c", "echo ${word} $0", "${word}", "", None),
        command({"-c": "echo by name"}),
        command("-c 'echo by a shell | tr a-z A-Z'"),
        command("x", path="echo"),
        command("-c", "cat"),
    ],
    ids=lambda asked: str(asked["provider"]["arguments"])[:30],
)
def test_a_command_answers_what_chaos_toolkit_says(asked: dict[str, Any]) -> None:
    configuration, secrets = {"word": "looked-up"}, {"group": {"other": "x"}}
    wanted = run_process_activity(asked, configuration, secrets)
    assert run_command(asked, configuration, secrets) == wanted
    assert run_activity(asked, configuration, secrets) == wanted


@pytest.mark.usefixtures("growth_is_bounded")
def test_a_command_that_never_stops_talking_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    for script in ("cat /dev/zero", "yes yy"):
        with pytest.raises(ActivityFailed, match="the answer is larger than 32 MiB"):
            run_activity(command("-c", script), {}, {})


def test_a_command_that_is_late_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    late = command("-c", f"sleep 60 & echo $! >{tmp_path}/pid; wait", timeout=0.5)
    with pytest.raises(ActivityFailed, match="process activity took too long to complete"):
        run_activity(late, {}, {})
    deadline_s = time.monotonic() + 10
    while Path("/proc", (tmp_path / "pid").read_text().strip()).exists():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


def test_what_a_command_leaves_in_the_background_goes_on(tmp_path: Path) -> None:
    leaving = command("-c", f"(sleep 0.5; touch {tmp_path}/later) >/dev/null 2>&1 & echo begun")
    assert run_activity(leaving, {}, {})["stdout"] == "begun\n"
    deadline_s = time.monotonic() + 20
    while not (tmp_path / "later").exists():
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


def test_a_command_that_is_not_there_fails() -> None:
    with pytest.raises(ActivityFailed, match=r"can't be started \(No such file"):
        run_activity(command("x", "y", path="/nowhere/at/all"), {}, {})


@pytest.fixture
def url() -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            getattr(self, self.path.partition("?")[0].strip("/"))()

        do_POST = do_GET

        def json(self) -> None:
            self.say(b'{"a": 1}', ("Content-Type", "application/json"))

        def text(self) -> None:
            self.say("grüße".encode(), ("Content-Type", "text/plain; charset=utf-8"))

        def small(self) -> None:
            self.say(gzip.compress(b"unpacked"), ("Content-Encoding", "gzip"))

        def bomb(self) -> None:
            self.say(gzip.compress(bytes(256 * MIB), compresslevel=1), ("Content-Encoding", "gzip"))

        def endless(self) -> None:
            self.end_headers()
            with suppress(OSError):
                while True:
                    self.wfile.write(bytes(65536))

        def say(self, body: bytes, *headers: tuple[str, str]) -> None:
            for header in (*headers, ("Content-Length", str(len(body)))):
                self.send_header(*header)
            self.end_headers()
            with suppress(OSError):
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def call(url: str, **more: Any) -> dict[str, Any]:
    return {"type": "probe", "name": "a call", "provider": {"type": "http", "url": url, **more}}


@pytest.mark.parametrize(
    ("path", "body"), [("json", {"a": 1}), ("text", "grüße"), ("small", "unpacked"), ("text?a=b", "grüße")]
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_call_answers_what_chaos_toolkit_says(url: str, path: str, body: Any, method: str) -> None:
    answer = run_activity(call(f"{url}/{path}", method=method), {}, {})
    assert (answer["status"], answer["body"]) == (200, body)


@pytest.mark.usefixtures("growth_is_bounded")
@pytest.mark.parametrize("path", ["endless", "bomb"])
def test_an_answer_without_end_fails(url: str, path: str) -> None:
    with pytest.raises(ActivityFailed, match="the answer is larger than 32 MiB"):
        run_activity(call(f"{url}/{path}"), {}, {})


def test_what_other_code_downloads_is_its_own_business(url: str) -> None:
    import requests

    with requests.get(f"{url}/endless", stream=True, timeout=30) as response:
        assert len(response.raw.read(40 * MIB)) == 40 * MIB


def test_a_run_survives_an_activity_without_end_and_says_so(tmp_path: Path) -> None:
    value = experiment([command("-c", "yes"), act("mark", word="next")])
    with Run(tmp_path, value) as run:
        assert run.process.wait(timeout=60) == 30
        assert run.words() == ["next"]
        assert "a command: the answer is larger than 32 MiB" in run.result()["reasons"]
