"""One self-contained HTML file from a run: no network, no file beside it, and nothing that a policy must trust."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from chaosext.report.advice import removal
from chaosext.report.answers import answers, headline
from chaosext.report.foresight import foresight
from chaosext.report.html import wording
from chaosext.report.html.chronicle import chapters
from chaosext.report.html.drawing import draw
from chaosext.report.story import causes
from chaosext.report.units import capital, duration, listed, words
from chaosext.report.unseen import unseen

if TYPE_CHECKING:
    from collections.abc import Mapping

    from chaosext.report.run_data import RunData

PACKAGE = "chaosext.report.html"

MOST_EVIDENCE = 12
MOST_EXPECTED = 200
"""So many lines are shown of what could be any number; the page says how many more there are, and where."""


def page(run: RunData) -> str:
    """The report of `run` as HTML, UTF-8; the same text for the same run."""
    return render("page.html.jinja", _told(run))


def render(template: str, told: Mapping[str, Any], *, style: str = "style.css") -> str:
    """A page from `template`, given `told` and what stands in every page."""
    return _environment().get_template(template).render(**told, **_inlined(style))


def _told(run: RunData) -> Mapping[str, Any]:
    result = run.result
    return {
        "run": run,
        "result": result,
        "verdict": result.verdict,
        "tone": wording.tone(result.verdict),
        "means": wording.MEANS[result.verdict.headline],
        "removal": removal(result.verdict),
        "headline": headline(run),
        "answers": answers(run),
        "steps": causes(result),
        "drawing": draw(run),
        "expected": foresight(run),
        "unseen": tuple(unseen(run)),
        "skewed": wording.skewed(result.clocks),
        "times": wording.times(result.timing),
        "chapters": chapters(result.events),
    }


def _inlined(style_file: str) -> Mapping[str, Any]:
    """What stands in every page, and the policy that lets nothing else be loaded or run."""
    style, script = _file(style_file), _file("script.js")
    policy = f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'"
    return {
        "style": Markup(style),  # noqa: S704  our own files
        "script": Markup(script),  # noqa: S704
        "policy": f"{policy}; img-src data:; base-uri 'none'; form-action 'none'",
        "rules": wording.RULES,
        "legend": wording.LEGEND,
        "most_evidence": MOST_EVIDENCE,
        "most_expected": MOST_EXPECTED,
    }


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader(PACKAGE),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters |= {
        "at": wording.at,
        "capital": capital,
        "day": wording.day,
        "duration": duration,
        "flavour": wording.flavour,
        "listed": listed,
        "prose": wording.prose,
        "words": words,
    }
    return environment


@cache
def _file(name: str) -> str:
    return files(PACKAGE).joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """As a Content-Security-Policy names what may stand in the page."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
