"""The parameters of Python functions, read from source: importing a module would run it before approval."""

from __future__ import annotations

import ast
import sys
from dataclasses import dataclass
from importlib.util import decode_source
from pathlib import Path
from typing import TYPE_CHECKING

from chaosext.model.files import read_file

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from importlib.machinery import ModuleSpec

GIVEN = frozenset({"configuration", "secrets"})
"""Arguments that Chaos Toolkit passes to functions that take them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """The names of a function's parameters. `takes_all`: it has `**kwargs`."""

    required: frozenset[str]
    known: frozenset[str]
    takes_all: bool

    def misfit(self, arguments: Collection[str]) -> str:
        """Return what does not fit, in words; "" if everything does."""
        given = set(arguments)
        if missing := self.required - given - GIVEN:
            return f"required argument {', '.join(sorted(missing))} is missing"
        beyond = given - self.known
        return f"it takes no argument {', '.join(sorted(beyond))}" if beyond and not self.takes_all else ""


def misfit(module: str, func: str, arguments: Collection[str]) -> str:
    """Return why `func` of `module` can't be called with these arguments, in words; "" if no reason is known.

    What the source does not show (a module in C, a decorator, an imported name) counts as fitting.
    """
    try:
        source = _source(module)
        found = _function(source, func) if source is not None else None
    except ModuleNotFoundError:
        return f"no Python module {module!r}"
    except AttributeError:
        return f"the Python module {module!r} does not expose a function called {func!r}"
    except (SyntaxError, ValueError, RecursionError) as error:
        return f"the Python module {module!r} can't be read ({type(error).__name__})"
    return found.misfit(arguments) if found else ""


def _source(module: str) -> str | None:
    """Return a module's source; None if it has none that can be read. Raises ModuleNotFoundError."""
    loaded = sys.modules.get(module)  # such as os.path, which is not a module in a package
    spec = getattr(loaded, "__spec__", None) if loaded else _spec(module)
    if spec is None and loaded is None:
        raise ModuleNotFoundError(module)
    if spec is None:
        return None
    read = getattr(spec.loader, "get_source", None)
    try:
        if read:
            source: str | None = read(spec.name)
            return source
        is_python = spec.has_location and str(spec.origin).endswith(".py")  # for a loader without get_source
        return decode_source(read_file(Path(str(spec.origin)))) if is_python else None
    except (ImportError, OSError):
        return None


def _spec(module: str) -> ModuleSpec | None:
    """As importlib.util.find_spec, which would import the packages that contain the module."""
    parts, path, spec = module.split("."), None, None
    if not all(part.isidentifier() for part in parts):
        return None
    for count in range(1, len(parts) + 1):
        name = ".".join(parts[:count])
        finders = [finder for finder in sys.meta_path if hasattr(finder, "find_spec")]
        found = [spec for finder in finders if (spec := finder.find_spec(name, path))]
        if not found:
            return None
        spec = next((each for each in found if hasattr(each.loader, "get_source")), found[0])
        path = spec.submodule_search_locations or []
    return spec


def _function(source: str, name: str) -> Signature | None:
    """Return the signature of the function `name`; None if the source does not show what the name refers to.

    Raises AttributeError if nothing has that name, and SyntaxError.
    """
    tree = ast.parse(source)
    found = [node for node in _outside_functions(tree) if _binds(node, name)]
    if not found:
        if any(_binds(node, "*") or _binds(node, "__getattr__") for node in _outside_functions(tree)):
            return None
        raise AttributeError(name)
    (*others, last) = found
    is_plain = isinstance(last, ast.FunctionDef) and not last.decorator_list and not others
    return _signature(last.args) if is_plain and isinstance(last, ast.FunctionDef) else None


def _outside_functions(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield every node that runs when the module is imported, in the module's own namespace."""
    for node in ast.iter_child_nodes(tree):
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            yield from _outside_functions(node)


def _binds(node: ast.AST, name: str) -> bool:
    """Return whether a statement binds the name (`*`: names that are not visible there)."""
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            return node.name == name
        case ast.Name(ctx=ast.Store()):
            return node.id == name
        case ast.alias():
            return (node.asname or node.name.partition(".")[0]) == name
    return False


def _signature(arguments: ast.arguments) -> Signature | None:
    if arguments.posonlyargs:
        return None
    plain, only = [each.arg for each in arguments.args], [each.arg for each in arguments.kwonlyargs]
    required = plain[: len(plain) - len(arguments.defaults)]
    required += [name for name, default in zip(only, arguments.kw_defaults, strict=True) if default is None]
    return Signature(
        required=frozenset(required), known=frozenset([*plain, *only]), takes_all=arguments.kwarg is not None
    )
