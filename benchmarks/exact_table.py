"""The exact energies of six electrons, branch by branch: `python benchmarks/exact_table.py [FILE] [BANDS ...]`.

Exact diagonalisation of six spin-polarised electrons on 3x3 moiré cells, for the lowest level of each branch: that of
the liquid, of total momentum X = (0, 1), and that of the crystal, K = (1, 2). (In two bands, where all sectors are
cheap, these two are the lowest at every depth: X up to 15.9 meV, K from there on, with the crystal's third level, at
Gamma, 0.01 to 0.001 meV per electron above it. Below 8 meV the lowest level at K is no crystal and lies above Gamma.)
In growing numbers of Bloch bands (3, 4 and 5 by default) each value is an upper bound; `basis_limit` through the last
two is the estimate for all bands.

FILE (`exact_table.json`) holds every diagonalisation as it is done: a second call goes on.
At the end it prints the rows as `qernel.systems.moire` keeps them, and where the two branches cross.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np

from qernel.exact import basis_limit, exact_diagonalisation
from qernel.lattice import supercell, triangular
from qernel.systems.moire import Material, moire_hamiltonian, moire_parameters

# Every 2 meV where the phases compete, those of the presets' evaluation, and the ends.
DEPTHS = [0, 2.5, 5, 7.5, 8, 10, 12, 12.5, 14, 15, 16, 17, 18, 20, 22, 22.5, 24, 25, 27.5, 30]
# Where it is no longer its phase a branch ends.
BRANCHES = {"liquid": ("X(0,1)", (0, 1), 0, 30), "crystal": ("K", (1, 2), 8, 30)}
ELECTRONS = 6
# The law of the last two bases, M^-(d+2)/d for electrons of one spin, and the uncertainty as a share of the distance to
# the limit: so the estimates agree with the independent ones of tests/reference/moire_exact.json, good to 0.003.
EXPONENT = 2.0
SHARE = 0.2

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


def estimated(found: list[dict]) -> dict:
    """Bound, estimate and error of a level from growing bases."""
    orbitals, energies = [f["orbitals"] for f in found], [f["energy"] for f in found]
    limit, _ = basis_limit(orbitals, energies, exponent=EXPONENT)
    return {"upper_bound": energies[-1], "estimate": limit, "estimate_error": SHARE * (energies[-1] - limit)}


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
    values = estimated(of) | {name: of[-1][name] for name in ("kinetic", "moire", "interaction", "structure_factor_K")}
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
    # Both branches are wrong by the same law: what is left of it in their difference shifts the crossing.
    error = max(
        np.hypot(*(rows[branch, near]["estimate_error"] for branch in BRANCHES)) / abs(slope),
        SHARE * abs(limit - places[-1]),
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
    main(
        Path(sys.argv[1]) if len(sys.argv) > 1 else Path("exact_table.json"),
        [int(x) for x in sys.argv[2:]] or [3, 4, 5],
    )
