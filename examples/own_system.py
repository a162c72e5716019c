"""Two electrons in a quantum dot that a barrier cuts in two: a system of one's own, from Hamiltonian to report."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from qernel.ansatz import qernel
from qernel.evaluation import format_table
from qernel.hamiltonian import AbstractPotential, Coordinate, Coulomb, Family, Hamiltonian, Harmonic, Kinetic
from qernel.layers import OpenEmbedding
from qernel.observables import Grid, Observable
from qernel.orbitals import HarmonicOrbitals, OpenPairJastrow, SpinBlocks
from qernel.plotting import new_figure
from qernel.runs import Run
from qernel.systems import System


# --8<-- [start:potential]
class Barrier(AbstractPotential):
    """V = B Σ_i exp(-x_i² / 2w²): a ridge of height B along y."""

    boundary = "open"
    width: float

    def __call__(self, r, parameters):
        return parameters["barrier"].astype(r.dtype) * jnp.sum(jnp.exp(-(r[:, 0] ** 2) / (2 * self.width**2)))
        # --8<-- [end:potential]


# --8<-- [start:observables]
BINS = np.linspace(-4, 4, 41)


def together(r, parameters):
    return jnp.where(r[0, 0] * r[1, 0] > 0, 1.0, 0.0)


def across(r, parameters):
    return jnp.histogram(r[:, 0], BINS)[0] / (BINS[1] - BINS[0])


def across_figure(results):
    return results["profile"].plot.line(x="across", ax=new_figure(6, 4).subplots()).pop().figure


CENTRES = Grid((BINS[1:] + BINS[:-1]) / 2, "a_B*", "position across the barrier")
OBSERVABLES = (
    Observable("together", together, text="probability of both electrons on one side", symbol="P₂"),
    Observable("profile", across, "1/a_B*", dimensions=("across",), grids={"across": CENTRES}, figure=across_figure),
)
# --8<-- [end:observables]


# --8<-- [start:system]
def double_dot(heights):
    potentials = {"trap": Harmonic(1.0), "barrier": Barrier(0.5), "interaction": Coulomb()}
    hamiltonian = Hamiltonian(Kinetic(), potentials, (1, 1), dim=2)
    height = Coordinate("height", "barrier", symbol="B", label="height of the barrier", linear=True)
    family = Family.of(hamiltonian, {"barrier": 0.0}, (height,), heights)
    return System("double dot", family, observables=OBSERVABLES, walkers=1.0)
    # --8<-- [end:system]


# --8<-- [start:run]
def wavefunction(family, **sizes):
    """Bonding and antibonding orbitals: the two determinants of Heitler and London's state."""
    levels = [HarmonicOrbitals([(n, 0)], 1.0) for n in (0, 1)]
    return qernel(
        family.parameters,
        family.hamiltonian.electrons,
        OpenEmbedding(2, 1.0),
        tuple(SpinBlocks(level, level) for level in levels),
        key=jax.random.key(0),
        cusp_strength=family.hamiltonian.cusp,
        pair=partial(OpenPairJastrow, dim=2, length=1.0),
        **sizes,
    )


def main(path="runs/double-dot", heights=(0, 1, 2, 4, 6, 8), settings=None, **sizes):
    system = double_dot(heights)
    run = Run.begin(path, system, wavefunction(system.family, **sizes), settings=settings, resume=True)
    for step in run.train():
        print(step.number, step.energies, end="\r")
    print("", format_table(run.evaluate()), *run.verdict(), *run.figures(), run.report(), sep="\n")
    return run
    # --8<-- [end:run]


if __name__ == "__main__":
    main()
