"""How far is a trained family of traps from its closed forms? `closed_forms.py DIR [DIR ...]`.

Reads what `qernel run trap-3 --out DIR` and `qernel transition DIR` left, and prints, as a table in Markdown,

- the error of the energy per electron, in ħω₀, of the lowest phase at the points where the wavefunction was trained and
  at those between them, mean and worst, with the worst one's own standard error;
- the relative distance of the measured boundaries from $Ω_a^* = -Σ_b Ω_b ΔQ_b / ΔQ_a$, mean and worst, with the mean
  half width of the band;
- the relative error of the fidelity susceptibility of the lowest phase along each coordinate, mean and worst, with the
  worst one's own standard error.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import jax
import numpy as np
import xarray

from qernel.evaluation import axes_of, ground_state, indexed, points_of
from qernel.exact import filling_boundary, filling_energy, filling_susceptibility
from qernel.judgement import PhaseBoundary, phase_boundaries
from qernel.run_directory import Problem
from qernel.runs import Run
from qernel.systems.trap import FREQUENCIES, filling_name, fillings_of, point_values

Filling = Sequence[Sequence[int]]


def main(path: str) -> None:
    run = Run.open(path)
    whole = run.problem.system.span or run.problem.system.family
    fillings = {filling_name(filling): filling for filling in fillings_of(whole)}
    electrons = whole.hamiltonian.n_electrons
    print(f"\n{path}: {electrons} electrons, {run.step} steps\n\n| | points | mean | worst | error bar of the worst |")
    print("|---|---|---|---|---|")

    scan = Path(path) / "transition.nc"
    for text, file in (("", Path(path) / "results.nc"), (" (scan)", scan)):
        if not file.exists():
            continue
        with xarray.open_dataset(file) as raw:
            data = indexed(raw.load())
        _energies(text, data, run.problem, fillings)
        for line in phase_boundaries(data):
            _boundary(text, line, run.problem, fillings)
        if file == scan:
            _susceptibilities(text, data, run.problem, fillings)


def _energies(text: str, data: xarray.Dataset, problem: Problem, fillings: Mapping[str, Filling]) -> None:
    rows = ground_state(data)
    chosen, omega, kappa = _values(rows, problem, fillings)
    electrons, points = problem.system.family.hamiltonian.n_electrons, points_of(rows)
    exact = np.array([filling_energy(f, o, k) for f, o, k in zip(chosen, omega, kappa, strict=True)]) / electrons
    error = rows["energy"].values - exact
    trained = np.any(np.all(np.isclose(points[:, None], problem.system.family.points), axis=-1), axis=1)
    for name, where in (("energy, trained points", trained), ("energy, points between", ~trained)):
        if where.any():
            _row(name + text, error[where], rows["energy_error"].values[where], "{:.1e}")


def _boundary(text: str, line: PhaseBoundary, problem: Problem, fillings: Mapping[str, Filling]) -> None:
    axis = FREQUENCIES.index(problem.system.family.coordinates[line.along].name)
    with jax.enable_x64(True):
        omega, kappa = point_values(problem.family_at(line.points))
    first, second = (fillings[name] for name in line.names)
    exact = filling_boundary(first, second, omega, kappa, axis=axis)
    relative, band = line.points[:, line.along] / exact - 1, line.error / exact
    _row(f"boundary {' / '.join(line.names)}{text}", relative, band, "{:.3%}")


def _susceptibilities(text: str, data: xarray.Dataset, problem: Problem, fillings: Mapping[str, Filling]) -> None:
    rows = ground_state(data)
    chosen, omega, kappa = _values(rows, problem, fillings)
    axes, names = axes_of(rows), [*FREQUENCIES[: omega.shape[1]], "kappa"]
    for axis in axes:
        along = np.eye(len(names))[names.index(axis.name)]
        column = "fidelity_susceptibility" + ("" if len(axes) == 1 else f"_{axis.name}")
        places = zip(chosen, omega, kappa, strict=True)
        exact = np.array([filling_susceptibility(f, o, k, along) for f, o, k in places])
        value, bar = rows[column].values / exact - 1, rows[f"{column}_error"].values / exact
        _row(f"fidelity susceptibility along {axis.symbol}{text}", value, bar, "{:.1%}")


def _values(rows: xarray.Dataset, problem: Problem, fillings: Mapping[str, Filling]):
    """The lowest filling at every row, and frequencies and κ there."""
    with jax.enable_x64(True):
        omega, kappa = point_values(problem.family_at(points_of(rows)))
    only = next(iter(fillings.values()))
    names = rows["phase"].values.tolist() if "phase" in rows.coords else [""] * len(omega)
    return [fillings.get(name, only) for name in names], omega, kappa


def _row(name: str, error: np.ndarray, bar: np.ndarray, shape: str) -> None:
    worst = int(np.argmax(np.abs(error)))
    numbers = (np.mean(np.abs(error)), np.abs(error[worst]), bar[worst])
    print(f"| {name} | {len(error)} | " + " | ".join(shape.format(x) for x in numbers) + " |")


if __name__ == "__main__":
    for directory in sys.argv[1:]:
        main(directory)
