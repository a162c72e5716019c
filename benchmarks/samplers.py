"""Independent samples per second of the sampling kernels: `python benchmarks/samplers.py [RUN] [--depths 5 20]`.

Of the wavefunction trained in a run directory (default: `moire-6-sum` trained for `--steps` steps), at the nearest
trained depths, in the last of its phases if several compete. Every kernel is timed in one run, on the cores that there
are; the slowest of three observables counts, the interaction, the moiré potential and log|ψ|². The last table is that
of a Slater determinant of plane waves for as many electrons.
"""

import argparse
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from qernel.ansatz import SlaterDeterminant, log_density
from qernel.hamiltonian import Family
from qernel.orbitals import SpinBlocks, plane_wave_orbitals
from qernel.presets import build, preset
from qernel.run_directory import Problem, in_phase
from qernel.runs import Run
from qernel.sampling import BlockWalk, Sampler, efficiency, langevin, random_walk
from qernel.training import TrainingState, burn_in, train_step

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("run", nargs="?")
parser.add_argument("--depths", type=float, nargs="+", default=[5.0, 20.0])
parser.add_argument("--walkers", type=int, default=32)
parser.add_argument("--rounds", type=int, default=100)
parser.add_argument("--steps", type=int, default=100)
arguments = parser.parse_args()


def hmc(log_density: Callable, step_size: jax.Array):
    """Hamiltonian Monte Carlo with four leapfrog steps, BlackJAX's."""
    import blackjax

    def of(position: jax.Array):
        return blackjax.hmc(log_density, step_size.astype(position.dtype), jnp.ones(position.size, position.dtype), 4)

    def init(position: Any, rng_key: Any = None):
        return of(position).init(position, rng_key)

    def step(rng_key: Any, state: Any):
        return of(state.position).step(rng_key, state)

    return blackjax.base.SamplingAlgorithm(init, step)


def trained() -> tuple[Problem, TrainingState]:
    if arguments.run:
        run = Run.open(arguments.run)
        return run.problem, run.state
    problem = build(preset("moire-6-sum"))
    state = burn_in(problem.state(), problem.members, problem.method, problem.settings.burn_in)
    for _ in range(arguments.steps):
        state, _ = train_step(state, problem.members, problem.method)
    return problem, state


def compare(
    title: str, density: Callable, family: Family, positions: jax.Array, step_size: jax.Array, kernels: list[tuple]
) -> None:
    hamiltonian, cell = family.hamiltonian, family.hamiltonian.cell
    assert cell is not None
    spacing = (cell.volume / hamiltonian.n_electrons) ** 0.5

    def observables(r: jax.Array, parameters: Any):
        return jnp.stack([energy for _, energy in sorted(hamiltonian.potential_energies(r, parameters).items())])

    print(f"\n{title}: {positions.shape[1]} walkers, {arguments.rounds} rounds; step in units of the spacing")
    print("kernel                       moves  step  acceptance  seconds  independent samples  per second", flush=True)
    found = {}
    for name, kernel, moves, acceptance in kernels:
        sampler = Sampler(kernel, moves=moves, target_acceptance=acceptance, cell=cell)
        measured = efficiency(
            sampler,
            density,
            family.parameters,
            positions,
            observables,
            key=jax.random.key(0),
            step_size=step_size,
            rounds=arguments.rounds,
        )
        found[name] = measured.per_second.min()
        step, effective = measured.step_size.mean() / spacing, measured.effective.min(axis=1)
        print(
            f"{name:28s} {moves:5d} {step:5.2f} {measured.acceptance.mean():11.2f} {measured.seconds:8.2f} "
            f"{' '.join(f'{x:6.0f}' for x in effective):>20s} {' '.join(f'{x:7.1f}' for x in measured.per_second)}",
            flush=True,
        )
    best = max(found, key=lambda name: found[name])
    print(f"fastest: {best}, {found[best] / found['random walk, all']:.1f} times the random walk of all electrons")


def main():
    problem, state = trained()
    n, walkers = problem.electrons, arguments.walkers
    phase = problem.names[-1] if problem.names else ""
    rows = problem.nearest(state, np.array(arguments.depths)[:, None], phase)
    plain = problem.members_of(state).take(rows)
    family = in_phase(problem, plain, [phase] * plain.size)
    start = np.asarray(state.positions)[rows][:, np.arange(walkers) % state.positions.shape[1]]
    steps = jnp.asarray(np.asarray(state.step_size)[rows])
    network = [
        ("random walk, all", random_walk, 20, 0.5),
        (f"random walk, blocks of {max(n // 4, 1)}", BlockWalk(max(n // 4, 1)), 20, 0.5),
        ("random walk, one", BlockWalk(1), 20, 0.5),
        ("Langevin", langevin, 5, 0.7),
        ("Hamiltonian, 4 steps", hmc, 2, 0.7),
    ]
    places = ", ".join(f"{depth:g}" for depth in plain.points[:, 0])
    title = f"{n} electrons, {type(problem.ansatz).__name__} {phase} at {places} meV"
    compare(title, log_density(state.ansatz), family, jnp.asarray(start), steps, network)
    electrons, cell = family.hamiltonian.electrons, family.hamiltonian.cell
    assert cell is not None
    spins = [plane_wave_orbitals(cell, count) for count in electrons if count]
    slater = SlaterDeterminant(spins[0] if len(spins) == 1 else SpinBlocks(*spins), electrons)
    determinant = [
        ("random walk, all", random_walk, 20, 0.5),
        ("Langevin", langevin, 5, 0.7),
    ]
    compare(f"{n} electrons, Slater determinant", log_density(slater), plain, jnp.asarray(start), steps, determinant)


if __name__ == "__main__":
    with jax.enable_x64(True):
        main()
