"""One phase of a wavefunction that holds several."""

import dataclasses
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
from jaxtyping import Array

from qernel.layers import Frozen, Linear
from qernel.orbitals import AbstractOrbitals

from ._contract import Ansatz
from ._projected import MomentumProjected
from ._qernel import Qernel


def single_branch(ansatz: Ansatz, reference: int, orbitals: AbstractOrbitals | None = None) -> Ansatz:
    """The same wavefunction with the determinants of one of its sets of reference orbitals alone.

    Trained on, it stays in the phase of those orbitals: where the energies of two such branches cross, the ground state
    changes its phase. Everything else keeps its trained values; the weights of the determinants become equal at the
    start, since those of a phase that lost may have vanished.

    **Arguments:** `reference`, the number of the set; `orbitals`, others to put in its place (the same on another grid
    of Hamiltonians, say). Of a projected wavefunction the projected branch is returned.

    Raises `ValueError` if there is no such set.
    """
    if isinstance(ansatz, MomentumProjected):
        return eqx.tree_at(lambda a: a.ansatz, ansatz, single_branch(ansatz.ansatz, reference, orbitals))
    if not isinstance(ansatz, Qernel):
        raise ValueError(f"a {type(ansatz).__name__} has no branches: there is no set of reference orbitals in it")
    if not 0 <= reference < len(ansatz.references):
        raise ValueError(f"there is no set {reference} among the {len(ansatz.references)} sets of reference orbitals")
    chosen = ansatz.references[reference] if orbitals is None else Frozen(orbitals)
    branch = restricted(ansatz, reference, chosen)
    return eqx.tree_at(lambda a: a.weight_head, branch, jax.tree.map(lambda x: 0 * x, branch.weight_head))


def restricted(ansatz: Qernel, reference: Any, orbitals: Frozen) -> Qernel:
    """The determinants of one set of references alone, with `orbitals` for them; its number may be traced."""
    sets = len(ansatz.references)
    share = ansatz.determinants // sets

    def of_dressing(outputs: Array) -> Array:
        # Real and imaginary parts, sets, determinants, orbitals.
        parts = outputs.reshape(*outputs.shape[:-1], -1, sets, share, sum(ansatz.electrons))
        return parts[..., reference, :, :].reshape(*outputs.shape[:-1], -1)

    def of_weights(outputs: Array) -> Array:
        return outputs.reshape(*outputs.shape[:-1], sets, share)[..., reference, :]

    return dataclasses.replace(
        ansatz,
        references=(orbitals,),
        dressing=_with_outputs(ansatz.dressing, of_dressing),
        weight_head=_with_outputs(ansatz.weight_head, of_weights),
        initial_weights=(1.0,) * share,
        determinants=share,
    )


def _with_outputs(linear: Linear, chosen: Callable[[Array], Array]) -> Linear:
    values = [chosen(value) for value in (linear.weight, linear.bias) if value is not None]
    # Sizes are static: a layer of the new size, then the old values.
    layer = Linear(
        linear.in_size,
        values[0].shape[-1],
        key=jax.random.key(0),
        scale=0.0,
        bias=linear.bias is not None,
        dtype=linear.weight.dtype,
        precision=linear.precision,
    )
    return eqx.tree_at(lambda new: [v for v in (new.weight, new.bias) if v is not None], layer, values)
