"""Configurations and command lines that nobody meant, by the thousand: a sentence comes out, and soon.

`QERNEL_FUZZ_EXAMPLES=3000 pytest -n 0 --timeout 0 tests/faults/test_configurations.py` tries so many of each kind,
other ones each time; without the variable it is a few, and always the same."""

import contextlib
import datetime
import io
import os
import tempfile
import time
from pathlib import Path

import pytest
import tomli_w
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qernel.cli import main
from qernel.presets import ConfigurationError, check_memory, load, parse, preset_names, to_toml
from qernel.presets._explain import known_keys
from qernel.presets._load import preset_text

EXAMPLES = int(os.environ.get("QERNEL_FUZZ_EXAMPLES", "0"))
# A program that thinks longer than this about what it refuses has no end, as far as a user can tell; the machine of the
# tests may be busy.
SECONDS = 20

fuzz = settings(
    max_examples=EXAMPLES or 75,
    derandomize=not EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
    print_blob=True,
)

TEXTS = [preset_text(name) for name in preset_names()]
KEYS = sorted(
    {*known_keys("moire"), *known_keys("trap"), "description", "evaluation.at.depth_meV", "evaluation.at.kappa"}
)

# What breaks parsers, and numbers at the edges of 16, 31, 32, 63 and 64 bits, of float32 and of float64.
TOKENS = """[ ] [[ ]] { } = == . , # ' \" ''' \"\"\" \\ \\u0000 \\ud800 nan inf -inf 1e400 -1e400 1e-400 0x
0b2 1_ _1 00 -0 [a.b.c] [system] [[system]] system=1 system.name=1 name='trap' true false 1979-05-27 07:32:00
1979-05-27T07:32:00Z electrons depths_meV points [evaluation.at] provenance=1""".split()
TOKENS += [
    "[" * 3000,
    "{a=" * 3000,
    "a." * 3000 + "a=1",
    "9" * 400,
    "9" * 5000,
    "\x00",
    "\x1b[31m",
    "\ufeff",
    "\u202e",
    "\r",
    "\n",
]
WHOLE = [0, 1, 2, 3, 7] + [
    s * (2**n + d) for n in (7, 8, 15, 16, 31, 32, 53, 63, 64, 128, 2000) for d in (-1, 0, 1) for s in (1, -1)
]

whole = st.sampled_from(WHOLE) | st.integers()
real = st.floats() | st.sampled_from([1e-320, 1e-16, 1e15, 1e16, 3.5e38, 1e300, -0.0, 2.5])
words = st.text(max_size=12) | st.sampled_from(
    [
        "moire",
        "trap",
        "liquid",
        "crystal",
        "gaussians",
        "plane_waves",
        "auto",
        "separate",
        "filling_2_1",
        "[red]x[/b]",
        "",
    ]
)
scalars = st.booleans() | whole | real | words | st.just(datetime.date(2020, 1, 1))
# A long list of its own: no strategy draws thousands of numbers one by one.
lists = st.lists(scalars, max_size=4) | st.integers(0, 20_000).map(lambda n: [float(i) for i in range(n)])
values = (
    st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=2)) | lists
)
keys = st.sampled_from(KEYS) | st.text(max_size=20) | st.sampled_from(KEYS).map(lambda key: key[:-1] + "é")


@st.composite
def bytes_of_files(draw):
    """A preset with its bytes changed, cut, doubled and moved, in some encoding."""
    text = draw(st.sampled_from([*TEXTS, ""]))
    for _ in range(draw(st.integers(0, 4))):
        i, j = sorted(draw(st.tuples(st.integers(0, len(text)), st.integers(0, len(text)))))
        kind = draw(st.sampled_from(["cut", "twice", "put", "put", "end"]))
        put = draw(st.sampled_from(TOKENS) | st.text(max_size=5)) if kind == "put" else ""
        text = {
            "cut": text[:i] + text[j:],
            "twice": text[:j] + text[i:],
            "put": text[:i] + put + text[i:],
            "end": text[:i],
        }[kind]
    encoding = draw(st.sampled_from(["utf-8"] * 4 + ["utf-8-sig", "latin-1", "utf-16", "utf-16-le", "utf-32", "cp037"]))
    data = bytearray(text.encode(encoding, errors="replace"))
    for place, byte in draw(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=2)):
        if data:
            data[place % len(data)] = byte
    return bytes(data)


@st.composite
def tables(draw):
    """A preset with other values, keys and sections, as TOML."""
    import tomllib

    table = tomllib.loads(draw(st.sampled_from(TEXTS)))
    for _ in range(draw(st.integers(1, 3))):
        *sections, name = draw(keys).split(".")
        inner = table
        for section in sections:
            inner = inner.setdefault(section, {})
            if not isinstance(inner, dict):
                inner = {}
        if draw(st.integers(0, 9)) == 0:
            inner.pop(name, None)
        else:
            inner[name] = draw(values)
    return table


settings_typed = st.tuples(keys, scalars | st.sampled_from(TOKENS)).map(
    lambda pair: f"{pair[0]}={pair[1]}"
) | st.sampled_from(["=", "steps", "=3", "steps==", "a" * 5000 + "=1", "system.depths_meV=[" + "1," * 5000 + "2]"])


def sentence(text):
    """A message that a person can read: one line, not empty, not endless, with nothing that moves the cursor."""
    assert text.strip() and len(text) < 3000 and "\n" not in text.strip(), text
    assert all(c.isprintable() for c in text.strip()), text
    assert "Traceback" not in text and "this is a mistake in qernel" not in text, text


@contextlib.contextmanager
def bounded():
    begin = time.monotonic()
    yield
    assert time.monotonic() - begin < SECONDS


def loaded(source, overrides=()):
    """The configuration, None if it was refused as it should be."""
    try:
        return load(source, overrides)
    except ConfigurationError as error:
        sentence(str(error))


def usable(config):
    """A configuration that was accepted is one: its file says the same, its system is made or refused in words."""
    assert parse(to_toml(config)) == config
    try:
        check_memory(config, config.system.system(), available=2**34)
    except ValueError as error:
        # The command line shortens what repeats long lists.
        sentence(str(error)[:2000])


@pytest.fixture(scope="module")
def folder():
    with tempfile.TemporaryDirectory() as path:
        yield Path(path)


@fuzz
@given(bytes_of_files())
def test_files_of_any_bytes(folder, data):
    path = folder / "any.toml"
    path.write_bytes(data)
    with bounded():
        config = loaded(path)
    assert config is None or parse(to_toml(config)) == config


@fuzz
@given(tables(), st.lists(settings_typed, max_size=2))
def test_tables_of_any_values(folder, table, overrides):
    path = folder / "table.toml"
    try:
        path.write_text(tomli_w.dumps(table), encoding="utf-8")
    except (UnicodeEncodeError, ValueError):
        # Half a character, which no file of TOML can hold; or a number that Python does not write.
        return
    with bounded():
        config = loaded(path, overrides)
        if config is not None:
            usable(config)


@fuzz
@given(st.sampled_from(preset_names()), st.lists(settings_typed, min_size=1, max_size=3))
def test_overrides_of_any_form(name, overrides):
    with bounded():
        config = loaded(name, overrides)
        if config is not None:
            usable(config)


# ------------------------------------------------------------------------------- the whole command

NOWHERE = ["evaluate", "resume", "transition", "plot", "report", "doctor"]
OPTIONS = [
    "--at",
    "--out",
    "--seeds",
    "--steps",
    "--only",
    "--points",
    "--resolution",
    "--sizes",
    "--from",
    "-x",
    "--",
    "-h",
]
free = st.text(st.characters(exclude_characters="\x00"), max_size=15) | settings_typed | scalars.map(str)
odd = st.sampled_from(
    [
        "kappa=1,2",
        "kappa=nan",
        "omega_y=" + "1," * 300 + "1,omega_x=" + "1," * 300 + "1",
        "9" * 30,
        "[[1,0],[0,1]]",
        "é/[b]:cat:",
        "\udcff",
    ]
)

# A traceback that is asked for, and what outlives the command: hypothesis tries words of the source, too.
ASKED_FOR = ("--traceback", "--distributed", "--compilation-cache")


@st.composite
def command_lines(draw):
    """A command line that trains nothing: its directory is not there, or its last setting is wrong."""
    given = draw(
        st.lists(st.tuples(st.sampled_from(OPTIONS), free | odd).map(list) | free.map(lambda x: [x]), max_size=4)
    )
    rest = [word for words in given for word in words if not word.startswith(ASKED_FOR)]
    command = draw(st.sampled_from([*NOWHERE, "run", "ablate", "scaling", "presets", "nonsense"]))
    if command in NOWHERE:
        return [command, "nowhere/" + draw(free).replace("\x00", ""), *rest]
    if command in ("run", "ablate", "scaling"):
        # In front, where no option takes it for its value.
        return [command, "training.steps=-1", *rest]
    return [command, *rest]


@fuzz
@given(command_lines())
def test_command_lines_of_any_words(folder, words):
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
    before = os.getcwd()
    os.chdir(folder)
    try:
        with (
            bounded(),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            pytest.raises(SystemExit) as stop,
        ):
            main(words)
    finally:
        os.chdir(before)
    said = []
    for stream in (out, err):
        stream.flush()
        said.append(stream.buffer.getvalue().decode())
    assert "Traceback" not in "".join(said) and "this is a mistake in qernel" not in "".join(said)
    # Only those that train nothing end well: `presets`, and what asks for help.
    if stop.value.code in (0, None):
        assert words[0] == "presets" or "Usage" in said[0]
        return
    assert stop.value.code == 2, said
    last = said[1].strip().splitlines()[-1]
    assert last.startswith(("error: ", "Error: ")) or "Usage" in said[1], said
    if last.startswith("error: "):
        sentence(said[1])
