"""Does a trained state agree with the exact one beyond its energy? `exact_agreement.py [--projected] [KEY=VALUE ...]`.

Trains `moire-6-sum` with three electrons on 3x3 moiré cells at 0, 5, 10, 20 and 30 meV, measures the frozen state, and
compares it with exact diagonalisation: energy by term, and chi-squared per point of S(q) and of the density. Every bin
of the density is compared with the exact mean over it.

The exact ground state is not degenerate: it has zero total momentum at every depth. But the crystal's two states of
momentum ±K lie close above it, 0.016 meV at 30 meV, and a network that lowers its energy picks a mixture, which is a
crystal in one place. S(q) and the density folded into one moiré cell are blind to the mixture, since no
translation-invariant operator connects different momenta; the density in the supercell is not. With `--projected` the
trained wavefunction is summed over all translations of the moiré lattice, which leaves zero momentum alone, and trained
on for a quarter of the steps, so that all three are compared with the one exact state.

The last columns say how far the basis of the diagonalisation is from its limit, in the same unit: chi-squared per point
between the two largest bases.
"""

import sys
import time

import jax
import numpy as np

from qernel.ansatz import MomentumProjected
from qernel.evaluation import evaluate, results
from qernel.exact import ExactState, exact_diagonalisation
from qernel.hamiltonian import Family, Hamiltonian
from qernel.observables import Estimate, density, structure_factor
from qernel.presets import Config, build, preset
from qernel.run_directory import Problem
from qernel.sampling import Sampler
from qernel.training import Method, TrainingState, burn_in, initial_state, train

DEPTHS = (0, 5, 10, 20, 30)
BANDS = (4, 6)
N = 3
SETTINGS = (
    f"system.electrons=[{N},0]",
    f"system.depths_meV={list(DEPTHS)}",
    "sampling.walkers=60",
    "training.steps=600",
    "evaluation.walkers=256",
    "evaluation.rounds=120",
    "evaluation.burn_in=40",
)


def trained(config: Config, projected: bool):
    """The problem, and evaluation and table of its frozen state."""
    problem = build(config)
    family, method, settings = problem.members, problem.method, config.evaluation
    with jax.enable_x64(True):
        state = train_from(problem.state(), family, method, config.sampling.burn_in, config.training.steps)
        if projected:
            assert family.hamiltonian.supercell is not None
            ansatz = MomentumProjected(state.averaged, family.hamiltonian.supercell)
            state = initial_state(ansatz, method, state.positions, key=problem.key)
            state = train_from(state, family, method, config.sampling.burn_in, config.training.steps // 4)
        positions = state.positions[:, np.arange(settings.walkers) % config.sampling.walkers]
        if isinstance(state.ansatz, MomentumProjected):
            positions = state.ansatz.translated(positions, key=jax.random.fold_in(problem.key, 2))
        evaluation = evaluate(
            state.averaged,
            family,
            positions,
            sampler=Sampler(moves=settings.moves, cell=method.sampler.cell),
            key=jax.random.fold_in(problem.key, 1),
            step_size=state.step_size,
            burn_in=settings.burn_in,
            rounds=settings.rounds,
        )
        return problem, evaluation, results(evaluation, family, problem.system.units)


def train_from(state: TrainingState, family: Family, method: Method, rounds: int, steps: int) -> TrainingState:
    """The state after burning in and training."""
    state = burn_in(state, family, method, rounds)
    for state, _ in train(state, family, method, steps):
        pass
    return state


def exact(problem: Problem, depth: float, bands: int, vectors: np.ndarray):
    """The lowest state at zero momentum, and the gap to the other momenta, from the smaller basis."""
    with jax.enable_x64(True):
        family = problem.family_at(np.array([[float(depth)]]))
        parameters = family.select(0)
    hamiltonian, primitive = family.hamiltonian, family.hamiltonian.primitive
    assert primitive is not None
    cutoff = 3.2 * float(np.linalg.norm(primitive.reciprocal[0]))
    everywhere = bands == BANDS[0]
    state = exact_diagonalisation(
        hamiltonian,
        parameters,
        bands=bands,
        momenta=None if everywhere else [(0, 0)],
        cutoff=cutoff,
        wave_vectors=vectors.tolist(),
    )
    assert not state.momentum.any(), f"the ground state at {depth} meV has the momentum {state.momentum}"
    gap = np.partition(state.levels.ravel(), 1)[1] - state.levels.min() if everywhere else np.nan
    return state, gap * problem.system.units.hartree


def over_bins(values: np.ndarray, bins: tuple[int, ...]) -> np.ndarray:
    """Means over equal bins of a periodic function on a fine grid, by its Fourier series."""
    coefficients = np.fft.fftn(values) / values.size
    for axis, (fine, n) in enumerate(zip(values.shape, bins, strict=True)):
        waves = np.fft.fftfreq(fine, 1 / fine)
        centres = (np.arange(n) + 0.5) / n
        matrix = np.exp(2j * np.pi * np.outer(centres, waves)) * np.sinc(waves / n)
        coefficients = np.moveaxis(np.tensordot(matrix, coefficients, (1, axis)), 0, axis)
    return np.real(coefficients)


def chi_squared(found: Estimate, values: np.ndarray) -> float:
    """Mean squared deviation in units of the errors."""
    return float(np.mean(((found.value - values) / found.error) ** 2))


def compare(problem: Problem, samples: np.ndarray, vectors: np.ndarray, state: ExactState, coarse: ExactState):
    """Chi-squared per point of S(q), the folded density, the whole density; and of the smaller basis for each."""
    hamiltonian = problem.members.hamiltonian
    moire, cell = hamiltonian.supercell, hamiltonian.cell
    assert moire is not None and cell is not None
    folded = Hamiltonian(hamiltonian.kinetic, {}, hamiltonian.electrons, cell=moire.primitive)
    structure = structure_factor(samples, hamiltonian, vectors @ cell.reciprocal)
    one, whole = density(samples, folded, 8), density(samples, hamiltonian, 12)
    per_cell = lambda s: over_bins(s.density, (24, 24))[:8, :8] * moire.cells
    pairs = [
        (structure, lambda s: s.structure_factor),
        (one, per_cell),
        (whole, lambda s: over_bins(s.density, (12, 12))),
    ]
    return [chi_squared(found, of(s)) for s in (state, coarse) for found, of in pairs] + [
        float(np.mean(((of(state) - of(coarse)) / found.error) ** 2)) for found, of in pairs
    ]


def main(projected: bool, overrides: list[str]) -> None:
    start = time.perf_counter()
    config = preset("moire-6-sum", *SETTINGS, *overrides)
    problem, evaluation, dataset = trained(config, projected)
    print(f"trained {config.training.steps} steps and measured in {time.perf_counter() - start:.0f} s", flush=True)
    print(
        "depth      E - exact  kinetic  moire  interaction (pulls)   gap   chi2: S(q)  folded density  density   basis"
    )
    cell, samples = problem.members.hamiltonian.cell, evaluation.samples
    assert cell is not None and samples is not None
    radius = 4.6 * float(np.linalg.norm(cell.reciprocal[0]))
    vectors = np.round(cell.reciprocal_vectors(radius) @ cell.matrix.T / (2 * np.pi))
    vectors = np.array([q for q in vectors.astype(int) if tuple(q) > (0, 0)])
    for row, depth in enumerate(DEPTHS):
        (coarse, gap), (state, _) = (exact(problem, depth, bands, vectors) for bands in BANDS)
        at = dataset.isel(depth=row)
        unit = problem.scale
        pulls = [
            (float(at[name]) - state.energies[name] * unit) / max(float(at[f"{name}_error"]), 1e-9)
            for name in ("kinetic", "moire", "interaction")
        ]
        chi = compare(problem, samples[row], vectors, state, coarse)
        print(
            f"{depth:5g} {float(at.energy) - state.energy * unit:+9.4f}({float(at.energy_error):.4f})"
            f"  {pulls[0]:+8.1f} {pulls[1]:+6.1f} {pulls[2]:+8.1f}          {gap:7.3f}"
            f"  {chi[0]:8.2f} {chi[1]:12.2f} {chi[2]:12.2f}     {chi[6]:.2f} {chi[7]:.2f} {chi[8]:.2f}",
            flush=True,
        )
    print(f"{len(vectors)} wave vectors, 64 and 144 bins; {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    arguments = sys.argv[1:]
    main("--projected" in arguments, [argument for argument in arguments if argument != "--projected"])
