"""Stop conditions as written in an experiment's `configuration.chaosext_stop_conditions`."""

from __future__ import annotations

from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, model_validator

from chaosext.checks.suite import CHECKS

KINDS = ("promql", "check", "probe")


class StopCondition(BaseModel):
    """One stop condition: a PromQL expression, a check that must have a status, or a probe with a tolerance."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field("", max_length=100, description="Its name in the report")
    promql: str = Field("", description="Stops if it yields any series, as an alert's expression")
    url: str = Field("", description="Prometheus' address, without /api/v1/query")
    ca_file: str = Field("", description="Certificate authorities to trust instead of the system's, PEM")
    token_file: str = Field("", description="A file with a bearer token, read each time")
    token_secret: str = Field("", description="A bearer token among the experiment's secrets, as GROUP.KEY")
    check: str = Field("", description="One of chaosext's checks")
    must_be: Literal["healthy", "unhealthy"] = Field(
        "healthy", description="The required status of the check"
    )
    probe: dict[str, Any] | None = Field(None, description="A probe of Chaos Toolkit, with its tolerance")
    for_s: float = Field(0.0, ge=0, le=3600, description="How long it must hold before it stops, seconds")
    every_s: float = Field(5.0, ge=1, le=300, description="How often it is asked, seconds")
    timeout_s: float = Field(5.0, ge=0.5, le=60, description="How long an answer may take, seconds")
    unknown_s: float = Field(30.0, ge=0, le=3600, description="How long it may be unknown, seconds")

    def __hash__(self) -> int:
        return hash(self.model_dump_json())

    @property
    def kind(self) -> str:
        return next(name for name in KINDS if getattr(self, name))

    @property
    def title(self) -> str:
        """Its name for people."""
        named = {"promql": self.promql, "check": self.check, "probe": (self.probe or {}).get("name")}
        return self.name or str(named[self.kind])

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        given = [name for name in KINDS if getattr(self, name)]
        if len(given) != 1:
            raise ValueError(
                f"exactly one of {', '.join(KINDS)} is needed, not {' and '.join(given) or 'none'}"
            )
        if (self.kind == "promql") != bool(self.url):
            raise ValueError("promql and url require each other")
        if self.url:
            _require_address(self.url)
        if (self.token_file or self.token_secret) and urlsplit(self.url).scheme == "http":
            raise ValueError("its token would be sent over plain http; use an https:// url, or no token")
        if self.kind != "promql" and (self.ca_file or self.token_file or self.token_secret):
            raise ValueError("ca_file, token_file and token_secret are for promql")
        if self.kind == "check" and self.check not in CHECKS:
            raise ValueError(f"unknown check {self.check!r}; known are {', '.join(CHECKS)}")
        if self.kind != "check" and self.must_be != "healthy":
            raise ValueError("must_be is for a check")
        if self.kind == "probe":
            _require_probe(self.probe or {})
        return self


def _require_address(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("url must be http://… or https://…")
    if parts.username or parts.password:
        raise ValueError("url names a password; use token_file or token_secret")


def _require_probe(probe: dict[str, Any]) -> None:
    if probe.get("type") != "probe" or "tolerance" not in probe or not probe.get("provider"):
        raise ValueError("a probe has `type: probe`, a provider and a tolerance")
    if probe.get("background"):
        raise ValueError("a probe of a stop condition can't run in the background")
