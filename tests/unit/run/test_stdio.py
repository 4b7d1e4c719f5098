"""What a plain run's log may say, by who says it."""

from __future__ import annotations

import logging

import chaosk8s
import chaoslib.activity
import pytest

from chaosext.run.stdio import Discreet

CHAOSLIB, CHAOSK8S = chaoslib.activity.__file__, chaosk8s.__file__


@pytest.mark.parametrize(
    ("path", "level", "said", "kept"),
    [
        (CHAOSLIB, logging.INFO, "Action: sever", "Action: sever"),
        (CHAOSLIB, logging.DEBUG, "  => succeeded with 's3cr3t'", "(text of 28)"),
        (
            CHAOSLIB,
            logging.DEBUG,
            "  => succeeded without any result value",
            "  => succeeded without any result value",
        ),
        (CHAOSLIB, logging.DEBUG, "Running: ['curl', 's3cr3t']", "(text of 27)"),
        (
            CHAOSLIB,
            logging.ERROR,
            "  => failed: RuntimeError: s3cr3t",
            "  => failed: RuntimeError: (text of 6)",
        ),
        (
            CHAOSLIB,
            logging.ERROR,
            "  => failed: chaosext.model.errors.Unsafe: left",
            "  => failed: chaosext.model.errors.Unsafe: left",
        ),
        (CHAOSLIB, logging.CRITICAL, "s3cr3t", "(text of 6)"),
        (CHAOSK8S, logging.DEBUG, "3 Pods", "3 Pods"),
        ("/their/probes.py", logging.ERROR, "s3cr3t", "probes: (text of 6)"),
    ],
)
def test_a_line_is_kept_by_who_says_it(path: str, level: int, said: str, kept: str) -> None:
    record = logging.LogRecord("chaostoolkit", level, path, 1, said, None, None)
    assert Discreet().filter(record)
    assert record.getMessage() == kept


def test_of_a_traceback_only_the_type_is_kept() -> None:
    error = RuntimeError("s3cr3t")
    record = logging.LogRecord(
        "chaostoolkit", logging.DEBUG, CHAOSLIB, 1, "Activity failed", None, (RuntimeError, error, None)
    )
    Discreet().filter(record)
    assert (record.getMessage(), record.exc_info) == ("Activity failed (RuntimeError)", None)
