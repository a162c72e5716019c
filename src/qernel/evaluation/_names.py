"""Names of what a table of results holds, and what nobody else may be called."""

from collections.abc import Iterable, Sequence

from qernel.hamiltonian import Coordinate, Family
from qernel.observables import AbstractObservable, Observable

# Name: (unit, or None for an energy; what it is).
VARIABLES: dict[str, tuple[str | None, str]] = {
    "energy": (None, "mean local energy"),
    "kinetic": (None, "kinetic energy from the Laplacian"),
    "kinetic_from_gradient": (None, "kinetic energy from the gradient, smoothed at nodes"),
    "kinetic_from_gradient_raw": (None, "plain mean of |grad log psi|^2/2m: infinite variance at nodes"),
    "kinetic_difference": (None, "kinetic - kinetic_from_gradient, error of the paired difference"),
    "variance": ("square", "variance of the local energy per electron"),
    "variance_typical": ("square", "median over the rounds of the walkers' variance: no outlier shows in it"),
    "v_score": ("1", "N Var(E) / E^2 of the total energy"),
    "probe_difference": (None, "mean energy along random directions less the exact one, at a few walkers"),
    "probe_share": ("1", "what random directions add to the variance of the local energy, in shares of it"),
    "acceptance": ("1", "accepted share of the moves"),
    "autocorrelation_time": ("rounds of sampling", "integrated autocorrelation time of the energy"),
    "effective_samples": ("1", "independent samples worth the same error of the energy"),
    "r_hat": ("1", "split Gelman-Rubin ratio of the energy"),
    "drift": (None, "change of the mean energy during the measurement"),
    "drift_sigma": ("1", "the drift in units of its error"),
    "non_finite": ("1", "samples excluded because a term was not finite"),
    "stuck": ("1", "walkers that never moved during the measurement"),
}
# Dimensions of tables, and arrays that are no observables.
_OTHERS = {
    "member",
    "phase",
    "known",
    "known_branch",
    "known_line",
    "exact",
    "exact_error",
    "above_exact",
    "boundary",
    "coordinate",
    "vector",
    "component",
    "q",
    "wave_vector",
    "structure_factor",
    "supercell",
    "primitive_lattice",
    "energy_zero_variance",
    "energy_zero_variance_error",
}
# In a periodic cell the density is measured in every evaluation, on fractions of the cell.
_PERIODIC = {"density", "x", "y", "z"}


def slopes(family: Family) -> dict[str, Coordinate]:
    """The coordinates along which ∂H/∂λ is measured, by the names of its variables: `slope`, or one for each."""
    if len(family.coordinates) == 1:
        return {"slope": family.coordinates[0]}
    return {f"slope_{coordinate.name}": coordinate for coordinate in family.coordinates}


def check_names(family: Family, observables: Sequence[AbstractObservable] = ()) -> None:
    """Check that potentials, coordinates and observables have names of their own in a table of results.

    Of observables the names of functions of one configuration are known before they are measured.

    **Raises:** `ValueError` if one is called what results call something else.
    """
    used = _used(family)
    for name in family.hamiltonian.potentials:
        # The kinetic energy is refused where the Hamiltonian is made.
        if name in used:
            raise ValueError(f"a potential cannot be called {name!r}: results use that name")
    used |= _with_errors(family.hamiltonian.potentials)
    for coordinate in family.coordinates:
        for name in (coordinate.name, coordinate.dimension):
            if name in used:
                raise ValueError(f"a coordinate cannot be called {name!r}: results use that name")
    taken = taken_names(family)
    for observable in observables:
        if isinstance(observable, Observable):
            if taken & _with_errors([observable.name]):
                raise ValueError(f"an observable cannot be called {observable.name!r}: results use that name")
            taken |= _with_errors([observable.name])


def taken_names(family: Family) -> set[str]:
    """Names of everything that a table of a family holds before any observable is measured."""
    coordinates = {name for c in family.coordinates for name in (c.name, c.dimension)}
    return _used(family) | _with_errors(family.hamiltonian.potentials) | coordinates


def _used(family: Family) -> set[str]:
    return (
        _with_errors(VARIABLES)
        | _with_errors(slopes(family))
        | _OTHERS
        | (_PERIODIC if family.hamiltonian.cell else set())
    )


def _with_errors(names: Iterable[str]) -> set[str]:
    return {name + end for name in names for end in ("", "_error")}
