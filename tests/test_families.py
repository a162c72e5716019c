"""Families of Hamiltonians: coordinates, points and grids, and what is not made anew for other points."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.mathtext import MathTextParser

from qernel.hamiltonian import (
    Coordinate,
    Family,
    Hamiltonian,
    Harmonic,
    HarmonicPair,
    InPhase,
    Kinetic,
    in_phases,
    without_phase,
)
from qernel.systems.moire import Material, MoireParameters, moire_coordinates, moire_family

MATERIAL = Material()


def read_anisotropy(parameters):
    return parameters["omega_y"] / parameters["omega_x"]


def write_anisotropy(parameters, value):
    """At a fixed product of the frequencies."""
    product = parameters["omega_x"] * parameters["omega_y"]
    return parameters | {"omega_x": jnp.sqrt(product / value), "omega_y": jnp.sqrt(product * value)}


ANISOTROPY = Coordinate("anisotropy", symbol="α", read=read_anisotropy, write=write_anisotropy)
KAPPA = Coordinate("kappa", "kappa", symbol="κ", linear=True)
ENERGY = Coordinate("kappa_meV", "kappa", "meV", "κ", scale=40.0, linear=True)
TRAP = {"omega_x": 1.0, "omega_y": 2.0, "kappa": 0.25}


def trap() -> Hamiltonian:
    frequencies = (lambda p: p["omega_x"], lambda p: p["omega_y"])
    potentials = {"trap": Harmonic(frequencies), "interaction": HarmonicPair(lambda p: p["kappa"])}
    return Hamiltonian(Kinetic(), potentials, (3, 0), dim=2)


def plane(points=((1.0, 0.1), (2.0, 0.2), (2.0, 0.3))) -> Family:
    return Family.of(trap(), TRAP, ("omega_y", KAPPA), points)


# ------------------------------------------------------------------------------- coordinates


@pytest.mark.parametrize("coordinate", [KAPPA, ENERGY, ANISOTROPY], ids=lambda c: c.name)
@pytest.mark.parametrize("phase", [None, 1.0])
def test_a_coordinate_is_read_written_and_differentiated(coordinate, phase):
    """In any phase of matter, whose number no Hamiltonian knows."""
    parameters = {name: jnp.asarray(value) for name, value in TRAP.items()}
    given = parameters if phase is None else InPhase(parameters, jnp.asarray(phase))
    expected = {"kappa": 0.25, "kappa_meV": 10.0, "anisotropy": 2.0}[coordinate.name]
    assert float(coordinate.of(given)) == expected
    moved = coordinate.at(given, jnp.asarray(3.5))
    assert float(coordinate.of(moved)) == pytest.approx(3.5, rel=1e-14)
    assert jax.tree.structure(moved) == jax.tree.structure(given)
    tangent = coordinate.tangent(given)
    step = 1e-6
    up, down = (coordinate.at(given, jnp.asarray(expected + sign * step)) for sign in (1, -1))
    for found, above, below in zip(*map(jax.tree.leaves, (tangent, up, down)), strict=True):
        assert float(found) == pytest.approx(float((above - below) / (2 * step)), abs=1e-8)
    if phase is not None:
        assert isinstance(moved, InPhase) and float(moved.number) == phase and float(tangent.number) == 0
        assert without_phase(moved)["kappa"].dtype == jnp.float64


def test_a_derived_coordinate_varies_what_it_is_made_of():
    """The energy of one particle, (ω_x + ω_y)/2, along the anisotropy at a fixed product."""
    family = Family.of(trap(), TRAP, (ANISOTROPY,), [0.5, 1.0, 4.0])
    x, y = family.parameters["omega_x"], family.parameters["omega_y"]
    np.testing.assert_allclose(x * y, 2.0, rtol=1e-14)
    np.testing.assert_allclose(y / x, [0.5, 1.0, 4.0], rtol=1e-14)
    assert family.points[:, 0].tolist() == [0.5, 1.0, 4.0] and family.varying == (ANISOTROPY,)
    np.testing.assert_array_equal(family.parameters["kappa"], 0.25)


def test_fields_of_a_module_are_coordinates_too():
    family = moire_family(MATERIAL, 3, (3, 0), [0.0, 12.5, 30.0])
    (coordinate,) = family.coordinates
    assert (coordinate.name, coordinate.dimension, coordinate.unit) == ("depth_meV", "depth", "meV")
    assert family.points[:, 0].tolist() == [0.0, 12.5, 30.0]
    assert isinstance(coordinate.at(family.select(0), jnp.asarray(5.0)), MoireParameters)
    derivative = coordinate.tangent(family.select(1))
    assert float(derivative.depth) == pytest.approx(1 / MATERIAL.hartree_meV, rel=1e-14)
    assert all(float(getattr(derivative, name)) == 0 for name in ("phi", "mass", "dielectric", "scale"))


def test_words_and_symbols():
    assert ENERGY.text(12.5) == "κ = 12.5 meV" and KAPPA.text(0.1) == "κ = 0.1"
    plain = Coordinate("omega_y", "omega_y")
    assert (plain.symbol, plain.latex, plain.label, plain.dimension) == ("omega y", r"omega\_y", "omega y", "omega_y")
    # Figures take the symbol, of which mathtext makes a formula: one subscript at most.
    symbols = {symbol: Coordinate("x", "x", symbol=symbol).latex for symbol in ("B", "ω_y", "V₀", "a_b_c")}
    assert symbols == {"B": "B", "ω_y": "ω_y", "V₀": "V₀", "a_b_c": r"a\_b\_c"}
    parser = MathTextParser("path")
    assert all(parser.parse(f"${latex}$").width > 0 for latex in (*symbols.values(), plain.latex))
    assert ENERGY.dimension == "kappa" and ENERGY.plain == "kappa"


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: Coordinate("depth (meV)", "depth"), "heads a column and is typed in commands: 'depth \\(meV\\)'"),
        (lambda: Coordinate("depth"), "needs either the name of a parameter, or both read and write"),
        (lambda: Coordinate("a", "a", read=read_anisotropy, write=write_anisotropy), "needs either the name"),
        (lambda: Coordinate("a", read=read_anisotropy), "both read and write functions"),
        (lambda: Coordinate("a", "a", write=write_anisotropy), "both read and write functions"),
        (
            lambda: Family.of(trap(), TRAP, "mass", [1.0]),
            "is the parameter 'mass', and the Hamiltonian's parameters are",
        ),
        (lambda: Family.of(trap(), TRAP, ("kappa", "kappa"), [(1.0, 1.0)]), "need different names, got kappa, kappa"),
        (lambda: Family(trap(), {"kappa": jnp.ones((2, 3))}, "kappa"), "is one number: kappa has the shape \\(3,\\)"),
        (lambda: Family(trap(), {"kappa": jnp.ones(2), "omega": jnp.ones(3)}, "kappa"), "one leading axis"),
        (lambda: Family(trap(), {"kappa": jnp.asarray(1.0)}, "kappa"), "one leading axis"),
        (lambda: Family(trap(), {"kappa": jnp.ones(0)}, "kappa"), "at least one Hamiltonian"),
        (lambda: plane().at([1.0, 2.0]), "a value of each coordinate \\(omega_y, kappa\\)"),
        (lambda: plane().at(np.zeros((0, 2))), "at least one point"),
        (lambda: plane().at([(1.0, np.inf)]), "must be finite"),
        (lambda: plane().at({"omega": [1.0]}), "no coordinate 'omega': there are omega_y, kappa"),
        (lambda: plane().at({"omega_y": [1.0]}), "differ in kappa: give its values as well"),
        (lambda: plane().at({"omega_y": [], "kappa": [1.0]}), "at least one point"),
        (lambda: plane().select(3), "has 3 Hamiltonians, there is no number 3"),
        (lambda: Family(trap(), {"kappa": jnp.ones(2)}).coordinate("kappa"), "there are none"),
        (
            lambda: Family.of(trap(), TRAP, (Coordinate("a", read=read_anisotropy, write=forgetful),), [1.0]),
            "same form",
        ),
    ],
)
def test_what_a_user_may_do_wrong(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def forgetful(parameters, value):
    return {"omega_y": value}


# ------------------------------------------------------------------------------- points


def test_points_and_grids():
    family = plane()
    assert family.size == 3 and family.points.tolist() == [[1.0, 0.1], [2.0, 0.2], [2.0, 0.3]]
    assert [c.name for c in family.coordinates] == [c.name for c in family.varying] == ["omega_y", "kappa"]
    # All combinations, the last coordinate fastest, in the order of the coordinates whatever that of the dictionary.
    grid = family.at({"kappa": [0.0, 0.1], "omega_y": [1.0, 2.0, 3.0]})
    assert grid.points.tolist() == [[1.0, 0.0], [1.0, 0.1], [2.0, 0.0], [2.0, 0.1], [3.0, 0.0], [3.0, 0.1]]
    np.testing.assert_array_equal(grid.parameters["omega_x"], 1.0)
    line = family.at({"kappa": 0.2, "omega_y": [1.0, 2.0]})
    assert line.points.tolist() == [[1.0, 0.2], [2.0, 0.2]] and [c.name for c in line.varying] == ["omega_y"]
    # What all members share needs not be said again.
    assert line.at({"omega_y": [5.0]}).points.tolist() == [[5.0, 0.2]]
    # Of a single member the first coordinate stands for all.
    assert [c.name for c in line.at([(1.0, 1.0)]).varying] == ["omega_y"]
    assert family.take([2, 0, 0]).points.tolist() == [[2.0, 0.3], [1.0, 0.1], [1.0, 0.1]]
    assert float(family.select(-1)["kappa"]) == 0.3


def test_points_are_what_a_user_typed():
    """In either precision, and through any conversion of units."""
    typed = [0.1, 7.3, 12.5, 29.999]
    for precise in (True, False):
        with jax.enable_x64(precise):
            family = moire_family(MATERIAL, 3, (3, 0), typed)
            assert family.parameters.depth.dtype == (jnp.float64 if precise else jnp.float32)
            assert family.points[:, 0].tolist() == typed
            assert family.at(typed[::-1]).points[:, 0].tolist() == typed[::-1]


def test_integers_become_numbers_that_can_be_differentiated():
    family = Family(
        trap(), {"kappa": np.arange(3), "omega_x": np.ones(3, np.int32), "omega_y": jnp.arange(3)}, ("kappa",)
    )
    assert {leaf.dtype for leaf in jax.tree.leaves(family.parameters)} == {jnp.dtype(jnp.float64)}
    assert family.points[:, 0].tolist() == [0.0, 1.0, 2.0]
    assert float(family.coordinates[0].tangent(family.select(1))["kappa"]) == 1.0
    one = Family.of(trap(), {"kappa": 1, "omega_x": 1, "omega_y": 2}, "kappa", [1, 2])
    assert one.parameters["omega_y"].dtype == jnp.float64 and one.at([0.5]).points.tolist() == [[0.5]]


def test_only_what_differs_is_a_coordinate():
    m = MATERIAL
    family = moire_family(m, 3, (6, 0), np.full(4, 15.0), dielectric=np.linspace(4, 6, 4))
    assert [c.name for c in family.coordinates] == ["dielectric"]
    np.testing.assert_allclose(family.points[:, 0], np.linspace(4, 6, 4), rtol=1e-11)
    assert not family.coordinates[0].linear
    both = moire_family(m, 3, (6, 0), [5.0, 15.0], dielectric=[4.0, 6.0], phi_degrees=[30.0, 30.0])
    assert [c.name for c in both.coordinates] == ["depth_meV", "dielectric"]
    assert both.points.tolist() == [[5.0, 4.0], [15.0, 6.0]]
    assert [c.name for c in moire_family(m, 3, (6, 0), 15.0).coordinates] == ["depth_meV"]


@pytest.mark.parametrize("coordinate", moire_coordinates(MATERIAL), ids=lambda c: c.name)
def test_the_slope_of_a_term_along_a_coordinate_is_its_finite_difference(coordinate):
    """Of the moiré potential, the interaction and the kinetic prefactor, in the coordinate's own unit."""
    base = moire_family(MATERIAL, 3, (3, 0), [12.5])
    family = dataclasses.replace(base, coordinates=(coordinate,))
    (value,) = family.points[0]
    r = np.random.default_rng(0).random((3, 2)) @ family.hamiltonian.cell.matrix

    @jax.jit
    def terms(parameters):
        found = family.hamiltonian.potential_energies(jnp.asarray(r), parameters)
        return jnp.stack([found["moire"], found["interaction"], family.hamiltonian.kinetic.prefactor(parameters)])

    member = family.select(0)
    derivative = jax.jvp(terms, (member,), (coordinate.tangent(member),))[1]
    step = 1e-5 * value
    up, down = (terms(family.at([value + sign * step]).select(0)) for sign in (1, -1))
    np.testing.assert_allclose(derivative, (up - down) / (2 * step), rtol=1e-6, atol=1e-9)


# ------------------------------------------------------------------------------- what is not made anew


def test_other_points_rebuild_no_ewald_sum():
    family = moire_family(MATERIAL, 3, (6, 0), [0.0, 10.0])
    for other in (family.at([5.0, 25.0, 30.0]), family.take([1]), family.at({"depth_meV": 3.0})):
        assert other.hamiltonian is family.hamiltonian
        for name, potential in family.hamiltonian.potentials.items():
            assert other.hamiltonian.potentials[name] is potential


def test_no_program_is_compiled_for_other_points():
    traces = []

    @eqx.filter_jit
    def total(family, r):
        traces.append(None)
        of = lambda r, p: sum(family.hamiltonian.potential_energies(r, p).values())
        return jax.vmap(of)(r, family.parameters)

    r = jnp.asarray(np.random.default_rng(0).standard_normal((3, 3, 2)))
    for derived in (False, True):
        coordinates = (ANISOTROPY, KAPPA) if derived else ("omega_y", KAPPA)
        family = Family.of(trap(), TRAP, coordinates, [(1.0, 0.1), (2.0, 0.2), (3.0, 0.3)])
        values = [
            total(other, r) for other in (family, family.at({"kappa": [0.1, 0.5, 0.7], family.coordinates[0].name: 2}))
        ]
        assert len(traces) == 1 + derived and (values[0] != values[1]).all()
        total(family.at(family.points[::-1]), r), total(family.take([0, 0, 1]), r)
        assert len(traces) == 1 + derived


def test_parameters_in_phases_are_found_under_their_names():
    lifted = in_phases({"kappa": jnp.array([0.1, 0.2])}, 2)
    np.testing.assert_allclose(lifted["kappa"], [0.1, 0.1, 0.2, 0.2], rtol=1e-6)
    assert "kappa" in lifted and "omega" not in lifted


def test_members_in_phases_keep_them_at_other_points():
    family = plane()
    lifted = dataclasses.replace(family, parameters=in_phases(family.parameters, 2))
    assert lifted.points.tolist() == np.repeat(family.points, 2, axis=0).tolist()
    assert [c.name for c in lifted.varying] == ["omega_y", "kappa"]
    moved = lifted.take([1]).at([(1.5, 0.4), (2.5, 0.5)])
    assert isinstance(moved.parameters, InPhase) and moved.parameters.number.tolist() == [1.0, 1.0]
    assert moved.points.tolist() == [[1.5, 0.4], [2.5, 0.5]]


def test_a_coordinate_keeps_the_precision_of_its_parameter():
    with jax.enable_x64(False):
        family = Family.of(trap(), TRAP, ("omega_y", KAPPA), [(1.0, 0.1)])
        assert {leaf.dtype for leaf in jax.tree.leaves(family.parameters)} == {jnp.dtype(jnp.float32)}
    moved = family.at([(1.25, 0.2), (1.5, 0.1)])
    assert {leaf.dtype for leaf in jax.tree.leaves(moved.parameters)} == {jnp.dtype(jnp.float32)}
    assert moved.points.tolist() == [[1.25, 0.2], [1.5, 0.1]]
