"""The documentation cannot drift: keys and defaults, messages, commands, code, a page for every package."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

import qernel
from qernel.presets import Config, preset, preset_names
from qernel.systems import system_names, system_section

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
SOURCE = Path(qernel.__file__).parent
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]


def test_every_configuration_key_is_documented_with_its_default():
    documented, section = {}, None
    for line in (DOCS / "configuration.md").read_text().splitlines():
        if heading := re.match(r"## `\[system\]` with `name = \"(\w+)\"`$", line):
            section = f"system {heading[1]}"
        elif heading := re.match(r"## (?:`\[(\w+)\]`|Outside)", line):
            section = heading[1] or ""
        elif section is not None and (row := re.match(r"\| `(\w+)` \| `(.*?)` \| (.+) \|$", line)):
            documented[section, row[1]] = (row[2], row[3])
    expected = {}
    sections = {name: getattr(field.annotation, "model_fields", None) for name, field in Config.model_fields.items()}
    del sections["system"]
    sections |= {f"system {name}": system_section(name).model_fields for name in system_names()}
    for name, inner in sections.items():
        for key, value in (inner or {"": Config.model_fields[name]}).items():
            where = (name, key) if inner else ("", name)
            expected[where] = value.default
    assert documented.keys() == expected.keys()
    for where, default in expected.items():
        text, meaning = documented[where]
        value = tomllib.loads(f"value = {text}")["value"]
        assert value == as_toml(default), f"{where}: documented {text}, default {default}"
        assert type(value) is type(as_toml(default)) and len(meaning) > 5


def as_toml(value):
    return [as_toml(entry) for entry in value] if isinstance(value, tuple) else value


def test_every_preset_is_documented():
    text = (DOCS / "configuration.md").read_text()
    table = text.split("## Presets\n")[1].split("\n## ")[0]
    assert set(re.findall(r"^\| `([\w-]+)` \|", table, re.M)) == set(preset_names())


def test_every_system_has_a_page_with_its_presets():
    for name in system_names():
        text = (DOCS / "systems" / f"{name}.md").read_text()
        configurations = {known: preset(known) for known in preset_names()}
        of_it = {known: config for known, config in configurations.items() if config.system.name == name}
        assert of_it and set(of_it) <= set(re.findall(r"^\| `([\w-]+)` \|", text, re.M))
        coordinates = {coordinate for config in of_it.values() for coordinate in config.evaluation.at}
        assert coordinates and coordinates <= set(re.findall(r"`(\w+)`", text))


def test_the_table_of_what_has_to_be_touched_names_tests_that_exist():
    named = re.findall(r"`(test_\w+\.py)::(test_\w+)`", (DOCS / "architecture.md").read_text())
    assert len(named) > 10
    for file, test in named:
        assert f"def {test}(" in (ROOT / "tests" / file).read_text(), f"{file}::{test}"


def literal_texts():
    """Every string and f-string of the source, with `...` for what is filled in."""
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value
            elif isinstance(node, ast.JoinedStr):
                yield "".join(v.value if isinstance(v, ast.Constant) else "..." for v in node.values)


def test_troubleshooting_quotes_messages_that_exist():
    messages = re.findall(r"^## `(.*)`$", (DOCS / "troubleshooting.md").read_text(), re.M)
    assert len(messages) > 20
    texts = list(literal_texts())
    for message in messages:
        parts = [part.strip(" '():") for part in message.split("...")]
        longest = max(parts, key=len)
        assert len(longest) > 8
        assert any(longest in text for text in texts), f"no message of the source contains: {longest}"


def test_messages_are_in_order():
    messages = re.findall(r"^## `(.*)`$", (DOCS / "troubleshooting.md").read_text(), re.M)
    keys = [message.replace("...", "").strip(" :;.,()").lower() for message in messages]
    assert keys == sorted(keys)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_blocks_are_pieces_of_tested_examples(page):
    examples = [path.read_text() for path in sorted((ROOT / "examples").glob("*.py"))]
    for block in re.findall(r"^```python\n(.*?)^```", page.read_text(), re.S | re.M):
        included = re.fullmatch(r'--8<-- "(\S+):(\w+)"\n', block)
        if included:
            assert f"# --8<-- [start:{included[2]}]" in (ROOT / included[1]).read_text()
        else:
            assert any(block in example for example in examples), f"not in any example:\n{block}"


def test_every_public_package_has_a_page():
    modules = {path.stem for path in SOURCE.glob("[a-z]*.py")}
    packages = {path.parent.name for path in SOURCE.glob("*/__init__.py")} | modules
    pages = {path.stem for path in (DOCS / "api").glob("*.md")} - {"index"}
    assert pages == packages - {"cli"}


def test_readme_commands_do_everything():
    readme = (ROOT / "README.md").read_text()
    blocks = dict(re.findall(r"\[start:(\w+)\] -->\n```bash\n(.*?)\n```", readme, re.S))
    assert blocks["run"].startswith("python3 -m venv") and blocks["run"].endswith("qernel run")
    assert blocks["test"].startswith("python3 -m venv") and blocks["test"].endswith("pytest")
    commands = set(re.findall(r"^qernel (\w+)", blocks["commands"], re.M))
    from qernel.cli._main import app

    assert commands == {command.callback.__name__ for command in app.registered_commands}


def test_no_page_refers_outside_the_repository():
    for page in PAGES:
        text = page.read_text()
        assert not re.search(r"\.\./\.\./\.\.", text), page
        for target in re.findall(r"\]\(([^)#:]+?)(?:#[^)]*)?\)", text):
            path = (page.parent / target).resolve()
            assert path.is_relative_to(ROOT), f"{page.name}: {target}"
            assert path.exists() or path.parent == DOCS / "images", f"{page.name}: {target} does not exist"
