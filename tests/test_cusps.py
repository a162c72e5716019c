"""Cusps follow from the Hamiltonian, whatever its parameters are called, and the checker measures what is left over."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from families import MATERIAL

from qernel.ansatz import LogPsi, qernel
from qernel.check._cusps import electron_cusps, nuclear_cusps
from qernel.hamiltonian import (
    AbstractCoulomb,
    AbstractPotential,
    Coulomb,
    CoulombDivergence,
    Ewald,
    Hamiltonian,
    Harmonic,
    Kinetic,
    Nuclei,
    in_phases,
)
from qernel.lattice import PeriodicDistance, cubic, square, triangular
from qernel.layers import trainable
from qernel.orbitals import CuspJastrow, plane_wave_orbitals
from qernel.systems.moire import moire_family, moire_hamiltonian

CELL = square(3.0)
# An inverse mass and a strength that no name of a parameter betrays.
PARAMETERS = {"rs": jnp.asarray(5.0)}
OF_DENSITY = Kinetic(inverse_mass=lambda p: 1 / p["rs"] ** 2)


def inverse(parameters):
    return 1 / parameters["rs"]


class Screened(AbstractCoulomb):
    """Σ exp(-r/2)/r, which has the divergence of Coulomb's."""

    @property
    def divergence(self):
        return CoulombDivergence(2.0)

    def __call__(self, r, parameters):
        first, second = np.triu_indices(len(r), 1)
        distance = jnp.sqrt(jnp.sum((r[first] - r[second]) ** 2, axis=1))
        return 2 * jnp.sum(jnp.exp(-distance / 2) / distance)


def moire(electrons):
    family = moire_family(MATERIAL, 2, electrons, [10.0], effective_mass=0.7, dielectric=8.0, lattice_constant_nm=9.0)
    return family.hamiltonian, family.select(0), 2 * (9.0 / MATERIAL.lattice_constant_nm) / 1.6


def density(electrons):
    return Hamiltonian(OF_DENSITY, {"e": Ewald(CELL, strength=inverse)}, electrons, cell=CELL), PARAMETERS, 5.0


def in_a_phase(electrons):
    hamiltonian, parameters, expected = density(electrons)
    family = jax.tree.map(lambda x: x[None], parameters)
    return hamiltonian, jax.tree.map(lambda x: x[1], in_phases(family, 2)), expected


def dot(electrons):
    potentials = {"trap": Harmonic(1.0), "e": Coulomb(3.0)}
    return Hamiltonian(Kinetic(mass=0.5), potentials, electrons, dim=3), PARAMETERS, 1.5


def charges(electrons):
    cell = cubic(4.0)
    return Hamiltonian(Kinetic(), {"e": Ewald(cell, charges=(1.0, -2.0))}, electrons, cell=cell), PARAMETERS, -2.0


def two_interactions(electrons):
    return Hamiltonian(Kinetic(), {"a": Screened(), "b": Coulomb()}, electrons, dim=2), PARAMETERS, 3.0


SYSTEMS = {f.__name__: f for f in (moire, density, in_a_phase, dot, charges, two_interactions)}


class Pair(eqx.Module):
    """Two electrons that know of each other by a cusp alone; those of one spin have a node besides."""

    cusp: CuspJastrow | None
    hamiltonian: Hamiltonian

    def __call__(self, r, parameters):
        x = r[0] - r[1]
        if self.hamiltonian.cell is None:
            log, turn = -0.3 * jnp.sum(r**2), x[0] + 0.5 * x[1]
        else:
            wave = jnp.asarray(self.hamiltonian.cell.reciprocal[:2].sum(axis=0), r.dtype)
            log, turn = 0.1 * jnp.sum(jnp.cos(r @ wave)), jnp.sin(x @ wave)
        if self.cusp is not None:
            log = log + self.cusp(r, parameters)
        if max(self.hamiltonian.electrons) < 2:
            return LogPsi(log, jnp.zeros_like(log), real=True)
        phase = jnp.where(turn < 0, jnp.pi, 0.0).astype(log.dtype)
        return LogPsi(log + jnp.log(jnp.abs(turn)), phase, real=True)


def pair(hamiltonian, strength):
    distance = None if hamiltonian.cell is None else PeriodicDistance(hamiltonian.cell)
    cusp = None if strength is None else CuspJastrow(hamiltonian.electrons, 1.0, strength, squared_distance=distance)
    return Pair(cusp, hamiltonian)


def places(hamiltonian, walkers=8):
    r = jax.random.uniform(jax.random.key(0), (walkers, 2, hamiltonian.dim), jnp.float64)
    return r if hamiltonian.cell is None else r @ jnp.asarray(hamiltonian.cell.matrix)


def found(strength, hamiltonian, parameters):
    return electron_cusps(pair(hamiltonian, strength), hamiltonian, parameters, places(hamiltonian))


@pytest.mark.parametrize("electrons", [(2, 0), (1, 1)])
@pytest.mark.parametrize("name", SYSTEMS)
def test_the_cusp_follows_from_the_hamiltonian(name, electrons):
    hamiltonian, parameters, expected = SYSTEMS[name](electrons)
    strengths = np.asarray(hamiltonian.cusp(parameters))
    np.testing.assert_allclose(strengths, [[0, expected], [expected, 0]], rtol=1e-6)
    finding = found(hamiltonian.cusp, hamiltonian, parameters)
    assert finding.passed, finding.message


@pytest.mark.parametrize("electrons", [(2, 0), (1, 1)])
def test_the_limit_is_relative_to_the_divergence(electrons):
    """At r_s = 5 a cusp of strength one leaves 0.16 of 0.2; a weak repulsion without any cusp leaves all of it."""
    hamiltonian, parameters, _ = density(electrons)
    finding = found(lambda p: jnp.ones(()), hamiltonian, parameters)
    assert not finding.passed and "0.16/r at contact, 80.0% of the bare 0.2/r" in finding.message
    weak = Hamiltonian(Kinetic(), {"e": Ewald(CELL, strength=0.05)}, electrons, cell=CELL)
    assert not found(None, weak, parameters).passed
    assert not found(lambda p: 0.98 * weak.cusp(p), weak, parameters).passed
    assert found(weak.cusp, weak, parameters).passed


def test_without_a_divergence_there_is_no_cusp():
    free = Hamiltonian(Kinetic(), {"trap": Harmonic(1.0)}, (1, 1), dim=2)
    assert free.cusp is None
    assert found(None, free, PARAMETERS).passed
    wrong = found(lambda p: jnp.asarray(0.01), free, PARAMETERS)
    assert not wrong.passed and "the potential does not" in wrong.message
    assert Hamiltonian(Kinetic(), {"e": Coulomb()}, (1, 1), dim=1).cusp is None
    with pytest.raises(ValueError, match="leave the factor out"):
        CuspJastrow(free.electrons, 1.0, free.cusp)


def test_an_undeclared_divergence_is_found():
    """A potential that diverges and does not say so: no cusp, and the checker measures what it lacks."""

    class Silent(AbstractPotential):
        def __call__(self, r, parameters):
            return Screened()(r, parameters)

    hamiltonian = Hamiltonian(Kinetic(), {"e": Silent()}, (1, 1), dim=2)
    assert hamiltonian.cusp is None
    assert "100.0% of the bare 2/r" in found(None, hamiltonian, PARAMETERS).message


def test_every_kind_of_pair_is_looked_at():
    """A cusp that is wrong between the last two electrons alone: both of them spin down."""
    cell = triangular(6.0)
    hamiltonian = Hamiltonian(Kinetic(), {"e": Ewald(cell)}, (1, 2), cell=cell)

    class Product(eqx.Module):
        cusp: CuspJastrow

        def __call__(self, r, parameters):
            turn = jnp.sin((r[1] - r[2]) @ jnp.asarray(cell.reciprocal[0]))
            log = self.cusp(r, parameters) + jnp.log(jnp.abs(turn))
            return LogPsi(log, jnp.where(turn < 0, jnp.pi, 0.0), real=True)

    def check(strength):
        ansatz = Product(CuspJastrow((1, 2), 1.0, strength, squared_distance=PeriodicDistance(cell)))
        r = jax.random.uniform(jax.random.key(1), (8, 3, 2), jnp.float64) @ jnp.asarray(cell.matrix)
        return electron_cusps(ansatz, hamiltonian, PARAMETERS, r)

    assert check(hamiltonian.cusp).passed
    assert not check(lambda p: hamiltonian.cusp(p).at[1, 2].set(0.0)).passed


def test_nuclear_cusps_are_named():
    """ψ = exp(-Z m r), and a Gaussian that has no cusp."""
    hamiltonian = Hamiltonian(Kinetic(mass=0.5), {"ion": Nuclei([[0.1, 0.2, 0.3]], [2.0])}, (1, 0), dim=3)
    away = lambda r: jnp.sqrt(jnp.sum((r[0] - jnp.asarray([0.1, 0.2, 0.3])) ** 2))
    r = jax.random.normal(jax.random.key(0), (8, 1, 3), jnp.float64)

    def check(log):
        ansatz = lambda r, parameters: LogPsi(log(away(r)), jnp.zeros(()), real=True)
        return nuclear_cusps(ansatz, hamiltonian, PARAMETERS, r)

    assert check(lambda d: -d).passed
    wrong = check(lambda d: -(d**2))
    assert not wrong.passed and wrong.name == "nuclear cusps" and "100.0% of the bare 2/r" in wrong.message
    free = Hamiltonian(Kinetic(), {"trap": Harmonic(1.0)}, (1, 0), dim=3)
    assert nuclear_cusps(lambda r, p: LogPsi(-away(r), jnp.zeros(())), free, PARAMETERS, r) is None


def assembled(hamiltonian, cell):
    return qernel(
        {"rs": jnp.asarray([1.0, 5.0])},
        hamiltonian.electrons,
        cell.reciprocal,
        (plane_wave_orbitals(cell, 1),),
        key=jax.random.key(0),
        cusp_strength=hamiltonian.cusp,
        layers=0,
        width=4,
        determinants=1,
        dtype=jnp.float64,
    )


def test_a_qernel_takes_the_cusp_of_its_hamiltonian():
    hamiltonian = Hamiltonian(OF_DENSITY, {"e": Ewald(CELL, strength=inverse)}, (1, 0), cell=CELL)
    ansatz = assembled(hamiltonian, CELL)
    # Nothing of it is trained, or stored.
    assert not [leaf for leaf in jax.tree.leaves(ansatz.cusp.strength) if eqx.is_array(leaf)]
    assert jax.tree.leaves(trainable(ansatz).cusp.log_range) == [True]
    free = Hamiltonian(OF_DENSITY, {}, (1, 0), cell=CELL)
    assert assembled(free, CELL).cusp is None


def test_misfits_say_so():
    hamiltonian = Hamiltonian(Kinetic(), {"e": Ewald(CELL, charges=(1.0, -1.0))}, (2, 1), cell=CELL)
    with pytest.raises(ValueError, match="2 charges, the Hamiltonian 3 electrons"):
        hamiltonian.cusp(PARAMETERS)
    plain = moire_hamiltonian(MATERIAL, triangular(3 * MATERIAL.lattice_constant), (2, 0))
    with pytest.raises(ValueError, match="range of a Jastrow factor must be positive"):
        CuspJastrow((2, 0), float("nan"), plain.cusp)
