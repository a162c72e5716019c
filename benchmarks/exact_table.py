"""The exact energies of six electrons, branch by branch: `python benchmarks/exact_table.py [FILE]`.

Exact diagonalisation of six spin-polarised electrons on 3x3 moiré cells, for the lowest level of each branch: that of
the liquid, of total momentum X = (0, 1), and that of the crystal, K = (1, 2). (In two bands, where all sectors are
cheap, the ground state has the momentum X up to 15 and K from 16 meV on. The crystal's third level, at Gamma, lies
0.0003 to 0.008 meV per electron above K from 14 meV on, and below K up to 10 meV. The crystal is followed down to
8 meV, where S(K) is still above 1.)

In 2, 4 and 5 Bloch bands (2 000, 216 000 and 905 000 determinants; 1, 4 and 24 s of one core each) every value is an
upper bound. (Three bands cut a degenerate level at the corners of the zone: which part of it is kept is rounding, worth
0.01 meV.) The estimate for all bands goes on from the last step as far as larger calculations of some levels do.

FILE (`exact_table.json`) holds every diagonalisation as it is done: a second call goes on.
At the end it prints the rows as `qernel.systems.moire` keeps them, and where the two branches cross.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np

from qernel.exact import exact_diagonalisation
from qernel.lattice import supercell, triangular
from qernel.systems.moire import Material, moire_hamiltonian, moire_parameters

# Every 2 meV where the phases compete, those of the presets' evaluation, and the ends.
DEPTHS = [0, 2.5, 5, 7.5, 8, 10, 12, 12.5, 14, 15, 16, 17, 18, 20, 22, 22.5, 24, 25, 27.5, 30]
# Where it is no longer its phase a branch ends.
BRANCHES = {"liquid": ("X(0,1)", (0, 1), 0, 30), "crystal": ("K", (1, 2), 8, 30)}
ELECTRONS = 6
# How far it is from 5 bands to all of them, in units of the step from 4 to 5, by depth: so far that the ground state's
# energies are those of larger, independent calculations, tests/reference/moire_exact.json and -59.542(3) at 15 meV. No
# power of the number of orbitals is good at all depths: M^-2 would give 1.78, M^-3/2 2.52.
BEYOND = ([0, 5, 10, 15, 20, 30], [1.97, 2.17, 1.82, 1.47, 1.21, 1.09])
# What it is uncertain by: its scatter for the ground state, more for the branch that it was not made from.
UNCERTAIN = {True: 0.25, False: 0.4}
CROSSING = 16.3

material = Material()
primitive = triangular(material.lattice_constant)
hamiltonian = moire_hamiltonian(material, supercell(primitive, 3), (ELECTRONS, 0))
cutoff = 3.2 * float(np.linalg.norm(primitive.reciprocal[0]))
unit = material.hartree_meV / ELECTRONS


def diagonalised(branch: str, depth: float, bands: int) -> dict:
    """The lowest level of a branch in so many bands: energy and terms, S(K), size of the basis, seconds of one core."""
    start = time.process_time()
    state = exact_diagonalisation(
        hamiltonian,
        moire_parameters(material, float(depth)),
        bands=bands,
        momenta=[BRANCHES[branch][1]],
        cutoff=cutoff,
        wave_vectors=[BRANCHES["crystal"][1]],
        # The energy within 1e-5 meV.
        tolerance=1e-8,
    )
    return {
        "energy": state.energy * unit,
        **{name: value * unit for name, value in state.energies.items()},
        "structure_factor_K": float(state.structure_factor[0]),
        "orbitals": state.orbitals,
        "dimension": state.dimension,
        "seconds": time.process_time() - start,
    }


def estimated(branch: str, depth: float, found: list[dict]) -> dict:
    """Bound, estimate and error of a level from growing bases."""
    step = found[-2]["energy"] - found[-1]["energy"]
    lowest = (branch == "liquid") == (depth < CROSSING)
    limit = found[-1]["energy"] - float(np.interp(depth, *BEYOND)) * step
    return {"upper_bound": found[-1]["energy"], "estimate": limit, "estimate_error": UNCERTAIN[lowest] * step}


def crossing(depths: list[float], difference: list[float]) -> tuple[float, float]:
    """Where the difference of two branches is zero, and its slope there: a cubic through the four depths around it."""
    i = int(np.flatnonzero((np.array(difference[:-1]) > 0) & (np.array(difference[1:]) <= 0))[0])
    x, d = (np.array(v[i - 1 : i + 3]) for v in (depths, difference))
    fit = np.polynomial.Polynomial.fit(x, d, 3)
    roots = fit.roots()
    inside = [float(r.real) for r in roots if abs(r.imag) < 1e-9 and x[1] <= r.real <= x[2]]
    return inside[0], float(fit.deriv()(inside[0]))


def row_of(branch: str, depth: float, found: dict, bands: list[int]) -> dict:
    """A level as `moire.json` keeps it."""
    of = [found[f"{branch} {depth:g} {count}"] for count in bands]
    values = estimated(branch, depth, of) | {
        name: of[-1][name] for name in ("kinetic", "moire", "interaction", "structure_factor_K")
    }
    return {
        "electrons": ELECTRONS,
        "cells": [3, 3],
        "depth_meV": float(depth),
        "phase": branch,
        "momentum": BRANCHES[branch][0],
        **{name: round(value, 5) for name, value in values.items()},
        "bands": {str(count): round(f["energy"], 5) for count, f in zip(bands, of, strict=True)},
    }


def report(found: dict, bands: list[int]) -> None:
    """Rows, and where the branches cross in each basis and in the limit."""
    rows = {
        (branch, depth): row_of(branch, depth, found, bands)
        for branch, (_, _, low, high) in BRANCHES.items()
        for depth in DEPTHS
        if low <= depth <= high
    }
    print(",\n".join(json.dumps(row) for row in rows.values()))
    both = [depth for branch, depth in rows if branch == "crystal"]
    difference = lambda value: [value(rows["crystal", d]) - value(rows["liquid", d]) for d in both]
    places = [crossing(both, difference(lambda row, n=n: row["bands"][str(n)]))[0] for n in bands]
    limit, slope = crossing(both, difference(lambda row: row["estimate"]))
    near = min(both, key=lambda d: abs(d - limit))
    error = max(
        np.hypot(*(rows[branch, near]["estimate_error"] for branch in BRANCHES)) / abs(slope),
        abs(limit - places[-1]),
    )
    print("crossing: " + ", ".join(f"{p:.3f} ({n} bands)" for p, n in zip(places, bands, strict=True)), end="")
    print(f", in the limit {limit:.3f} +- {error:.3f} meV, where the slopes differ by {slope:.4f}")
    print(f"{sum(f['seconds'] for f in found.values()) / 60:.1f} minutes of one core")


def main(path: Path, bands: list[int]) -> None:
    found = json.loads(path.read_text()) if path.is_file() else {}
    # Small bases first: what is there after a while is a whole table.
    for count in bands:
        for depth in DEPTHS:
            for branch, (_, _, low, high) in BRANCHES.items():
                key = f"{branch} {depth:g} {count}"
                if low <= depth <= high and key not in found:
                    found[key] = diagonalised(branch, depth, count)
                    print(f"{key}: {found[key]['energy']:.5f} in {found[key]['seconds']:.1f} s", flush=True)
                    path.write_text(json.dumps(found, indent=0))
    report(found, bands)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "exact_table.json"), [2, 4, 5])
