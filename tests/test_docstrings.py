"""Docstrings read alone: openings that refer to nothing outside, one dialect, arguments named, examples that run.

A folder is added here when its docstrings are of this kind.
"""

import ast
import importlib
import inspect
import io
import re
import tokenize
from pathlib import Path

import pytest

import qernel

SOURCE = Path(qernel.__file__).parent
FOLDERS = """
    evaluation gradient judgement laplacian lattice layers observables optimise propagation systems systems.moire
    systems.trap systems.dot systems.electron_gas
""".split()
# Words that refer to another sentence, or to another function; and equations, which are no sentence.
REFERRING = re.compile(r"(The same|What|As|How|That|Those|This|These|It|Its|Or|And|The inverse of `)\b|\$")
SECTIONS = {"Arguments", "Fields", "Shapes", "Returns", "Raises", "Warns", "Source", "Example"}
# Explained once, at `Linear`, for all layers.
OF_EVERY_LAYER = {"key", "dtype", "precision"}


def files(folder):
    return sorted((SOURCE / folder.replace(".", "/")).glob("*.py"))


def docstrings(folder):
    for path in files(folder):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and (text := ast.get_docstring(node)):
                yield f"{path.name}: {getattr(node, 'name', 'module')}", text


def public(folder):
    """(name, object, its docstring) of what a package exports and of the public members of its classes."""
    package = importlib.import_module(f"qernel.{folder}")
    for name, value in vars(package).items():
        if name.startswith("_") or not getattr(value, "__module__", "").startswith(f"qernel.{folder}."):
            continue
        yield name, value, value.__doc__
        if inspect.isclass(value):
            for member, attribute in vars(value).items():
                known = isinstance(attribute, property | staticmethod | classmethod) or inspect.isfunction(attribute)
                if known and not member.startswith("_") and member not in getattr(value, "__dataclass_fields__", ()):
                    # A method of a contract is explained there.
                    yield f"{name}.{member}", attribute, inspect.getdoc(getattr(value, member))


@pytest.mark.parametrize("folder", FOLDERS)
def test_docstrings_begin_with_something_that_stands_alone(folder):
    assert [where for where, text in docstrings(folder) if REFERRING.match(text)] == []


@pytest.mark.parametrize("folder", FOLDERS)
def test_comments_begin_with_something_that_stands_alone(folder):
    for path in files(folder):
        for token in tokenize.generate_tokens(io.StringIO(path.read_text()).readline):
            if token.type == tokenize.COMMENT:
                assert not re.match(r"#\s*([Tt]he same (of|as|with)|[Aa]s (those|that) of)\b", token.string), token


@pytest.mark.parametrize("folder", FOLDERS)
def test_sections_are_in_bold(folder):
    for where, text in docstrings(folder):
        headings = set(re.findall(r"^\s*\*\*(\w+):\*\*", text, re.M))
        assert headings <= SECTIONS, where
        assert not re.search(r"(?<!\*\*)\b(Raises|Returns|Arguments|Source)\b", text), where
        assert not re.search(r"\*\*(Raises|Returns|Arguments|Fields|Shapes|Source)\*\*", text), where


@pytest.mark.parametrize("folder", FOLDERS)
def test_everything_public_is_explained(folder):
    missing = []
    for name, value, text in public(folder):
        if not text or re.match(rf"{name}\(", text):
            missing.append(name)
        elif inspect.isclass(value) and not inspect.isabstract(value) and not getattr(value, "_is_protocol", False):
            arguments = set(inspect.signature(value).parameters) - OF_EVERY_LAYER
            missing += [f"{name}({argument})" for argument in arguments if f"`{argument}`" not in text]
    assert missing == []


@pytest.mark.parametrize("folder", FOLDERS)
def test_examples_in_docstrings_run(folder):
    for where, text in docstrings(folder):
        for example in re.findall(r"^```python\n(.*?)^```", text, re.S | re.M):
            exec(compile(example, where, "exec"), {})
