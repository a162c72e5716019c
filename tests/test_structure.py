"""Abstract or final classes, arrows between folders that point one way, names of one system in its folder alone,
imports without side effects."""

import ast
import importlib
import inspect
import os
import pkgutil
import re
import shutil
import subprocess
import sys
from pathlib import Path

import equinox as eqx
import pytest

import qernel

SOURCE = Path(qernel.__file__).parent

# What each part imports of qernel, besides itself: only parts that stand above it here. Edit with care.
ARROWS = """
__init__:
lattice:
units:
precision:
propagation: precision
parameters:
compilation:
hosts:
chunks: compilation hosts
hamiltonian: lattice parameters
layers: parameters precision propagation
orbitals: lattice propagation parameters layers
mean_field: lattice hamiltonian orbitals
exact: lattice hamiltonian orbitals mean_field
ansatz: lattice precision propagation hamiltonian layers orbitals
laplacian: propagation orbitals ansatz
gradient: chunks hamiltonian ansatz laplacian
sampling: compilation chunks lattice hamiltonian
optimise: compilation
observables: lattice units compilation hamiltonian ansatz
check: compilation hamiltonian ansatz laplacian gradient sampling observables
training: lattice compilation hosts chunks hamiltonian layers ansatz laplacian gradient sampling optimise
training: observables
evaluation: units compilation hosts chunks hamiltonian ansatz laplacian gradient sampling observables
systems: lattice units hamiltonian layers orbitals mean_field exact sampling observables evaluation
judgement: observables training evaluation
run_directory: hosts hamiltonian layers ansatz laplacian observables check training evaluation systems
presets: chunks precision hamiltonian layers ansatz laplacian sampling optimise training systems run_directory
plotting: lattice observables training evaluation judgement run_directory
studies: hamiltonian ansatz observables training evaluation systems judgement run_directory presets plotting
report: precision observables training evaluation judgement run_directory presets plotting
runs: lattice hosts hamiltonian ansatz observables training evaluation systems judgement run_directory presets
runs: plotting studies report
cli: lattice hosts hamiltonian check evaluation run_directory presets plotting studies report runs
__main__: cli
"""


def arrows():
    allowed = {}
    for line in ARROWS.split("\n"):
        name, colon, targets = line.partition(":")
        if colon:
            allowed.setdefault(name, set()).update(targets.split())
    return allowed


ALLOWED = arrows()


def part(path):
    """The folder (or single module) of qernel that a file belongs to."""
    relative = path.relative_to(SOURCE)
    return relative.parts[0].removesuffix(".py")


FILES = sorted(SOURCE.rglob("*.py"))
PARTS = sorted({part(path) for path in FILES})


def imported_parts(path):
    """The parts of qernel that a file imports, anywhere in it, by absolute or relative imports."""
    package = ["qernel", *path.relative_to(SOURCE).parts[:-1]]
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            targets = [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            base = base + (node.module.split(".") if node.module else [])
            targets = [base + [alias.name] for alias in node.names]
        else:
            continue
        # `from qernel import __version__` imports no part
        found |= {t[1] for t in targets if t[0] == "qernel" and len(t) > 1 and t[1] in PARTS}
    return found


# ------------------------------------------------------------------------------- abstract or final


def package_modules():
    names = [info.name for info in pkgutil.walk_packages(qernel.__path__, "qernel.")]
    return [importlib.import_module(name) for name in names if not name.endswith("__main__")]


def own_module_classes():
    classes = {
        value
        for module in package_modules()
        for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, eqx.Module) and value.__module__.split(".")[0] == "qernel"
    }
    return sorted(classes, key=lambda c: (c.__module__, c.__qualname__))


def is_abstract(cls):
    return (
        bool(getattr(cls, "__abstractmethods__", ()))
        or bool(getattr(cls, "__abstractvars__", ()))
        or cls.__name__.startswith(("Abstract", "_Abstract"))
    )


def own(cls):
    return cls.__module__.split(".")[0] == "qernel"


def test_every_module_is_abstract_or_final():
    classes = own_module_classes()
    assert classes
    # subclasses made by tests or by jaxtyping do not count
    wrong = [
        f"{cls.__qualname__} is concrete and has the subclass {sub.__qualname__}"
        for cls in classes
        if not is_abstract(cls)
        for sub in cls.__subclasses__()
        if own(sub)
    ]
    assert not wrong, "\n".join(wrong)


def test_no_concrete_method_is_overridden():
    wrong = []
    for cls in own_module_classes():
        for base in cls.__mro__[1:]:
            if not own(base):
                continue
            for name, member in vars(base).items():
                function = getattr(member, "fget", None) or getattr(member, "__func__", member)
                concrete = callable(function) and not getattr(function, "__isabstractmethod__", False)
                # a dataclass writes these by itself
                generated = name in {"__init__", "__repr__", "__eq__", "__hash__", "__replace__"}
                if concrete and not generated and not inspect.isclass(function) and name in vars(cls):
                    if vars(cls)[name] is not member and not name.startswith("__dataclass"):
                        wrong.append(f"{cls.__qualname__}.{name} overrides {base.__qualname__}.{name}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_no_super(path):
    calls = [
        node.lineno
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "super"
    ]
    assert not calls, f"super() in lines {calls}: wrap instead of subclassing"


# ------------------------------------------------------------------------------- arrows


def test_every_part_is_placed():
    assert set(PARTS) == set(ALLOWED), "say in ARROWS what the new part imports"


@pytest.mark.parametrize("name", PARTS)
def test_arrows_point_one_way(name):
    for path in FILES:
        if part(path) == name:
            wrong = imported_parts(path) - ALLOWED[name] - {name}
            assert not wrong, f"{path.relative_to(SOURCE)} imports {sorted(wrong)}"


@pytest.mark.parametrize("name", PARTS)
def test_every_arrow_is_used(name):
    used = set().union(*(imported_parts(path) for path in FILES if part(path) == name))
    assert not ALLOWED[name] - used, f"{name} no longer imports {sorted(ALLOWED[name] - used)}: take the arrow out"


def test_the_arrows_have_no_cycle():
    """Each part imports only parts that are listed before it."""
    listed = list(ALLOWED)
    for number, (name, targets) in enumerate(ALLOWED.items()):
        assert targets <= set(listed[:number]), (
            f"{name} imports {sorted(targets - set(listed[:number]))} listed below it"
        )


# ------------------------------------------------------------------------------- sizes


def functions():
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                first = node.body[0]
                text = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
                docstring = first.end_lineno - first.lineno + 1 if text else 0
                yield f"{path.relative_to(SOURCE)}: {node.name}", node.end_lineno - node.lineno + 1 - docstring


def test_no_function_is_long():
    long = {name: lines for name, lines in functions() if lines > 100}
    assert not long, f"more than 100 lines without the docstring: {long}"


def test_no_folder_is_full():
    full = {str(folder): len(list(folder.glob("*.py"))) for folder in {path.parent for path in FILES}}
    assert max(full.values()) <= 25, {name: count for name, count in full.items() if count > 25}


# ------------------------------------------------------------------------------- systems

GENERAL = "training observables evaluation judgement run_directory runs studies plotting report cli".split()
ONE_SYSTEM = re.compile(r"moir|depth|\bmev\b|liquid|crystal|S\(K\)", re.IGNORECASE)


@pytest.mark.parametrize("name", GENERAL)
def test_no_name_of_one_system_outside_of_its_folder(name):
    """In code, comments, docstrings and templates of the parts that are there for all systems."""
    texts = [path for path in (SOURCE / name).rglob("*") if path.suffix in (".py", ".jinja", ".css", ".js", ".html")]
    assert texts
    found = [
        f"{path.relative_to(SOURCE)}:{number}: {line.strip()}"
        for path in texts
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if ONE_SYSTEM.search(line)
    ]
    assert not found, "\n".join(found)


def system_folders():
    return sorted(path.name for path in (SOURCE / "systems").iterdir() if (path / "__init__.py").is_file())


def test_nothing_imports_one_system():
    """Systems are found by looking: what is shipped may be imported by scripts alone."""
    folders = system_folders()
    assert len(folders) >= 2
    for path in FILES:
        inside = path.relative_to(SOURCE).parts[1:-1][:1] if part(path) == "systems" else ()
        for name in folders:
            if (name,) != inside:
                assert f"systems.{name}" not in path.read_text(), (
                    f"{path.relative_to(SOURCE)} imports the system {name}"
                )


def test_a_study_is_one_folder():
    """Its run, its analysis and its figure; no other study knows it, and in the library only who offers it by name."""
    folders = sorted(path.parent.name for path in (SOURCE / "studies").glob("*/__init__.py"))
    assert len(folders) >= 3
    for path in FILES:
        inside = path.relative_to(SOURCE).parts[1:-1][:1] if part(path) == "studies" else ()
        for name in folders:
            # In code: a docstring may well point to another one.
            lines = [line for line in path.read_text().splitlines() if re.match(r"\s*(from|import) ", line)]
            if re.search(rf"studies(\.| import .*\b){name}\b|from \.\.{name}\b", "\n".join(lines)):
                assert inside == (name,) or part(path) in ("runs", "cli"), f"{path} imports the study {name}"


WELL = '''
# --8<-- [start:well]
"""Electrons in a Gaussian well."""

from typing import Any, ClassVar, Literal

import jax.numpy as jnp

from qernel.hamiltonian import AbstractPotential, Boundary, Coordinate, Family, Hamiltonian, Kinetic
from qernel.layers import OpenEmbedding
from qernel.orbitals import HarmonicOrbitals, harmonic_levels
from qernel.systems import Phase, System, SystemSection, Values


class Well(AbstractPotential):
    boundary: ClassVar[Boundary] = "open"

    def __call__(self, r, parameters):
        return -parameters["bottom"].astype(r.dtype) * jnp.sum(jnp.exp(-jnp.sum(r**2, axis=1) / 8))


class SECTION(SystemSection):
    name: Literal["well"] = "well"
    electrons: tuple[int, int] = (3, 0)
    bottoms: Values = (6.0, 8.0)
    references: ClassVar = ("bowl",)
    summary: ClassVar = "electrons in a well"

    def system(self):
        bottom = Coordinate("bottom", "bottom", symbol="B", linear=True)
        hamiltonian = Hamiltonian(Kinetic(), {"well": Well()}, self.electrons, dim=2)
        family = Family.of(hamiltonian, {"bottom": 1.0}, (bottom,), list(self.bottoms))
        orbitals = HarmonicOrbitals(harmonic_levels((1.0, 1.0), 3), 1.0)
        return System("well", family, phases=(Phase("bowl", lambda dtype, solve: orbitals),), walkers=1.0)

    def at(self, points: Any):
        return self.model_copy(update={"bottoms": tuple(sorted(float(b) for (b,) in points))})

    def blocks(self, system: System, features: Any):
        return {"embedding": OpenEmbedding(2, 1.0, harmonics=features.feature_shells), "pair": None}
        # --8<-- [end:well]
'''

CONFIGURATION = """
[system]
name = "well"
[ansatz]
width = 8
layers = 1
experts = 2
determinants = 1
head_size = 4
condition_size = 4
expert_width = 8
feature_shells = 1
[sampling]
walkers = 8
moves = 2
burn_in = 1
[training]
steps = 2
[evaluation]
at = { bottom = [6, 7, 8] }
walkers = 8
moves = 2
rounds = 4
burn_in = 1
"""


def test_a_system_more_is_one_folder_more(tmp_path):
    """A copy of the package with a folder in `systems` trains, measures, draws and reports it on the command line."""
    package = tmp_path / "library" / "qernel"
    shutil.copytree(SOURCE, package, ignore=shutil.ignore_patterns("__pycache__"))
    (package / "systems" / "well").mkdir()
    (package / "systems" / "well" / "__init__.py").write_text(WELL)
    (tmp_path / "well.toml").write_text(CONFIGURATION)
    environment = os.environ | {"PYTHONPATH": str(package.parent), "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    program = """
import qernel, sys
from qernel.cli import main
assert qernel.__file__.startswith(sys.argv[1]), qernel.__file__
for arguments in (["run", "well.toml", "--out", "run"], ["report", "run"]):
    try:
        main(arguments)
    except SystemExit as stopped:
        assert not stopped.code, arguments
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "B = 6 to 8" in done.stdout
    rows = (tmp_path / "run" / "results.csv").read_text().splitlines()
    # Two were trained, and one between was measured as well.
    assert rows[0].startswith("bottom,energy,") and [row.split(",")[0] for row in rows[1:]] == ["6", "7", "8"]
    assert (tmp_path / "run" / "figures" / "energy.png").is_file()
    assert "well" in (tmp_path / "run" / "report.html").read_text()


# ------------------------------------------------------------------------------- imports

IMPORT_ALL = """
import importlib, os, sys
import jax
def settings():
    values = {name: getattr(jax.config, name) for name in jax.config.values if hasattr(jax.config, name)}
    return {"environment": dict(os.environ), **values}
before = settings()
for setting in ("jax_enable_x64", "jax_default_matmul_precision", "jax_numpy_dtype_promotion"):
    assert setting in before, f"{setting} is no longer a setting of JAX: mend this test"
from jax._src import xla_bridge
for name in sys.argv[1:]:
    importlib.import_module(name)
    assert not xla_bridge._backends, f"importing {name} started the backends {list(xla_bridge._backends)}"
after = settings()
changed = sorted(name for name in before if before[name] != after[name])
assert not changed, f"importing changed {changed}"
heavy = sorted({name.split(".")[0] for name in sys.modules} & {"orbax", "matplotlib", "jinja2"})
assert not heavy, f"importing loaded {heavy}"
"""


def test_importing_has_no_side_effects(tmp_path):
    """No setting of JAX, no device, no file, no environment, and nothing slow that is not needed."""
    names = ["qernel", *(f"qernel.{name}" for name in PARTS if not name.startswith("_"))]
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL, *names], capture_output=True, text=True, cwd=tmp_path, timeout=120
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert not list(tmp_path.iterdir()), "importing wrote files"
