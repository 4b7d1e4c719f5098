"""Renders a run as one self-contained HTML file: no network access, no other file, a strict content policy."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from chaosext.report.data.coverage_gaps import unseen
from chaosext.report.data.prediction_review import foresight
from chaosext.report.render.html import phrases
from chaosext.report.render.html.event_log import chapters
from chaosext.report.render.html.svg_parts import draw
from chaosext.report.sentences.answers import answers, headline
from chaosext.report.sentences.root_cause import causes
from chaosext.report.sentences.what_to_do import removal
from chaosext.report.units import capital, duration, listed, words

if TYPE_CHECKING:
    from collections.abc import Mapping

    from chaosext.report.data.run_data import RunData

PACKAGE = "chaosext.report.render.html"

MOST_EVIDENCE = 12
MOST_EXPECTED = 200
"""Maximum numbers of lines of a list; the page counts the others and says where they are."""


def page(run: RunData) -> str:
    """Return the report of `run` as HTML, always the same for the same run."""
    return render("page.html.jinja", _told(run))


def render(template: str, told: Mapping[str, Any], *, style: str = "style.css") -> str:
    """Render a page from `template`, with `told` and the parts that every page has."""
    return _environment().get_template(template).render(**told, **_inlined(style))


def _told(run: RunData) -> Mapping[str, Any]:
    result = run.result
    return {
        "run": run,
        "result": result,
        "verdict": result.verdict,
        "tone": phrases.tone(result.verdict),
        "means": phrases.MEANS[result.verdict.headline],
        "removal": removal(result.verdict),
        "headline": headline(run),
        "answers": answers(run),
        "steps": causes(result),
        "drawing": draw(run),
        "expected": foresight(run),
        "unseen": tuple(unseen(run)),
        "skewed": phrases.skewed(result.clocks),
        "times": phrases.times(result.timing),
        "chapters": chapters(result.events),
    }


def _inlined(style_file: str) -> Mapping[str, Any]:
    """Return the parts of every page, and the content policy that forbids loading or running anything else."""
    style, script = _file(style_file), _file("script.js")
    policy = f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'"
    return {
        "style": Markup(style),  # noqa: S704  our own files
        "script": Markup(script),  # noqa: S704
        "policy": f"{policy}; img-src data:; base-uri 'none'; form-action 'none'",
        "rules": phrases.RULES,
        "legend": phrases.LEGEND,
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
        "at": phrases.at,
        "capital": capital,
        "day": phrases.day,
        "duration": duration,
        "flavour": phrases.flavour,
        "listed": listed,
        "prose": phrases.prose,
        "words": words,
    }
    return environment


@cache
def _file(name: str) -> str:
    return files(PACKAGE).joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """Return a hash in the form of a Content-Security-Policy."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
