"""Overlaps between wavefunctions by reweighting."""

import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from qernel.ansatz import Ansatz
from qernel.compilation import compiled
from qernel.hamiltonian import Family

from ._jackknife import jackknife

# Below this many independent-sample equivalents the tails of the ratio have not been seen.
_ENOUGH = 50.0


class Overlaps(eqx.Module):
    r"""Fidelities $F = |\langle a|b\rangle|^2 / (\langle a|a\rangle\langle b|b\rangle)$, from 0 to 1.

    - `value`, `error`: F and its jackknife error.
    - `effective_samples`: $(\sum w)^2/\sum w^2$ of the weights $w = |b/a|^2$ by which samples of a stand for b, the
      smaller one where both states were sampled. Far below the number of samples, F is an estimate of little worth.
    """

    value: Float[np.ndarray, "*shape"]
    error: Float[np.ndarray, "*shape"]
    effective_samples: Float[np.ndarray, "*shape"]


def family_overlaps(
    ansatz: Ansatz, family: Family, samples: Float[np.ndarray, "hamiltonians walkers records electrons dim"]
) -> Overlaps:
    r"""Fidelities between the wavefunctions of all Hamiltonians of a family, `(hamiltonians, hamiltonians)`.

    $F_{ab} = \mathrm{Re}\,\langle\psi_b/\psi_a\rangle_a\langle\psi_a/\psi_b\rangle_b$ needs no normalisation. Two
    neighbours of a smooth family give $1 - \chi\delta^2$; across a crossing of levels F stays small however close they
    are.

    **Arguments:** `samples`: positions drawn from |ψ|² at every Hamiltonian.

    Warns (`UserWarning`) if some neighbours have fewer than 50 effective samples.
    """
    size = family.size
    # evaluated at, sampled from, walkers, records
    logs = _stack(_of_all_pairs, ansatz, family.parameters, samples)
    own = logs[np.arange(size), np.arange(size)]
    value, error, effective = (np.ones((size, size)) for _ in range(3))
    for a in range(size):
        for b in range(a + 1, size):
            there, back = _ratios(logs[b, a] - own[a]), _ratios(logs[a, b] - own[b])
            shifts = np.exp(_shift(logs[b, a] - own[a]) + _shift(logs[a, b] - own[b]))
            means = np.nanmean(there, axis=1), np.nanmean(back, axis=1)
            f, e = _product(*means)
            value[a, b] = value[b, a] = f * shifts
            error[a, b] = error[b, a] = e * shifts
            effective[a, b] = effective[b, a] = min(_effective(there), _effective(back))
    np.fill_diagonal(error, 0.0)
    np.fill_diagonal(effective, np.isfinite(np.abs(own)).sum(axis=(1, 2)).min())
    few = [a for a in range(size - 1) if effective[a, a + 1] < _ENOUGH]
    if few:
        warnings.warn(
            f"the overlaps of {len(few)} neighbouring pairs rest on fewer than {_ENOUGH:g} effective samples: bring "
            "the Hamiltonians closer together or take more samples",
            UserWarning,
            stacklevel=2,
        )
    return Overlaps(value, error, effective)


def trial_overlaps(
    ansatz: Ansatz,
    family: Family,
    samples: Float[np.ndarray, "hamiltonians walkers records electrons dim"],
    trial: Ansatz,
) -> Overlaps:
    r"""Fidelity of each wavefunction of a family with a trial state, from the wavefunction's samples alone,

    $$ F = \frac{|\langle\phi/\psi\rangle|^2}{\langle|\phi/\psi|^2\rangle} , $$

    the trial state φ (λ) being any wavefunction: a [`SlaterDeterminant`][qernel.ansatz.SlaterDeterminant] of the
    orbitals of a phase, or of Hartree-Fock, say. Where ψ has nodes that φ has not, the second mean has a heavy
    tail: see `effective_samples`. A trial state that is one of n degenerate ones overlaps at most 1/n with their
    symmetric sum.

    Warns (`UserWarning`) if an overlap has fewer than 50 effective samples.
    """

    # Two programs: the determinants of both in one would be LAPACK calls that do not wait for each other.
    logs = _stack(_of_own, trial, family.parameters, samples) - _stack(_of_own, ansatz, family.parameters, samples)
    rows = []
    for log in logs:
        ratio = _ratios(log)
        first, second = np.nanmean(ratio, axis=1), np.nanmean(np.abs(ratio) ** 2, axis=1)
        rows.append((*jackknife(lambda x, xx: np.abs(x) ** 2 / xx, first, second), _effective(ratio)))
    value, error, effective = np.array(rows).T
    if np.any(effective < _ENOUGH):
        warnings.warn(
            f"{int(np.sum(effective < _ENOUGH))} overlaps with the trial state rest on fewer than {_ENOUGH:g} "
            "effective samples",
            UserWarning,
            stacklevel=2,
        )
    return Overlaps(value, error, effective)


@compiled
def _of_all_pairs(ansatz, parameters, r) -> Complex[Array, "evaluated sampled walkers"]:
    # One Hamiltonian at a time: all pairs at once would be gigabytes.
    return jax.lax.map(lambda of_one: jax.vmap(jax.vmap(lambda x: _log_psi(ansatz, x, of_one)))(r), parameters)


@compiled
def _of_own(ansatz, parameters, r) -> Complex[Array, "hamiltonians walkers"]:
    return jax.vmap(jax.vmap(lambda x, of_one: _log_psi(ansatz, x, of_one), in_axes=(0, None)))(r, parameters)


def _log_psi(ansatz: Ansatz, r: Float[Array, "electrons dim"], parameters) -> Complex[Array, ""]:
    value = ansatz(r, parameters)
    return jax.lax.complex(value.log_magnitude, value.phase.astype(value.log_magnitude.dtype))


def _stack(of_record, states, parameters, samples) -> Complex[np.ndarray, "..."]:
    records = [np.asarray(of_record(states, parameters, jnp.asarray(r))) for r in np.moveaxis(samples, 2, 0)]
    return np.stack(records, axis=-1).astype(np.complex128)


def _shift(log) -> float:
    return float(np.nanmax(log.real))


def _ratios(log: Complex[np.ndarray, "walkers records"]) -> Complex[np.ndarray, "walkers records"]:
    """b/a, scaled so that the largest modulus is one."""
    return np.exp(log - _shift(log))


def _effective(ratio) -> float:
    weights = np.abs(ratio[np.isfinite(ratio)]) ** 2
    return float(weights.sum() ** 2 / np.sum(weights**2))


def _product(there, back) -> tuple[float, float]:
    """Re⟨b/a⟩⟨a/b⟩ and its error; the two sets of walkers are independent."""
    centre_there, centre_back = np.nanmean(there), np.nanmean(back)
    _, first = jackknife(lambda x: np.real(x * centre_back), there)
    _, second = jackknife(lambda x: np.real(x * centre_there), back)
    return float(np.real(centre_there * centre_back)), float(np.hypot(first, second))
