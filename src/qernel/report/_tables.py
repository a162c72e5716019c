"""The tables of a run: energies, diagnostics row by row, slopes, comparison, training."""

import numpy as np

from qernel.evaluation import with_error
from qernel.judgement import kinetic_sigma, slope_check
from qernel.observables import LIMITS
from qernel.evaluation import known_values

from ._axis import axis_of
from ._record import Record
from ._table import Cell, Table, fixed, scientific

_NAMES = {"energy": "E", "kinetic": "kinetic", "moire": "moiré", "slope": "∂E/∂λ", "structure_factor_K": "S(K)"}
_ORDERS = {
    "crystal_order": ("crystal order", "mean of m = |Σ exp(iK·r)|/N over the corners K of the moiré Brillouin zone"),
    "binder_ratio": ("Binder ratio", "2 − ⟨m⁴⟩/⟨m²⟩², 1 in a crystal and 0 for Gaussian fluctuations"),
    "localisation_length": (
        "localisation length",
        "from the many-electron polarisation (arXiv:cond-mat/9808151), a lower bound where that vanishes in its error",
    ),
}
_ERROR_BARS = "Figures in parentheses are one standard error of the last digits, corrected for autocorrelation."


def energy_table(record: Record) -> Table:
    """Energies, terms, slope and S(K), one row for each Hamiltonian."""
    dataset, axis = record.dataset, axis_of(record.dataset)
    names = ["energy", "kinetic", *record.potentials, "slope", "structure_factor_K"]
    names = [name for name in names if name in dataset and np.isfinite(dataset[name].values).any()]
    marked = record.trained(0) is not None
    heads = [_NAMES.get(name, name.replace("_", " ")) for name in names]
    heads = [f"⟨∂H/∂{axis.symbol}⟩" if name == "slope" else head for name, head in zip(names, heads, strict=True)]
    rows = []
    for row in record.order:
        cells = [Cell(f"{float(dataset[axis.key].values[row]):g}")]
        cells += [Cell("yes" if record.trained(row) else "no")] * marked
        cells += [Cell(with_error(*(float(dataset[n].values[row]) for n in (x, f"{x}_error")))) for x in names]
        rows.append(cells)
    extra = " S(K) is the mean over the corners of the moiré Brillouin zone." if "structure_factor_K" in names else ""
    unit = dataset["energy"].attrs["units"]
    caption = f"Energy E and its terms, in {unit}. {_ERROR_BARS}{extra}"
    if marked:
        caption += " Depths that were not trained are values of the same wavefunction in between."
    return Table(caption, (axis.head, *(["trained"] * marked), *heads), rows, words=("trained",))


def order_table(record: Record) -> Table | None:
    """Order parameters and lengths that not every evaluation measures."""
    dataset, axis = record.dataset, axis_of(record.dataset)
    names = [name for name in _ORDERS if name in dataset and np.isfinite(dataset[name].values).any()]
    if not names:
        return None
    rows = [
        [Cell(f"{float(dataset[axis.key].values[row]):g}")]
        + [Cell(with_error(*(float(dataset[n].values[row]) for n in (name, f"{name}_error")))) for name in names]
        for row in record.order
    ]
    units = [dataset[name].attrs.get("units", "1") for name in names]
    heads = [_ORDERS[name][0] + (f" ({unit})" if unit != "1" else "") for name, unit in zip(names, units, strict=True)]
    meanings = "; ".join(f"{head}: {meaning}" for head, meaning in (_ORDERS[name] for name in names))
    caption = f"Order. {meanings}. Errors in parentheses are from the spread of the independent walkers."
    return Table(caption, (axis.head, *heads), rows)


def diagnostics_table(record: Record) -> Table:
    """What each row's trust rests on."""
    dataset, axis = record.dataset, axis_of(record.dataset)
    low, high = LIMITS.acceptance
    sigma = kinetic_sigma(dataset)
    rows = []
    for row in record.order:
        value = lambda name, i=row: float(dataset[name].values[i])
        lost = int(value("non_finite")), int(value("stuck"))
        rows.append(
            [
                Cell(f"{value(axis.key):g}"),
                Cell(fixed(value("r_hat"), 3), value("r_hat") > LIMITS.r_hat),
                Cell(fixed(value("effective_samples"), 0), value("effective_samples") < LIMITS.effective_samples),
                Cell(fixed(value("autocorrelation_time"), 1)),
                Cell(fixed(value("drift_sigma"), 1), abs(value("drift_sigma")) > LIMITS.drift_sigma),
                Cell(fixed(value("acceptance"), 2), not low <= value("acceptance") <= high),
                Cell(f"{lost[0]} / {lost[1]}", any(lost)),
                Cell(scientific(value("v_score")), value("v_score") > LIMITS.v_score),
                Cell(with_error(value("kinetic_difference"), value("kinetic_difference_error"))),
                Cell(fixed(float(sigma[row]), 1), not sigma[row] <= LIMITS.kinetic_sigma),
            ]
        )
    heads = (
        *(axis.head, "R‑hat", "effective samples", "τ", "drift (σ)", "acceptance", "excluded / stuck", "V-score"),
        *("Δ kinetic", "Δ kinetic (σ)"),
    )
    limits = ("sound if", f"≤ {LIMITS.r_hat:g}", f"≥ {LIMITS.effective_samples:g}", "", f"|·| ≤ {LIMITS.drift_sigma:g}")
    limits += (f"{low:g} to {high:g}", "0 / 0", f"≤ {LIMITS.v_score:g}", "", f"≤ {LIMITS.kinetic_sigma:g}")
    caption = (
        "Diagnostics of every row. R-hat: split Gelman-Rubin ratio of the walkers. τ: integrated autocorrelation time "
        "of the energy, in sampling phases. Drift: linear change of the mean energy during the measurement, in its "
        "errors. Excluded: samples with a term that is not finite; stuck: walkers that never moved. V-score: "
        "N Var(E)/E², 0 for an eigenstate. Δ kinetic: kinetic energy from the Laplacian less that from the gradient, "
        f"in {dataset['energy'].attrs['units']} and in its errors."
    )
    return Table(caption, heads, rows, limits)


def slope_table(record: Record) -> Table | None:
    """The Hellmann-Feynman check interval by interval."""
    check, axis = slope_check(record.dataset), axis_of(record.dataset)
    if check is None:
        return None
    x = record.dataset[axis.key].values[record.order]
    rows = [
        [
            Cell(f"{x[i]:g} to {x[i + 1]:g}"),
            Cell(with_error(check.from_energies[i], check.from_energies_error[i])),
            Cell(with_error(check.from_slopes[i], check.from_slopes_error[i])),
            Cell(fixed(float(check.uncertainty[i]), 4)),
            Cell(fixed(float(check.sigma[i]), 1), not check.agrees[i]),
        ]
        for i in range(len(x) - 1)
    ]
    s = axis.symbol
    heads = (f"interval of {axis.head}", f"ΔE/Δ{s}", f"mean ⟨∂H/∂{s}⟩", "interpolation", "difference (σ)")
    caption = (
        f"Hellmann-Feynman check: slope of the energies between neighbouring rows, and the mean of ⟨∂H/∂{s}⟩ over "
        "the same interval (integral of a monotone cubic through the measured values), per electron. Their difference "
        "is given in statistical errors, less what the interpolation may miss."
    )
    return Table(caption, heads, rows, ("sound if", "", "", "", f"≤ {LIMITS.slope_sigma:g}"))


def comparison_table(record: Record) -> Table | None:
    """Errors against exact diagonalisation and Hartree-Fock, also as a share of the correlation energy."""
    known = known_values(record.dataset)
    if known is None:
        return None
    dataset = record.dataset
    depths = dataset["depth_meV"].values[record.order]
    energy, error = (dataset[name].values[record.order] for name in ("energy", "energy_error"))
    exact, exact_error = known.exact_at(depths)
    mean_field = known.hartree_fock_at(depths)
    rows = []
    for i in np.flatnonzero(np.isfinite(exact) | np.isfinite(mean_field)):
        correlation, above = mean_field[i] - exact[i], energy[i] - exact[i]
        bound = known.upper_bound[np.abs(known.depth - depths[i]) < 1e-6]
        share = with_error(100 * above / correlation, 100 * error[i] / correlation) + " %" if correlation > 0 else "–"
        rows.append(
            [
                Cell(f"{depths[i]:g}"),
                Cell(with_error(energy[i], error[i])),
                Cell(with_error(exact[i], exact_error[i])),
                Cell(fixed(float(bound[0]) if len(bound) else np.nan, 3)),
                Cell(fixed(float(mean_field[i]), 3)),
                Cell(with_error(above, error[i]), bool(above < -3 * error[i] - np.nan_to_num(exact_error[i]))),
                Cell(share),
                Cell(with_error(energy[i] - mean_field[i], error[i]), bool(energy[i] > mean_field[i] + 3 * error[i])),
            ]
        )
    if not rows:
        return None
    heads = (
        "V₀ (meV)",
        "E",
        "exact",
        "exact, bound",
        "Hartree-Fock",
        "E − exact",
        "of correlation",
        "E − Hartree-Fock",
    )
    caption = (
        "Comparison with independent calculations of the same Hamiltonian in the same cell, in meV per electron. "
        "Exact: exact diagonalisation in Bloch bands, extrapolated to all bands, an estimate with its uncertainty; its "
        "variational value is the bound. Of correlation: the error as a share of the correlation energy, Hartree-Fock "
        "less exact. Errors of E − exact and of the share are those of E."
    )
    return Table(caption, heads, rows)


def training_table(record: Record) -> Table | None:
    """The end of the training at every trained Hamiltonian."""
    training = record.training
    if training is None:
        return None
    change, error = training.late_change()
    tail = max(1, len(training.step) // 10)
    mean = lambda values: np.nanmean(values[-tail:], axis=0)
    energy, variance, acceptance = (mean(v) for v in (training.energy, training.variance, training.acceptance))
    rows = [
        [
            Cell(f"{training.label[i]:g}"),
            Cell(fixed(float(energy[i]), 3)),
            Cell(with_error(float(change[i]), float(error[i])) if np.isfinite(change[i]) else "–"),
            Cell(f"{variance[i]:.3g}"),
            Cell(fixed(float(acceptance[i]), 2)),
            Cell(f"{np.nansum(training.bad_walkers[:, i]):.0f}", bool(np.nansum(training.bad_walkers[:, i]))),
        ]
        for i in range(len(training.label))
    ]
    unit = record.dataset["energy"].attrs["units"]
    caption = (
        f"The end of the training: mean energy over the last tenth of the steps ({unit}; a mean over wavefunctions "
        "that still change, hence no result), its change over the last fifth (linear fit, error from blocks of "
        "steps), mean variance of the local energy and acceptance over the last tenth, and local energies that were "
        "not finite in all of the training."
    )
    heads = (axis_of(record.dataset).head, "mean energy", "late change", "variance", "acceptance", "not finite")
    return Table(caption, heads, rows)
