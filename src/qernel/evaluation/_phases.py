"""Phases of matter that were measured side by side: a dimension of the results, and the lowest of them."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from ._axes import rows_of

if TYPE_CHECKING:
    import xarray


def phases_of(dataset: "xarray.Dataset") -> list[str]:
    """Names of the phases that were measured separately; none if the wavefunction holds them in one sum."""
    return dataset["phase"].values.tolist() if "phase" in dataset.dims else []


def joined_phases(tables: "Mapping[str, xarray.Dataset]", rows: "xarray.Dataset") -> "xarray.Dataset":
    """The tables of several phases as one, along the dimension `phase`; NaN where a phase was not measured.

    **Arguments:** `tables`, of each phase by name, at some of the rows; `rows`, a table whose rows are all of them.
    """
    import xarray

    dimension = rows_of(rows)
    everywhere = np.arange(rows.sizes[dimension])
    parts = []
    for table in tables.values():
        # By the number of the row: xarray does not align indices of points.
        places = rows.indexes[dimension].get_indexer(table.indexes[dimension])
        bare = table.drop_vars([name for name in table.coords if dimension in table[name].dims])
        parts.append(bare.assign_coords({dimension: places}).reindex({dimension: everywhere}))
    joined = xarray.concat(
        parts,
        xarray.DataArray(list(tables), dims="phase", name="phase", attrs={"long_name": "phase of matter"}),
        data_vars=[name for name in parts[0].data_vars if dimension in parts[0][name].dims],
        coords="minimal",
        compat="override",
        combine_attrs="override",
    )
    joined = joined.drop_vars(dimension).assign_coords(rows.coords)
    doubts = [f"{name}, {line}" for name, table in tables.items() for line in doubts_of(table)]
    joined.attrs["doubts"] = "\n".join(doubts)
    return joined


def doubts_of(dataset: "xarray.Dataset") -> list[str]:
    """Reasons not to trust a row, one for each."""
    return [line for line in str(dataset.attrs.get("doubts", "")).splitlines() if line]


def ground_state(dataset: "xarray.Dataset") -> "xarray.Dataset":
    """The table of the phase of lowest energy at every row, named in `phase`; the table itself without phases.

    Where two energies agree within their errors σ, the lower estimate is too low by up to σ/√π on average.
    """
    import xarray

    if not phases_of(dataset):
        return dataset
    energies = dataset["energy"].transpose("phase", ...).values
    chosen = np.argmin(np.where(np.isfinite(energies), energies, np.inf), axis=0)
    return dataset.isel(phase=xarray.DataArray(chosen, dims=rows_of(dataset)))


def lowest_phases(dataset: "xarray.Dataset") -> list[str]:
    """The name of the phase of lowest energy at every row; empty without separate phases.

    Of a table of the [ground state][qernel.evaluation.ground_state] those that it was made of.
    """
    lowest = ground_state(dataset)
    return lowest["phase"].values.tolist() if "phase" in lowest.coords and lowest["phase"].ndim else []


def of_phase(dataset: "xarray.Dataset", name: str) -> "xarray.Dataset":
    """The table of one phase at the rows where it was measured."""
    table = dataset.sel(phase=name)
    measured = np.flatnonzero(np.isfinite(table["energy"].values))
    return table.isel({rows_of(dataset): measured}).drop_vars("phase")


def separate_phases(dataset: "xarray.Dataset") -> "dict[str, xarray.Dataset]":
    """The table of every phase by name; empty without separate phases."""
    return {name: of_phase(dataset, name) for name in phases_of(dataset)}
