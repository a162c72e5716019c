"""Total momentum of a wavefunction, modulo that of the potential's lattice."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from jaxtyping import Array, Float, Int

from qernel.ansatz import Ansatz
from qernel.hamiltonian import Hamiltonian
from qernel.lattice import MomentumGroup

from ._estimate import Estimate
from ._walker_means import in_float64, walker_means

# Of its own size, by which a potential may change: its wave vectors may be known in float32 only.
_SAME = 1e-4
# Walkers that the potentials are compared at: each of them sees every electron somewhere else.
_COMPARED = 8


class TotalMomentum(eqx.Module):
    """Weights of the total momenta of a wavefunction: at least zero each, one together.

    **Fields:** `momenta` K in units of the supercell's reciprocal vectors, one of each class modulo the primitive ones,
    sorted by length, as [`MomentumGroup`][qernel.lattice.MomentumGroup] writes them; `weights` of them.
    """

    momenta: Int[np.ndarray, "momenta dim"]
    weights: Estimate


def total_momentum(
    samples: Float[np.ndarray | Array, "walkers records electrons dim"],
    hamiltonian: Hamiltonian,
    ansatz: Ansatz,
    parameters: Any,
) -> TotalMomentum:
    r"""Weights $P_K = \langle\psi|\hat P_K|\psi\rangle/\langle\psi|\psi\rangle$ of the total momenta of a wavefunction.

    The translations $T_R\psi(r) = \psi(r + R)$ of all electrons by the N primitive vectors R of the periodic cell are a
    group, and commute with the Hamiltonian where the potentials have the primitive cell's period: each eigenstate has,
    or may be given, one momentum K modulo primitive reciprocal vectors, $T_R\psi_K = e^{iK\cdot R}\psi_K$. The part of
    ψ with the momentum K is

    $$ \hat P_K\psi = \frac1N\sum_R e^{-iK\cdot R}\,T_R\psi . $$

    The mean of $\hat P_K\psi/\psi$ is not what to average: it is unbounded at the nodes of ψ. As $\hat P_K$ is a
    projection, $\langle\psi|\hat P_K|\psi\rangle = \int|\hat P_K\psi(r)|^2 dr$, and $|\hat P_K\psi|^2$ does not change
    under translations. Of such a function f, since r + R runs over the cell as r does,

    $$ \int f\,dr = \int\frac{f}{\sum_R|\psi(r + R)|^2}\sum_R|\psi(r + R)|^2\,dr
       = N\int\frac{f(r)}{\sum_R|\psi(r + R)|^2}\,|\psi(r)|^2\,dr , $$

    so that samples of $|\psi|^2$ have the mean

    $$ P_K = \Bigl\langle\frac{\bigl|\sum_R e^{-iK\cdot R}\,\psi(r + R)\bigr|^2}
       {N\sum_R|\psi(r + R)|^2}\Bigr\rangle , $$

    the mean power spectrum of ψ along its translates. In every sample it is between 0 and 1 and sums to 1 over K
    (Parseval), whatever the nodes: the variance is at most $P_K(1 - P_K)$, a thousand samples are enough, and a state
    of one momentum has no variance at all. It is the mean of $\hat P_K\psi/\psi$ over the places r + R, each with its
    probability: in which of several equivalent places the electrons of a walker stay does not matter.

    A real wavefunction has $P_K = P_{-K}$, in every sample. Costs N evaluations of the wavefunction a sample.

    **Arguments:** `samples` drawn from $|\psi|^2$ of this `ansatz` at these `parameters`, which is periodic in the
    cell.

    **Raises:** `ValueError` for a Hamiltonian that is no periodic cell of a potential with a lattice.

    **Source:** projection of neural wavefunctions on quantum numbers, arXiv:2009.14777; the mean over the group in each
    sample is Rao-Blackwell's.
    """
    supercell = hamiltonian.supercell
    if supercell is None:
        raise ValueError("total momenta belong to a periodic cell of a potential that has a lattice of its own")
    vectors = supercell.momenta()
    group = MomentumGroup(np.array(supercell.index).T)
    momenta = group.canonical(np.round(vectors @ supercell.lattice.matrix.T / (2 * np.pi)).astype(np.int64))
    translations = supercell.primitive_translations()
    turns = vectors @ translations.T
    observe = Partial(_power_spectrum, translations, np.cos(turns), -np.sin(turns), ansatz, parameters)
    return TotalMomentum(momenta, walker_means(observe, samples).estimate())


def _power_spectrum(translations, cosines, sines, ansatz, parameters, r) -> Float[Array, " momenta"]:
    def log_psi(translation):
        value = ansatz(r + translation.astype(r.dtype)[None], parameters)
        return value.log_magnitude, value.phase

    # One after another: their determinants in one batch would not fit, and N calls of LAPACK side by side do not wait
    # for each other.
    log, phase = jax.lax.map(log_psi, translations)
    # Nothing but differences of logarithms is rounded at the precision of the network.
    wide = lambda x: x.astype(translations.dtype)
    modulus = jnp.exp(wide(log - jnp.max(log)))
    re, im = modulus * jnp.cos(wide(phase)), modulus * jnp.sin(wide(phase))
    of = lambda matrix, x: jnp.matmul(matrix, x, precision=jax.lax.Precision.HIGHEST)
    power = (of(cosines, re) - of(sines, im)) ** 2 + (of(cosines, im) + of(sines, re)) ** 2
    return power / (len(translations) * jnp.sum(modulus**2))


def opposite_momenta(momenta: Int[np.ndarray, "momenta dim"], index: Int[np.ndarray, "dim dim"]) -> list[int]:
    """The place of -K among all total momenta of a supercell, for each of them.

    **Arguments:** `index`, the whole numbers of primitive vectors in those of the supercell, as in
    [`Supercell`][qernel.lattice.Supercell].
    """
    places = {tuple(n): i for i, n in enumerate(momenta.tolist())}
    return [places[tuple(n)] for n in MomentumGroup(index.T).canonical(-momenta).tolist()]


def keeps_potentials(
    hamiltonian: Hamiltonian,
    parameters: Any,
    samples: Float[np.ndarray | Array, "walkers records electrons dim"],
) -> bool:
    """Whether all potential energies stay what they are when all electrons move by a primitive vector.

    An impurity in the cell, or a second lattice, breaks this: no momentum is conserved. The potentials are compared at
    some of the samples.

    **Raises:** `ValueError` for a Hamiltonian that is no periodic cell of a potential with a lattice.
    """
    primitive = hamiltonian.primitive
    if hamiltonian.supercell is None or primitive is None:
        raise ValueError("total momenta belong to a periodic cell of a potential that has a lattice of its own")
    few = in_float64(samples[:_COMPARED, -1:])
    found = walker_means(Partial(_changes, primitive.matrix, hamiltonian, parameters), few)
    mean = lambda of_walkers: of_walkers.means.mean(axis=0)
    return all(np.all(mean(change) <= _SAME * mean(size)) for change, size in found.values())


def _changes(shifts, hamiltonian, parameters, r) -> dict[str, tuple[Float[Array, " dim"], Float[Array, ""]]]:
    here = hamiltonian.potential_energies(r, parameters)
    there = jax.vmap(lambda shift: hamiltonian.potential_energies(r + shift[None], parameters))(shifts)
    return {name: (jnp.abs(there[name] - value[None]), jnp.abs(value)) for name, value in here.items()}
