"""Does a wavefunction meet the contract? Names what fails."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from qernel.ansatz import Ansatz, AtParameters, log_density
from qernel.compilation import compiled
from qernel.gradient import local_energy
from qernel.hamiltonian import Hamiltonian
from qernel.laplacian import ForwardLaplacian, HessianTrace
from qernel.observables import smooth_node_tails
from qernel.sampling import Sampler, starting_width

from ._cusps import electron_cusps, nuclear_cusps
from ._energies import energies
from ._finding import AnsatzReport, Finding
from ._realness import realness
from ._values import log_psi


def check_ansatz(
    ansatz: Ansatz,
    hamiltonian: Hamiltonian,
    parameters: Any,
    *,
    key: PRNGKeyArray,
    walkers: int = 64,
    rounds: int = 30,
    scale: float = 1.0,
) -> AnsatzReport:
    r"""Test an ansatz against a Hamiltonian, in float64, and name what fails.

    - antisymmetry under exchange of two electrons of equal spin;
    - periodic potentials: every term of the Hamiltonian has the period of the cell (periodic cells);
    - boundary phase: $\psi(r + A_d) = e^{i\theta_d}\psi(r)$ with the same θ everywhere (periodic cells);
    - realness: of a wavefunction that says so the phase is 0 or π, at random configurations and along a path;
    - finite local energy at random configurations;
    - cusps: where two electrons meet the kinetic energy cancels the $1/r$ of the potential, to a thousandth of it;
    - nuclear cusps: the same where an electron meets one of the [`Nuclei`][qernel.hamiltonian.Nuclei], if any;
    - Laplacian: the forward Laplacian equals the trace of the Hessian;
    - smoothness: $\langle -\frac12\nabla^2\psi/\psi\rangle = \langle\frac12|\nabla\psi/\psi|^2\rangle$ over
      a short chain. A wavefunction that jumps or kinks as an electron moves fails here, and its energy is not
      variational.

    **Arguments:** `parameters`, the parameter pytree of one Hamiltonian; `walkers` and `rounds`, length of the
    short chain; `scale`, width of random positions with open boundaries.
    """
    with jax.enable_x64(True):
        start, chain = jax.random.split(key)
        r = _positions(hamiltonian, start, walkers, scale)
        findings = [_antisymmetry(ansatz, hamiltonian, parameters, r)]
        if hamiltonian.cell is not None:
            findings.append(_periods(hamiltonian, parameters, r))
            findings.append(_boundary(ansatz, hamiltonian, parameters, r))
        findings.append(realness(ansatz, parameters, r))
        findings.append(_finite(ansatz, hamiltonian, parameters, r))
        findings.append(electron_cusps(ansatz, hamiltonian, parameters, r))
        if (nuclear := nuclear_cusps(ansatz, hamiltonian, parameters, r)) is not None:
            findings.append(nuclear)
        findings.append(_laplacians(ansatz, parameters, r))
        findings.append(_smoothness(ansatz, hamiltonian, parameters, r, chain, rounds))
        return AnsatzReport(tuple(findings))


def _positions(hamiltonian, key, walkers, scale):
    shape = (walkers, hamiltonian.n_electrons, hamiltonian.dim)
    if hamiltonian.cell is None:
        return scale * jax.random.normal(key, shape, jnp.float64)
    return jax.random.uniform(key, shape, jnp.float64) @ jnp.asarray(hamiltonian.cell.matrix)


def _angle(difference):
    return np.abs(np.angle(np.exp(1j * difference)))


def _antisymmetry(ansatz, hamiltonian, parameters, r):
    up, down = hamiltonian.electrons
    pairs = ([(0, 1)] if up > 1 else []) + ([(up, up + 1)] if down > 1 else [])
    magnitude, phase = log_psi(ansatz, parameters, r)
    worst = 0.0
    for i, j in pairs:
        swapped = r.at[:, i].set(r[:, j]).at[:, j].set(r[:, i])
        other_magnitude, other_phase = log_psi(ansatz, parameters, swapped)
        worst = max(
            worst,
            float(np.max(np.abs(other_magnitude - magnitude))),
            float(np.max(_angle(other_phase - phase - np.pi))),
        )
    return Finding("antisymmetry", worst < 1e-6, f"log ψ + iπ changes by {worst:.1e} under exchange")


@compiled
def _potentials(hamiltonian, parameters, r):
    return jax.vmap(lambda x: hamiltonian.potential_energies(x, parameters))(r)


def _periods(hamiltonian, parameters, r):
    here, worst = _potentials(hamiltonian, parameters, r), {name: 0.0 for name in hamiltonian.potentials}
    for vector in hamiltonian.cell.matrix:
        there = _potentials(hamiltonian, parameters, r.at[:, 0].add(jnp.asarray(vector)[None]))
        for name, before in here.items():
            change = np.max(np.abs(np.asarray(there[name] - before)), where=np.isfinite(before), initial=0.0)
            worst[name] = max(worst[name], float(change / (1e-300 + np.nanmax(np.abs(before)))))
    # The wavevectors of a potential may be known in float32 only.
    broken = [f"'{name}' by {change:.1e}" for name, change in worst.items() if not change < 1e-4]
    message = f"an electron that moves by a cell changes {', '.join(broken)}" if broken else "as the cell"
    return Finding("periodic potentials", not broken, message)


def _boundary(ansatz, hamiltonian, parameters, r):
    magnitude, phase = log_psi(ansatz, parameters, r)
    worst, twists = 0.0, []
    for vector in hamiltonian.cell.matrix:
        moved = r.at[:, 0].add(jnp.asarray(vector)[None])
        other_magnitude, other_phase = log_psi(ansatz, parameters, moved)
        turn = np.exp(1j * (other_phase - phase))
        twists.append(float(np.angle(turn[0])))
        worst = max(worst, float(np.max(np.abs(other_magnitude - magnitude))), float(np.max(np.abs(turn - turn[0]))))
    names = ", ".join(f"{twist:+.4f}" for twist in twists)
    message = f"twist ({names}) rad, violated by {worst:.1e}"
    wanted = hamiltonian.twist_angles(parameters)
    if wanted is None:
        return Finding("boundary phase", worst < 1e-6, message)
    away = float(np.max(np.abs(np.exp(1j * np.array(twists)) - np.exp(1j * wanted))))
    declared = ", ".join(f"{twist:+.4f}" for twist in wanted)
    message += f"; the Hamiltonian's is ({declared}) rad, {away:.1e} away"
    return Finding("boundary phase", worst < 1e-6 and away < 1e-6, message)


def _finite(ansatz, hamiltonian, parameters, r):
    kinetic, potential = energies(ansatz, hamiltonian, parameters, r)
    bad = int(np.sum(~np.isfinite(np.asarray(kinetic) + np.asarray(potential))))
    return Finding("finite local energy", bad == 0, f"{bad} of {len(r)} random configurations are not finite")


def _laplacians(ansatz, parameters, r):
    worst = laplacian_difference(ansatz, parameters, r[:2])
    return Finding("Laplacian", worst < 1e-6, f"forward and Hessian differ by {worst:.1e} (relative)")


def laplacian_difference(ansatz: Ansatz, parameters: Any, r: Float[Array, "walkers electrons dim"]) -> float:
    """Largest relative difference of the forward Laplacian and the trace of the Hessian at the walkers `r`."""

    def both(x):
        forward = ForwardLaplacian()(AtParameters(ansatz, parameters), x)
        # One chain of factorisations after the other: see training._step.
        x = jnp.where(jnp.isfinite(jnp.abs(forward.laplacian)), x, jnp.nan)
        return forward.laplacian, HessianTrace()(lambda y: ansatz(y, parameters), x).laplacian

    fast, slow = (np.asarray(x) for x in compiled(jax.vmap(both))(r))
    return float(np.max(np.abs(fast - slow) / (1 + np.abs(slow))))


def _smoothness(ansatz, hamiltonian, parameters, r, key, rounds):
    sampler = Sampler(moves=10, cell=hamiltonian.cell)
    batch = jax.tree.map(lambda x: x[None], parameters)

    @compiled
    def run(r, step_size, key):
        def one_round(carry, number):
            positions, width = carry
            walkers = sampler(log_density(ansatz), batch, positions, width, jax.random.fold_in(key, number))
            local = jax.vmap(lambda x: local_energy(ansatz, hamiltonian, x, parameters))(walkers.positions[0])
            return (walkers.positions, walkers.step_size), (
                local.kinetic.real,
                local.kinetic_from_gradient,
            )

        return jax.lax.scan(one_round, (r[None], step_size), jnp.arange(2 * rounds))[1]

    width = jnp.asarray(starting_width(r[None]))
    laplacian, kinetic = (np.asarray(x)[rounds:] for x in run(r, width, key))
    real = eqx.filter_eval_shape(ansatz, r[0], parameters).real
    difference = laplacian - smooth_node_tails(kinetic.T, real).T
    mean = float(difference.mean())
    error = float(difference.mean(axis=0).std(ddof=1) / np.sqrt(difference.shape[1]))
    size = float(kinetic.mean())
    return Finding(
        "smoothness",
        abs(mean) < 4 * error + 1e-3 * size,
        f"kinetic estimators differ by {mean:+.4f} ± {error:.4f} of {size:.4f} Ha",
    )
