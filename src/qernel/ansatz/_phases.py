"""Several phases of one family in one network, each a state of its own."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact

from qernel.hamiltonian import InPhase, without_phase
from qernel.layers import Frozen
from qernel.propagation import Probes

from ._branch import restricted
from ._contract import Ansatz, Derivatives, LogPsi
from ._projected import MomentumProjected
from ._qernel import Qernel
from ._stacked import stacked


class CompetingPhases(eqx.Module):
    r"""One network for all phases of a family: the determinants of each set of reference orbitals make a state of their
    own, $\psi_p(r;\lambda)$, and the phase p conditions the network beside λ.

    Trained at each $(\lambda, p)$ with walkers of its own, no phase has to win while the network learns, whatever the
    energies and the weights are at the start; the ground state at λ is the phase of lowest energy there, and changes
    where two of the energies cross. In a [`Qernel`][qernel.ansatz.Qernel] with both sets in one sum, the weights decide
    instead: near a first-order transition they turn as slowly as the energies differ, and in a large cell walkers do
    not change phase.

    **Arguments:** `ansatz`, a `Qernel` (or its `MomentumProjected`) that was made for the parameters of
    [`in_phases`][qernel.hamiltonian.in_phases]. It is called with such parameters,
    [`InPhase`][qernel.hamiltonian.InPhase]; [`phase`][qernel.ansatz.CompetingPhases.phase] is one of the states as a
    function of the plain ones.

    **Raises:** `ValueError` for another ansatz, or one with a single set of reference orbitals.
    """

    ansatz: Ansatz

    def __check_init__(self):
        if not isinstance(self.network, Qernel):
            raise ValueError(f"a {type(self.network).__name__} has no sets of reference orbitals that could compete")
        if self.phases < 2:
            raise ValueError("two or more sets of reference orbitals compete, this wavefunction has one")

    @property
    def network(self) -> Any:
        """The network behind all phases."""
        return self.ansatz.ansatz if isinstance(self.ansatz, MomentumProjected) else self.ansatz

    @property
    def phases(self) -> int:
        """Their number."""
        return len(self.network.references)

    def __call__(self, r: Float[Array, "electrons dim"], parameters: InPhase) -> LogPsi:
        """Logarithm of ψ of one phase at one configuration."""
        return self._state(parameters)(r, parameters)

    def derivatives(self, r: Float[Array, "electrons dim"], parameters: InPhase) -> Derivatives:
        """log ψ of one phase with its gradient and Laplacian."""
        return self._state(parameters).derivatives(r, parameters)

    def probed_derivatives(self, r: Float[Array, "electrons dim"], parameters: InPhase, probes: Probes) -> Derivatives:
        """As `derivatives`, the Laplacian estimated along random directions."""
        return self._state(parameters).probed_derivatives(r, parameters, probes)

    def expert_gates(
        self, r: Float[Array, "electrons dim"], parameters: InPhase
    ) -> Float[Array, "layers electrons experts"]:
        """As those of [`Qernel`][qernel.ansatz.Qernel]."""
        return self.network.expert_gates(r, parameters)

    def phase(self, number: int) -> "OnePhase":
        """One of the phases, at plain parameters. Raises `ValueError` if there is none of this number."""
        if not 0 <= number < self.phases:
            raise ValueError(f"there is no phase {number} among the {self.phases} phases")
        return OnePhase(self, number)

    def _state(self, parameters: InPhase) -> Any:
        number = jnp.round(parameters.number).astype(jnp.int32)
        network = restricted(self.network, number, Frozen(_OneOf(self.network.references, number)))
        if isinstance(self.ansatz, MomentumProjected):
            return eqx.tree_at(lambda ansatz: ansatz.ansatz, self.ansatz, network)
        return network


class OnePhase(eqx.Module):
    """One phase of [`CompetingPhases`][qernel.ansatz.CompetingPhases] as a wavefunction of the plain parameters."""

    ansatz: CompetingPhases
    number: int = eqx.field(static=True)

    def __call__(self, r: Float[Array, "electrons dim"], parameters: Any) -> LogPsi:
        """Logarithm of ψ at one configuration."""
        return self.ansatz(r, self._in_phase(parameters))

    def derivatives(self, r: Float[Array, "electrons dim"], parameters: Any) -> Derivatives:
        """log ψ with its gradient and Laplacian."""
        return self.ansatz.derivatives(r, self._in_phase(parameters))

    def probed_derivatives(self, r: Float[Array, "electrons dim"], parameters: Any, probes: Probes) -> Derivatives:
        """As `derivatives`, the Laplacian estimated along random directions."""
        return self.ansatz.probed_derivatives(r, self._in_phase(parameters), probes)

    def _in_phase(self, parameters):
        return InPhase(parameters, jnp.asarray(self.number, float))


class _OneOf(eqx.Module):
    """The orbitals of one of several sets, chosen by a traced number.

    Of sets that differ in their arrays alone, as those of the branches of one calculation do, the arrays are chosen and
    one set is evaluated; others are all evaluated.
    """

    references: tuple[Any, ...]
    number: Array

    def __call__(self, r: Float[Array, "electrons dim"], parameters: Any) -> Inexact[Array, "electrons orbitals"]:
        groups = _alike(self.references)
        values = [self._chosen(group)(r, without_phase(parameters)) for group in groups]
        if len(groups) == 1:
            return values[0]
        group_of = [next(g for g, group in enumerate(groups) if i in group) for i in range(len(self.references))]
        return stacked(values)[jnp.asarray(group_of)[self.number]]

    def _chosen(self, group):
        """The set of this number if it is in the group, any one of the group otherwise."""
        sets = [self.references[i] for i in group]
        place = jnp.asarray([group.index(i) if i in group else 0 for i in range(len(self.references))])[self.number]
        arrays, static = eqx.partition(sets[0], eqx.is_array)
        leaves = zip(*(jax.tree.leaves(eqx.filter(one, eqx.is_array)) for one in sets), strict=True)
        chosen = [stacked(leaf)[place] for leaf in leaves]
        return eqx.combine(jax.tree.unflatten(jax.tree.structure(arrays), chosen), static)


def _alike(references: tuple[Any, ...]) -> list[list[int]]:
    """Numbers of the references in groups whose members differ in the values of their arrays alone, or in whether
    these are complex."""

    def kind(reference):
        arrays, static = eqx.partition(reference, eqx.is_array)
        shapes = [(leaf.shape, jnp.finfo(leaf.dtype).dtype) for leaf in jax.tree.leaves(arrays)]
        return static, shapes

    def is_inexact(reference):
        return all(map(eqx.is_inexact_array, jax.tree.leaves(eqx.filter(reference, eqx.is_array))))

    groups: list[list[int]] = []
    for number, reference in enumerate(references):
        for group in groups if is_inexact(reference) else []:
            first = references[group[0]]
            if is_inexact(first) and bool(eqx.tree_equal(kind(reference), kind(first))):
                group.append(number)
                break
        else:
            groups.append([number])
    return groups
