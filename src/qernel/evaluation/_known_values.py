"""Energies and phase boundaries known from other methods, beside the results of a wavefunction."""

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import equinox as eqx
import numpy as np
from jaxtyping import Float

from ._axes import axes_of, coordinates_of, positions_on, rows_of, same_points

if TYPE_CHECKING:
    import xarray

_COLUMNS = ("exact", "exact_error", "upper_bound", "mean_field")
_OF_BRANCH = ("exact", "exact_error", "upper_bound")


class KnownBranch(eqx.Module):
    """The lowest level of one phase of matter, whether it is the ground state or not; NaN where it is not known.

    - `name`: of the phase, as results call it where phases are measured separately.
    - `exact`, `exact_error`, `upper_bound`: as in [`KnownValues`][qernel.evaluation.KnownValues], at its points.
    - `values`: expectation values in its state, by the names that results have for them: terms of the Hamiltonian,
      order parameters.
    - `momentum`: its total momentum in words, if it has one.
    """

    name: str = eqx.field(static=True)
    exact: Float[np.ndarray, " known"]
    exact_error: Float[np.ndarray, " known"]
    upper_bound: Float[np.ndarray, " known"]
    values: dict[str, Float[np.ndarray, " known"]]
    momentum: str = eqx.field(static=True, default="")

    @property
    def words(self) -> str:
        """The name with the momentum: `chain, k = (0,1)`."""
        return self.name.replace("_", " ") + f", {self.momentum}" * bool(self.momentum)


class KnownValues(eqx.Module):
    """Reference values at points of a family, per electron in the unit of the results; NaN where one is not known.

    - `names`: of the coordinates; `points`: their values.
    - `exact`, uncertain by `exact_error`: an estimate, where that is not 0; `upper_bound`: a variational value of the
      same calculation; the exact energy lies below it.
    - `terms`: expectation values of terms of the Hamiltonian in the exact state.
    - `mean_field`: the best known energy of one determinant, an upper bound.
    - `method`, `mean_field_method`: what they come from; `bound_method`: what the upper bounds come from where it is
      another calculation than that of the exact values; `remark`: what a reader of figures should know of them.
    - `boundaries`: lines (or places, with one coordinate) where the exact ground state changes its phase, each as
      points in the order of `names`; `boundary_errors`: the uncertainty of each, along its place with one coordinate;
      none where they are exact.
    - `branches`: the lowest level of each phase of matter, where they are known one by one.

    **Raises:** `ValueError` for branches of one name or at other points, or errors that are not one for each boundary.
    """

    names: tuple[str, ...] = eqx.field(static=True)
    points: Float[np.ndarray, "known coordinates"]
    exact: Float[np.ndarray, " known"]
    exact_error: Float[np.ndarray, " known"]
    upper_bound: Float[np.ndarray, " known"]
    mean_field: Float[np.ndarray, " known"]
    terms: dict[str, Float[np.ndarray, " known"]]
    method: str = eqx.field(static=True, default="exact")
    mean_field_method: str = eqx.field(static=True, default="Hartree-Fock")
    remark: str = eqx.field(static=True, default="")
    boundaries: tuple[Float[np.ndarray, "_ coordinates"], ...] = ()
    boundary_errors: tuple[float, ...] = eqx.field(static=True, default=())
    branches: tuple[KnownBranch, ...] = ()
    bound_method: str = eqx.field(static=True, default="")

    def __check_init__(self) -> None:
        names = [branch.name for branch in self.branches]
        if len(set(names)) < len(names):
            raise ValueError(f"the branches of known values need different names, got {', '.join(names)}")
        for branch in self.branches:
            if len(branch.exact) != len(self.points):
                raise ValueError(
                    f"the branch '{branch.name}' needs a value at each of the {len(self.points)} points, NaN where it "
                    f"is not known, got {len(branch.exact)}"
                )
        if self.boundary_errors and len(self.boundary_errors) != len(self.boundaries):
            raise ValueError(
                f"give the error of each of the {len(self.boundaries)} boundaries, or none, got "
                f"{len(self.boundary_errors)}"
            )

    def branch(self, name: str) -> KnownBranch | None:
        """The branch of a phase of matter, None where it is not known."""
        return next((branch for branch in self.branches if branch.name == name), None)

    def of_branch(self, name: str) -> "KnownValues | None":
        """The values of one branch in the place of those of the ground state, without a mean field; None where it is
        not known."""
        branch = self.branch(name)
        if branch is None:
            return None
        return dataclasses.replace(
            self,
            **{column: getattr(branch, column) for column in _OF_BRANCH},
            mean_field=np.full(len(self.points), np.nan),
            terms={term: branch.values[term] for term in self.terms if term in branch.values},
        )

    def places(self, name: str) -> list[tuple[float, float]]:
        """Where the exact ground state changes along one coordinate, with errors, 0 where they are exact."""
        column = self.names.index(name)
        errors = self.boundary_errors or (0.0,) * len(self.boundaries)
        return [
            (float(point[column]), error) for line, error in zip(self.boundaries, errors, strict=True) for point in line
        ]

    @property
    def has_exact(self) -> bool:
        """Whether any exact energy is known."""
        return bool(np.isfinite(self.exact).any())

    def coordinate(self, name: str) -> Float[np.ndarray, " known"]:
        """One coordinate of the points."""
        return self.points[:, self.names.index(name)]

    def at(self, values: Float[np.ndarray, " known"], points: Float[np.ndarray, "rows coordinates"]):
        """The entry of one column (`exact`, `mean_field` ...) at each of the given points, NaN where there is none."""
        if not self.names:
            # Members without coordinates are told apart by their numbers.
            return values if len(values) == len(points) else np.full(len(points), np.nan)
        same = same_points(points, self.points) & np.isfinite(values)
        picked = values[np.argmax(same, axis=1)] if len(values) else np.zeros(len(points))
        return np.where(same.any(axis=1), picked, np.nan)


def add_known_values(dataset: "xarray.Dataset", known: KnownValues | None) -> "xarray.Dataset":
    """The table with reference values along the dimension `known`, from which figures and verdicts read them.

    **Raises:** `ValueError` if they have other coordinates.
    """
    if known is None:
        return dataset
    unit = {"units": str(dataset["energy"].attrs["units"])}
    names = [axis.name for axis in coordinates_of(dataset)]
    if sorted(names) != sorted(known.names):
        raise ValueError(
            f"known values need the coordinates of the table, {', '.join(names) or 'none'}, got "
            f"{', '.join(known.names) or 'none'}"
        )
    columns: dict[str, Any] = {f"known_{name}": ("known", getattr(known, name), unit) for name in _COLUMNS}
    columns |= {f"known_term_{name}": ("known", values, unit) for name, values in known.terms.items()}
    columns |= {f"known_at_{name}": ("known", values) for name, values in zip(known.names, known.points.T, strict=True)}
    if known.boundaries:
        gap = np.full((1, len(known.names)), np.nan)
        joined = np.concatenate([part for line in known.boundaries for part in (line, gap)])
        # In the table's order of coordinates, in which they are read again.
        joined = joined[:, [known.names.index(name) for name in names]]
        columns["known_boundary"] = (("boundary", "coordinate"), joined)
    if known.boundary_errors:
        columns["known_boundary_error"] = ("known_line", np.array(known.boundary_errors, np.float64))
    if known.branches:
        columns |= _columns_of(known.branches, unit)
    dataset = dataset.assign(columns)
    dataset.attrs.update(
        known_method=known.method,
        known_mean_field_method=known.mean_field_method,
        known_bound_method=known.bound_method,
        known_remark=known.remark,
    )
    dataset.attrs["known_branches"] = json.dumps([[branch.name, branch.momentum] for branch in known.branches])
    return dataset


_VALUE = "known_branch_value_"


def _columns_of(branches: tuple[KnownBranch, ...], unit: dict[str, str]) -> dict[str, Any]:
    """Branches along a dimension of their own; NaN for a quantity that one of them lacks."""
    axes, missing = ("known_branch", "known"), np.full(len(branches[0].exact), np.nan)
    names = dict.fromkeys(name for branch in branches for name in branch.values)
    stack = lambda arrays: np.stack(list(arrays))
    columns = {
        f"known_branch_{name}": (axes, stack(getattr(branch, name) for branch in branches), unit) for name in _OF_BRANCH
    }
    return columns | {
        f"{_VALUE}{name}": (axes, stack(branch.values.get(name, missing) for branch in branches)) for name in names
    }


def _branches_of(dataset: "xarray.Dataset") -> tuple[KnownBranch, ...]:
    named = json.loads(str(dataset.attrs.get("known_branches", "[]")))
    values = [str(name).removeprefix(_VALUE) for name in dataset.data_vars if str(name).startswith(_VALUE)]
    return tuple(
        KnownBranch(
            name=name,
            **{column: dataset[f"known_branch_{column}"].values[number] for column in _OF_BRANCH},
            values={value: dataset[f"{_VALUE}{value}"].values[number] for value in values},
            momentum=momentum,
        )
        for number, (name, momentum) in enumerate(named)
    )


def known_values(dataset: "xarray.Dataset") -> KnownValues | None:
    """The reference values that a table carries, None if it carries none."""
    if "known_exact" not in dataset:
        return None
    names = tuple(axis.name for axis in coordinates_of(dataset))
    boundaries = ()
    if "known_boundary" in dataset:
        lines = np.asarray(dataset["known_boundary"].values)
        ends = np.flatnonzero(np.isnan(lines).any(axis=1))
        parts = (part[np.isfinite(part).all(axis=1)] for part in np.split(lines, ends))
        # With one coordinate a boundary is a single place.
        boundaries = tuple(part for part in parts if len(part))
    term = "known_term_"
    return KnownValues(
        names=names,
        points=_columns([dataset[f"known_at_{name}"].values for name in names], dataset.sizes["known"]),
        **{name: dataset[f"known_{name}"].values for name in _COLUMNS},
        terms={str(n).removeprefix(term): dataset[n].values for n in dataset.data_vars if str(n).startswith(term)},
        method=str(dataset.attrs["known_method"]),
        mean_field_method=str(dataset.attrs["known_mean_field_method"]),
        bound_method=str(dataset.attrs.get("known_bound_method", "")),
        remark=str(dataset.attrs["known_remark"]),
        boundaries=boundaries,
        boundary_errors=tuple(dataset["known_boundary_error"].values.tolist())
        if "known_boundary_error" in dataset
        else (),
        branches=_branches_of(dataset),
    )


def known_at_rows(dataset: "xarray.Dataset", column: str, phase: str | None = None) -> Float[np.ndarray, " rows"]:
    """A column of the reference values (`exact`, `exact_error`, `upper_bound`, `mean_field`) at the rows of a table.

    **Arguments:** `phase`: that of the branch of this phase of matter, NaN where it is not known; by default the ground
    state's.
    """
    known = known_values(dataset)
    if known is not None and phase is not None:
        known = known.of_branch(phase)
    axes = coordinates_of(dataset) or axes_of(dataset)
    rows = _columns([positions_on(dataset, axis) for axis in axes], dataset.sizes[rows_of(dataset)])
    if known is None:
        return np.full(len(rows), np.nan)
    return known.at(getattr(known, column), rows)


def bound_at_rows(dataset: "xarray.Dataset") -> Float[np.ndarray, " rows"]:
    """Upper bounds of another method than that of the exact values at the rows of a table; NaN where there is none."""
    known = known_values(dataset)
    values = known_at_rows(dataset, "upper_bound")
    return values if known is not None and known.bound_method else np.full(len(values), np.nan)


def _columns(values: list[Float[np.ndarray, " points"]], count: int) -> Float[np.ndarray, "points coordinates"]:
    """Coordinates of points side by side; a family without coordinates has none."""
    return np.stack(values, axis=1) if values else np.zeros((count, 0))
