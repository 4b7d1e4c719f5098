"""The pytest plugin: run a cutover on a testbed, and assert its results.

    def test_the_shop_survives_a_cutover(chaosext_run):
        run = chaosext_run("control-plane-partition")
        assert run.outcome == "passed"
        assert run.longest_outage_s("dns") < 30

Every pytest session loads this module if chaosext is installed, so it imports the rest only when a test needs it.
"""

from __future__ import annotations

import os
import signal
import threading
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping
    from types import FrameType

    from chaosext.testing.command import Command
    from chaosext.testing.finished_run import Run
    from chaosext.testing.session_testbed import Testbed, Wish

RUNS = pytest.StashKey[list["Run"]]()
"""The runs of a test so far."""

VALUES = {
    "--chaosext-testbed": (
        "NAME",
        "testbed to use; if it does not exist, it is created, and removed at the end  [chaosext]",
    ),
    "--chaosext-run-dir": ("DIR", "where run/<id>/ is created  [$CHAOSEXT_RUN_DIR, or ./run]"),
}
FLAGS = {
    "--keep-cluster": "keep the testbed that the session created, for inspection or for the next session",
    "--chaosext-require": "fail instead of skipping if no Docker Engine answers (for CI)",
}
PASSED_ON = (
    "workers",
    "network",
    "mesh",
    "sidecars",
    "dns",
    "mitigation",
    "timings",
    "images",
    "registry",
    "kubernetes",
)
"""Options of `chaosext testbed up`, here with the prefix `--chaosext-`."""


class Runner(Protocol):
    """The type of the fixture `chaosext_run`."""

    def __call__(
        self,
        experiment: str | Path | Mapping[str, Any],
        *,
        expect: str | None = None,
        **environment: str | float,
    ) -> Run: ...


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("chaosext", "network cutovers on a testbed")
    for name, (metavar, text) in VALUES.items():
        group.addoption(name, metavar=metavar, help=text)
    for name, text in FLAGS.items():
        group.addoption(name, action="store_true", help=text)
    for name in PASSED_ON:
        text = f"as --{name} of `chaosext testbed up`"
        group.addoption(f"--chaosext-{name}", metavar=name.upper(), action="append", default=[], help=text)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "chaosext: needs a testbed and Docker Engine; set on each test that uses the fixtures of chaosext",
    )


def pytest_itemcollected(item: pytest.Item) -> None:
    if "chaosext_testbed" in getattr(item, "fixturenames", ()):
        item.add_marker(pytest.mark.chaosext)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("chaosext") is None:
        return
    from chaosext.testbed.containers import engine_problem

    if problem := engine_problem():
        why = f"chaosext needs Docker Engine, and none answers: {problem}"
        pytest.fail(why, pytrace=False) if item.config.getoption("chaosext_require") else pytest.skip(why)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the summaries of a failed test's runs to its report."""
    report = yield
    if report.when == "call" and report.failed:
        runs = item.stash.get(RUNS, [])
        report.sections += [(f"chaosext run {run.result.run}".rstrip(), run.summary) for run in runs]
    return report


@pytest.fixture(scope="session")
def chaosext_testbed(request: pytest.FixtureRequest) -> Iterator[Testbed]:
    """A kind cluster with Calico, a BGP leaf, Istio and a shop, in its steady state; see --chaosext-testbed.

    An existing testbed is used, and kept; otherwise one is brought up, and taken down after the last test.
    """
    from chaosext.model.errors import ChaosextError
    from chaosext.testing.session_testbed import testbed

    config = request.config
    _require_one_worker(config)
    try:
        with _leaving_in_order(), testbed(_wish(config), _command(config)) as found:
            yield found
    except ChaosextError as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture
def chaosext_run(request: pytest.FixtureRequest, chaosext_testbed: Testbed, tmp_path: Path) -> Runner:
    """Run an experiment on the testbed, as `chaosext run` does: a file, a bundled experiment, or a dict.

    `expect` fails the test unless that is the verdict (passed, deviated, inconclusive, refused), with the rollback, if
    there was one, verified. Without it a run must end with an answer, passed or deviated. Other keywords are
    environment variables, such as `CHAOSEXT_TTL_S=60`.
    """
    from chaosext.testing.finished_run import ANSWERS, run

    config, node = request.config, request.node

    def start(
        experiment: str | Path | Mapping[str, Any], *, expect: str | None = None, **environment: str | float
    ) -> Run:
        __tracebackhide__ = True
        done = run(
            experiment,
            _command(config),
            context=chaosext_testbed.context,
            expect=expect,
            root=_run_directory(config),
            scratch=tmp_path,
            environment={name: str(value) for name, value in environment.items()},
        )
        node.stash.setdefault(RUNS, []).append(done)
        node.user_properties.append(("chaosext_run", repr(done)))
        met = done.exit_code == 0 if expect else done.outcome in ANSWERS
        if not met:
            pytest.fail(f"the run ended {done.verdict.headline}, not {expect or 'with an answer'}: {done!r}")
        return done

    return start


def _command(config: pytest.Config) -> Command:
    from chaosext.testing.command import Command

    capturing: Any = config.pluginmanager.getplugin("capturemanager")
    return Command(capturing.global_and_fixture_disabled if capturing else nullcontext)


def _run_directory(config: pytest.Config) -> Path:
    """Choose the directory for runs as `chaosext run` does."""
    wanted = config.getoption("chaosext_run_dir") or os.environ.get("CHAOSEXT_RUN_DIR") or "run"
    return Path(wanted).absolute()


def _wish(config: pytest.Config) -> Wish:
    from chaosext.testing.session_testbed import Wish

    given = [(f"--{name}", value) for name in PASSED_ON for value in config.getoption(f"chaosext_{name}")]
    return Wish(
        name=config.getoption("chaosext_testbed") or "chaosext",
        options=tuple(word for option in given for word in option),
        keep=config.getoption("keep_cluster"),
    )


def _require_one_worker(config: pytest.Config) -> None:
    """Fail under pytest-xdist: its workers would cut the same cluster, and remove it while another one uses it.

    Its `--dist loadgroup` does not help: with pytest 9.2, pytest-xdist 3.8 loses the groups.
    """
    worker: Mapping[str, Any] = getattr(config, "workerinput", {})
    if worker.get("workercount", 1) > 1:
        fix = 'run them with `pytest -m chaosext -n 0`, and the others with `-m "not chaosext"`'
        pytest.fail(f"tests of one testbed run one at a time: {fix}", pytrace=False)


@contextmanager
def _leaving_in_order() -> Iterator[None]:
    """End the session on SIGTERM and SIGHUP as on Ctrl-C, so that fixtures remove what they created."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt(signal.Signals(number).name)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
