"""Validates settings of users; the refusal names the first invalid field, and the fix."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from chaosext.model.errors import Refused, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

Model = TypeVar("Model", bound=BaseModel)

_EXPECTED = {
    "tuple_type": "a list is expected",
    "model_type": "a mapping is expected",
    "dict_type": "a mapping is expected",
    "too_short": "it is empty",
    "string_too_short": "it is empty",
}
"""pydantic's error types that get a better message."""


def validated(
    value: Any,
    model: type[Model],
    place: Callable[[str], str],
    *,
    example: str = "",
    prefix: str = "",
    hidden: Collection[str] = (),
) -> Model:
    """Validate `value` as a `model`.

    Args:
        value: What the user wrote.
        model: Its fields.
        place: Names a field for the user, such as `cut.nodes[1]`; "" is the whole value.
        example: How to find or write a valid value, as an imperative.
        prefix: What users write before the names of the model's own fields.
        hidden: Fields of the model that users can't write.

    Raises:
        Refused: The value is invalid.
    """
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = _most_telling(error.errors())
    where = _place(first["loc"])
    named = place(where)
    if first["type"] == "extra_forbidden":
        known = [name for name in _keys_at(model, first["loc"][:-1]) if name not in hidden]
        is_own = len(first["loc"]) == 1
        hint = did_you_mean(str(first["loc"][-1]), known, prefix=prefix if is_own else "")
        raise Refused(f"{named}: unknown key", hint)
    if first["type"] == "missing":
        raise Refused(f"{named} is not set", f"set it; {example}" if example else "set it")
    said, _, fix = first["msg"].removeprefix("Value error, ").partition("; ")
    said = _EXPECTED.get(first["type"], said)
    change = f"change {first['input']!r:.80}" if where else "change it"
    raise Refused(f"{named}: {said}", fix or (f"{change}; {example}" if example else change))


def _most_telling(errors: Sequence[Any]) -> Any:
    """Return the first error; of a key that is missing and one that is unknown, the unknown one: it is mistyped."""
    unknown = (each for each in errors if each["type"] == "extra_forbidden")
    return next(unknown, errors[0]) if errors[0]["type"] == "missing" else errors[0]


def in_file(path: object) -> Callable[[str], str]:
    """Name fields of the file at `path`."""
    return lambda field: f"{path}: {field}" if field else str(path)


def _place(loc: Iterable[int | str]) -> str:
    """Format a place as `cut.nodes[1]`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc).lstrip(".")


def _keys_at(model: type[BaseModel], loc: Iterable[int | str]) -> list[str]:
    """The keys of the model at `loc` inside of `model`, or of the last model on the way there."""
    for part in loc:
        field = _fields(model).get(str(part))
        model = next(_models(field), model) if field is not None else model
    return list(_fields(model))


def _fields(model: type[BaseModel]) -> Mapping[str, Any]:
    """Key, as users write it -> the type of its value."""
    return {field.alias or name: field.annotation for name, field in model.model_fields.items()}


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the model that an annotation is, or those inside of it."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for each in get_args(annotation):
        yield from _models(each)
