"""Checkpoints: exact resume, atomic, verified, refused where they do not belong."""

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_problem import small_problem

from qernel.layers import Frozen
from qernel.optimise import KFAC, StochasticReconfiguration
from qernel.run_directory import CheckpointError, CheckpointWriter, checkpoint_steps, load_checkpoint, set_damaged_aside
from qernel.training import make_mesh, train


class Holder(eqx.Module):
    """What may trip a checkpoint: constants, keys, statics, callables, empty fields."""

    weights: jax.Array
    constants: Frozen
    key: jax.Array
    step: jax.Array
    nothing: None
    name: str = eqx.field(static=True)
    function: object = eqx.field(static=True, default=jnp.tanh)


def holder(seed=0.0, name="a", size=3):
    return Holder(
        weights=jnp.arange(float(size)) + seed,
        constants=Frozen({"table": jnp.full((4, 2), 7.0)}),
        key=jax.random.key(5),
        step=jnp.asarray(int(seed), jnp.int32),
        nothing=None,
        name=name,
    )


def blank(state):
    """The same shapes with other values."""
    arrays, static = eqx.partition(state, eqx.is_array)
    key = lambda x: jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key)
    return eqx.combine(jax.tree.map(lambda x: jax.random.key(0) if key(x) else jnp.zeros_like(x), arrays), static)


def leaves(state):
    data = lambda x: jax.random.key_data(x) if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key) else x
    return [np.asarray(data(x)) for x in jax.tree.leaves(eqx.filter(state, eqx.is_array))]


def assert_same(a, b):
    for x, y in zip(leaves(a), leaves(b), strict=True):
        assert x.dtype == y.dtype
        np.testing.assert_array_equal(x, y)


def save(directory, *steps, **options):
    with CheckpointWriter(directory, **options) as writer:
        for step in steps:
            writer.save(step, holder(float(step)))


# ------------------------------------------------------------------------------- exact resume


def run(state, family, method, steps):
    for new, _ in train(state, family, method, steps):
        state = new
    return state


@pytest.mark.parametrize("optimiser", [StochasticReconfiguration(learning_rate=0.5), KFAC(sample=4, refresh=6)])
def test_twenty_steps_are_ten_and_ten_bit_for_bit(optimiser, tmp_path):
    family, method, start = small_problem(optimiser=optimiser)
    straight = run(start, family, method, 20)
    half = run(start, family, method, 10)
    with CheckpointWriter(tmp_path) as writer:
        writer.save(10, half)
    loaded = load_checkpoint(tmp_path, small_problem(optimiser=optimiser)[2])
    assert_same(half, loaded)
    resumed = run(loaded, family, method, 10)
    assert int(resumed.step) == 20
    assert_same(straight, resumed)


def test_saved_on_four_devices_loaded_on_one(tmp_path):
    family, method, start = small_problem()
    mesh = make_mesh(jax.devices()[:4])
    for state, _ in train(start, family, method, 1, mesh=mesh):
        with CheckpointWriter(tmp_path) as writer:
            writer.save(1, state)
    loaded = load_checkpoint(tmp_path, start)
    assert_same(state, loaded)
    assert len(loaded.positions.sharding.device_set) == 1


# ------------------------------------------------------------------------------- contents


def test_everything_comes_back(tmp_path):
    save(tmp_path, 3)
    state = holder(3.0)
    loaded = load_checkpoint(tmp_path, blank(state))
    assert_same(loaded, state)
    assert loaded.name == "a" and loaded.function is jnp.tanh


def test_abstract_shapes_are_enough(tmp_path):
    save(tmp_path, 3)
    assert_same(load_checkpoint(tmp_path, eqx.filter_eval_shape(lambda: holder(3.0))), holder(3.0))


def test_the_last_few_are_kept(tmp_path):
    save(tmp_path, 1, 2, 3, 4, keep=2)
    assert checkpoint_steps(tmp_path) == (3, 4)
    assert_same(load_checkpoint(tmp_path, holder()), holder(4.0))
    assert_same(load_checkpoint(tmp_path, holder(), step=3), holder(3.0))
    with pytest.raises(ValueError, match="at least one"):
        CheckpointWriter(tmp_path, keep=0)


def test_constants_are_stored_once(tmp_path):
    save(tmp_path, 1, 2)
    stored = tmp_path / "constants"
    before = stored.stat().st_mtime_ns
    save(tmp_path, 3)
    assert stored.stat().st_mtime_ns == before
    assert_same(load_checkpoint(tmp_path, holder(), step=1), holder(1.0))


# ------------------------------------------------------------------------------- refusals


def test_a_directory_without_checkpoint(tmp_path):
    with pytest.raises(CheckpointError, match="no checkpoint in"):
        load_checkpoint(tmp_path, holder())
    with pytest.raises(CheckpointError, match="no checkpoint in"):
        load_checkpoint(tmp_path / "nowhere", holder())
    save(tmp_path, 1)
    with pytest.raises(CheckpointError, match="no checkpoint of step 2: it has 1"):
        load_checkpoint(tmp_path, holder(), step=2)


def test_another_model_is_named(tmp_path):
    identity = {"system": {"electrons": [6, 0]}}
    save(tmp_path, 1, identity=identity)
    assert_same(load_checkpoint(tmp_path, holder(), identity=identity), holder(1.0))
    with pytest.raises(CheckpointError, match=r"another model: system.electrons is \[6, 0\] there and \[4, 0\] here"):
        load_checkpoint(tmp_path, holder(), identity={"system": {"electrons": [4, 0]}})
    with pytest.raises(CheckpointError, match=r"weights is float64\[3\] there and float64\[5\] here"):
        load_checkpoint(tmp_path, holder(size=5))
    single = eqx.tree_at(lambda s: s.weights, holder(), jnp.zeros(3, jnp.float32))
    with pytest.raises(CheckpointError, match=r"weights is float64\[3\] there and float32\[3\] here"):
        load_checkpoint(tmp_path, single)
    more = eqx.tree_at(lambda s: s.nothing, holder(), jnp.zeros(2), is_leaf=lambda x: x is None)
    with pytest.raises(CheckpointError, match="nothing exists only here"):
        load_checkpoint(tmp_path, more)


# ------------------------------------------------------------------------------- damage


def largest_file(folder):
    return max((p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)


def flip_a_byte(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(bytes(content))


def data_files(folder):
    return [p for p in folder.rglob("*") if p.is_file() and p.parent.name == "d"]


def spoil(step, how):
    if how == "flipped":
        for path in data_files(step):
            flip_a_byte(path)
    elif how == "cut":
        for path in data_files(step):
            path.write_bytes(path.read_bytes()[:10])
    else:
        (step / "_CHECKPOINT_METADATA").write_text("{")


@pytest.mark.parametrize("how", ["flipped", "cut", "description"])
def test_a_damaged_checkpoint_is_passed_over(tmp_path, how):
    save(tmp_path, 1, 2)
    spoil(tmp_path / "2", how)
    with pytest.warns(UserWarning, match="the checkpoint of step 2 is damaged"):
        loaded = load_checkpoint(tmp_path, holder())
    assert_same(loaded, holder(1.0))
    set_damaged_aside(tmp_path, 2)
    assert checkpoint_steps(tmp_path) == (1,)
    # its step is free again
    save(tmp_path, 2)
    assert_same(load_checkpoint(tmp_path, holder()), holder(2.0))


def test_wrong_bytes_that_still_decode_are_found(tmp_path):
    """A checkpoint whose description belongs to other contents: what flipped bytes do without compression."""
    save(tmp_path, 1, 2)
    shutil.rmtree(tmp_path / "2" / "state")
    shutil.copytree(tmp_path / "1" / "state", tmp_path / "2" / "state")
    damaged = []
    load_checkpoint(tmp_path, holder(), on_damage=lambda step, reason: damaged.append((step, reason)))
    assert damaged[0][0] == 2 and "the bytes of" in damaged[0][1]


def test_a_description_that_was_changed_is_no_other_model(tmp_path):
    save(tmp_path, 1, 2, identity={"electrons": 6})
    description = tmp_path / "2" / "_CHECKPOINT_METADATA"
    for before, after in (('"electrons": 6', '"electrons": 7'), ("float64", "float66")):
        text = description.read_text()
        assert before in text
        description.write_text(text.replace(before, after))
        with pytest.warns(UserWarning, match="step 2 is damaged .its description has changed"):
            assert_same(load_checkpoint(tmp_path, holder(), identity={"electrons": 6}), holder(1.0))
        description.write_text(text)
    assert_same(load_checkpoint(tmp_path, holder(), identity={"electrons": 6}), holder(2.0))


def test_when_all_are_damaged(tmp_path):
    save(tmp_path, 1)
    spoil(tmp_path / "1", "cut")
    with pytest.raises(CheckpointError, match="no checkpoint in .* is whole"), pytest.warns(UserWarning):
        load_checkpoint(tmp_path, holder())


KILLED = """
import sys, jax, jax.numpy as jnp
from qernel.run_directory import CheckpointWriter
writer = CheckpointWriter(sys.argv[1], keep=2)
state = {"x": jnp.arange(2_000_000.0)}
for step in range(10_000):
    writer.save(step, {"x": state["x"] + step})
    print(step, flush=True)
"""


def test_a_kill_in_the_middle_of_a_save_leaves_a_whole_checkpoint(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(KILLED), str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    try:
        while int(process.stdout.readline()) < 3:
            pass
        time.sleep(0.02)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    steps = checkpoint_steps(tmp_path)
    assert steps and steps[-1] >= 2
    loaded = load_checkpoint(tmp_path, {"x": jnp.zeros(2_000_000, jnp.float32)})
    assert loaded["x"][1] - 1 == steps[-1]
    # the next writer cleans up and goes on
    with CheckpointWriter(tmp_path, keep=2) as writer:
        writer.save(20_000, loaded)
    assert checkpoint_steps(tmp_path)[-1] == 20_000
    assert not [p for p in tmp_path.iterdir() if "tmp" in p.name]
