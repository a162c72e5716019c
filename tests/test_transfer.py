"""A trained wavefunction of few electrons as the start of one of many."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_problem import TINY, tiny_config, tiny_problem

from qernel.layers import OpenEmbedding, trainable
from qernel.presets import build, load, to_toml
from qernel.run_directory import CheckpointWriter, RunDirectory
from qernel.runs import begun_from, with_network_of
from qernel.training import transferred

LARGER = ("system.supercell=4", "system.electrons=[8,0]", "ansatz.feature_shells=4", "ansatz.pair_shells=5")


def stirred(ansatz, key=7):
    """Every trained array moved away from its start."""
    trained, static = eqx.partition(ansatz, trainable(ansatz))
    leaves, tree = jax.tree.flatten(trained)
    keys = jax.random.split(jax.random.key(key), len(leaves))
    leaves = [x + 0.1 * jax.random.normal(k, x.shape, x.dtype) for x, k in zip(leaves, keys, strict=True)]
    return eqx.combine(jax.tree.unflatten(tree, leaves), static)


def position(problem):
    """One configuration of the walkers before the burn-in."""
    return problem.system.starting_walkers(1, key=jax.random.key(0), dtype=jnp.float64)[0, 0]


@pytest.fixture(scope="module")
def small():
    problem = tiny_problem()
    return dataclasses.replace(problem, ansatz=stirred(problem.ansatz))


def carried(new, old, steps=800):
    return transferred(
        new.ansatz,
        old.ansatz,
        new.system.family.parameters,
        cell=new.system.family.hamiltonian.cell,
        old_cell=old.system.family.hamiltonian.cell,
        key=jax.random.key(0),
        steps=steps,
    )


def test_the_network_computes_the_same_features(small):
    # In the same cell, with features that the old network did not have.
    new = tiny_problem("ansatz.feature_shells=3")
    transfer = carried(new, small, steps=2)
    assert transfer.network
    r, parameters = position(new), new.system.family.select(0)
    features = [q.features(r, parameters, q.conditioner(parameters)) for q in (transfer.ansatz, small.ansatz)]
    np.testing.assert_allclose(*features, rtol=0, atol=1e-12)
    assert not np.allclose(
        new.ansatz.features(r, parameters, new.ansatz.conditioner(parameters)), features[1], atol=0.1
    )
    conditions = [q.conditioner(parameters) for q in (transfer.ansatz, small.ansatz)]
    np.testing.assert_allclose(transfer.ansatz.weights(conditions[0]), small.ansatz.weights(conditions[1]))


def test_the_features_of_a_periodic_configuration_are_those_of_its_cell(small):
    """Four copies of a cell: without pair biases every attention averages over copies, and nothing may change."""
    old = eqx.tree_at(lambda q: q.pair_biases[0].weights, small.ansatz, replace_fn=jnp.zeros_like)
    small = dataclasses.replace(small, ansatz=old)
    new = tiny_problem(*LARGER)
    transfer = carried(new, small, steps=2)
    cell = small.system.family.hamiltonian.cell.matrix
    shifts = jnp.asarray([i * cell[0] + j * cell[1] for i in range(2) for j in range(2)])
    r, parameters = position(small), small.system.family.select(0)
    copies = (r[None] + shifts[:, None]).reshape(-1, 2)
    expected = old.features(r, parameters, old.conditioner(parameters))
    found = transfer.ansatz.features(copies, parameters, transfer.ansatz.conditioner(parameters))
    np.testing.assert_allclose(found, jnp.tile(expected, (4, 1)), rtol=0, atol=1e-10)


def test_the_pair_function_is_the_old_one_within_its_cell_and_constant_beyond(small):
    new = tiny_problem(*LARGER)
    transfer = carried(new, small)
    assert transfer.misfit < 0.02
    radius = small.system.family.hamiltonian.cell.shortest_translation() / 2
    angles = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    ring = jnp.asarray(np.stack([np.cos(angles), np.sin(angles)], axis=1))
    parallel = jnp.ones(len(ring), bool)

    def u(ansatz, distance):
        condition = ansatz.conditioner(new.system.family.select(1))
        return ansatz.pair.of_pairs(condition)(distance * ring, parallel)

    spread = float(jnp.std(jnp.concatenate([u(small.ansatz, x * radius) for x in (0.1, 0.3, 0.5, 0.7)])))
    for x in (0.1, 0.3, 0.5):
        assert float(jnp.max(jnp.abs(u(transfer.ansatz, x * radius) - u(small.ansatz, x * radius)))) < 0.4 * spread
    beyond = jnp.concatenate([u(transfer.ansatz, x * radius) for x in (1.2, 1.5, 1.8)])
    assert float(jnp.std(beyond)) < 0.15 * spread
    # a periodic copy of the old function would not be constant there
    assert float(jnp.std(jnp.concatenate([u(small.ansatz, x * radius) for x in (1.2, 1.5, 1.8)]))) > 0.3 * spread


def test_a_network_of_other_sizes_starts_without_effect(small):
    new = tiny_problem(*LARGER, "ansatz.width=16")
    transfer = carried(new, small, steps=2)
    assert not transfer.network
    assert not np.any(transfer.ansatz.dressing.weight) and not np.any(transfer.ansatz.dressing.bias)
    np.testing.assert_array_equal(transfer.ansatz.cusp.log_range, small.ansatz.cusp.log_range)


@pytest.mark.parametrize("precision", ["fast", "mixed", "double"])
def test_the_precision_is_that_of_the_new_run(small, precision):
    new = tiny_problem(*LARGER, f"training.precision={precision}")
    transfer = carried(new, small, steps=2)
    assert transfer.network
    shapes = [
        jax.tree.map(lambda x: (x.shape, x.dtype), eqx.filter(q, eqx.is_array)) for q in (transfer.ansatz, new.ansatz)
    ]
    assert eqx.tree_equal(*shapes) and jax.tree.structure(shapes[0]) == jax.tree.structure(shapes[1])


def test_another_gate_is_another_network(small):
    assert not carried(tiny_problem(*LARGER, "ansatz.gate=top_k", "ansatz.top_k=1"), small, steps=2).network


@pytest.mark.parametrize(
    "override, message",
    [
        ("system.depths_meV=[5,25]", "trained for different ranges of parameters"),
        ("ansatz.condition_size=6", "the condition has 5 numbers there and 7 here"),
        ("ansatz.pair_shells=0", "one of the two wavefunctions has a pair factor"),
    ],
)
def test_what_does_not_fit_is_said(small, override, message):
    with pytest.raises(ValueError, match=message):
        carried(tiny_problem(*LARGER, override), small)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The directory of a run of two electrons, saved at its start."""
    directory, config = RunDirectory(tmp_path_factory.mktemp("small")), tiny_config()
    directory.create(to_toml(config))
    with CheckpointWriter(directory.checkpoints, keep=1, identity=config.identity()) as writer:
        writer.save(4, build(config).state())
    return directory


SIZE = ("system.supercell=4", "system.electrons=[8,0]")


def test_a_run_from_another_run(trained, tmp_path):
    # The network of the run, and waves that hold its own.
    overrides = with_network_of(trained, "moire-6", SIZE)
    ansatz = load("moire-6", overrides).ansatz
    assert (ansatz.width, ansatz.layers, ansatz.determinants, ansatz.feature_shells) == (8, 1, 2, 3)
    # A setting of the new run goes before.
    assert load("moire-6", with_network_of(trained, "moire-6", [*SIZE, "width=16"])).ansatz.width == 16
    of_run = ("ansatz.width", "ansatz.layers", "ansatz.feature", "system.supercell", "system.electrons")
    rest = [setting for setting in TINY if not setting.startswith(of_run)]
    problem = build(load("moire-6", with_network_of(trained.path, "moire-6", [*rest, *SIZE])))
    said = []
    begun = begun_from(problem, trained, said.append)
    assert "2 electrons, step 0: the network and the pair function, fitted to" in said[-1]
    blocks = [jax.tree.leaves(p.ansatz.blocks) for p in (begun, build(tiny_config()), problem)]
    for mine, theirs in zip(*blocks[:2], strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert jax.tree.structure(begun.ansatz) == jax.tree.structure(problem.ansatz)
    with pytest.raises(ValueError, match="is not the directory of a run"):
        begun_from(problem, RunDirectory(tmp_path))
    with pytest.raises(ValueError, match="is not the directory of a run"):
        with_network_of(tmp_path, "moire-6")


def test_phases_are_compared_by_their_matter(trained):
    """Plane waves are a liquid as Bloch orbitals are; Gaussians are a crystal."""
    overrides = [*TINY, "ansatz.start=both"]
    with pytest.raises(ValueError, match="trained for the phases liquid, and this run asks for crystal"):
        begun_from(build(load("moire-6", [*overrides, "ansatz.references=['gaussians']"]), solve=False), trained)
    same = build(load("moire-6", [*overrides, "ansatz.references=['liquid']"]), solve=False)
    assert begun_from(same, trained).references == ("liquid",)


def test_systems_between_which_nothing_is_carried_over(trained):
    with pytest.raises(ValueError, match="is a run of the system moire, and this one is of trap"):
        with_network_of(trained, "trap-3")
    trap = build(load("trap-3", ["ansatz.phases=sum"]), solve=False)
    with pytest.raises(ValueError, match="is a run of the system moire, and this one is of trap"):
        begun_from(trap, trained)
    named = dataclasses.replace(trap.system, name="moire", phases=build(tiny_config(), solve=False).system.phases)
    with pytest.raises(ValueError, match="the system moire has no periodic cell"):
        begun_from(dataclasses.replace(trap, system=named, references=("plane_waves",)), trained)


def test_an_open_wavefunction_is_not_carried_over(small):
    open_ = dataclasses.replace(small.ansatz, embedding=OpenEmbedding(2, 1.0))
    with pytest.raises(ValueError, match="both must be periodic"):
        carried(small, dataclasses.replace(small, ansatz=open_))
