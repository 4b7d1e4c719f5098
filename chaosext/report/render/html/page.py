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
from chaosext.report.data.wall_clock import WallClock, dashboard_link
from chaosext.report.render.html import phrases
from chaosext.report.render.html.a4_sheet import BlockKind, SheetBlock, SheetOfA4, sheet_of_a4
from chaosext.report.render.html.event_log import chapters
from chaosext.report.render.html.svg_parts import draw
from chaosext.report.sentences.answers import answers, headline
from chaosext.report.sentences.root_cause import causes
from chaosext.report.sentences.what_to_do import removal
from chaosext.report.units import capital, duration, listed, words

if TYPE_CHECKING:
    from collections.abc import Mapping

    from chaosext.report.data.run_data import RunData
    from chaosext.report.render.html.svg_parts import Drawing

PACKAGE = "chaosext.report.render.html"

MOST_EVIDENCE = 12
MOST_EXPECTED = 200
"""Maximum numbers of lines of a list; the page counts the others and says where they are."""


def page(run: RunData) -> str:
    """Return the report of `run` as HTML, always the same for the same run."""
    return render("page.html.jinja", _told(run))


def render(template: str, told: Mapping[str, Any], *, style: str = "style.css") -> str:
    """Render a page from `template`, with `told` and the parts that every page has."""
    return _environment().get_template(template).render({**_inlined(style), **told})


def _told(run: RunData) -> Mapping[str, Any]:
    result = run.result
    told: dict[str, Any] = {
        "run": run,
        "result": result,
        "verdict": result.verdict,
        "tone": phrases.tone(result.verdict),
        "means": phrases.MEANS[result.verdict.headline],
        "removal": removal(result.verdict),
        "headline": headline(run),
        "answers": [phrases.in_short(each) for each in answers(run)],
        "steps": causes(result),
        "drawing": draw(run),
        "clock": WallClock.of(result.cut_at),
        "dashboard": dashboard_link(run.dashboard, result),
        "expected": foresight(run),
        "unseen": tuple(unseen(run)),
        "skewed": phrases.skewed(result.clocks),
        "times": phrases.times(result.timing),
        "chapters": chapters(result.events),
    }
    return {**told, "sheet_of_a4": _summary(run, told)}


def _summary(run: RunData, told: Mapping[str, Any]) -> SheetOfA4:
    """Return the first sheet of a printed report: it can stand alone."""
    result, clock = run.result, told["clock"]
    facts = {
        "run": f"{result.run}, exit {result.exit_code}",
        "cluster": result.briefing.context if result.briefing else "",
        "when": ", ".join(
            filter(None, (phrases.day(result.started_at), f"took {duration(result.duration_s)}"))
        ),
        "cut": " ".join(
            filter(None, (_cuts(told["drawing"]), f"(0 s is {clock.at(0)} UTC)" if clock.zero else ""))
        ),
    }
    known = {name: said for name, said in facts.items() if said}
    return sheet_of_a4(
        result.verdict.headline,
        told["headline"],
        f"{result.experiment + ': ' if result.experiment else ''}{told['means']}",
        (
            SheetBlock(title="", lines=tuple(known.values()), names=tuple(known), least=len(known)),
            SheetBlock(
                title="Remove the cut first",
                lines=tuple(told["removal"]),
                kind=BlockKind.CODE,
                least=12,
                rest="on the next page",
            ),
            SheetBlock(
                title="In short",
                lines=tuple(plain(each.short) for each in told["answers"]),
                names=tuple(each.question for each in told["answers"]),
                least=6,
            ),
            SheetBlock(
                title="Root cause",
                lines=tuple(plain(capital(step.text)) for step in told["steps"]),
                names=tuple(step.when for step in told["steps"]),
                rest="on the next pages",
            ),
            SheetBlock(
                title="Coverage gaps", lines=told["unseen"], kind=BlockKind.SOFT, rest="on the next pages"
            ),
            SheetBlock(
                title="Verdict", lines=tuple(map(plain, result.verdict.reasons)), rest="on the next pages"
            ),
        ),
        drawing=told["drawing"],
        lead="Outages, in seconds from the cut. Hatched: not observed, never healthy",
        foot=(f"Made by chaosext from run/{result.run}. The next pages have the evidence.",),
    )


def plain(text: str) -> str:
    """Return a sentence without the backquotes of code."""
    return text.replace("`", "")


def _cuts(drawing: Drawing | None) -> str:
    return drawing.cuts_said if drawing else "nothing was cut"


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
        "share": phrases.share,
        "words": words,
    }
    return environment


@cache
def _file(name: str) -> str:
    return files(PACKAGE).joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """Return a hash in the form of a Content-Security-Policy."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
