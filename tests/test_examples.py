"""The examples run, are as short as they claim, and do what they claim."""

import csv
import importlib
import os
import signal
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pytest

from qernel.ansatz import DifferentiableAnsatz, ProbedAnsatz
from qernel.check import check_ansatz, check_laplacian, laplacian_difference
from qernel.exact import filling_energy
from qernel.laplacian import ProbedLaplacian
from qernel.presets import load
from qernel.runs import Interrupted, Run, Settings
from qernel.systems.moire import Material, moire_family

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def example(monkeypatch):
    """Import an example by name, as a user's script would import its neighbours."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    return importlib.import_module


@pytest.fixture
def quick_to_compile():
    """A handful of steps needs no fast program, and a user's script runs with JAX's own promotion rules."""
    jax.config.update("jax_disable_most_optimizations", True)
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        yield
    jax.config.update("jax_disable_most_optimizations", False)


def lines(path, section=None):
    """Lines of code, comments and docstrings; blank lines and the markers of sections do not count."""
    text = path.read_text()
    if section is not None:
        text = text.split(f"[start:{section}]")[1].split(f"[end:{section}]")[0]
    return sum(bool(line.strip(" #-")) and "--8<--" not in line for line in text.splitlines())


@pytest.mark.parametrize(
    "name, section, most",
    [
        ("compose_ansatz", None, 60),
        ("own_system", None, 60),
        ("custom_potential", "potential", 15),
        ("custom_kernel", "kernel", 40),
    ],
)
def test_examples_are_short(name, section, most):
    assert lines(EXAMPLES / f"{name}.py", section) <= most


TINY = dict(measured_walkers=8, measured_moves=2, measured_rounds=4, measured_burn_in=1)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_an_ansatz_of_ones_own_trains(example, quick_to_compile, tmp_path, capsys):
    settings = Settings(steps=10, walkers=8, **TINY)
    run = example("compose_ansatz").main(tmp_path, depths=(0.0, 30.0), settings=settings)
    assert run.step == 10
    step, energies = capsys.readouterr().out.strip().splitlines()[-1].split(" ", 1)
    values = np.array(energies.split("]")[0].strip("[").split(), float)
    # Within a few meV of the exact energies from the start, thanks to the reference orbitals of both phases.
    assert step == "10" and np.all(np.abs(values - [-44.566, -92.561]) < 10)
    # Saved, measured with what the system knows, and drawn.
    head, *rows = (tmp_path / "results.csv").read_text().splitlines()
    assert head.startswith("depth_meV,energy,") and "structure_factor_K" in head and len(rows) == 2
    assert {"energy.png", "order.png", "density.png"} <= {path.name for path in (tmp_path / "figures").iterdir()}


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_run_is_used_in_a_script(example, quick_to_compile, tmp_path, capsys):
    path, module = tmp_path / "run", example("use_a_run")
    # Everywhere four points, so that all of it shares its programs.
    sizes = ["width=4", "ansatz.experts=1", "expert_width=4", "condition_size=4", "feature_shells=1", "pair_shells=1"]
    counts = ["sampling.walkers=8", "steps=2", "sampling.burn_in=2", "evaluation.walkers=8", "evaluation.moves=2"]
    other = ["system.kappa=[0.0, 0.1, 0.3, 0.5]", "evaluation.at={}", "evaluation.rounds=4", "evaluation.burn_in=1"]
    run = Run.configured(load("trap-1d", [*sizes, *counts, *other]), path)
    assert [step.number for step in run.train()] == [1, 2]
    psi = module.wavefunction(path)
    printed = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [float(line[0]) for line in printed] == [0.05, 0.15, 0.25]
    assert float(printed[1][1]) == pytest.approx(float(psi([[-1.2], [-0.4], [0.3], [1.1]], kappa=0.15).log_magnitude))
    table, finding = module.elsewhere(path, points=4, resolution=1.0)
    assert table["kappa"].values.tolist() == [0.08, 0.1, 0.12, 0.14]
    assert finding.kind in capsys.readouterr().out and (path / "figures" / "transition.png").is_file()
    assert not (path / "results.csv").exists() and (tmp_path / "run-elsewhere" / "results.csv").is_file()
    again = module.closer(path, steps=2)
    assert again.step == 2 and (again.path / "report.html").is_file()
    assert again.results["kappa"].values.tolist() == [0.08, 0.1, 0.12, 0.14]


def test_a_wavefunction_without_a_cell_trains(example, quick_to_compile, capsys):
    sizes = dict(width=8, layers=1, query_heads=2, key_value_heads=1, experts=2, determinants=1, condition_size=4)
    state, family, report = example("open_boundaries").main(steps=30, walkers=16, **sizes)
    assert int(state.step) == 30 and "exact" in capsys.readouterr().out
    found, sigma = report.statistics.energy, np.sqrt(report.statistics.variance)
    exact = filling_energy(((0, 0), (1, 0), (0, 1)), *(family.parameters[name] for name in ("frequencies", "kappa")))
    # From 0.5 at the start: the exact state is in the class.
    np.testing.assert_allclose(found, exact, atol=0.1)
    assert np.all(sigma < 0.2)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_atoms_with_two_electrons_train(example, quick_to_compile, capsys):
    """Twenty steps come near the energies of helium and of the lithium ion, -2.9037 and -7.2799 Ha."""
    module = example("two_electron_ions")
    sizes = {"width": 8, "layers": 1, "query_heads": 2, "key_value_heads": 1, "experts": 1, "determinants": 1}
    state, family, report = module.main(charges=(2.0, 3.0), steps=20, walkers=32, **sizes)
    energies = np.asarray(report.statistics.energy)
    assert np.all(np.isfinite(energies)) and np.all(np.abs(energies - [-2.9037, -7.2799]) < [0.6, 1.2])
    assert np.all(np.abs(np.asarray(state.ansatz.nuclear.log_range) - np.log(2.0)) > 1e-4)
    assert family.size == 2 and "20 [" in capsys.readouterr().out


def test_the_cusps_of_atoms_are_right(example, quick_to_compile):
    module = example("two_electron_ions")
    with jax.enable_x64(True):
        family = module.ions([2.0, 3.0])
        sizes = {"width": 8, "layers": 1, "query_heads": 2, "key_value_heads": 1, "experts": 1, "determinants": 1}
        ansatz = module.wavefunction(family, dtype=jnp.float64, precision="double", **sizes)
        report = check_ansatz(
            ansatz, family.hamiltonian, family.select(1), key=jax.random.key(0), walkers=16, rounds=10, scale=0.6
        )
    assert report.ok and "nuclear cusps" in str(report), str(report)


def test_a_system_of_ones_own_from_the_first_step_to_the_report(example, quick_to_compile, tmp_path, monkeypatch):
    """Trained, stopped by Ctrl-C, gone on with by the same call, measured, drawn and reported."""
    module, path, before = example("own_system"), tmp_path / "run", plt.get_fignums()
    shown = []

    def show(number, *rest, **options):
        shown.append(number or rest[0])
        if shown == [1, 2, 3]:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(module, "print", show, raising=False)
    settings = Settings(steps=8, walkers=32, burn_in=5, measured_walkers=32, measured_rounds=24, measured_burn_in=5)
    # Without a layer of attention and experts, for whose programs most of the time would go.
    sizes = dict(width=8, layers=0, determinants=2, condition_size=4)
    options = dict(heights=(0.0, 4.0), settings=settings, **sizes)
    with pytest.raises(Interrupted, match="stopped by SIGINT: saved step 4; continue with: Run.open"):
        module.main(path, **options)
    # The step under way when the signal came is finished, shown and saved.
    assert shown == [1, 2, 3, 4] and not (path / "results.csv").exists()
    run = module.main(path, **options)
    assert shown[:-1] == [1, 2, 3, 4, 5, 6, 7, 8] and "height" in shown[-1]
    with open(path / "metrics.csv") as file:
        steps = [int(row["step"]) for row in csv.DictReader(file)]
    assert steps == [step for step in range(1, 9) for _ in range(2)]
    with open(path / "results.csv") as file:
        rows = list(csv.DictReader(file))
    assert [row["height"] for row in rows] == ["0", "4"]
    # The barrier splits the pair.
    together, error = ([float(row[name]) for row in rows] for name in ("together", "together_error"))
    assert 0.2 < together[0] < 0.9 and together[1] < together[0] - 3 * max(error)
    profile = run.results["profile"]
    assert profile.dims == ("height", "across")
    np.testing.assert_allclose(profile.sum("across") * 0.2, 2, atol=0.05)
    # It is drawn each time on a canvas of its own.
    assert len(module.across_figure(run.results).axes[0].lines) == 2 and plt.get_fignums() == before
    figures = {file.stem for file in (path / "figures").glob("*.png")}
    assert {"energy", "observables", "density", "profile", "training"} <= figures
    report = (path / "report.html").read_text()
    assert all(words in report for words in ("double dot", "probability of both electrons on one side", "Profile."))
    again = Run.open(path, run.problem.system, run.problem.ansatz)
    assert again.step == 8
    r = np.array([[-1.0, 0.2], [1.0, 0.1]])
    assert np.isfinite(again.psi(r, height=2.0).log_magnitude) and again.psi(r, height=2.0) == run.psi(r, height=2.0)


@pytest.mark.filterwarnings("ignore:open shell")
def test_its_closed_derivatives_are_right(example, quick_to_compile):
    with jax.enable_x64(True):
        family = moire_family(Material(), 3, (6, 0), (0.0, 30.0))
        ansatz = example("own_derivatives").Faster(example("compose_ansatz").two_phases(family, width=8))
        assert isinstance(ansatz, DifferentiableAnsatz) and isinstance(ansatz, ProbedAnsatz)
        sites = jax.random.uniform(jax.random.key(0), (2, 6, 2))
        r = sites @ jnp.asarray(family.hamiltonian.cell.matrix)
        assert laplacian_difference(ansatz, family.select(1), r) < 1e-9
        # Random directions with the noise taken out: the same rules.
        probed = check_laplacian(ansatz, family.parameters, jnp.stack([r, r]), ProbedLaplacian())
        assert probed.difference < 1e-9


@pytest.mark.filterwarnings("ignore:open shell")
def test_the_checker_passes_it(example, quick_to_compile, capsys):
    report = example("check_own_ansatz").main(walkers=8, rounds=4)
    assert report.ok, str(report)
    assert "antisymmetry" in capsys.readouterr().out


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_potential_of_ones_own(example, quick_to_compile):
    table = example("custom_potential").main(
        steps=10, walkers=8, rounds=8, depths=(0.0, 0.2), width=8, layers=1, experts=2, determinants=1
    )
    pinning = table["pinning"].values
    assert pinning[0] == 0 and pinning[1] < 0
    # The potential is linear in its parameter, so that ⟨∂H/∂depth⟩ = ⟨V⟩ / depth.
    assert np.isclose(table["slope"].values[1], pinning[1] / 0.2)
    assert np.all(np.isfinite(table["energy"].values))


def gaussian(r, parameters):
    return -jnp.sum(r**2) / (2 * 1.5**2)


@pytest.mark.parametrize("target, exact", [("with_node", 1.5), (gaussian, 1.5**2)])
def test_a_kernel_of_ones_own_keeps_its_target(example, target, exact):
    module = example("custom_kernel")
    density = getattr(module, target) if isinstance(target, str) else target
    _, mean, error = module.main(rounds=200, walkers=512, log_density=density)
    assert error < 0.01 * exact
    assert abs(mean - exact) < 4 * error
