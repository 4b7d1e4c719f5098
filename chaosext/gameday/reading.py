"""YAML as a typed value, whatever is wrong with it being refused by file, field and fix; and values as YAML."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from chaosext.cluster.documents import read_mapping
from chaosext.model.errors import Refused
from chaosext.model.printable import printable
from chaosext.model.spelling import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Model = TypeVar("Model", bound=BaseModel)


def read_model(path: Path, model: type[Model], example: str) -> Model:
    """The file at `path` as a `model`; `example` is where the fields are told. Raises `Refused`."""
    value, _ = read_mapping(path, "settings", f"compare with {example}")
    return as_model(value, model, str(path), example)


def as_model(value: Any, model: type[Model], place: str, example: str) -> Model:
    """`value`, which is from `place`, as a `model`. Raises `Refused`, naming the first field at fault."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise _refusal(error, model, place, example) from None


def _refusal(error: ValidationError, model: type[BaseModel], place: str, example: str) -> Refused:
    first = error.errors()[0]
    where = [str(part) for part in first["loc"]]
    field = ".".join(where) or "as a whole"
    if first["type"] == "extra_forbidden":
        hint = did_you_mean(where[-1], _fields_at(model, where[:-1]))
        return Refused(f"{place}: {field}: unknown field", hint)
    if first["type"] == "missing":
        return Refused(f"{place}: {field} is not set", f"set it; compare with {example}")
    said = str(first["msg"]).removeprefix("Value error, ")
    return Refused(f"{place}: {field}: {said}", f"it is {first['input']!r:.80} now")


def _fields_at(model: type[BaseModel], path: list[str]) -> list[str]:
    """The fields of the model that is at `path` inside of `model`; of the last one on the way that is a model."""
    for name in path:
        field = model.model_fields.get(name)
        model = next(_models(field.annotation), model) if field else model
    return list(model.model_fields)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models that an annotation is, or has among its alternatives."""
    for each in get_args(annotation) or (annotation,):
        if isinstance(each, type) and issubclass(each, BaseModel):
            yield each


def as_yaml(*documents: Any) -> str:
    """Texts of several lines stay texts of several lines, so that a ConfigMap can be read; what can't be shown is an
    escape."""
    import yaml

    class Dumper(yaml.SafeDumper):
        pass

    Dumper.add_representer(str, _text)

    def dumped(*, allow_unicode: bool) -> str:
        text: str = yaml.dump_all(
            documents, Dumper=Dumper, sort_keys=False, allow_unicode=allow_unicode, width=10**6
        )
        return text

    text = dumped(allow_unicode=True)
    return text if printable(text) == text else dumped(allow_unicode=False)


def _text(dumper: Any, text: str) -> Any:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)
