"""The table of results, as a labelled data set."""

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from qernel.hamiltonian import Family
from qernel.systems.moire import Material

from ._coordinates import coordinates
from ._evaluation import Evaluation
from qernel.observables import LIMITS
from ._maps import add_density, add_structure_factor, at_zone_corners
from qernel.observables import smooth_node_tails
from ._sample_results import add_sample_observables
from qernel.observables import SeriesStatistics, series_statistics
from qernel.observables import moire_supercell

if TYPE_CHECKING:
    import xarray

# Name: (unit, or None for an energy; what it is).
_VARIABLES = {
    "energy": (None, "mean local energy"),
    "kinetic": (None, "kinetic energy from the Laplacian"),
    "kinetic_from_gradient": (None, "kinetic energy from the gradient, smoothed at nodes"),
    "kinetic_from_gradient_raw": (None, "plain mean of |grad log psi|^2/2m: infinite variance at nodes"),
    "kinetic_difference": (None, "kinetic - kinetic_from_gradient, error of the paired difference"),
    "variance": ("square", "variance of the local energy per electron"),
    "v_score": ("1", "N Var(E) / E^2 of the total energy"),
    "structure_factor_K": ("1", "S(q) at the corners of the moiré Brillouin zone"),
    "structure_factor_K_error": ("1", "standard error of structure_factor_K"),
    "acceptance": ("1", "accepted share of the moves"),
    "autocorrelation_time": ("sampling phases", "integrated autocorrelation time of the energy"),
    "effective_samples": ("1", "independent samples worth the same error of the energy"),
    "r_hat": ("1", "split Gelman-Rubin ratio of the energy"),
    "drift": (None, "change of the mean energy during the measurement"),
    "drift_sigma": ("1", "the drift in units of its error"),
    "non_finite": ("1", "samples excluded because a term was not finite"),
    "stuck": ("1", "walkers that never moved during the measurement"),
}


def v_score(energy: float, variance: float, electrons: int, reference: float = 0.0) -> float:
    r"""$N\,\mathrm{Var}(E)/(E - E_\infty)^2$: 0 for an eigenstate, comparable between systems.

    `energy` and `variance` are of the total energy, in any unit; `reference` is $E_\infty$, the energy of a
    featureless state: 0 for uniform charge on its neutralising background in a potential of zero average.

    **Source:** arXiv:2302.04919.
    """
    distance = energy - reference
    return float(electrons * variance / distance**2) if distance else float("nan")


def results(evaluation: Evaluation, family: Family, material: Material | None = None) -> "xarray.Dataset":
    r"""The labelled table of an evaluation: one row for each Hamiltonian.

    Energies, errors and `*_error` are per electron, in meV if a `material` gives the unit, in effective
    Hartree otherwise; `variance` is that of the local energy per electron, in the unit's square; errors are
    corrected for autocorrelation (see [`SeriesStatistics`][qernel.observables.SeriesStatistics]). For moiré
    families the dimension is `depth` with the coordinate `depth_meV`, and the density is in electrons per
    moiré cell, lengths in nm; otherwise the dimension has the name of the first varying parameter.
    Attributes hold units, the system and any doubts.

    `kinetic_from_gradient` is [smoothed near the nodes][qernel.observables.smooth_node_tails], where its
    variance would be infinite. `structure_factor_K` is the mean over the corners of the moiré Brillouin
    zone, NaN if the cell does not contain them. `slope` is ⟨∂H/∂λ⟩ of the first varying parameter, which
    equals dE/dλ where the wavefunction is optimal (Hellmann-Feynman).

    Where the evaluation recorded samples, there are also the pair correlation function over `r`, `localisation_length`,
    and `crystal_order`, `binder_ratio` and `registry_share` of the √3 x √3 crystal;
    [`add_momentum_distribution`][qernel.observables.add_momentum_distribution] adds n(k).

    Warns (`UserWarning`), per Hamiltonian, when an error is not to be trusted.
    """
    import xarray

    electrons = family.hamiltonian.n_electrons
    unit = 1.0 if material is None else material.hartree_meV
    labels = coordinates(family, material)
    rows = [
        _row(evaluation, index, unit / electrons, labels.factor, electrons) for index in range(evaluation.hamiltonians)
    ]
    doubts = {labels.label(index): row.pop("doubts") for index, row in enumerate(rows)}
    table = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    table["structure_factor_K"], table["structure_factor_K_error"] = at_zone_corners(evaluation, family)
    energy_unit = "meV" if material is not None else "Ha*"
    variables = {
        name: (labels.dimension, value, _attributes(name, energy_unit, labels.axis)) for name, value in table.items()
    }
    dataset = xarray.Dataset(variables, labels.values)
    dataset = add_density(dataset, evaluation, family, material, labels.dimension)
    dataset = add_structure_factor(dataset, evaluation, material, labels.dimension)
    dataset = add_sample_observables(dataset, evaluation, family, material, labels.dimension)
    dataset.attrs.update(_system(family, material))
    walkers, phases = evaluation.series["energy"].shape[1:]
    dataset.attrs.update(walkers=walkers, phases=phases, axis=labels.axis)
    dataset.attrs["doubts"] = "\n".join(f"{label}: {text}" for label, texts in doubts.items() for text in texts)
    for label, texts in doubts.items():
        if texts:
            warnings.warn(f"{label}: {'; '.join(texts)}", UserWarning, stacklevel=2)
    return dataset


def _attributes(name: str, energy: str, axis: str) -> dict[str, str]:
    unit, text = _VARIABLES.get(name, (None, ""))
    per_electron = f"{energy} per electron"
    if unit == "square":
        unit = f"{energy}^2 per electron^2"
    elif name in ("slope", "slope_error"):
        unit, text = f"{per_electron} per unit of {axis}", f"expectation of dH/d({axis})"
    elif unit is None:
        unit = per_electron
    return {"units": unit, "long_name": text} if text else {"units": unit}


def _row(evaluation: Evaluation, index: int, scale: float, slope_factor: float, electrons: int) -> dict[str, Any]:
    series = {name: values[index] * scale for name, values in evaluation.series.items()}
    raw = series["kinetic_from_gradient"]
    series["kinetic_from_gradient"] = smooth_node_tails(raw, evaluation.real)
    if "slope" in series:
        series["slope"] = series["slope"] * slope_factor
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
    row["v_score"] = v_score(energy.mean, energy.variance, electrons)
    row["acceptance"] = float(evaluation.acceptance[index].mean())
    for name in ("autocorrelation_time", "effective_samples", "r_hat", "drift", "drift_sigma"):
        row[name] = getattr(energy, name)
    row["non_finite"] = int(evaluation.non_finite[index])
    row["stuck"] = int(evaluation.stuck[index])
    row["doubts"] = _doubts(energy, row)
    return row


def _doubts(energy: SeriesStatistics, row: dict[str, Any]) -> list[str]:
    found = energy.doubts()
    if row["stuck"]:
        found.append(f"{row['stuck']} walkers never moved")
    low, high = LIMITS.acceptance
    if not low <= row["acceptance"] <= high:
        found.append(f"the acceptance is {row['acceptance']:.2f}: the step size has not settled")
    return found


def _system(family: Family, material: Material | None) -> dict[str, Any]:
    from qernel import __version__

    attributes: dict[str, Any] = {
        "electrons_up": family.hamiltonian.electrons[0],
        "electrons_down": family.hamiltonian.electrons[1],
        "potentials": list(family.hamiltonian.potentials),
        "varying": list(family.varying),
        "qernel_version": __version__,
    }
    moire = moire_supercell(family.hamiltonian)
    if moire is not None:
        attributes["supercell_index"] = [n for row in moire.index for n in row]
        attributes["moire_cells"] = moire.cells
    if material is not None:
        attributes["reference_effective_mass"] = material.effective_mass
        attributes["reference_dielectric"] = material.dielectric
        attributes["reference_lattice_constant_nm"] = material.lattice_constant_nm
    return attributes
