"""Abstract or final classes, arrows between folders that point one way, imports without side effects."""

import ast
import importlib
import inspect
import pkgutil
import subprocess
import sys
from pathlib import Path

import equinox as eqx
import pytest

import qernel

SOURCE = Path(qernel.__file__).parent

# What each part may import of qernel, besides itself. Arrows point one way; edit with care.
ALLOWED = {
    "__init__": set(),
    "compilation": set(),
    "hosts": set(),
    "precision": set(),
    "chunks": {"compilation", "hosts"},
    "propagation": {"precision"},
    "parameters": set(),
    "lattice": set(),
    "units": set(),
    "layers": {"parameters", "precision", "propagation"},
    "hamiltonian": {"lattice", "parameters", "units"},
    "orbitals": {"lattice", "parameters", "units", "layers", "propagation"},
    "ansatz": {"lattice", "units", "layers", "hamiltonian", "orbitals", "precision", "propagation"},
    "sampling": {"compilation", "chunks", "hamiltonian"},
    "laplacian": {"ansatz", "orbitals"},
    "gradient": {"compilation", "hosts", "ansatz", "chunks", "hamiltonian", "laplacian", "layers"},
    "check": {"compilation", "ansatz", "hamiltonian", "gradient", "laplacian", "observables", "sampling"},
    "mean_field": {"lattice", "hamiltonian", "orbitals"},
    "exact": {"hamiltonian", "orbitals", "mean_field"},
    "optimise": {"compilation"},
    "observables": {
        "chunks",
        "compilation",
        "hosts",
        "lattice",
        "units",
        "hamiltonian",
        "sampling",
        "laplacian",
        "gradient",
        "ansatz",
    },
    "training": {
        "chunks",
        "compilation",
        "hosts",
        "lattice",
        "units",
        "layers",
        "hamiltonian",
        "orbitals",
        "ansatz",
        "sampling",
        "laplacian",
        "gradient",
        "optimise",
        "observables",
    },
}
# The ends of the arrows: they may import everything, and nothing else imports them.
TOP = {"plotting", "presets", "report", "cli", "__main__"}


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
    assert set(PARTS) <= set(ALLOWED) | TOP, "say in ALLOWED what the new part may import"


@pytest.mark.parametrize("name", [name for name in PARTS if name not in TOP])
def test_arrows_point_one_way(name):
    for path in FILES:
        if part(path) == name:
            wrong = imported_parts(path) - ALLOWED.get(name, set()) - {name}
            assert not wrong, f"{path.relative_to(SOURCE)} imports {sorted(wrong)}"


def test_the_arrows_have_no_cycle():
    left = {name: set(targets) for name, targets in ALLOWED.items()}
    while left:
        free = [name for name, targets in left.items() if not targets & set(left)]
        assert free, f"a cycle among {sorted(left)}"
        for name in free:
            del left[name]


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
