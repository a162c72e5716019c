"""Everything about the physics that a run, a figure or a verdict must know and the Hamiltonian does not say."""

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float, PRNGKeyArray

from qernel.evaluation import KnownValues, add_known_values, check_names
from qernel.hamiltonian import Family
from qernel.observables import AbstractObservable
from qernel.sampling import initial_positions
from qernel.units import Units

from ._order_parameter import OrderParameter, label_order_parameters
from ._phase import Phase
from ._sound import check_terms
from ._zone_points import check_zone_points, label_momenta

if TYPE_CHECKING:
    import xarray

# walkers(family, walkers, phases, key, dtype): `phases` names the phase of matter of each member, "" for any.
Walkers = Callable[[Family, int, Sequence[str], PRNGKeyArray, DTypeLike], Float[Array, "members walkers electrons dim"]]


@dataclasses.dataclass(frozen=True, eq=False)
class System:
    """A family of Hamiltonians with what its results are called, measured by and compared with.

    Only the first two arguments are needed.

    **Arguments:**

    - `name`: of the system; `family`: its Hamiltonians, at the points that are trained.
    - `units`: those of the results.
    - `phases`: sets of mean-field orbitals, each of one phase of matter, that wavefunctions may start from.
    - `order_parameters`: observables that tell phases apart, the most important one first.
    - `observables`: what is measured beside energies, order parameters and the
      [standard observables][qernel.evaluation.standard_observables].
    - `known`: a function that returns reference values for the points of a family, or None.
    - `walkers`: a function that returns starting walkers. In a periodic cell they are uniform without one; without a
      cell, where nothing else says how far apart the electrons are, the width of a Gaussian cloud is enough, one number
      or one for each dimension: see [`initial_positions`][qernel.sampling.initial_positions].
    - `span`: members at the ends of the range that wavefunctions are made for, by default the family's own.
    - `words`: the Hamiltonian in a sentence or two; `facts`: names and values of what else defines the system.
    - `terms`: potentials in words, by name, as figures and tables call them: by default the name.
    - `zone_points`: points of the Brillouin zone that have names, in inverse effective Bohr radii, equivalent ones
      under one name: results call [total momenta][qernel.observables.total_momentum] by them.

    **Raises:** `ValueError` if two phases have one name, `terms` names a potential that there is not, or a potential, a
    coordinate or an observable is called what [results][qernel.evaluation.results] call something else; if a potential
    is complex or no scalar, one of the user's own is not a number where electrons come, or a mass is not positive; if
    `zone_points` are no vectors, or the potential has no lattice.

    **Example:** `System("pinned", Family.of(hamiltonian, {"depth": 0.0}, "depth", [0.0, 0.1, 0.2]))`.
    """

    name: str
    family: Family
    units: Units = Units()
    phases: tuple[Phase, ...] = ()
    order_parameters: tuple[OrderParameter, ...] = ()
    observables: tuple[AbstractObservable, ...] = ()
    known: Callable[[Family], KnownValues | None] | None = None
    walkers: Walkers | float | Sequence[float] | None = None
    span: Family | None = None
    words: str = ""
    facts: tuple[tuple[str, str], ...] = ()
    terms: Mapping[str, str] = dataclasses.field(default_factory=dict)
    zone_points: Mapping[str, Float[np.ndarray, "points dim"]] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        names = [phase.name for phase in self.phases]
        if len(set(names)) < len(names):
            raise ValueError(f"the phases of a system need different names, got {', '.join(names)}")
        # Now, not when a training has ended and its results have no place for the name.
        ordered = [parameter.observable for parameter in self.order_parameters]
        check_names(self.family, (*ordered, *self.observables))
        check_terms(self.family, None if callable(self.walkers) else self.walkers)
        check_zone_points(self.family.hamiltonian, self.zone_points)
        potentials = self.family.hamiltonian.potentials
        for name in self.terms:
            if name not in potentials:
                raise ValueError(f"there is no potential '{name}' to describe: there are {', '.join(potentials)}")

    def at(self, family: Family) -> "System":
        """The system with other members."""
        return dataclasses.replace(self, family=family)

    def phase(self, name: str) -> Phase:
        """The set of orbitals of this name.

        **Raises:** `ValueError` if there is none.
        """
        for phase in self.phases:
            if phase.name == name:
                return phase
        known = ", ".join(phase.name for phase in self.phases) or "none"
        raise ValueError(f"the system {self.name} has no orbitals '{name}': there are {known}")

    def starting_walkers(
        self,
        walkers: int,
        *,
        key: PRNGKeyArray,
        phases: Sequence[str] | None = None,
        dtype: DTypeLike = jnp.float32,
    ) -> Float[Array, "members walkers electrons dim"]:
        """Walkers before the burn-in, for every member; `phases` names the phase of matter that each is to be in.

        **Raises:** `ValueError` with open boundaries if the system does not say where walkers start.
        """
        family = self.family
        self.check_walkers()
        if callable(self.walkers):
            return self.walkers(family, walkers, phases or [""] * family.size, key, dtype)
        return initial_positions(family.hamiltonian, family.size, walkers, key=key, width=self.walkers, dtype=dtype)  # pyright: ignore[reportArgumentType]

    def check_walkers(self) -> None:
        """Check that something says where walkers start.

        **Raises:** `ValueError` if nothing does.
        """
        if self.walkers is None and self.family.hamiltonian.cell is None:
            raise ValueError(
                f"the system {self.name} has no periodic cell, so that nothing says how far apart its electrons start: "
                "give System(..., walkers=WIDTH), the width of a Gaussian cloud about as large as the ground state"
            )

    def label(self, dataset: "xarray.Dataset") -> "xarray.Dataset":
        """A table of the family's results with reference values, and everything that verdicts and figures must know."""
        dataset = add_known_values(dataset, None if self.known is None else self.known(self.family))
        label_order_parameters(dataset, self.order_parameters)
        label_momenta(dataset, self.family.hamiltonian, self.zone_points)
        for name, words in self.terms.items():
            dataset[name].attrs["long_name"] = words
        matter = dict.fromkeys(phase.matter for phase in self.phases)
        dataset.attrs.update(
            system=self.name, words=self.words, facts=json.dumps(self.facts), phases_of_matter=list(matter)
        )
        return dataset
