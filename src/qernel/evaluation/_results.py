"""The table of results, as a labelled data set."""

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from qernel.hamiltonian import Coordinate, Family
from qernel.observables import LIMITS, SeriesStatistics, series_statistics, smooth_node_tails
from qernel.units import EFFECTIVE_UNITS, Units

from ._axes import indexed, labelled_rows, row_text
from ._evaluation import Evaluation
from ._labelled import add_density, add_observed, add_structure_factor
from ._names import VARIABLES, slopes

if TYPE_CHECKING:
    import xarray


def v_score(energy: float, variance: float, electrons: int, reference: float = 0.0) -> float:
    r"""V-score $N\,\mathrm{Var}(E)/(E - E_\infty)^2$: 0 for an eigenstate, comparable between systems.

    `energy` and `variance` are of the total energy, in any unit; `reference` is $E_\infty$, the energy of a
    featureless state: 0 for uniform charge on its neutralising background in a potential of zero average.

    **Source:** arXiv:2302.04919.
    """
    distance = energy - reference
    return float(electrons * variance / distance**2) if distance else float("nan")


def results(evaluation: Evaluation, family: Family, units: Units = EFFECTIVE_UNITS) -> "xarray.Dataset":
    r"""The labelled table of an evaluation: one row for each member of the family.

    Energies, errors and `*_error` are per electron, in the unit of energy; `variance` is that of the local energy per
    electron, in the unit's square; errors are corrected for autocorrelation (see
    [`SeriesStatistics`][qernel.observables.SeriesStatistics]). If one coordinate varies it is the dimension of the
    rows, an index: `table.sel(kappa=0.1)`; its name with the unit (`width_nm`, say) labels them as well. Several
    coordinates are columns along the dimension `member`. Attributes hold units, symbols, the system and any doubts.

    `kinetic_from_gradient` is [smoothed near the nodes][qernel.observables.smooth_node_tails], where its
    variance would be infinite. `slope` is ⟨∂H/∂λ⟩ of the family's coordinate, or `slope_NAME` of each of several, which
    equals dE/dλ where the wavefunction is optimal (Hellmann-Feynman). Density and structure factor of a periodic cell
    and what the observables measured follow.

    Warns (`UserWarning`), per member, when an error is not to be trusted.
    """
    import xarray

    electrons = family.hamiltonian.n_electrons
    labels, attributes, dimension = labelled_rows(family)
    rows = [_row(evaluation, index, units.hartree / electrons, electrons) for index in range(evaluation.hamiltonians)]
    doubts = [row.pop("doubts") for row in rows]
    table = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    named = slopes(family)
    variables = {name: (dimension, value, _attributes(name, units, named)) for name, value in table.items()}
    dataset = xarray.Dataset(variables, labels, attributes)
    dataset.attrs.update(_system(family))
    walkers, rounds = evaluation.series["energy"].shape[1:]
    dataset.attrs.update(walkers=walkers, rounds=rounds, real=int(evaluation.real))
    dataset = add_density(dataset, evaluation, family, units)
    dataset = add_structure_factor(dataset, evaluation, units)
    dataset = add_observed(dataset, evaluation)
    texts = [(row_text(dataset, row), found) for row, found in enumerate(doubts) if found]
    dataset.attrs["doubts"] = "\n".join(f"{label}: {text}" for label, found in texts for text in found)
    for label, found in texts:
        warnings.warn(f"{label}: {'; '.join(found)}", UserWarning, stacklevel=2)
    return indexed(dataset)


def _attributes(name: str, units: Units, slopes: dict[str, Coordinate]) -> dict[str, str]:
    unit, text = VARIABLES.get(name, (None, ""))
    coordinate = slopes.get(name.removesuffix("_error"))
    if coordinate is not None:
        per = "" if coordinate.unit == "1" else f" {coordinate.unit}"
        unit, text = (
            f"{units.per_electron} per{per or ' unit'} of {coordinate.symbol}",
            f"expectation of dH/d{coordinate.symbol}",
        )
    elif unit == "square":
        unit = f"{units.energy}^2 per electron^2"
    elif unit is None:
        unit = units.per_electron
    return {"units": unit, "long_name": text} if text else {"units": unit}


def _row(evaluation: Evaluation, index: int, scale: float, electrons: int) -> dict[str, Any]:
    series = {name: values[index] * scale for name, values in evaluation.series.items()}
    raw = series["kinetic_from_gradient"]
    series["kinetic_from_gradient"] = smooth_node_tails(raw, evaluation.real)
    energy = series_statistics(series["energy"])
    row: dict[str, Any] = {"energy": energy.mean, "energy_error": energy.error}
    for name, values in series.items():
        if name != "energy":
            statistics = series_statistics(values)
            row[name], row[f"{name}_error"] = statistics.mean, statistics.error
    difference = series_statistics(series["kinetic"] - series["kinetic_from_gradient"])
    row["kinetic_difference"] = difference.mean
    row["kinetic_difference_error"] = difference.error
    row["kinetic_from_gradient_raw"] = series_statistics(raw).mean
    row["variance"] = energy.variance
    row["variance_typical"] = _typical_variance(series["energy"])
    row["v_score"] = v_score(energy.mean, energy.variance, electrons)
    if evaluation.probe_noise is not None:
        noise = evaluation.probe_noise[:, index] * scale
        row["probe_difference"] = noise.mean()
        row["probe_difference_error"] = noise.std(ddof=1) / np.sqrt(noise.size)
        row["probe_share"] = np.mean(noise**2) / energy.variance
    row["acceptance"] = float(evaluation.acceptance[index].mean())
    for name in ("autocorrelation_time", "effective_samples", "r_hat", "drift", "drift_sigma"):
        row[name] = getattr(energy, name)
    row["non_finite"] = int(evaluation.non_finite[index])
    row["stuck"] = int(evaluation.stuck[index])
    row["doubts"] = _doubts(energy, row)
    return row


def _typical_variance(energies: Float[np.ndarray, "walkers rounds"]) -> float:
    """The median over the rounds of the walkers' variance, NaN with fewer than two finite walkers in every one."""
    count = np.isfinite(energies).sum(axis=0)
    if not (count > 1).any():
        return float("nan")
    return float(np.median(np.nanvar(energies[:, count > 1], axis=0, ddof=1)))


def _doubts(energy: SeriesStatistics, row: dict[str, Any]) -> list[str]:
    found = energy.doubts()
    if row["stuck"]:
        found.append(f"{row['stuck']} walkers never moved")
    low, high = LIMITS.acceptance
    if not low <= row["acceptance"] <= high:
        found.append(f"the acceptance is {row['acceptance']:.2f}: the step size has not settled")
    return found


def _system(family: Family) -> dict[str, Any]:
    from qernel import __version__

    hamiltonian = family.hamiltonian
    attributes: dict[str, Any] = {
        "electrons_up": hamiltonian.electrons[0],
        "electrons_down": hamiltonian.electrons[1],
        "dimensions": hamiltonian.dim,
        "potentials": list(hamiltonian.potentials),
        "interactions": list(hamiltonian.interactions),
        "qernel_version": __version__,
    }
    if hamiltonian.supercell is not None:
        attributes["supercell_index"] = [n for row in hamiltonian.supercell.index for n in row]
        attributes["primitive_cells"] = hamiltonian.supercell.cells
    return attributes
