"""The tables of a run: energies, diagnostics row by row, slopes, comparison, training."""

import numpy as np

from qernel.evaluation import (
    above_exact,
    axis_named,
    known_at_rows,
    known_values,
    order_parameters_of,
    positions_on,
    potentials_of,
    with_error,
)
from qernel.judgement import kinetic_sigma, momentum_weights, slope_lines
from qernel.observables import LIMITS
from qernel.plotting import scalar_observables

from ._record import Record
from ._system import term_words
from ._table import Cell, Table, fixed, scientific

_ERROR_BARS = "Figures in parentheses are one standard error of the last digits, corrected for autocorrelation."


def energy_table(record: Record) -> Table:
    """Energies, terms, slopes and order parameters, one row for each Hamiltonian."""
    dataset = record.lowest
    orders = [name for name in order_parameters_of(dataset) if _is_measured(record, name)]
    slopes = {name: _slope_head(record, name) for name in map(str, dataset.data_vars) if _is_slope(name)}
    limit = {"energy_zero_variance": "E, zero variance"} if _is_measured(record, "energy_zero_variance") else {}
    heads = {"energy": "E"} | limit | {"kinetic": "kinetic"}
    heads |= {name: term_words(record, name) for name in potentials_of(dataset)}
    heads |= {name: head for name, head in slopes.items() if _is_measured(record, name)}
    heads |= {name: _symbol(record, name) for name in orders}
    marked = record.trained(0) is not None
    rows = []
    for row in record.order:
        cells = _places(record, row)
        cells += [Cell("yes" if record.trained(row) else "no")] * marked
        cells += [Cell(str(dataset["phase"].values[row]).replace("_", " "))] if record.phases else []
        cells += [_measured(dataset, name, row) for name in heads]
        rows.append(cells)
    caption = f"Energy E and its terms, in {record.energy_unit}. {_ERROR_BARS}"
    if limit:
        caption += (
            " E at zero variance: by how the energies fell with their variance during the training, systematic error "
            "included; no upper bound."
        )
    for name in orders:
        caption += f" {_symbol(record, name)}: {dataset[name].attrs.get('long_name', name)}."
    if marked:
        caption += " Points that were not trained are values of the same wavefunction in between."
    if record.phases:
        caption += " Of the phases that were measured separately, the one of lowest energy."
    words = (*(["trained"] * marked), *(["phase"] if record.phases else []))
    return Table(caption, (*_heads(record), *words, *heads.values()), rows, words=words)


def phase_table(record: Record) -> Table | None:
    """Energies of all phases side by side; None unless several were measured separately."""
    if not record.phases:
        return None
    dataset, lowest = record.dataset, record.lowest
    of = {name: dataset.sel(phase=name) for name in record.phases}
    against = {name: above_exact(dataset, name) for name in record.phases}
    against = {name: one for name, one in against.items() if one.known}
    rows = []
    for row in record.order:
        name = str(lowest["phase"].values[row])
        rest = [float(of[other]["energy"].values[row]) for other in of if other != name]
        errors = [float(of[other]["energy_error"].values[row]) for other in of if other != name]
        nearest = int(np.nanargmin(rest)) if np.isfinite(rest).any() else None
        gap = "–"
        if nearest is not None:
            error = float(np.hypot(lowest["energy_error"].values[row], errors[nearest]))
            gap = with_error(rest[nearest] - float(lowest["energy"].values[row]), error)
        cells = [_measured(table, "energy", row) for table in of.values()]
        own = [
            Cell(
                with_error(one.value[row], one.error[row]),
                bool(one.value[row] < -3 * one.error[row] - one.exact_error[row]),
            )
            for one in against.values()
        ]
        rows.append([*_places(record, row), Cell(name.replace("_", " ")), *cells, Cell(gap), *own])
    heads = [f"E, {name.replace('_', ' ')}" for name in of]
    caption = (
        f"Energies of the phases, each measured where it was still trained, in {record.energy_unit}; the last column "
        "is the distance of the next one from the lowest."
    )
    if against:
        known = known_values(dataset)
        levels = [] if known is None else [known.branch(name) for name in against]
        caption = caption.replace("the last column", "next above")
        caption += (
            " E − exact: of each phase less its own exact level ("
            + "; ".join(level.words for level in levels if level is not None)
            + ")."
        )
    own = [f"E − exact, {name.replace('_', ' ')}" for name in against]
    return Table(caption, (*_heads(record), "lowest", *heads, "next above", *own), rows, words=("lowest",))


def momentum_table(record: Record) -> Table | None:
    """The weights of the total momenta of every phase; None if they were not measured."""
    dataset = record.dataset
    tables = {name: dataset.sel(phase=name) for name in record.phases} or {"": dataset}
    found = {name: weights for name, table in tables.items() if (weights := momentum_weights(table)) is not None}
    if not found:
        return None
    rows = []
    for row in record.order:
        for name, weights in found.items():
            if not np.isfinite(weights.weights[row]).all():
                continue
            cells = [Cell(name.replace("_", " "))] if name else []
            rows.append([*_places(record, row), *cells, Cell(weights.listed(row))])
    words = (*(["phase"] if record.phases else []), "total momenta and their weights")
    caption = (
        "Total momenta, in reciprocal vectors of the periodic cell, modulo those of the primitive cell: the quantum "
        "numbers of the translations of all electrons by primitive vectors. Weights below a twentieth are left out; a "
        "real wavefunction has as much of −K as of K, and ± stands for the two."
    )
    return Table(caption, (*_heads(record), *words), rows, words=words)


def observables_table(record: Record) -> Table | None:
    """The observables that are numbers, besides order parameters."""
    dataset, names = record.lowest, scalar_observables(record.lowest)
    if not names:
        return None
    rows = [[*_places(record, row), *(_measured(dataset, name, row) for name in names)] for row in record.order]
    units = [str(dataset[name].attrs.get("units", "1")) for name in names]
    symbols = [_symbol(record, name) for name in names]
    heads = [symbol + (f" ({unit})" if unit != "1" else "") for symbol, unit in zip(symbols, units, strict=True)]
    meanings = [
        f"{symbol}: {meaning}"
        for symbol, meaning in zip(symbols, (str(dataset[n].attrs.get("long_name", "")) for n in names), strict=True)
        if meaning not in ("", symbol)
    ]
    caption = "; ".join(["Observables. " + meanings[0], *meanings[1:]]) if meanings else "Observables"
    caption += ". Errors in parentheses are from the spread of the independent walkers."
    return Table(caption, (*_heads(record), *heads), rows)


def diagnostics_table(record: Record) -> Table:
    """What each row's trust rests on."""
    dataset = record.lowest
    low, high = LIMITS.acceptance
    sigma = kinetic_sigma(dataset)
    rows = []
    for row in record.order:
        value = lambda name, i=row: float(dataset[name].values[i])
        lost = int(value("non_finite")), int(value("stuck"))
        rows.append(
            [
                *_places(record, row),
                Cell(fixed(value("r_hat"), 3), value("r_hat") > LIMITS.r_hat),
                Cell(fixed(value("effective_samples"), 0), value("effective_samples") < LIMITS.effective_samples),
                Cell(fixed(value("autocorrelation_time"), 1)),
                Cell(fixed(value("drift_sigma"), 1), abs(value("drift_sigma")) > LIMITS.drift_sigma),
                Cell(fixed(value("acceptance"), 2), not low <= value("acceptance") <= high),
                Cell(f"{lost[0]} / {lost[1]}", any(lost)),
                Cell(scientific(value("v_score")), value("v_score") > LIMITS.v_score),
                _measured(dataset, "kinetic_difference", row),
                Cell(fixed(float(sigma[row]), 1), not sigma[row] <= LIMITS.kinetic_sigma),
            ]
        )
    heads = (
        *(*_heads(record), "R‑hat", "effective samples", "τ", "drift (σ)", "acceptance", "excluded / stuck"),
        *("V-score", "Δ kinetic", "Δ kinetic (σ)"),
    )
    limits = ("sound if", *[""] * (len(_heads(record)) - 1), f"≤ {LIMITS.r_hat:g}", f"≥ {LIMITS.effective_samples:g}")
    limits += ("", f"|·| ≤ {LIMITS.drift_sigma:g}", f"{low:g} to {high:g}", "0 / 0", f"≤ {LIMITS.v_score:g}", "")
    limits += (f"≤ {LIMITS.kinetic_sigma:g}",)
    caption = (
        "Diagnostics of every row. R-hat: split Gelman-Rubin ratio of the walkers. τ: integrated autocorrelation time "
        "of the energy, in rounds of sampling. Drift: linear change of the mean energy during the measurement, in its "
        "errors. Excluded: samples with a term that is not finite; stuck: walkers that never moved. V-score: "
        "N Var(E)/E², 0 for an eigenstate. Δ kinetic: kinetic energy from the Laplacian less that from the gradient, "
        f"in {record.energy_unit} and in its errors."
    )
    return Table(caption, heads, rows, limits)


def slope_table(record: Record) -> Table | None:
    """The Hellmann-Feynman check interval by interval, on every line of rows along one coordinate."""
    lines = slope_lines(record.dataset)
    if not lines:
        return None
    several = len(record.axes) > 1
    named = several or bool(record.phases)
    rows = []
    for line in lines:
        x, check = positions_on(record.lowest, line.axis)[line.rows], line.check
        for i in range(len(check.middle)):
            interval = f"{x[i]:g} to {x[i + 1]:g}"
            rows.append(
                [
                    Cell(f"{line.axis.symbol} = {interval}{line.axis.suffix}{line.where}" if named else interval),
                    Cell(with_error(check.from_energies[i], check.from_energies_error[i])),
                    Cell(with_error(check.from_slopes[i], check.from_slopes_error[i])),
                    Cell(fixed(float(check.uncertainty[i]), 4)),
                    Cell(fixed(float(check.sigma[i]), 1), not check.agrees[i]),
                ]
            )
    s = "λ" if several else lines[0].axis.symbol
    first = "interval" if named else f"interval of {lines[0].axis.head}"
    heads = (first, f"ΔE/Δ{s}", f"mean ⟨∂H/∂{s}⟩", "interpolation", "difference (σ)")
    of = ", λ being the coordinate that differs between them" if several else ""
    caption = (
        f"Hellmann-Feynman check: slope of the energies between neighbouring rows{of}, and the mean of ⟨∂H/∂{s}⟩ over "
        "the same interval (integral of a monotone cubic through the measured values), per electron. Their difference "
        "is given in statistical errors, less what the interpolation may miss."
    )
    return Table(caption, heads, rows, ("sound if", "", "", "", f"≤ {LIMITS.slope_sigma:g}"))


def comparison_table(record: Record) -> Table | None:
    """Errors against exact values and the mean field, also as a share of the correlation energy."""
    dataset = record.lowest
    known = known_values(dataset)
    if known is None:
        return None
    energy, error = (np.asarray(dataset[name].values, np.float64) for name in ("energy", "energy_error"))
    exact, exact_error, bound, mean_field = (
        known_at_rows(dataset, name) for name in ("exact", "exact_error", "upper_bound", "mean_field")
    )
    chosen = [row for row in record.order if np.isfinite([exact[row], mean_field[row], bound[row]]).any()]
    if not chosen:
        return None
    has_exact, has_bound, has_mean = (bool(np.isfinite(v[chosen]).any()) for v in (exact, bound, mean_field))
    has_other = has_bound and bool(known.bound_method)
    rows = []
    for i in chosen:
        correlation, above = mean_field[i] - exact[i], energy[i] - exact[i]
        share = with_error(100 * above / correlation, 100 * error[i] / correlation) + " %" if correlation > 0 else "–"
        below = bool(above < -3 * error[i] - np.nan_to_num(exact_error[i]) - 1e-9 * abs(exact[i]))
        over = bool(energy[i] > mean_field[i] + 3 * error[i])
        rows.append(
            [
                *_places(record, i),
                Cell(with_error(energy[i], error[i])),
                *[Cell(with_error(exact[i], exact_error[i]))] * has_exact,
                *[Cell(fixed(float(bound[i]), 3))] * has_bound,
                *[Cell(_plain(mean_field[i], error[i]))] * has_mean,
                *[Cell(with_error(above, error[i]), below)] * has_exact,
                *[Cell(with_error(energy[i] - bound[i], error[i]))] * has_other,
                *[Cell(share)] * (has_exact and has_mean),
                *[Cell(with_error(energy[i] - mean_field[i], error[i]), over)] * has_mean,
            ]
        )
    method, mean = known.method, known.mean_field_method
    heads = (
        *_heads(record),
        "E",
        *["exact"] * has_exact,
        *[known.bound_method or "exact, bound"] * has_bound,
        *[mean] * has_mean,
        *["E − exact"] * has_exact,
        *["E − bound"] * has_other,
        *["of correlation"] * (has_exact and has_mean),
        *[f"E − {mean}"] * has_mean,
    )
    caption = f"Comparison with independent calculations of the same Hamiltonian, in {record.energy_unit}."
    if has_exact:
        caption += f" Exact: {method}" + ("; its variational value is the bound." if has_bound > has_other else ".")
        caption += " Errors of E − exact are those of E."
        against = above_exact(dataset)
        if against.known > 1:
            worst = against.worst
            where = ", ".join(
                f"{axis.symbol} = {axis.value(positions_on(dataset, axis)[worst])}" for axis in record.axes
            )
            caption += (
                f" At worst E − exact is {with_error(against.value[worst], against.error[worst])}"
                f"{f' at {where}' if where else ''}, on average over {against.known} rows "
                f"{_plain(against.mean, float(np.nanmedian(against.error)))}."
            )
    if has_exact and has_mean:
        caption += f" Of correlation: the error as a share of the correlation energy, {mean} less exact."
    return Table(f"{caption} {known.remark}".rstrip(), heads, rows)


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
            *([Cell(f"{value:g}") for value in training.points[i]] or [Cell(f"{i}")]),
            *([Cell(training.phase[i].replace("_", " "))] if training.phase else []),
            Cell(fixed(float(energy[i]), 3)),
            Cell(with_error(float(change[i]), float(error[i])) if np.isfinite(change[i]) else "–"),
            Cell(f"{variance[i]:.3g}"),
            Cell(fixed(float(acceptance[i]), 2)),
            Cell(f"{np.nansum(training.bad_walkers[:, i]):.0f}", bool(np.nansum(training.bad_walkers[:, i]))),
        ]
        for i in range(len(training.points))
    ]
    caption = (
        f"The end of the training: mean energy over the last tenth of the steps ({record.energy_unit}; a mean over "
        "wavefunctions that still change, hence no result), its change over the last fifth (linear fit, error from "
        "blocks of steps), mean variance of the local energy and acceptance over the last tenth, and local energies "
        "that were not finite in all of the training."
    )
    known = record.dataset.coords
    places = [axis_named(record.dataset, n).head if n in known else n.replace("_", " ") for n in training.names]
    heads = (*(places or ["Hamiltonian"]), *(["lowest"] if training.phase else []), "mean energy", "late change")
    words = ("lowest",) if training.phase else ()
    return Table(caption, (*heads, "variance", "acceptance", "not finite"), rows, words=words)


def _heads(record: Record) -> tuple[str, ...]:
    """Heads of the columns that say where a row is."""
    return tuple(axis.head for axis in record.axes) or ("Hamiltonian",)


def _places(record: Record, row: int) -> list[Cell]:
    return [Cell(f"{positions_on(record.lowest, axis)[row]:g}") for axis in record.axes] or [Cell(f"{row}")]


def _measured(dataset, name: str, row: int) -> Cell:
    value, error = (float(dataset[variable].values[row]) for variable in (name, f"{name}_error"))
    return Cell(with_error(value, error))


def _plain(value: float, error: float) -> str:
    """A number without an error of its own, with as many decimals as the error beside it makes sense of."""
    digits = 3 if not (np.isfinite(error) and error > 0) else max(3, 1 - int(np.floor(np.log10(error))))
    return fixed(float(value), digits)


def _is_slope(name: str) -> bool:
    return (name == "slope" or name.startswith("slope_")) and not name.endswith("_error")


def _slope_head(record: Record, name: str) -> str:
    of = [axis for axis in record.axes if name in ("slope", f"slope_{axis.name}")]
    return f"⟨∂H/∂{of[0].symbol}⟩" if of else f"⟨∂H/∂{name.removeprefix('slope_')}⟩"


def _is_measured(record: Record, name: str) -> bool:
    return name in record.lowest and bool(np.isfinite(record.lowest[name].values).any())


def _symbol(record: Record, name: str) -> str:
    return str(record.lowest[name].attrs.get("symbol", name.replace("_", " ")))
