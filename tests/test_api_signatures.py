"""The signatures on the API pages are those of the live objects.

The pages are made from the source, by griffe with the extension `docs/griffe_equinox.py`; nothing there is imported.
Here the same is loaded, for every module that a page names, and compared with what Python says.
"""

import ast
import functools
import importlib
import importlib.util
import inspect
import re
import sys
import types
from pathlib import Path

import griffe
import pytest
from pydantic import BaseModel

import qernel

ROOT = Path(__file__).parents[1]
MODULES = [
    m for page in sorted((ROOT / "docs/api").glob("*.md")) for m in re.findall(r"^::: (\S+)", page.read_text(), re.M)
]


def load(name, path):
    extensions = griffe.load_extensions(str(ROOT / "docs/griffe_equinox.py"))
    return griffe.load(name, extensions=extensions, search_paths=[str(path)], allow_inspection=False)


@pytest.fixture(scope="module")
def collection():
    return load("qernel", Path(qernel.__file__).parents[1]).modules_collection


def is_named(name):
    """Whether a page shows members of this name: the option `filters` of `mkdocs.yml`."""
    return not name.startswith("_") or name == "__call__"


def shown(module):
    """Classes, functions and attributes that the page of a module shows."""
    return {
        name: member
        for name, member in module.members.items()
        if is_named(name) and (not member.is_alias or member.is_public)
    }


def shown_signatures(module, live):
    """Of classes, methods and functions: name, what griffe shows, the live object, whether griffe's has a `self`."""
    for name, member in shown(module).items():
        if member.is_class:
            yield name, member.all_members.get("__init__"), getattr(live, name), True
            for method, function in member.members.items():
                if is_named(method) and function.is_function:
                    static = inspect.getattr_static(getattr(live, name), method)
                    bound = not isinstance(static, staticmethod)
                    called = static.__func__ if isinstance(static, classmethod | staticmethod) else static
                    yield f"{name}.{method}", function, called, bound
        elif member.is_function:
            yield name, member, getattr(live, name), False


def is_constructed(cls):
    """Whether users call a class, and not classes made from it, and with arguments that Python knows."""
    if inspect.isabstract(cls) or getattr(cls, "__abstractvars__", ()) or getattr(cls, "_is_protocol", False):
        return False
    if issubclass(cls, BaseModel) and not cls.model_fields:
        return False
    return not issubclass(cls, BaseException) or "__init__" in vars(cls)


def differences(module, live):
    """Sentences about what a page shows wrongly."""
    for name, function, called, bound in shown_signatures(module, live):
        if inspect.isclass(called) and not is_constructed(called):
            if function is not None:
                yield f"{name} cannot be called, and shows {function.signature()}"
            continue
        if function is None:
            yield f"{name} shows no constructor"
            continue
        for text in (function, *(function.overloads or ())):
            try:
                ast.parse(f"def {text.signature(name='shown')}: ...")
            except SyntaxError:
                yield f"{name} is not Python: {text.signature()}"
        parameters = list(function.parameters)[int(bound) :]
        # Of a class, Python leaves `self` out.
        expected = list(inspect.signature(called).parameters.values())[int(bound and not inspect.isclass(called)) :]
        if [described(p) for p in parameters] != [described(p) for p in expected]:
            yield f"{name} shows {function.signature()}, and is called {tuple(str(p) for p in expected)}"
            continue
        for ours, theirs in zip(parameters, expected, strict=True):
            if theirs.default is theirs.empty:
                continue
            try:
                value = ast.literal_eval(str(ours.default))
            except ValueError:
                # An expression with names, which may be private to another file.
                continue
            if value != theirs.default:
                yield f"{name} shows {ours.name} = {value}, and has {theirs.default}"


def described(parameter):
    """Name, kind and presence of a default, of griffe's parameter or Python's."""
    if isinstance(parameter, griffe.Parameter):
        variadic = parameter.kind.value.startswith("variadic")
        return parameter.name, parameter.kind.value, parameter.default is not None and not variadic
    return parameter.name, parameter.kind.description, parameter.default is not parameter.empty


def private_names(expression):
    return [name for name in re.findall(r"\w+", re.sub(r"'[^']*'|\"[^\"]*\"", "", str(expression))) if name[0] == "_"]


@pytest.mark.parametrize("name", MODULES)
def test_signatures_are_those_of_the_live_objects(collection, name):
    assert list(differences(collection[name], importlib.import_module(name))) == []


@pytest.mark.parametrize("name", MODULES)
def test_no_private_name_is_shown(collection, name):
    seen = []
    for path, function, *_ in shown_signatures(collection[name], importlib.import_module(name)):
        texts = [] if function is None else [(p.name, p.annotation, p.default) for p in function.parameters]
        seen += [f"{path}: {private}" for text in texts for part in text for private in private_names(part)]
        if function is not None and function.name != "__init__":
            seen += [f"{path}: {private}" for private in private_names(function.returns)]
    for path, member in shown(collection[name]).items():
        if member.is_class:
            seen += [f"{path}: {private}" for base in member.bases for private in private_names(base)]
    assert seen == []


@pytest.mark.parametrize("name", MODULES)
def test_everything_public_is_shown(collection, name):
    """What the module lists, and of its classes every public property and method with a definition of their own."""
    live = importlib.import_module(name)
    here = shown(collection[name])
    for path, value in vars(live).items():
        ours = getattr(value, "__module__", "").split(".")[0] == "qernel"
        if not path.startswith("_") and ours and (inspect.isclass(value) or inspect.isfunction(value)):
            is_imported = not hasattr(live, "__path__") and value.__module__ != name
            assert is_imported or path in here, path
    for path, member in here.items():
        assert hasattr(live, path), path
        if member.is_class:
            defined = (property, functools.cached_property, staticmethod, classmethod, types.FunctionType)
            public = {key for key, value in vars(getattr(live, path)).items() if isinstance(value, defined)}
            fields = set(getattr(getattr(live, path), "__dataclass_fields__", ()))
            assert {key for key in public - fields if is_named(key)} <= set(member.members), path


EXAMPLE = """
import abc
import dataclasses
from collections.abc import Sequence
from typing import ClassVar, NamedTuple, Protocol, overload

import equinox as eqx
from pydantic import BaseModel, Field

_SIZE = 3


def _tuple(value: Sequence[int]) -> tuple[int, ...]:
    return tuple(value)


class AbstractShape(eqx.Module):
    name: eqx.AbstractVar[str]
    width: int = eqx.field(static=True, kw_only=True, default=_SIZE)

    @abc.abstractmethod
    def area(self): ...


class Square(AbstractShape):
    corner: tuple[int, ...] = eqx.field(converter=_tuple)
    _cached: int = eqx.field(init=False)
    marks: tuple[int, ...] = (1, 2)
    known: ClassVar[int] = 1
    many: list[int] = dataclasses.field(default_factory=list)

    def __post_init__(self):
        self._cached = 1

    @property
    def name(self) -> str:
        return "square"

    def area(self, *, scale: float = 1.0, **others: int) -> float:
        return scale

    @staticmethod
    def at(x: int, /, y: int = 0, *rest: int) -> None: ...

    @classmethod
    def of(cls, x: int) -> None: ...

    @overload
    def grow(self, by: int) -> int: ...
    @overload
    def grow(self, by: str) -> str: ...
    def grow(self, by): ...


class Written(eqx.Module):
    size: int

    def __init__(self, sizes: Sequence[int], *, key=None):
        self.size = len(sizes)


class Again(eqx.Module):
    first: int
    second: int = 2


class Fieldless(eqx.Module):
    pass


class Row(NamedTuple):
    left: int
    right: int = 1

    @property
    def both(self) -> int:
        return self.left


@dataclasses.dataclass(frozen=True)
class Plain:
    left: int
    right: int = dataclasses.field(default=2, repr=False)
    _: dataclasses.KW_ONLY
    later: int
    total: int = dataclasses.field(init=False, default=0)


@dataclasses.dataclass(kw_only=True)
class Keywords:
    left: int = 1
    right: int


class Base(BaseModel):
    pass


class AbstractSection(Base, abc.ABC):
    @abc.abstractmethod
    def made(self): ...


class Section(Base):
    kind: str = "a"


class Settings(Section):
    count: int = Field(default=3, ge=1)
    size: int


class Callback(Protocol):
    def __call__(self, x: int) -> int: ...


class WrongError(ValueError):
    pass
"""


def test_every_way_to_make_a_constructor_is_read(tmp_path):
    (tmp_path / "example_api.py").write_text(EXAMPLE)
    specification = importlib.util.spec_from_file_location("example_api", tmp_path / "example_api.py")
    live = importlib.util.module_from_spec(specification)
    sys.modules["example_api"] = live
    try:
        specification.loader.exec_module(live)
        module = load("example_api", tmp_path)
        assert list(differences(module, live)) == []
    finally:
        del sys.modules["example_api"]
    square = module["Square.__init__"]
    assert square.signature(name="Square") == (
        "Square(corner: Sequence[int], marks: tuple[int, ...] = (1, 2), many: list[int] = list(), *, "
        "width: int = _SIZE) -> None"
    )
    assert "name" in module["Square"].members and "corner" not in module["Square"].members
    # And what is wrong is found: a class that griffe reads with an argument less, or a property for one more.
    parameters = list(square.parameters)
    for wrong in (parameters[:-1], [*parameters, griffe.Parameter("area", kind=parameters[1].kind)]):
        square.parameters = griffe.Parameters(*wrong)
        found = list(differences(module, live))
        assert found and all(sentence.startswith("Square ") for sentence in found)
