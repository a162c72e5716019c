"""Fillings of open shells: how many, which of them are equal, their energies and momenta, what a run takes."""

import dataclasses
import functools
import itertools
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qernel.hamiltonian import InPhase
from qernel.mean_field import (
    Filling,
    OrbitalSet,
    TooManyFillings,
    bloch_orbitals,
    hartree_fock,
    hartree_fock_functional,
    liquid_branch,
    open_shell_fillings,
    plane_waves,
)
from qernel.mean_field._fillings import MOST_FILLINGS, _Shells
from qernel.mean_field._space_group import kept_rotations
from qernel.presets import ConfigurationError, build, load, preset
from qernel.systems.moire import Material, moire_family

MATERIAL = Material()
# A liquid whose orbitals are complex, in a network that compiles in seconds.
SMALL = ("electrons=[3,0]", "depths_meV=[10]", "width=8", "layers=1", "orbital_spacing_meV=15")


@functools.cache
def family(cells, electrons, *depths, phi=45.0):
    return moire_family(MATERIAL, cells, electrons, list(depths), phi_degrees=phi)


@functools.cache
def shell(cells, electrons, *depths, **options):
    members = family(cells, electrons, *depths)
    return open_shell_fillings(members.hamiltonian, *(members.select(i) for i in range(members.size)), **options)


def meV(found, electrons):
    return found.energies * MATERIAL.hartree_meV / electrons


def integers(momenta):
    return sorted(map(tuple, momenta.tolist()))


def test_24_electrons_have_66_liquids_and_the_first_members_are_not_the_lowest():
    found = shell(6, (24, 0), 0.0, 10.0)
    assert (len(found.fillings), found.count, found.shells) == (66, 792, ((5, 12), (0, 0)))
    energies = meV(found, 24)
    # Without a potential plane waves are self-consistent: the energies of all 792 determinants on the grid.
    assert energies[:, 0].min() == pytest.approx(-39.460, abs=1e-3)
    assert energies[:, 0].max() == pytest.approx(-38.869, abs=1e-3)
    lowest, deeper = (found.fillings[i] for i in found.lowest())
    at = lambda members: bloch_orbitals(*hamiltonian(6, (24, 0)), members=members, real=False).momenta[0]
    turns = family(6, (24, 0), 0.0).hamiltonian.cell.matrix.T / (2 * np.pi)
    shape = lambda members: integers(np.round(at(members) @ turns).astype(int))
    momentum_of = {n: tuple(f.momentum.tolist()) for n, f in enumerate(found.fillings)}
    # Another one of the same star fills an equivalent shell, and the names of its members are those of `members=`.
    modulo = {1: (0, 3, 4, 7, 8)}
    assert equivalent(lowest, shape(modulo[1])) and not equivalent(deeper, shape(modulo[1]))
    (default,) = (n for n, f in enumerate(found.fillings) if equivalent(f, shape((0, 1, 2, 3, 4))))
    assert energies[default, 0] == pytest.approx(-39.130, abs=1e-3) and found.fillings[default].real
    assert not lowest.real and not deeper.real
    assert momentum_of[0] == (-3, -2) and lowest.degeneracy == 12
    assert found.competing()[:2] == (lowest, deeper)
    assert all(
        gap <= found.margin[0] for gap in found.energies[[0, found.fillings.index(lowest)], 0] - found.energies[0, 0]
    )


def hamiltonian(cells, electrons, depth=0.0):
    one = family(cells, electrons, depth)
    return one.hamiltonian, one.select(0)


def equivalent(filling, momenta):
    """Whether these momenta are what a symmetry makes of a filling; by classes of the primitive lattice."""
    one = family(6, (24, 0), 5.0)
    h = one.hamiltonian
    rotations = [s * m for m in kept_rotations(functional(one)) for s in (1, -1)]
    primitive = np.linalg.inv(np.array(h.supercell.index).T)
    classes = lambda ks: sorted(map(tuple, np.round(np.mod(np.asarray(ks) @ primitive + 1e-9, 1), 6).tolist()))
    return classes(momenta) in [classes(filling.momenta[0] @ m) for m in rotations]


def functional(members):
    return hartree_fock_functional(members.hamiltonian, members.select(0), plane_waves(members.hamiltonian))


def test_energies_are_those_of_hartree_fock():
    with jax.enable_x64(True):
        h, parameters = hamiltonian(3, (3, 0), 10.0)
        found = open_shell_fillings(
            h, parameters, cutoff=bloch_orbitals(h, parameters, members=(0, 1)).orbitals.waves.cutoff
        )
        assert (len(found.fillings), found.count) == (3, 15)
        for filling in found.fillings:
            start = bloch_orbitals(h, parameters, real=False, momenta=filling.momenta).orbitals
            solved = hartree_fock(h, parameters, start, keep_momentum=True)
            if filling.relaxed[0]:
                assert filling.energies[0] == pytest.approx(solved.energy, abs=1e-7)
            else:
                # Not self-consistent: from above, and nearly.
                assert solved.energy - 1e-9 <= filling.energies[0] <= solved.energy + 1e-3
        assert found.fillings[0].relaxed[0]


def test_equivalent_fillings_have_equal_energies_and_inequivalent_ones_others():
    """All fillings of a small shell, one by one on the grid: as many energies as there are sets, as often as said."""
    for cells, electrons, shape in ((3, (3, 0), 6), (((5, 1), (-1, 4)), (14, 0), None)):
        found = shell(cells, electrons, 10.0)
        members = family(cells, electrons, 10.0)
        h, own = members.hamiltonian, functional(members)
        filled, size = found.shells[0]
        assert shape in (None, size)
        energies = [
            sum(own(bloch_orbitals(h, members.select(0), real=False, members=chosen).orbitals.coefficients)[0].values())
            for chosen in itertools.combinations(range(size), filled)
        ]
        kinds, counts = np.unique(np.round(energies, 7), return_counts=True)
        assert len(kinds) == len(found.fillings) and sum(counts) == found.count
        assert sorted(counts) == sorted(f.degeneracy for f in found.fillings)


def test_real_orbitals_stand_for_a_filling_where_they_can():
    h, parameters = hamiltonian(3, (3, 0), 10.0)
    own = functional(family(3, (3, 0), 10.0))
    energy = lambda orbitals: sum(own(orbitals.coefficients)[0].values())
    kinds = {f.real: f for f in shell(3, (3, 0), 10.0).fillings}
    # ±k: real and imaginary part span the same.
    pair = [bloch_orbitals(h, parameters, real=real, momenta=kinds[True].momenta).orbitals for real in (True, False)]
    assert energy(pair[0]) == pytest.approx(energy(pair[1]), abs=1e-10)
    assert pair[0].coefficients[0].dtype == float and kinds[True].momentum.tolist() == [0, 0]
    with pytest.raises(ValueError, match="2 of these momenta k are filled without -k.*choose real=False"):
        bloch_orbitals(h, parameters, momenta=kinds[False].momenta)
    with pytest.raises(ValueError, match="none of the plane waves"):
        bloch_orbitals(h, parameters, momenta=(np.array([[99, 0]]), np.zeros((0, 2), int)))


@pytest.mark.parametrize("cells, electrons, count", [(3, 6, 6), (9, 54, 12), (((4, 2), (-2, 2)), 8, 4)])
def test_one_hole_has_nothing_to_choose(cells, electrons, count):
    found = shell(cells, (electrons, 0), 0.0, 15.0)
    (filling,) = found.competing()
    assert found.count == filling.degeneracy == count and filling.real
    assert np.isnan(filling.energies).all()


def test_the_liquid_of_six_electrons_is_what_it_was():
    members = family(3, (6, 0), 0.0, 15.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = liquid_branch(members).coefficients
    after = liquid_branch(members, filling=shell(3, (6, 0), 0.0, 15.0).fillings[0]).coefficients
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    config = preset("moire-6")
    assert config.ansatz.references == ("liquid", "crystal") and not config.ansatz.complex


def test_both_spins_and_their_exchange():
    found = shell(3, (2, 2), 5.0)
    # One electron of six in each shell: k and k' at angles of 0, 60, 120 and 180 degrees.
    assert (len(found.fillings), found.count) == (4, 36)
    assert sum(f.degeneracy for f in found.fillings) == 36
    totals = {tuple(f.momentum.tolist()) for f in found.fillings}
    assert (0, 0) in totals and not any(f.real for f in found.fillings)
    # Only a spin that is alone has its star to itself.
    assert len(shell(3, (2, 1), 5.0).fillings) == 1


@pytest.mark.parametrize("phi", [45.0, 0.0])
@pytest.mark.parametrize("shift", [0.0, 0.37])
def test_rotations_are_found_wherever_the_potential_lies(phi, shift):
    """A shifted potential has the same rotations, with shifts that are found from its waves."""
    own = functional(family(3, (3, 0), 10.0, phi=phi))
    values = np.fft.fftn(own.one_body_potential)
    axes = [np.round(np.fft.fftfreq(n, 1 / n)) for n in values.shape]
    first, second = np.meshgrid(*axes, indexing="ij")
    # By a part of the cell that is no point of the grid.
    moved = np.real(np.fft.ifftn(values * np.exp(-2j * np.pi * (shift * first + 0.5 * shift * second))))
    moved_functional = dataclasses.replace(own, potentials={"moire": moved})
    assert len(kept_rotations(moved_functional)) == len(kept_rotations(own)) == (12 if phi == 0 else 6)


def test_too_many_fillings_are_refused():
    with pytest.raises(TooManyFillings, match="at most 1,000,000 are compared"):
        _Shells._check(MOST_FILLINGS + 1)


def test_a_configuration_takes_the_liquids_that_compete_and_is_complex_where_it_must_be():
    few = ("electrons=[3,0]", "depths_meV=[10]")
    config = preset("moire-6", *few)
    assert config.ansatz.references == ("liquid", "crystal") and config.ansatz.complex
    assert not preset("moire-6", *few, "ansatz.references=['crystal']").ansatz.complex
    with pytest.raises(ValueError, match=r"ansatz.complex must be true for the orbitals 'liquid'"):
        build(preset("moire-6", *few, "ansatz.complex=false"), solve=False)
    both = preset("moire-6", "electrons=[2,2]", "depths_meV=[5]")
    assert both.ansatz.references[:3] == ("liquid", "crystal", "liquid_2")
    sets = len(both.ansatz.references)
    assert both.ansatz.determinants % sets == 0 and both.ansatz.determinants >= 4
    if 5 % sets:
        with pytest.raises(ConfigurationError, match="determinants must be a multiple of"):
            preset("moire-6", "electrons=[2,2]", "depths_meV=[5]", "determinants=5")
    system = both.system.system()
    assert [p.name for p in system.phases][:4] == ["liquid", "crystal", "gaussians", "plane_waves"]
    for name in both.ansatz.references:
        phase = system.phase(name)
        assert "total momentum" in phase.about if name != "crystal" else phase.momentum is None


def test_a_liquid_of_complex_orbitals_starts_and_says_what_it_is():
    """Complex and real sets in one wavefunction, apart and in one sum; the run says what is filled."""
    config = load("moire-6", [*SMALL, "ansatz.references=['liquid','gaussians','plane_waves']"])
    assert config.ansatz.determinants == 6 and config.ansatz.complex
    with pytest.warns(
        UserWarning, match="open shell: .* 2 of 6 degenerate orbitals, in 15 ways, 3 of them inequivalent"
    ):
        problem = build(config)
    r = problem.state().positions[0, 0]
    parameters = jax.tree.map(lambda leaf: leaf[0], problem.system.family.parameters)
    value = problem.ansatz(r, parameters)
    assert np.isfinite(value.log_magnitude) and not value.real
    found = problem.ansatz.derivatives(r, parameters)
    assert found.log_psi.log_magnitude == pytest.approx(float(value.log_magnitude), abs=1e-4)
    assert np.isfinite(found.gradient).all() and np.isfinite(found.laplacian)
    orbitals = problem.ansatz.references[0](r, parameters)
    assert np.iscomplexobj(orbitals)
    # Of definite momentum: a translation by a moiré vector multiplies the determinant by a phase.
    (phase,) = (p for p in problem.system.phases if p.name == "liquid")
    cells = problem.system.family.hamiltonian.supercell
    t = cells.primitive.matrix[0]
    moved = problem.ansatz.references[0](r + jnp.asarray(t, r.dtype)[None], parameters)
    ratio = complex(np.linalg.det(moved) / np.linalg.det(orbitals))
    expected = np.exp(1j * np.array(phase.momentum) @ cells.lattice.reciprocal @ t)
    assert ratio == pytest.approx(expected, abs=1e-3)


@pytest.mark.filterwarnings("ignore:open shell")
def test_complex_and_real_phases_compete_in_one_network():
    settings = ("ansatz.references=['liquid','gaussians']", "ansatz.phases='separate'")
    problem = build(load("moire-6", [*SMALL, *settings]))
    assert problem.names == ("liquid", "crystal")
    r = problem.state().positions[0, 0]
    parameters = jax.tree.map(lambda leaf: leaf[0], problem.system.family.parameters)
    for number in range(2):
        in_phase = InPhase(parameters, jnp.asarray(float(number)))
        found = problem.ansatz.derivatives(r, in_phase)
        assert np.isfinite(found.log_psi.log_magnitude) and np.isfinite(found.laplacian)


def test_a_filling_is_what_it_says():
    for filling in shell(6, (24, 0), 0.0, 10.0).competing():
        assert isinstance(filling, Filling)
        assert filling.momenta[0].shape == (24, 2) and filling.momenta[1].shape == (0, 2)
        h, parameters = hamiltonian(6, (24, 0), 10.0)
        found = bloch_orbitals(h, parameters, momenta=filling.momenta, real=filling.real)
        assert isinstance(found.orbitals, OrbitalSet) and found.orbitals.electrons == (24, 0)
