"""Results as files and as text."""

import csv
import io
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas

from ._above_exact import above_exact
from ._axes import MEMBER, coordinates_of, in_order, indexed
from ._known_values import bound_at_rows, known_at_rows
from ._phases import ground_state, lowest_phases, phases_of

if TYPE_CHECKING:
    import xarray

_BEFORE = ("energy", "kinetic", "kinetic_from_gradient")
_AFTER = ("acceptance", "autocorrelation_time", "effective_samples", "r_hat")


def columns(dataset: "xarray.Dataset") -> list[str]:
    """Columns of the table: the coordinates, each energy with its error, order parameters, diagnostics, observables.

    That is `kappa`, say, then energy, kinetic, kinetic_from_gradient and every potential, each with its `_error`,
    variance, v_score, the order parameters, acceptance, autocorrelation_time, effective_samples, r_hat; then the other
    observables that are numbers, with errors. Of several phases the energy of each comes last, and the name of the
    lowest, whose values all others are.
    """
    names = [axis.name for axis in coordinates_of(dataset)]
    for term in (*_BEFORE, *potentials_of(dataset)):
        names += [term, f"{term}_error"]
    orders = order_parameters_of(dataset)
    names += ["variance", "v_score", *(f"{name}{end}" for name in orders for end in ("", "_error")), *_AFTER]
    # A signature is part of its order parameter.
    shown = {*orders, *(str(dataset[name].attrs.get("signature", "")) for name in orders)}
    for name in np.atleast_1d(dataset.attrs.get("observables", [])).tolist():
        names += [name, f"{name}_error"] * (name not in shown)
    return names


def potentials_of(dataset: "xarray.Dataset") -> list[str]:
    """Names of the terms of the potential energy."""
    return np.atleast_1d(dataset.attrs["potentials"]).tolist()


def order_parameters_of(dataset: "xarray.Dataset") -> list[str]:
    """Names of the variables that the system calls its order parameters, the most important one first."""
    return [name for name in np.atleast_1d(dataset.attrs.get("order_parameters", [])).tolist() if name in dataset]


def table_rows(dataset: "xarray.Dataset") -> "tuple[list[str], list[list[float | str]]]":
    """Heads and rows of the table, of the lowest phase at every point.

    Where exact energies are known `exact`, `exact_error` and `above_exact`, the energy less the exact one, come after
    the columns, with `exact_PHASE` of every phase whose exact branch is known, and where upper bounds of another method
    are, `bound` and `above_bound`; then the energy at zero variance and its error, where the training tells them.
    """
    lowest, names = ground_state(dataset), columns(dataset)
    listed = [lowest[name].values.tolist() for name in names]
    against = above_exact(dataset)
    if against.known:
        names += ["exact", "exact_error", "above_exact"]
        listed += [known_at_rows(lowest, "exact").tolist(), against.exact_error.tolist(), against.value.tolist()]
        for phase in phases_of(dataset):
            exact = known_at_rows(lowest, "exact", phase)
            if np.isfinite(exact).any():
                names.append(f"exact_{phase}")
                listed.append(exact.tolist())
    bound = bound_at_rows(lowest)
    if np.isfinite(bound).any():
        names += ["bound", "above_bound"]
        listed += [bound.tolist(), (lowest["energy"].values - bound).tolist()]
    if "energy_zero_variance" in lowest:
        names += ["energy_zero_variance", "energy_zero_variance_error"]
        listed += [lowest[name].values.tolist() for name in names[-2:]]
    for phase in phases_of(dataset):
        for variable in ("energy", "energy_error"):
            head = "_error" * variable.endswith("_error")
            names.append(f"energy_{phase}{head}")
            listed.append(dataset[variable].sel(phase=phase).values.tolist())
    if phases_of(dataset):
        names.append("phase")
        listed.append(lowest_phases(dataset))
    return names, [list(row) for row in zip(*listed, strict=True)]


def write_csv(dataset: "xarray.Dataset", path: str | os.PathLike) -> Path:
    """Write the table, one row for each Hamiltonian, in the data set's units.

    The file is replaced in one stroke.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names, rows = table_rows(dataset)
    writer.writerow(names)
    for row in rows:
        writer.writerow([value if isinstance(value, str) else f"{value:.10g}" for value in row])
    return _replace(Path(path), lambda temporary: temporary.write_text(text.getvalue()))


def write_netcdf(dataset: "xarray.Dataset", path: str | os.PathLike) -> Path:
    """Write everything as netCDF 4 (h5netcdf), arrays with checksums; replaces the file in one stroke."""
    # An index over several coordinates at once is no netCDF variable; `read_netcdf` makes it again.
    flat = dataset.reset_index(MEMBER) if isinstance(dataset.indexes.get(MEMBER), pandas.MultiIndex) else dataset
    checked = {name: {"fletcher32": True} for name, array in flat.variables.items() if _takes_checksums(array)}
    return _replace(Path(path), lambda temporary: flat.to_netcdf(temporary, engine="h5netcdf", encoding=checked))


def _takes_checksums(array: "xarray.Variable") -> bool:
    """Whether HDF5 stores this in chunks, which have checksums: not single numbers nor texts."""
    return array.size > 0 and array.ndim > 0 and array.dtype.kind in "biuf"


def read_netcdf(path: str | os.PathLike) -> "xarray.Dataset":
    """Read what [`write_netcdf`][qernel.evaluation.write_netcdf] wrote, into memory.

    Rows are selected by their coordinates: `table.sel(kappa=0.1)`, or of several coordinates, which label points and
    no lines, `table.sel(omega_y=1.9, kappa=0.27)`.

    **Raises:** `ValueError` if there is no such file, or it is damaged.
    """
    import xarray

    if not Path(path).is_file():
        raise ValueError(f"there are no results at {path}: run the evaluation first")
    try:
        with xarray.open_dataset(path, engine="h5netcdf") as dataset:
            return indexed(dataset.load())
    except (PermissionError, MemoryError):
        raise
    except Exception as error:
        # What HDF5 and its readers say of spoiled bytes is of any kind.
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(
            f"{path} is damaged ({reason}): measure anew with 'qernel evaluate', or take an earlier file of its folder"
        ) from error


def _replace(path: Path, write) -> Path:
    # A kill while writing must not leave half a table in the place of a whole one.
    temporary = path.with_name(f".{path.name}.partial")
    write(temporary)
    os.replace(temporary, path)
    return path


def format_table(dataset: "xarray.Dataset") -> str:
    """The table for a terminal: energies with errors in the last digits, how far they lie above the exact ones where
    these are known, and the diagnostics that matter."""
    lowest, axes, orders = ground_state(dataset), coordinates_of(dataset), order_parameters_of(dataset)
    terms = ["energy", "kinetic", *potentials_of(dataset)]
    phases = lowest_phases(dataset)
    symbols = [str(dataset[name].attrs.get("symbol", name)) for name in orders]
    lines = [[axis.name for axis in axes] + [*terms, *symbols, "V-score", "accept", "tau", "ESS", "R-hat"]]
    lines[0] += ["phase"] if phases else []
    against = above_exact(dataset)
    bound = bound_at_rows(lowest)
    bounded = bool(np.isfinite(bound).any())
    lines[0][len(axes) + 1 : len(axes) + 1] = ["above exact"] * bool(against.known) + ["above bound"] * bounded
    for index in in_order(dataset):
        value = lambda name, i=index: float(lowest[name].values[i])
        lines.append(
            [
                *(f"{value(axis.name):g}" for axis in axes),
                with_error(value("energy"), value("energy_error")),
                *[with_error(float(against.value[index]), float(against.error[index]))] * bool(against.known),
                *[with_error(value("energy") - float(bound[index]), value("energy_error"))] * bounded,
                *(with_error(value(term), value(f"{term}_error")) for term in (*terms[1:], *orders)),
                f"{value('v_score'):.1e}",
                f"{value('acceptance'):.2f}",
                f"{value('autocorrelation_time'):.1f}",
                f"{value('effective_samples'):.0f}",
                f"{value('r_hat'):.3f}",
                *([phases[index]] if phases else []),
            ]
        )
    return aligned(lines)


def aligned(lines: list[list[str]]) -> str:
    """Rows of cells under one another, to the right."""
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join("  ".join(cell.rjust(w) for cell, w in zip(line, widths, strict=True)) for line in lines)


def with_error(value: float, error: float) -> str:
    """A number with its error in the last digits: -44.504(15) for -44.504 ± 0.015."""
    if not np.isfinite(value):
        return "-"
    # An error at the level of rounding is that of a constant.
    if not (np.isfinite(error) and error > 1e-9 * abs(value)):
        return f"{value:.6g}"
    # Two digits of the error, so that rounding it does not change it by more than a few per cent.
    digits = max(0, 1 - int(np.floor(np.log10(error))))
    shown = round(error * 10**digits)
    if shown == 100:
        digits, shown = max(0, digits - 1), round(error * 10 ** max(0, digits - 1))
    return f"{value:.{digits}f}({shown})"
