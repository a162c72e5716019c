"""Results as files and as text."""

import csv
import io
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import xarray

_BEFORE = ("energy", "kinetic", "kinetic_from_gradient")
_AFTER = (
    "variance",
    "v_score",
    "structure_factor_K",
    "acceptance",
    "autocorrelation_time",
    "effective_samples",
    "r_hat",
)


def columns(dataset: "xarray.Dataset") -> list[str]:
    """Columns of the table: the coordinate, each energy with its error, and the diagnostics.

    For a moiré family: depth_meV, energy, kinetic, kinetic_from_gradient, moire, interaction, each with its
    `_error`, variance, v_score, structure_factor_K, acceptance, autocorrelation_time, effective_samples,
    r_hat. Parameters other than the depth come last if they vary, and after them the energy of each phase and the
    name of the lowest, if the phases are separate.
    """
    potentials = np.atleast_1d(dataset.attrs["potentials"]).tolist()
    names = [_coordinate(dataset)]
    for term in (*_BEFORE, *potentials):
        names += [term, f"{term}_error"]
    names += _AFTER
    others = ("phase_degrees", "effective_mass", "dielectric", "lattice_constant_nm")
    names += [name for name in others if name in dataset.coords and np.ptp(dataset[name].values) > 0]
    for phase in np.atleast_1d(dataset.attrs.get("phase_names", [])).tolist():
        names += [f"energy_{phase}", f"energy_{phase}_error"]
    return names + (["phase"] if "phase" in dataset else [])


def _coordinate(dataset: "xarray.Dataset") -> str:
    return "depth_meV" if "depth_meV" in dataset.coords else str(dataset.attrs["axis"])


def write_csv(dataset: "xarray.Dataset", path: str | os.PathLike) -> Path:
    """Write the table, one row for each Hamiltonian, in the data set's units.

    The file is replaced in one stroke.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = columns(dataset)
    writer.writerow(names)
    values = [dataset[name].values.tolist() for name in names]
    for row in zip(*values, strict=True):
        writer.writerow([value if isinstance(value, str) else f"{value:.10g}" for value in row])
    return _replace(Path(path), lambda temporary: temporary.write_text(text.getvalue()))


def write_netcdf(dataset: "xarray.Dataset", path: str | os.PathLike) -> Path:
    """Write everything as netCDF 4 (h5netcdf); replaces the file in one stroke."""
    return _replace(Path(path), lambda temporary: dataset.to_netcdf(temporary, engine="h5netcdf"))


def read_netcdf(path: str | os.PathLike) -> "xarray.Dataset":
    """Read what [`write_netcdf`][qernel.observables.write_netcdf] wrote, into memory.

    Raises `ValueError` if there is no such file.
    """
    import xarray

    if not Path(path).is_file():
        raise ValueError(f"there are no results at {path}: run the evaluation first")
    with xarray.open_dataset(path, engine="h5netcdf") as dataset:
        return dataset.load()


def _replace(path: Path, write) -> Path:
    # A kill while writing must not leave half a table in the place of a whole one.
    temporary = path.with_name(f".{path.name}.partial")
    write(temporary)
    os.replace(temporary, path)
    return path


def format_table(dataset: "xarray.Dataset") -> str:
    """The table for a terminal: energies with errors in the last digits, and the diagnostics that matter."""
    potentials = np.atleast_1d(dataset.attrs["potentials"]).tolist()
    terms = ["energy", "kinetic", *potentials]
    phases = dataset["phase"].values.tolist() if "phase" in dataset else None
    header = [_coordinate(dataset), *terms, "S(K)", "V-score", "accept", "tau", "ESS", "R-hat"]
    header += ["phase"] if phases else []
    lines = [header]
    for index in range(dataset["energy"].size):
        value = lambda name, i=index: float(dataset[name].values[i])
        lines.append(
            [
                f"{value(header[0]):g}",
                *(with_error(value(term), value(f"{term}_error")) for term in terms),
                with_error(value("structure_factor_K"), value("structure_factor_K_error")),
                f"{value('v_score'):.1e}",
                f"{value('acceptance'):.2f}",
                f"{value('autocorrelation_time'):.1f}",
                f"{value('effective_samples'):.0f}",
                f"{value('r_hat'):.3f}",
                *([phases[index]] if phases else []),
            ]
        )
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
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
