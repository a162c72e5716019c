"""A trained wavefunction of few electrons as the start of one of many."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_problem import TINY, tiny_config, tiny_problem
from typer.testing import CliRunner

from qernel.cli._main import app
from qernel.cli._transfer import with_network_of
from qernel.layers import OpenEmbedding, trainable
from qernel.presets import build, load, to_toml
from qernel.training import CheckpointWriter, RunDirectory, transferred

LARGER = ("system.supercell=4", "system.electrons=[8,0]", "ansatz.feature_shells=4", "ansatz.pair_shells=5")


def stirred(ansatz, key=7):
    """Every trained array moved away from its start."""
    trained, static = eqx.partition(ansatz, trainable(ansatz))
    leaves, tree = jax.tree.flatten(trained)
    keys = jax.random.split(jax.random.key(key), len(leaves))
    leaves = [x + 0.1 * jax.random.normal(k, x.shape, x.dtype) for x, k in zip(leaves, keys, strict=True)]
    return eqx.combine(jax.tree.unflatten(tree, leaves), static)


@pytest.fixture(scope="module")
def small():
    problem = tiny_problem()
    return dataclasses.replace(problem, ansatz=stirred(problem.ansatz))


def carried(new, old, steps=800):
    return transferred(
        new.ansatz,
        old.ansatz,
        new.family.parameters,
        cell=new.family.hamiltonian.cell,
        old_cell=old.family.hamiltonian.cell,
        key=jax.random.key(0),
        steps=steps,
    )


def test_the_network_computes_the_same_features(small):
    # In the same cell, with features that the old network did not have.
    new = tiny_problem("ansatz.feature_shells=3")
    transfer = carried(new, small, steps=2)
    assert transfer.network
    r, parameters = new.positions[0, 0], new.family.select(0)
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
    cell = small.family.hamiltonian.cell.matrix
    shifts = jnp.asarray([i * cell[0] + j * cell[1] for i in range(2) for j in range(2)])
    r, parameters = small.positions[0, 0], small.family.select(0)
    copies = (r[None] + shifts[:, None]).reshape(-1, 2)
    expected = old.features(r, parameters, old.conditioner(parameters))
    found = transfer.ansatz.features(copies, parameters, transfer.ansatz.conditioner(parameters))
    np.testing.assert_allclose(found, jnp.tile(expected, (4, 1)), rtol=0, atol=1e-10)


def test_the_pair_function_is_the_old_one_within_its_cell_and_constant_beyond(small):
    new = tiny_problem(*LARGER)
    transfer = carried(new, small)
    assert transfer.misfit < 0.02
    radius = small.family.hamiltonian.cell.shortest_translation() / 2
    angles = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    ring = jnp.asarray(np.stack([np.cos(angles), np.sin(angles)], axis=1))
    parallel = jnp.ones(len(ring), bool)

    def u(ansatz, distance):
        condition = ansatz.conditioner(new.family.select(1))
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


def test_an_open_wavefunction_is_not_carried_over(small):
    open_ = dataclasses.replace(small.ansatz, embedding=OpenEmbedding(2, 1.0))
    with pytest.raises(ValueError, match="both must be periodic"):
        carried(small, dataclasses.replace(small, ansatz=open_))


def test_a_run_from_another_run(tmp_path, small):
    runner = CliRunner()
    trained, larger = tmp_path / "small", tmp_path / "larger"
    config = tiny_config()
    RunDirectory(trained).create(to_toml(config))
    with CheckpointWriter(trained / "checkpoints", keep=1, identity=config.identity()) as writer:
        writer.save(4, build(config).state())
    # The network of the run, and waves that hold its own.
    overrides = with_network_of(trained, "moire-6", ["system.supercell=4", "system.electrons=[8,0]"])
    ansatz = load("moire-6", overrides).ansatz
    assert (ansatz.width, ansatz.layers, ansatz.determinants, ansatz.feature_shells) == (8, 1, 2, 3)
    of_run = ("ansatz.width", "ansatz.layers", "ansatz.feature", "system.supercell", "system.electrons")
    rest = [setting for setting in TINY if not setting.startswith(of_run)]
    arguments = [*rest, "system.supercell=4", "system.electrons=[8,0]", "training.steps=2", "--out", str(larger)]
    result = runner.invoke(app, ["run", "moire-6", "--from", str(trained), *arguments])
    assert result.exit_code == 0, result.output
    assert "2 electrons, step 0: the network and the pair function, fitted to" in " ".join(result.output.split())
    result = runner.invoke(app, ["run", "moire-6", "--from", str(tmp_path), *arguments[:-1], str(tmp_path / "new")])
    assert result.exit_code == 2 and "is not the directory of a run" in " ".join(result.output.split())
