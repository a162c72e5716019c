"""Which total momenta states have, and whether two states have any in common, in words."""

import dataclasses
import itertools
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from qernel.evaluation import (
    axes_of,
    in_order,
    positions_on,
    rows_of,
    separate_phases,
    single_axis,
    with_error,
)
from qernel.observables import opposite_momenta

from ._branch_crossing import BranchCrossing, branch_crossing
from ._phase_crossing import competitors

if TYPE_CHECKING:
    import xarray

# A state has the momentum of more than half of its weight, by three errors: there is one at most.
_MOST, _SIGMA = 0.5, 3.0
# Of less a list of momenta does not speak.
_LISTED = 0.05
# A common weight below one tenth is what an approximation of two states of different momenta is off by; above nine
# tenths the momenta do not tell the states apart.
_DIFFERENT, _SAME = 0.1, 0.9


@dataclasses.dataclass(frozen=True)
class MomentumWeights:
    """The weights of the total momenta in every row of a table; of a real wavefunction those of K and -K together,
    which are equal.

    **Fields:** `names` of the momenta, `±(0,1)` or with what the system calls them, `(0,0) = Γ`; `weights`, `errors`.
    """

    names: tuple[str, ...]
    weights: Float[np.ndarray, "rows momenta"]
    errors: Float[np.ndarray, "rows momenta"]

    def single(self, row: int) -> int | None:
        """The momentum that a row has, None if none has more than half of the weight."""
        largest = int(np.argmax(self.weights[row]))
        surplus = self.weights[row, largest] - _MOST
        return largest if surplus > _SIGMA * np.nan_to_num(self.errors[row, largest]) else None

    def text(self, row: int, momentum: int) -> str:
        """A momentum of a row with its weight: `±(0,1) 0.98(1)`."""
        return f"{self.names[momentum]} {_share(self.weights[row, momentum], self.errors[row, momentum])}"

    def listed(self, row: int) -> str:
        """The momenta of a row by decreasing weight, those of a twentieth and more."""
        order = np.argsort(-self.weights[row], kind="stable").tolist()
        kept = [i for i in order if self.weights[row, i] >= _LISTED] or order[:1]
        more = f" and {len(kept) - 4} more" if len(kept) > 4 else ""
        return ", ".join(self.text(row, i) for i in kept[:4]) + more


def _share(weight: float, error: float) -> str:
    # An error of zero is that of a state of one momentum.
    return f"{weight:.2f}" if not error > 1e-6 else with_error(weight, error)


def momentum_weights(dataset: "xarray.Dataset") -> MomentumWeights | None:
    """The weights of the total momenta that a table holds, of one phase or of the ground state; None without any."""
    if "total_momentum" not in dataset or not np.isfinite(dataset["total_momentum"].values).any():
        return None
    momenta = dataset["momentum_vector"].values.astype(int)
    size = momenta.shape[1]
    opposite = opposite_momenta(momenta, np.array(dataset.attrs["supercell_index"]).reshape(size, size))
    over = (rows_of(dataset), "momentum")
    weights, errors = (dataset[f"total_momentum{end}"].transpose(*over).values for end in ("", "_error"))
    called = np.atleast_1d(dataset["total_momentum"].attrs.get("names", [""] * len(momenta))).tolist()
    names, kept, factors = [], [], []
    for i, numbers in enumerate(momenta.tolist()):
        pair = bool(dataset.attrs.get("real", 0)) and opposite[i] != i
        # Of the two the one whose numbers come first, whichever the table has first.
        if pair and tuple(numbers) > tuple(momenta[opposite[i]].tolist()):
            continue
        # -K has a name of its own, K' say, or the same, as the middle of an edge.
        sign, known = "±" * pair, min(called[i], called[opposite[i]]) if pair else called[i]
        names.append(f"{sign}({','.join(map(str, numbers))})" + (f" = {sign}{known}" if known else ""))
        kept.append(i)
        # The two weights are the same number, and so are their errors.
        factors.append(1 + pair)
    return MomentumWeights(tuple(names), weights[:, kept] * factors, errors[:, kept] * factors)


def common_weight(first: MomentumWeights, second: MomentumWeights, rows: tuple[int, int]) -> tuple[float, float]:
    r"""The weight $\sum_K\min(P_K, Q_K)$ that two states have in common, 1 for the same momenta and 0 for different
    ones, and its error.

    States of which it is zero are orthogonal, and no perturbation with the period of the primitive cells mixes them.
    """
    (a, b), (c, d) = ((m.weights[row], m.errors[row]) for m, row in zip((first, second), rows, strict=True))
    smaller = a <= c
    return float(np.minimum(a, c).sum()), float(np.sqrt(np.nansum(np.where(smaller, b, d) ** 2)))


def momentum_sentences(dataset: "xarray.Dataset") -> list[str]:
    """Which total momentum each phase has along the family; and what the momenta mean for each crossing."""
    found = []
    for name, table in (separate_phases(dataset) or {"": dataset}).items():
        weights = momentum_weights(table)
        if weights is not None:
            found.append(_sentence(table, weights, f"Total momentum of the {name}: " if name else "Total momentum: "))
    return [*found, *_at_crossings(dataset)]


def momenta_at_crossing(
    first: "xarray.Dataset", second: "xarray.Dataset", crossing: BranchCrossing, names: tuple[str, str]
) -> str:
    """A sentence on the total momenta of two states where their energies cross; empty if these were not measured.

    **Arguments:** as for [`branch_crossing`][qernel.judgement.branch_crossing], what that found, and names of the two.
    """
    ours, theirs = momentum_weights(first), momentum_weights(second)
    if ours is None or theirs is None or not np.isfinite(crossing.location):
        return ""
    weights = ours, theirs
    nearest = [int(np.argmin(np.abs(positions_on(t, axes_of(t)[0]) - crossing.location))) for t in (first, second)]
    if not all(np.isfinite(w.weights[row]).all() for w, row in zip(weights, nearest, strict=True)):
        return ""
    common, error = common_weight(*weights, (nearest[0], nearest[1]))
    axis = axes_of(first)[0]
    at = f"{axis.symbol} = {axis.value(float(positions_on(first, axis)[nearest[0]]))}"
    shares = [f"{name} {w.listed(row)}" for name, w, row in zip(names, weights, nearest, strict=True)]
    text = f"At {at}, by the crossing, the total momenta are: {'; '.join(shares)}."
    share = _share(common, error)
    if common + _SIGMA * error < _DIFFERENT or common == 0:
        return (
            f"{text} They are different (weight in common: {share}): the two levels cross also in this finite cell, "
            "and no term with the period of the potential makes them repel."
        )
    if common - _SIGMA * error > _SAME:
        return (
            f"{text} They are the same (weight in common: {share}): in this finite cell the two levels may repel, and "
            "the crossing be rounded."
        )
    return f"{text} The weight in common is {share}: only these parts of the two states may mix in this finite cell."


def _at_crossings(dataset: "xarray.Dataset") -> list[str]:
    found = []
    for pair, names in competitors(dataset):
        crossing = branch_crossing(*pair)
        if crossing.crosses:
            found.append(momenta_at_crossing(*pair, crossing, names))
    return [text for text in found if text]


def _sentence(table: "xarray.Dataset", weights: MomentumWeights, head: str) -> str:
    """The stretches of rows that have one momentum, and the others."""
    rows = [int(row) for row in in_order(table) if np.isfinite(weights.weights[row]).all()]
    axis = single_axis(table)
    parts = []
    # In a plane of coordinates neighbours in the table are none.
    key = weights.single
    groups = itertools.groupby(rows, key) if axis is not None else itertools.groupby(sorted(rows, key=_last(key)), key)
    for momentum, group in groups:
        inside = list(group)
        if axis is None:
            where = f" at {len(inside)} of {len(rows)} points" if len(inside) < len(rows) else ""
        elif len(inside) == len(rows):
            where = ""
        else:
            x = positions_on(table, axis)[inside]
            where = f" at {axis.symbol} = {axis.value(x[0])}" if len(x) == 1 else f" for {axis.span(x)}"
        if momentum is None:
            lowest = min(inside, key=lambda row: weights.weights[row].max())
            parts.append(f"none alone{where} ({weights.listed(lowest)}{_of_one(inside)})")
        else:
            lowest = min(inside, key=lambda row, k=momentum: weights.weights[row, k])
            share = _share(weights.weights[lowest, momentum], weights.errors[lowest, momentum])
            least = (
                "at least "
                if len(inside) > 1
                and weights.weights[inside, momentum].max() > 0.005 + float(weights.weights[lowest, momentum])
                else ""
            )
            parts.append(f"{weights.names[momentum]}{where} (weight {least}{share})")
    return head + "; ".join(parts) + "."


def _last(key):
    """Rows without a momentum of their own behind the others."""

    def place(row: int) -> int:
        found = key(row)
        return 10**9 if found is None else found

    return place


def _of_one(rows: list[int]) -> str:
    return "" if len(rows) == 1 else " where they are most spread"
