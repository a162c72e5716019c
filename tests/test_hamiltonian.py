import functools
import json
import math
import pathlib

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qernel.ansatz import Conditioner, LogPsi
from qernel.gradient import local_energies
from qernel.hamiltonian import (
    AbstractPotential,
    Coulomb,
    Ewald,
    Family,
    Hamiltonian,
    Harmonic,
    HarmonicPair,
    Kinetic,
    Nuclei,
    Potential,
    in_phases,
    without_phase,
)
from qernel.lattice import Lattice, cubic, square, supercell, triangular
from qernel.systems.moire import (
    Material,
    MoireParameters,
    MoirePotential,
    moire_family,
    moire_hamiltonian,
    moire_parameters,
)

FOLDER = pathlib.Path(__file__).parent / "reference"


def reference(name):
    return json.loads((FOLDER / f"{name}.json").read_text())


MATERIAL = Material()
PRIMITIVE = triangular(MATERIAL.lattice_constant)
CELL = supercell(PRIMITIVE, 3)
QUICK = {"xla_backend_optimization_level": 0}

# Small programs, each run once: compiling them fast matters more than running them fast.
evaluate = eqx.filter_jit(lambda hamiltonian, r, p: hamiltonian.potential_energies(r, p), compiler_options=QUICK)


def random_positions(electrons, dim, seed=0):
    return np.random.default_rng(seed).normal(size=(electrons, dim))


# Two electrons in a trap, exactly: name, dimensions, frequency, ψ without its Gaussian, energy, entry in
# dots.json.
DOTS = [
    ("2D singlet", 2, 1.0, lambda r, x: 1 + r, 3.0, "2D singlet omega=1 (Taut): E=3"),
    ("2D singlet, second", 2, 1 / 6, lambda r, x: 1 + r + r**2 / 6, 2 / 3, None),
    ("2D triplet", 2, 1 / 3, lambda r, x: x * (1 + r / 3), 4 / 3, "2D triplet omega=1/3"),
    ("3D singlet", 3, 0.5, lambda r, x: 1 + r / 2, 2.0, "3D singlet (Hooke) omega=0.5"),
    ("3D triplet", 3, 0.25, lambda r, x: x * (1 + r / 4), 1.25, "3D triplet omega=0.25"),
    ("3D singlet, second", 3, 0.1, lambda r, x: 1 + r / 2 + r**2 / 20, 0.5, "3D singlet omega=0.1"),
]


@pytest.mark.parametrize("name, dim, frequency, pair, energy, entry", DOTS, ids=[d[0] for d in DOTS])
def test_dots_have_constant_local_energy(name, dim, frequency, pair, energy, entry):
    if entry is not None:
        (known,) = [dot for dot in reference("dots")["dots"] if dot["name"].startswith(entry)]
        np.testing.assert_allclose(energy, known["E_total"], atol=1e-9)
    electrons = (2, 0) if "triplet" in name else (1, 1)
    potentials = {"trap": Harmonic(frequency), "interaction": Coulomb()}
    hamiltonian = Hamiltonian(Kinetic(), potentials, electrons, dim=dim)

    def psi(flat):
        first, second = flat[:dim], flat[dim:]
        difference = first - second
        distance = jnp.sqrt(jnp.sum(difference**2))
        return pair(distance, difference[0]) * jnp.exp(-0.5 * frequency * jnp.sum(flat**2))

    @functools.partial(jax.jit, compiler_options=QUICK)
    @jax.vmap
    def local_energy(r):
        laplacian = jnp.trace(jax.hessian(psi)(r.reshape(-1)))
        kinetic = -0.5 * hamiltonian.kinetic.prefactor(None) * laplacian / psi(r.reshape(-1))
        return kinetic + sum(hamiltonian.potential_energies(r, None).values())

    r = jnp.asarray(np.random.default_rng(0).normal(size=(30, 2, dim)))
    np.testing.assert_allclose(local_energy(r), energy, atol=1e-9)


def test_hydrogen_like_ion_and_molecule():
    hydrogen = Hamiltonian(Kinetic(mass=0.5), {"nucleus": Nuclei([[0.1, 0.2, 0.3]], [2.0])}, (1, 0), dim=3)
    nucleus = jnp.array([0.1, 0.2, 0.3])

    @functools.partial(jax.jit, compiler_options=QUICK)
    def local_energy(r):
        # Mass m and charge Z: ψ = exp(-mZr), E = -mZ²/2.
        log_psi = lambda x: -jnp.sqrt(jnp.sum((x - nucleus) ** 2))
        gradient = jax.grad(log_psi)(r[0])
        laplacian = jnp.trace(jax.hessian(log_psi)(r[0]))
        kinetic = -0.5 * hydrogen.kinetic.prefactor(None) * (laplacian + gradient @ gradient)
        return kinetic + hydrogen.potential_energies(r, None)["nucleus"]

    for seed in range(3):
        np.testing.assert_allclose(local_energy(jnp.asarray(random_positions(1, 3, seed))), -1.0, atol=1e-12)
    molecule = Nuclei([[0.0, 0.0], [0.0, 2.0]], [1.0, 3.0])
    np.testing.assert_allclose(molecule.repulsion, 1.5)
    np.testing.assert_allclose(molecule(jnp.array([[0.0, 1.0], [0.0, -1.0]]), None), -4.0 - 2.0)


@pytest.mark.parametrize("depth", ["0", "2", "5", "10", "15", "20", "30"])
def test_moire_bands(depth):
    expected = reference("moire_bands")["bands"][depth]
    for point, fraction in (("Gamma", (0, 0)), ("K", (1 / 3, 2 / 3)), ("M", (0.5, 0))):
        bands = bloch_bands(moire_parameters(MATERIAL, float(depth)), fraction)
        np.testing.assert_allclose(bands[:6], expected[point], atol=1e-6)


def test_moire_bands_do_not_depend_on_the_dielectric_constant():
    expected = bloch_bands(moire_parameters(MATERIAL, 15.0), (0.5, 0))
    other = Material(dielectric=10.0)
    bands = bloch_bands(moire_parameters(other, 15.0), (0.5, 0), other)
    np.testing.assert_allclose(bands, expected, atol=1e-8)


def test_non_interacting_electrons_fill_the_momenta_of_the_supercell():
    parameters = moire_parameters(MATERIAL, 10.0)
    fractions = CELL.momenta() @ np.linalg.inv(PRIMITIVE.reciprocal)
    levels = np.sort(np.concatenate([bloch_bands(parameters, k) for k in fractions]))
    for electrons in range(1, 8):
        known = reference("moire_bands")["noninteracting"]["3x3"].get(f"N={electrons}")
        if known is not None:
            np.testing.assert_allclose(levels[:electrons].sum(), known["10"]["E_total"], atol=1e-6)


def bloch_bands(parameters, fraction, material=MATERIAL, shells=5):
    """Bands in meV from the potential itself: Fourier transform on a grid, then plane waves."""
    primitive = triangular(material.lattice_constant)
    grid = 8
    points = np.stack(np.meshgrid(np.arange(grid), np.arange(grid), indexing="ij"), -1) / grid
    values = on_points(primitive, jnp.asarray(points.reshape(-1, 1, 2) @ primitive.matrix), parameters)
    fourier = np.fft.fft2(np.asarray(values).reshape(grid, grid)) / grid**2
    n = np.arange(-shells, shells + 1)
    index = np.stack(np.meshgrid(n, n, indexing="ij"), -1).reshape(-1, 2)
    difference = index[:, None] - index[None]
    inside = np.all(np.abs(difference) < grid // 2, axis=-1)
    matrix = np.where(inside, fourier[difference[..., 0] % grid, difference[..., 1] % grid], 0)
    waves = (index + np.asarray(fraction)) @ primitive.reciprocal
    cell = supercell(primitive, 1)
    prefactor = moire_hamiltonian(material, cell, (1, 0)).kinetic.prefactor(parameters)
    matrix = matrix + np.diag(0.5 * float(prefactor) * np.sum(waves**2, axis=1))
    return np.linalg.eigvalsh(matrix) * material.hartree_meV


@eqx.filter_jit
def on_points(primitive, points, parameters):
    return jax.vmap(MoirePotential(primitive), in_axes=(0, None))(points, parameters)


@pytest.mark.parametrize("case", reference("slater_determinants")["slater_determinants"], ids=lambda c: c["N"])
def test_plane_wave_determinants(case):
    """Kinetic energy from the prefactor; exchange from the pair potential, by quadrature."""
    hamiltonian = moire_hamiltonian(MATERIAL, CELL, (case["N"], 0))
    parameters = moire_parameters(MATERIAL, 0.0)
    waves = np.array(case["occupied_k_in_b/3"]) @ CELL.lattice.reciprocal
    kinetic = 0.5 * float(hamiltonian.kinetic.prefactor(parameters)) * np.sum(waves**2)
    np.testing.assert_allclose(MATERIAL.to_meV(kinetic), case["T_total"], atol=1e-9)
    nodes, weights, potential = pair_potential()
    differences = (waves[:, None] - waves[None]).reshape(-1, 2)
    # <V> = N ξ/2 + 1/(2Ω) Σ_{kk'} ∫ ψ(r) [1 - cos((k-k')·r)] dr, and ψ averages to zero.
    overlap = np.sum(1 - np.cos(nodes @ differences.T), axis=1)
    pairs = 0.5 * np.sum(weights * potential * overlap) / CELL.lattice.volume
    interaction = 0.5 * case["N"] * hamiltonian.potentials["interaction"].madelung + pairs
    np.testing.assert_allclose(MATERIAL.to_meV(interaction), case["V_ee_total"], atol=1e-7)
    total = MATERIAL.to_meV(kinetic + interaction)
    np.testing.assert_allclose(total, case["E_total"], atol=1e-7)


@functools.cache
def pair_potential(order=32):
    """ψ(r) of the 3x3 cell at quadrature points that resolve its 1/r: triangles with apex at the origin."""
    x, w = np.polynomial.legendre.leggauss(order)
    u, v = (g.ravel() for g in np.meshgrid(0.5 * (x + 1), 0.5 * (x + 1), indexing="ij"))
    area = np.outer(w, w).ravel() / 4 * u * CELL.lattice.volume / 4
    halves = [(u, u * v), (u * v, u)]
    quarters = [(s * f, t * g) for f, g in halves for s in (-0.5, 0.5) for t in (-0.5, 0.5)]
    nodes = np.concatenate([np.stack(q, axis=1) @ CELL.lattice.matrix for q in quarters])
    ewald = Ewald(CELL.lattice)
    pair = jax.vmap(lambda r: ewald(jnp.stack([jnp.zeros_like(r), r]), None) - ewald.madelung)
    return nodes, np.tile(area, len(quarters)), np.asarray(jax.jit(pair)(jnp.asarray(nodes)))


@pytest.mark.parametrize("turn", [0.0, 0.3])
def test_moire_potential_depends_on_the_lattice_only(turn):
    angle = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    lattice = Lattice(triangular(1.0).matrix @ angle)
    parameters = moire_parameters(MATERIAL, 10.0, phi_degrees=25.0)
    r = jnp.asarray(random_positions(7, 2))
    expected = MoirePotential(lattice)(r, parameters)
    for change in ([[0, 1], [1, 0]], [[1, 0], [-1, 1]], [[3, 7], [2, 5]], [[-1, 0], [0, -1]]):
        other = MoirePotential(Lattice(np.array(change) @ lattice.matrix))
        np.testing.assert_allclose(other(r, parameters), expected, rtol=1e-11)


def test_moire_potential_symmetries_and_minima():
    potential = MoirePotential(PRIMITIVE)
    r = jnp.asarray(random_positions(1, 2))
    parameters = moire_parameters(MATERIAL, 10.0)
    mirrored = moire_parameters(MATERIAL, 10.0, phi_degrees=-45.0)
    np.testing.assert_allclose(potential(-r, parameters), potential(r, mirrored), rtol=1e-12)
    moved = r + jnp.asarray(PRIMITIVE.matrix[:1] - 3 * PRIMITIVE.matrix[1:])
    np.testing.assert_allclose(potential(moved, parameters), potential(r, parameters), rtol=1e-10)
    first = np.asarray(potential.vectors)
    np.testing.assert_allclose(first[0], [0, 4 * np.pi / 3**0.5 / MATERIAL.lattice_constant], atol=1e-12)
    np.testing.assert_allclose(first.sum(axis=0), 0, atol=1e-12)
    minimum = MATERIAL.to_meV(potential(jnp.zeros((1, 2)), parameters))
    np.testing.assert_allclose(minimum, -60 * math.cos(math.pi / 4), rtol=1e-12)
    assert minimum < MATERIAL.to_meV(potential(r, parameters))


VARIED = {"effective_mass": 0.6, "dielectric": 8.0, "lattice_constant_nm": 10.3}


@pytest.mark.parametrize("names", [*[(n,) for n in VARIED], tuple(VARIED)], ids=lambda n: "+".join(n))
def test_varied_material_agrees_with_a_rebuilt_one(names):
    varied = {name: VARIED[name] for name in names}
    rebuilt = Material(**varied)
    electrons = (4, 0)
    here = moire_hamiltonian(MATERIAL, CELL, electrons)
    there_cell = supercell(triangular(rebuilt.lattice_constant), 3)
    there = moire_hamiltonian(rebuilt, there_cell, electrons)
    p_here = moire_parameters(MATERIAL, 12.0, phi_degrees=30.0, **varied)
    p_there = moire_parameters(rebuilt, 12.0, phi_degrees=30.0)
    fraction = np.random.default_rng(0).uniform(0, 1, (4, 2))
    found = evaluate(here, jnp.asarray(fraction @ CELL.lattice.matrix), p_here)
    known = evaluate(there, jnp.asarray(fraction @ there_cell.lattice.matrix), p_there)
    for name in ("moire", "interaction"):
        np.testing.assert_allclose(MATERIAL.to_meV(found[name]), rebuilt.to_meV(known[name]), rtol=1e-9, err_msg=name)
    # The kinetic energy of the same wave on the moiré lattice.
    wave_here = 0.5 * here.kinetic.prefactor(p_here) / MATERIAL.lattice_constant**2
    wave_there = 0.5 * there.kinetic.prefactor(p_there) / rebuilt.lattice_constant**2
    np.testing.assert_allclose(MATERIAL.to_meV(wave_here), rebuilt.to_meV(wave_there), rtol=1e-12)


def test_hellmann_feynman_of_the_depth():
    hamiltonian = moire_hamiltonian(MATERIAL, CELL, (3, 0))
    r = jnp.asarray(random_positions(3, 2))
    parameters = moire_parameters(MATERIAL, 7.0)
    total = lambda p: sum(hamiltonian.potential_energies(r, p).values())
    slope = jax.jit(jax.grad(total), compiler_options=QUICK)(parameters).depth
    unit = eqx.tree_at(lambda p: p.depth, parameters, jnp.ones(()))
    np.testing.assert_allclose(slope, evaluate(hamiltonian, r, unit)["moire"], rtol=1e-12)


def varying(family):
    return [coordinate.name for coordinate in family.varying]


def test_family():
    family = moire_family(MATERIAL, 3, (6, 0), [0.0, 15.0, 30.0])
    assert family.size == 3 and varying(family) == ["depth_meV"]
    np.testing.assert_allclose(MATERIAL.to_meV(family.select(1).depth), 15.0)
    np.testing.assert_allclose(family.select(2).phi, math.pi / 4)
    assert isinstance(family.select(0), MoireParameters)
    assert all(leaf.shape == () for leaf in jax.tree.leaves(family.select(0)))
    r = jnp.asarray(random_positions(6, 2))
    found = jax.vmap(lambda p: evaluate(family.hamiltonian, r, p))(family.parameters)
    assert set(found) == {"moire", "interaction"}
    for i in range(3):
        one = evaluate(family.hamiltonian, r, family.select(i))
        np.testing.assert_allclose(found["moire"][i], one["moire"], atol=1e-12)
        np.testing.assert_allclose(found["interaction"][i], one["interaction"], rtol=1e-12)
    assert found["moire"][0] == 0
    with pytest.raises(ValueError, match="there is no number 3"):
        family.select(3)


def test_family_broadcasts_what_varies():
    family = moire_family(MATERIAL, (3, 6), (4, 0), 10.0, dielectric=[5.0, 10.0], phi_degrees=[30.0, 45.0])
    assert family.size == 2 and varying(family) == ["phi_degrees", "dielectric"]
    np.testing.assert_allclose(family.parameters.dielectric, [1.0, 2.0])
    np.testing.assert_allclose(family.parameters.depth, MATERIAL.to_hartree(10.0))
    strength = jax.vmap(family.hamiltonian.potentials["interaction"].strength)(family.parameters)
    np.testing.assert_allclose(strength, [1.0, 0.5])
    assert varying(moire_family(MATERIAL, 3, (1, 0), 10.0)) == ["depth_meV"]


def test_a_family_compiles_once():
    family = moire_family(MATERIAL, 2, (2, 0), [1.0, 2.0])
    other = moire_family(MATERIAL, 2, (2, 0), [3.0, 4.0])
    traces = []

    @eqx.filter_jit
    def total(hamiltonian, r, parameters):
        traces.append(1)
        return sum(hamiltonian.potential_energies(r, parameters).values())

    r = jnp.asarray(random_positions(2, 2))
    values = {float(total(f.hamiltonian, r, f.select(i))) for f in (family, other) for i in range(2)}
    assert len(values) == 4 and len(traces) == 1


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_terms_compute_at_the_precision_of_the_positions(dtype):
    r = jnp.asarray(random_positions(3, 2), dtype)
    periodic = {
        "moire": MoirePotential(PRIMITIVE, CELL),
        "interaction": Ewald(CELL.lattice, strength=lambda p: p.dielectric),
        "own": Potential(lambda x, p: p.depth.astype(x.dtype) * x[0] ** 2),
        "own, careless": Potential(lambda x, p: p.depth * jnp.ones(())),
    }
    unbounded = {
        "open": Coulomb(lambda p: p.dielectric),
        "nuclei": Nuclei(np.eye(2), [1.0, 2.0]),
        "trap": Harmonic(lambda p: p.depth),
    }
    terms, parameters = {**periodic, **unbounded}, moire_parameters(MATERIAL, 5.0)
    energies = evaluate(Hamiltonian(Kinetic(), periodic, (2, 1), cell=CELL.lattice), r, parameters)
    energies |= evaluate(Hamiltonian(Kinetic(), unbounded, (2, 1), dim=2), r, parameters)
    assert set(energies) == set(terms)
    assert {value.dtype for value in energies.values()} == {jnp.dtype(dtype)}
    assert {value.shape for value in energies.values()} == {()}
    assert all(isinstance(term, AbstractPotential) for term in terms.values())


def test_user_given_potential():
    own = Potential(lambda x, stiffness: 0.5 * stiffness * jnp.sum(x**2))
    r = jnp.asarray(random_positions(5, 3))
    np.testing.assert_allclose(own(r, jnp.asarray(4.0)), Harmonic(2.0)(r, None), rtol=1e-12)
    with pytest.raises(ValueError, match="must return a scalar"):
        Potential(lambda x, _: x)(r, None)


def test_one_electron():
    r = jnp.ones((1, 2))
    assert Coulomb()(r, None) == 0
    hamiltonian = moire_hamiltonian(MATERIAL, CELL, (1, 0))
    energies = evaluate(hamiltonian, r, moire_parameters(MATERIAL, 5.0))
    madelung = reference("slater_determinants")["slater_determinants"][0]["madelung_total"]
    np.testing.assert_allclose(MATERIAL.to_meV(energies["interaction"]), madelung, rtol=1e-10)


@pytest.mark.parametrize("electrons", [1, 4])
def test_derivatives_are_finite(electrons):
    hamiltonian = moire_hamiltonian(MATERIAL, CELL, (electrons, 0))
    open_terms = {"open": Coulomb(), "nuclei": Nuclei([[0.1, 0.2]], [1.0])}
    unbounded = Hamiltonian(Kinetic(), open_terms, (electrons, 0), dim=2)
    total = lambda r, p: sum(sum(h.potential_energies(r, p).values()) for h in (hamiltonian, unbounded))
    gradients = jax.jit(jax.grad(total, argnums=(0, 1)), compiler_options=QUICK)
    found = gradients(jnp.asarray(random_positions(electrons, 2)), moire_parameters(MATERIAL, 0.0))
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(found))


def test_hamiltonian_describes_itself():
    hamiltonian = moire_hamiltonian(MATERIAL, CELL, (3, 2))
    assert (hamiltonian.dim, hamiltonian.n_electrons, hamiltonian.electrons) == (2, 5, (3, 2))
    assert hamiltonian.cell == CELL.lattice
    assert Hamiltonian(Kinetic(), {}, (1, 0), dim=1).cell is None
    assert moire_hamiltonian(MATERIAL, CELL.lattice, (1, 0)).cell == CELL.lattice


def test_kinetic_prefactor():
    np.testing.assert_allclose(Kinetic().prefactor(None), 1.0)
    np.testing.assert_allclose(Kinetic(mass=4.0).prefactor(None), 0.25)
    np.testing.assert_allclose(Kinetic(inverse_mass=lambda p: 2 * p).prefactor(jnp.asarray(3.0)), 6.0)
    family = moire_family(MATERIAL, 1, (1, 0), 1.0, effective_mass=[0.35, 0.7])
    prefactors = jax.vmap(family.hamiltonian.kinetic.prefactor)(family.parameters)
    np.testing.assert_allclose(prefactors, [1.0, 0.5])


# ------------------------------------------------------------------------------- what would be wrong in silence


class Anywhere(AbstractPotential):
    """A potential of a user's own: a constant, or whatever is asked for."""

    boundary = "any"
    value: complex = 1.0
    shape: tuple[int, ...] = ()

    def __call__(self, r, parameters):
        return jnp.full(self.shape, self.value)


class Elsewhere(AbstractPotential):
    """Means another word."""

    boundary = "closed"

    def __call__(self, r, parameters):
        return jnp.zeros(())


class Somewhere(AbstractPotential):
    """Says nothing of the boundaries: it makes sense with any."""

    def __call__(self, r, parameters):
        return jnp.zeros(())


@pytest.mark.parametrize("potential", [Coulomb(), Nuclei([[0.1, 0.2]], [1.0]), Harmonic(1.0)], ids=lambda v: type(v))
def test_potentials_without_images_are_refused_in_a_cell(potential):
    assert Hamiltonian(Kinetic(), {"mine": potential}, (1, 1), dim=2).cell is None
    with pytest.raises(ValueError, match=f"'mine' \\({type(potential).__name__}\\) is for open boundaries"):
        Hamiltonian(Kinetic(), {"mine": potential}, (1, 1), cell=square(3.0))


def test_an_ewald_sum_needs_the_cell_of_its_images():
    for cell in ({"dim": 2}, {"cell": square(6.0)}, {"cell": cubic(3.0)}):
        with pytest.raises(ValueError, match="incommensurate|over the images of the cell|has 3 dimensions"):
            Hamiltonian(Kinetic(), {"interaction": Ewald(square(3.0))}, (1, 1), **cell)
    same = Lattice(np.array([[3.0, 3.0], [0.0, -3.0]]))
    assert Hamiltonian(Kinetic(), {"interaction": Ewald(square(3.0))}, (1, 1), cell=same).cell == same


def test_a_periodic_potential_needs_a_cell_that_it_fits():
    moire = {"moire": MoirePotential(PRIMITIVE)}
    assert Hamiltonian(Kinetic(), moire, (1, 0), cell=CELL.lattice).cell == CELL.lattice
    # A flake in a trap, say.
    assert Hamiltonian(Kinetic(), moire, (1, 0), dim=2).cell is None
    with pytest.raises(ValueError, match="incommensurate with the lattice .* of the potential 'moire'.* off by"):
        Hamiltonian(Kinetic(), moire, (1, 0), cell=Lattice(2.5 * PRIMITIVE.matrix))


def test_a_potential_says_where_it_makes_sense():
    """Anywhere, if it says nothing."""
    for boundaries in ({"dim": 1}, {"cell": Lattice(((3.0,),))}):
        assert Hamiltonian(Kinetic(), {"mine": Somewhere()}, (1, 0), **boundaries).dim == 1
    with pytest.raises(ValueError, match="must be 'open', 'any' or a lattice"):
        Hamiltonian(Kinetic(), {"mine": Elsewhere()}, (1, 0), dim=1)


def test_what_is_not_one_real_number_is_refused():
    r, vector = jnp.ones((1, 2)), jnp.ones(3)

    def energies(potential):
        return Hamiltonian(Kinetic(), {"mine": potential}, (1, 0), dim=2).potential_energies(r, vector)

    for potential in (Anywhere(1j), Anywhere(shape=(1,))):
        with pytest.raises(ValueError, match="'mine' must return one real number, the total of all electrons"):
            energies(potential)
    with pytest.raises(ValueError, match="function must be real"):
        energies(Potential(lambda x, p: jax.lax.complex(x[0], x[1])))
    numbers = {"must be real": lambda p: jax.lax.complex(p[0], p[0]), "must be one number": lambda p: p}
    for message, bad in numbers.items():
        with pytest.raises(ValueError, match=f"the trap frequency {message}"):
            energies(Harmonic(bad))
        for potential in (Coulomb(bad), HarmonicPair(bad), Nuclei(np.eye(2), [1.0, 2.0], strength=bad)):
            with pytest.raises(ValueError, match=f"prefactor of the Hamiltonian {message}"):
                energies(potential)
        with pytest.raises(ValueError, match=f"the inverse mass {message}"):
            Kinetic(inverse_mass=bad).prefactor(vector)
    with pytest.raises(ValueError, match="all electrons have one mass"):
        Kinetic(mass=np.array([1.0, 2.0]))
    assert Kinetic(mass=np.array(2.0)).mass == Kinetic(mass=2).mass == 2.0
    with pytest.raises(ValueError, match="mass must be positive"):
        Kinetic(mass=1j)
    with pytest.raises(ValueError, match="nuclei must be real"):
        Nuclei(np.eye(2), np.array([1.0, 1j]))
    with pytest.raises(ValueError, match="nuclei must be finite"):
        Nuclei(np.eye(2), [1.0, np.nan])


@pytest.mark.parametrize("nothing", [(), None, {}])
def test_one_hamiltonian_needs_no_parameters(nothing):
    trap = Hamiltonian(Kinetic(mass=2.0), {"trap": Harmonic(1.0), "repulsion": Coulomb()}, (2, 0), dim=2)
    assert float(trap.kinetic.prefactor(nothing)) == 0.5
    r = jnp.asarray([[[[0.0, 1.0], [0.0, -1.0]]]])
    gaussian = lambda r, parameters: LogPsi(-jnp.sum(r**2), jnp.zeros(()), real=True)
    energies = local_energies(gaussian, trap, r, nothing)
    # The Laplacian of log ψ, -8, and its squared gradient, 8, cancel at these positions.
    assert float(energies.total[0, 0]) == pytest.approx(0.0 + 1.0 + 0.5)
    phases = in_phases(nothing, 2)
    assert without_phase(phases) == nothing and phases.number.tolist() == [0.0, 1.0]
    condition = Conditioner(nothing, 4, key=jax.random.key(0))
    assert condition.size == condition(nothing).size == 5
    assert np.all(np.isfinite(condition(nothing)))


def test_bad_input():
    def fails(match, function):
        with pytest.raises(ValueError, match=match):
            function()

    wrong = supercell(triangular(1.02 * MATERIAL.lattice_constant), 3)
    fails("incommensurate", lambda: moire_hamiltonian(MATERIAL, wrong, (3, 0)))
    fails("incommensurate", lambda: MoirePotential(PRIMITIVE, Lattice(2.5 * PRIMITIVE.matrix)))
    fails("triangular lattice", lambda: MoirePotential(square(1.0)))
    fails("two-dimensional", lambda: MoirePotential(cubic(1.0)))
    fails("mass must be positive", lambda: Kinetic(mass=-1.0))
    fails("either a mass or an inverse_mass", lambda: Kinetic(mass=1.0, inverse_mass=lambda p: p))
    fails("effective mass must be positive", lambda: Material(effective_mass=-0.35))
    fails("dielectric constant must be positive", lambda: Material(dielectric=-5.0))
    fails("at least one electron", lambda: moire_hamiltonian(MATERIAL, CELL, (0, 0)))
    fails("none of them negative", lambda: moire_hamiltonian(MATERIAL, CELL, (3, -1)))
    fails("needs dim", lambda: Hamiltonian(Kinetic(), {}, (1, 0)))
    fails("contradicts", lambda: Hamiltonian(Kinetic(), {}, (1, 0), cell=CELL.lattice, dim=3))
    fails("1, 2 or 3 dimensions", lambda: Hamiltonian(Kinetic(), {}, (1, 0), dim=4))
    fails("cannot be called 'kinetic'", lambda: Hamiltonian(Kinetic(), {"kinetic": Coulomb()}, (1, 0), dim=2))
    fails("trap frequency must be positive", lambda: Harmonic(-1.0))
    fails("one charge each", lambda: Nuclei(np.eye(3), [1.0]))
    fails("same position", lambda: Nuclei(np.zeros((2, 3)), [1.0, 1.0]))
    fails("effective mass must be positive", lambda: moire_parameters(MATERIAL, 1.0, effective_mass=-1.0))
    fails("dielectric constant must be positive", lambda: moire_parameters(MATERIAL, 1.0, dielectric=[5.0, 0.0]))
    fails("lattice constant must be positive", lambda: moire_parameters(MATERIAL, 1.0, lattice_constant_nm=0.0))
    fails("must be finite", lambda: moire_parameters(MATERIAL, float("nan")))
    fails("different lengths", lambda: moire_family(MATERIAL, 3, (6, 0), [1.0, 2.0], dielectric=[1.0, 2.0, 3.0]))
    fails("one-dimensional", lambda: moire_parameters(MATERIAL, np.ones((2, 2))))
    fails("leading axis", lambda: Family(moire_hamiltonian(MATERIAL, CELL, (1, 0)), {"a": jnp.ones(())}))
    fails("leading axis", lambda: Family(moire_hamiltonian(MATERIAL, CELL, (1, 0)), {"a": jnp.ones(0)}))
