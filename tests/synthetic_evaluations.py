"""Evaluations made of random numbers of known distribution, for tests that need no wavefunction."""

import numpy as np

from qernel.systems.moire import moire_family
from qernel.evaluation import Evaluation
from qernel.observables import zone_corners
from qernel.systems.moire import Material

MATERIAL = Material()


def family_of(depths, size=3, electrons=6, **varying):
    return moire_family(MATERIAL, size, (electrons, 0), depths, **varying)


def evaluation_of(
    family,
    *,
    energy=-50.0,
    slope=None,
    interaction=-55.0,
    corner=0.7,
    walkers=16,
    phases=60,
    sigma=1.0,
    real=True,
    seed=0,
):
    """Independent normal samples of given mean energies (meV per electron), one number or one for each row.

    The moiré energy is `slope` times the depth, the kinetic energy what remains; S(q) = 1 but at the zone
    corners, where it is `corner`; the density is a bump at every other cell, plus noise.
    """
    rng = np.random.default_rng(seed)
    rows, n = family.size, family.hamiltonian.n_electrons
    unit = n / MATERIAL.hartree_meV
    depth = np.asarray(family.parameters.depth) * MATERIAL.hartree_meV
    column = lambda x: np.broadcast_to(np.asarray(x, float), (rows,))[:, None, None]
    noise = lambda scale: scale * rng.standard_normal((rows, walkers, phases))
    slope = -depth / 20 if slope is None else slope
    slopes = column(slope) + noise(0.05)
    series = {"moire": depth[:, None, None] * slopes, "interaction": column(interaction) + noise(0.3)}
    series["energy"] = column(energy) + noise(sigma)
    series["kinetic"] = series["energy"] - series["moire"] - series["interaction"]
    series["kinetic_from_gradient"] = series["kinetic"] + noise(0.5)
    series = {name: values * unit for name, values in series.items()}
    series["slope"] = slopes * n
    cell = family.hamiltonian.cell
    vectors = cell.reciprocal_vectors(2.0 * np.linalg.norm(family.hamiltonian.primitive.reciprocal[0]))
    corners = zone_corners(family.hamiltonian.primitive)
    at_corner = (np.linalg.norm(vectors[:, None] - corners, axis=-1) < 1e-6).any(axis=1)
    structure = np.where(at_corner, np.broadcast_to(corner, rows)[:, None], 1.0 - 0.3 * (np.arange(len(vectors)) < 6))
    of_walkers = structure[:, None] + 0.03 * rng.standard_normal((rows, walkers, len(vectors)))
    x = np.arange(24) / 24
    bump = np.cos(2 * np.pi * 3 * x)[:, None] + np.cos(2 * np.pi * 3 * x)[None] + np.cos(2 * np.pi * x)[:, None]
    density = n / cell.volume * (1 + depth[:, None, None] / 100 * bump)
    return Evaluation(
        series=series,
        acceptance=np.full((rows, phases), 0.5),
        step_size=np.ones(rows),
        stuck=np.zeros(rows, np.int64),
        non_finite=np.zeros(rows, np.int64),
        density=density + 1e-4 * rng.standard_normal(density.shape),
        density_error=np.full_like(density, 1e-4),
        wave_vectors=vectors,
        structure_factor=of_walkers.mean(axis=1),
        structure_factor_error=of_walkers.std(axis=1, ddof=1) / np.sqrt(walkers),
        structure_factor_of_walkers=of_walkers,
        positions=np.zeros((rows, walkers, n, 2)),
        n_electrons=n,
        real=real,
    )
