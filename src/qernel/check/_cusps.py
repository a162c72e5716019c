r"""Divergences of the local energy where two charges meet, relative to that of the potential alone.

Close to contact $E = a + c/s + bs + \ldots$ in the separation s, for the local energy and for the potential in it. From
s, 2s and 4s the constant and the linear term drop out,

$$ c = \tfrac{4s}{3}\bigl[2(E_s - E_{2s}) - (E_{2s} - E_{4s})\bigr] . $$
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from qernel.ansatz import Ansatz
from qernel.hamiltonian import Hamiltonian, Nuclei

from ._energies import energies
from ._finding import Finding

# What a right cusp leaves is the rounding, some 1e-9; a strength that is wrong in its third digit fails.
_LIMIT = 1e-3


def electron_cusps(
    ansatz: Ansatz, hamiltonian: Hamiltonian, parameters: Any, r: Float[Array, "walkers electrons dim"]
) -> Finding:
    """Where two electrons meet: a pair of each kind, by spins and by the strength of the repulsion."""
    places = [
        (lambda x, offset, i=i, j=j: x.at[:, j].set(x[:, i] + offset[None]))
        for i, j in _pairs_of_each_kind(hamiltonian, parameters)
    ]
    return _finding("cusps", places, ansatz, hamiltonian, parameters, r)


def nuclear_cusps(
    ansatz: Ansatz, hamiltonian: Hamiltonian, parameters: Any, r: Float[Array, "walkers electrons dim"]
) -> Finding | None:
    """Where an electron of each spin meets each of the [`Nuclei`][qernel.hamiltonian.Nuclei]; None without any."""
    nuclei = [term for term in hamiltonian.potentials.values() if isinstance(term, Nuclei)]
    if not nuclei:
        return None
    up, down = hamiltonian.electrons
    firsts = sorted({0, up} if up and down else {0})
    places = [
        (lambda x, offset, i=i, at=at: x.at[:, i].set((at.astype(x.dtype) + offset)[None]))
        for term in nuclei
        for at in term.positions
        for i in firsts
    ]
    return _finding("nuclear cusps", places, ansatz, hamiltonian, parameters, r)


def _pairs_of_each_kind(hamiltonian, parameters):
    spins = np.repeat([0, 1], hamiltonian.electrons)
    n = hamiltonian.n_electrons
    strengths = np.zeros((n, n)) if hamiltonian.cusp is None else np.asarray(hamiltonian.cusp(parameters))
    kinds = {}
    for i, j in zip(*np.triu_indices(n, 1), strict=True):
        kinds.setdefault((spins[i], spins[j], float(np.round(strengths[i, j], 12))), (int(i), int(j)))
    return list(kinds.values())


def _finding(
    name: str,
    places: list[Callable[..., Array]],
    ansatz: Ansatz,
    hamiltonian: Hamiltonian,
    parameters: Any,
    r: Float[Array, "walkers electrons dim"],
) -> Finding:
    """The worst of the divergences that are left over at these places, relative to the potential's."""
    length = float(jnp.std(r)) / hamiltonian.n_electrons ** (1 / hamiltonian.dim)
    prefactor = float(hamiltonian.kinetic.prefactor(parameters))
    # Where nothing diverges a share of the natural unit takes its place, so small that a kink of it would not matter.
    least = 0.01 * prefactor / length
    worst = (0.0, 0.0, 0.0)
    for place in places:
        left, bare = _divergence(place, 1e-3 * length, ansatz, hamiltonian, parameters, r)
        if bare * length > prefactor:
            # Closer than the cusp reaches: p/S is its length.
            separation = 1e-3 * prefactor / bare
            left, bare = _divergence(place, separation, ansatz, hamiltonian, parameters, r)
        share = left / max(bare, least)
        # A divergence that is not a number is the worst.
        worst = max(worst, (share if np.isfinite(share) else np.inf, left, bare))
    share, left, bare = worst
    if not places:
        message = "no pairs"
    elif bare > least:
        message = f"local energy diverges as {left:.2g}/r at contact, {share:.1%} of the bare {bare:.3g}/r"
    else:
        message = f"local energy diverges as {left:.2g}/r at contact, the potential does not"
    return Finding(name, share < _LIMIT, message)


def _divergence(place, separation, ansatz, hamiltonian, parameters, r):
    """|c| of the local energy and of the potential in it, the medians over the walkers."""
    axis = jnp.eye(hamiltonian.dim, dtype=r.dtype)[0]
    found = []
    for factor in (1, 2, 4):
        kinetic, potential = energies(ansatz, hamiltonian, parameters, place(r, factor * separation * axis))
        found.append(np.stack([np.asarray(kinetic) + np.asarray(potential), np.asarray(potential)]))
    near, middle, far = found
    coefficient = 4 * separation / 3 * (2 * (near - middle) - (middle - far))
    left, bare = np.median(np.abs(coefficient), axis=1)
    return float(left), float(bare)
