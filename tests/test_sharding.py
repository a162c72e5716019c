"""The same numbers on one device and on several, with and without chunks."""

import functools
import itertools

import equinox as eqx
import jax
import numpy as np
import pytest
from tiny_problem import small_problem, tiny_problem

from qernel.gradient import local_energies
from qernel.optimise import KFAC
from qernel.training import largest_mesh, make_mesh, shard_family, shard_state, train


def trained(family, method, state, mesh):
    """Statistics of two steps, final walkers, and final parameters with the optimiser's state."""
    statistics = []
    for step in train(state, family, method, 2, mesh=mesh):
        statistics.append([np.asarray(leaf) for leaf in jax.tree.leaves(step[1].statistics)])
    new = step[0]
    assert len(new.positions.sharding.device_set) == mesh.size
    leaves = jax.tree.leaves(jax.device_get(eqx.filter((new.ansatz, new.optimiser_state), eqx.is_array)))
    return [*itertools.chain(*statistics), np.asarray(new.positions), np.asarray(new.step_size), *leaves]


@functools.cache
def small(devices=1, hamiltonians=1, chunk=None, optimiser=None):
    family, method, state = small_problem(chunk, optimiser=optimiser)
    return trained(family, method, state, make_mesh(jax.devices()[:devices], hamiltonians=hamiltonians))


def assert_equal(found, expected):
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-10)


# ragged: 3 divides neither 8 walkers nor the walkers of a device
@pytest.mark.parametrize(
    "devices, hamiltonians, chunk",
    [(1, 1, 3), (2, 1, None), (2, 1, 3), (4, 1, None), (4, 1, 3), (4, 2, None)],
)
def test_devices_and_chunks_do_not_change_a_number(devices, hamiltonians, chunk):
    assert_equal(small(devices, hamiltonians, chunk), small())


# The metric is measured with 4 of 8 walkers: one of each of 4 devices, ragged in chunks of 3.
@pytest.mark.parametrize("devices, hamiltonians, chunk", [(2, 1, 3), (4, 1, None), (4, 1, 3), (4, 2, None)])
def test_nor_do_they_with_a_metric_of_some_walkers(devices, hamiltonians, chunk):
    kfac = KFAC(sample=4)
    assert_equal(small(devices, hamiltonians, chunk, kfac), small(optimiser=kfac))


def test_the_whole_wavefunction_has_the_same_energies_everywhere():
    problem = tiny_problem()
    energies = []
    for devices, hamiltonians, chunk in ((1, 1, None), (4, 2, 3)):
        mesh = make_mesh(jax.devices()[:devices], hamiltonians=hamiltonians)
        state, family = shard_state(problem.state(), mesh), shard_family(problem.members, mesh)
        local = eqx.filter_jit(local_energies)(
            state.ansatz, family.hamiltonian, state.positions, family.parameters, None, chunk
        )
        energies.append(np.asarray(local.total))
    assert_equal(energies[:1], energies[1:])


def test_the_mesh_that_fits_shares_walkers_first():
    mesh = largest_mesh(2, 8, jax.devices()[:4])
    assert dict(mesh.shape) == {"hamiltonian": 1, "walker": 4}
    mesh = largest_mesh(2, 2, jax.devices()[:4])
    assert dict(mesh.shape) == {"hamiltonian": 2, "walker": 2}
    # 4 devices cannot share 3 Hamiltonians of 5 walkers; 3 can
    assert dict(largest_mesh(3, 5, jax.devices()[:4]).shape) == {"hamiltonian": 3, "walker": 1}
    assert largest_mesh(7, 11, jax.devices()[:4]).size == 1


def test_groups_must_divide_the_devices():
    with pytest.raises(ValueError, match="4 devices cannot be divided into 3 groups"):
        make_mesh(jax.devices()[:4], hamiltonians=3)
