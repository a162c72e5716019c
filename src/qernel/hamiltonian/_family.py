import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree
from numpy.typing import ArrayLike

from ._coordinate import Coordinate
from ._hamiltonian import Hamiltonian


class Family(eqx.Module):
    r"""Hamiltonians $H(\lambda)$ of one form, which differ in one or several named coordinates.

    **Arguments:**

    - `hamiltonian`: the Hamiltonian; its terms take the parameters of one member.
    - `parameters`: pytree of arrays, each with a leading axis of members.
    - `coordinates`: what varies: [`Coordinate`][qernel.hamiltonian.Coordinate]s, or names of parameters. A member is a
      point, one value of each coordinate. Results are drawn against the coordinates, and a state of the family is
      differentiated along them.

    **Raises:** `ValueError` if there are no members, the leading axes differ, a coordinate is no scalar of a member, or
    writing it changes the form of the parameters.

    **Example:** `Family.of(hamiltonian, {"omega": 1.0, "kappa": 0.1}, ("omega", "kappa"), {"omega": [1, 2, 3],
    "kappa": [0, 0.1]})` has six members, a grid.
    """

    hamiltonian: Hamiltonian
    parameters: PyTree
    coordinates: tuple[Coordinate, ...] = eqx.field(static=True)

    def __init__(
        self, hamiltonian: Hamiltonian, parameters: PyTree, coordinates: Sequence[Coordinate | str] | str = ()
    ):
        self.hamiltonian = hamiltonian
        self.parameters = jax.tree.map(_as_array, parameters)
        given = (coordinates,) if isinstance(coordinates, str) else tuple(coordinates)
        self.coordinates = tuple(Coordinate(c, c) if isinstance(c, str) else c for c in given)

    def __check_init__(self) -> None:
        leaves = jax.tree.leaves(self.parameters)
        sizes = {leaf.shape[0] if leaf.ndim else None for leaf in leaves}
        if len(sizes) != 1 or None in sizes or 0 in sizes:
            raise ValueError(
                "the parameters of a family need one leading axis of at least one Hamiltonian, got shapes "
                f"{[leaf.shape for leaf in leaves]}"
            )
        names = [coordinate.name for coordinate in self.coordinates]
        if len(set(names)) < len(names):
            raise ValueError(f"the coordinates of a family need different names, got {', '.join(names)}")
        for coordinate in self.coordinates:
            # Parameters of a family are what they are, whatever the caller's setting of JAX.
            with jax.enable_x64(True):
                first = jax.eval_shape(self._first)
                written = jax.eval_shape(lambda p, c=coordinate: c.at(p, c.of(p)), first)
            forms = [
                (jax.tree.structure(tree), [leaf.shape for leaf in jax.tree.leaves(tree)]) for tree in (first, written)
            ]
            if forms[0] != forms[1]:
                raise ValueError(
                    f"the write function of the coordinate {coordinate.name} must return parameters of the same form "
                    "as those that it is given"
                )

    @staticmethod
    def of(
        hamiltonian: Hamiltonian,
        parameters: PyTree,
        coordinates: Sequence[Coordinate | str] | str,
        points: "Points",
    ) -> "Family":
        """The family of one Hamiltonian's `parameters` with its coordinates at the given points.

        **Arguments:** `points`: a value of each coordinate for every member, `(members, coordinates)`; for a single
        coordinate a list of its values; or lists of values by the coordinates' names, of which all combinations are
        taken (a grid).
        """
        one = jax.tree.map(lambda leaf: _as_array(leaf)[None], parameters)
        return Family(hamiltonian, one, coordinates).at(points)

    @property
    def size(self) -> int:
        """Number of members."""
        return jax.tree.leaves(self.parameters)[0].shape[0]

    @property
    def points(self) -> Float[np.ndarray, "members coordinates"]:
        """The coordinates of every member, rounded to what a user typed: 12.5 meV, not 12.500000000000002."""
        # Parameters may be of double precision where the caller has not enabled it.
        with jax.enable_x64(True):
            columns = [jax.vmap(coordinate.of)(self.parameters) for coordinate in self.coordinates]
        rounded = [[float(f"{x:.{_digits(column)}g}") for x in np.asarray(column)] for column in columns]
        return np.array(rounded, np.float64).reshape(len(columns), self.size).T

    @property
    def varying(self) -> tuple[Coordinate, ...]:
        """Coordinates that differ between members; the first one, if none does."""
        points = self.points
        found = tuple(c for c, values in zip(self.coordinates, points.T, strict=True) if np.ptp(values) > 0)
        return found or self.coordinates[:1]

    def coordinate(self, name: str) -> Coordinate:
        """The coordinate of this name. Raises `ValueError` if there is none."""
        for coordinate in self.coordinates:
            if coordinate.name == name:
                return coordinate
        known = ", ".join(coordinate.name for coordinate in self.coordinates) or "none"
        raise ValueError(f"the family has no coordinate '{name}': there are {known}")

    def at(self, points: "Points") -> "Family":
        """The same Hamiltonian at other points; no table of its terms is made anew.

        **Arguments:** `points`, as for [`Family.of`][qernel.hamiltonian.Family.of]. A coordinate that a grid does not
        name keeps its value, if all members share it.
        """
        values = self.as_points(points)
        first = self._first()

        def member(point):
            parameters = first
            for coordinate, value in zip(self.coordinates, point, strict=True):
                parameters = coordinate.at(parameters, value)
            return parameters

        with jax.enable_x64(True):
            parameters = jax.vmap(member)(jnp.asarray(values))
            # All leaves keep their dtype: the programs for one family serve all.
            parameters = jax.tree.map(lambda new, old: new.astype(old.dtype), parameters, self.parameters)
        return dataclasses.replace(self, parameters=parameters)

    def as_points(self, points: "Points") -> Float[np.ndarray, "members coordinates"]:
        """Points as an array, a value of each coordinate for every member: see
        [`Family.of`][qernel.hamiltonian.Family.of].

        **Raises:** `ValueError` for unknown names, no points, wrong shapes or values that are not finite.
        """
        names = [coordinate.name for coordinate in self.coordinates]
        if isinstance(points, Mapping):
            points = self._grid(points)
        values = np.asarray(points, np.float64)
        if values.ndim == 1 and len(names) == 1:
            values = values[:, None]
        if values.ndim != 2 or values.shape[1] != len(names) or len(values) == 0:
            raise ValueError(
                f"a point needs a value of each coordinate ({', '.join(names) or 'none'}), and there must be at least "
                f"one point, got the shape {values.shape}"
            )
        if not np.isfinite(values).all():
            raise ValueError(f"the points of a family must be finite, got {values.tolist()}")
        return values

    def select(self, index: int) -> PyTree:
        """Parameters of one member."""
        if not -self.size <= index < self.size:
            raise ValueError(f"the family has {self.size} Hamiltonians, there is no number {index}")
        return jax.tree.map(lambda leaf: leaf[index], self.parameters)

    def take(self, members: Sequence[int] | np.ndarray) -> "Family":
        """The family of some members, in the given order; a member may occur several times."""
        chosen = np.asarray(members)
        return dataclasses.replace(self, parameters=jax.tree.map(lambda leaf: leaf[chosen], self.parameters))

    def _first(self) -> PyTree:
        return jax.tree.map(lambda leaf: leaf[0], self.parameters)

    # `ArrayLike` is no tuple of numbers to a checker at run time, which a configuration's lists are.
    def _grid(self, lists: Mapping[str, Any]) -> Float[np.ndarray, "members coordinates"]:
        for name in lists:
            self.coordinate(name)
        columns = []
        for coordinate, values in zip(self.coordinates, self.points.T, strict=True):
            if coordinate.name in lists:
                columns.append(np.atleast_1d(np.asarray(lists[coordinate.name], np.float64)))
            elif np.ptp(values) == 0:
                columns.append(values[:1])
            else:
                raise ValueError(f"the members of the family differ in {coordinate.name}: give its values as well")
        return np.stack([axis.ravel() for axis in np.meshgrid(*columns, indexing="ij")], axis=1)


# All combinations of values by name, values of a single coordinate, or a value of each coordinate for each member.
Points = Mapping[str, ArrayLike] | ArrayLike


def _digits(column: Array) -> int:
    """Digits that survive a conversion of units there and back."""
    return 12 if column.dtype == np.float64 else 6


def _as_array(leaf: Any) -> Array:
    """Floats as they are, at the widest enabled precision if they are Python's or NumPy's; whole numbers as floats."""
    if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jnp.inexact):
        return leaf
    return jnp.asarray(leaf, dtype=jnp.result_type(float) if not np.iscomplexobj(leaf) else None)
