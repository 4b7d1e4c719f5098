"""An invalid field is refused by its place, with the keys of the model around it."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from chaosext.experiment.invalid_settings import in_file, validated
from chaosext.model.errors import Refused


def _short(text: str) -> str:
    if len(text) > 3:
        raise ValueError(f"{text} is too long; shorten it")
    return text


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, AfterValidator(_short)]
    lasting: int = Field(1, alias="for")


class _Whole(BaseModel):
    model_config = ConfigDict(extra="forbid")

    secret: str = ""
    first: _Part | None = None
    parts: tuple[Annotated[_Part, Field()], ...] = Field((), max_length=2)


def refused(value: Any, **more: Any) -> Refused:
    with pytest.raises(Refused) as found:
        validated(value, _Whole, in_file("a.yaml"), **more)
    return found.value


def test_valid_settings_become_their_model() -> None:
    assert validated({"first": {"name": "a", "for": 2}}, _Whole, in_file("a.yaml")).first == _Part(
        name="a", **{"for": 2}
    )


@pytest.mark.parametrize(
    ("value", "message", "fix"),
    [
        ([], "a.yaml: a mapping is expected", "change it"),
        ({"firs": {}}, "a.yaml: firs: unknown key", "did you mean first?"),
        ({"first": {}}, "a.yaml: first.name is not set", "set it"),
        ({"first": {"nam": "a"}}, "a.yaml: first.nam: unknown key", "did you mean name?"),
        ({"first": {"name": "a", "fo": 1}}, "a.yaml: first.fo: unknown key", "did you mean for?"),
        (
            {"parts": [{"name": "a"}, {"name": "b", "nme": 1}]},
            "a.yaml: parts[1].nme: unknown key",
            "did you mean name?",
        ),
        ({"parts": [1]}, "a.yaml: parts[0]: a mapping is expected", "change 1"),
        ({"parts": 1}, "a.yaml: parts: a list is expected", "change 1"),
        ({"first": {"name": "long"}}, "a.yaml: first.name: long is too long", "shorten it"),
    ],
)
def test_invalid_field_is_refused_by_place_and_fix(value: Any, message: str, fix: str) -> None:
    error = refused(value)
    assert (error.message, error.fix) == (message, fix)


def test_example_is_part_of_the_fix() -> None:
    assert refused({"parts": 1}, example="see a.yaml").fix == "change 1; see a.yaml"
    assert refused({"first": {}}, example="see a.yaml").fix == "set it; see a.yaml"


def test_hidden_field_is_not_suggested_and_own_keys_have_their_prefix() -> None:
    assert refused({"secrt": 1}, hidden={"secret"}, prefix="x_").fix == "known: x_first, x_parts"
    assert refused({"firs": 1}, prefix="x_").fix == "did you mean x_first?"
    assert refused({"first": {"name": "a", "fo": 1}}, prefix="x_").fix == "did you mean for?"


def test_long_value_is_shortened() -> None:
    assert len(refused({"parts": "x" * 500}).fix) < 100
