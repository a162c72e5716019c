"""The loop, its start, its faults, and the files it leaves."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from tiny_problem import TINY, Small, small_problem, tiny_config, tiny_problem

from qernel.ansatz import Derivatives
from qernel.check import check_laplacian
from qernel.hamiltonian import Hamiltonian, Harmonic, Kinetic
from qernel.laplacian import AbstractLaplacian, ForwardLaplacian
from qernel.layers import trainable
from qernel.mean_field import crystal_sites
from qernel.optimise import FirstOrder
from qernel.presets import build, preset
from qernel.run_directory import (
    CheckpointWriter,
    MetricsWriter,
    PendingCheck,
    RunDirectory,
    checkpoint_steps,
    load_checkpoint,
    read_metrics,
    train_in,
)
from qernel.sampling import Sampler, initial_positions, starting_width
from qernel.systems.moire import Material, moire_family
from qernel.training import (
    Method,
    TrainingFault,
    burn_in,
    compile_step,
    diagnose,
    initial_state,
    make_mesh,
    train,
    train_step,
)

# ------------------------------------------------------------------------------- the loop


def last_of(steps):
    *_, (state, report) = steps
    return state, report


def test_energies_fall_and_the_setting_of_the_caller_stays():
    # With the eight walkers of other tests the energies rise again after 30 steps, whatever the step.
    family, method, state = small_problem(walkers=64)
    energies = []
    with jax.enable_x64(False):
        for new, report in train(state, family, method, 30):  # noqa: B007
            assert jnp.zeros(()).dtype == jnp.float32
            energies.append(np.asarray(report.statistics.energy).sum())
    assert np.mean(energies[-10:]) < np.mean(energies[:10]) - 0.05
    assert int(new.step) == 30


@pytest.mark.parametrize("power", [0.0, 3.0])
def test_what_is_measured_is_the_average_of_the_last_parameters(power):
    """Weights (p+1)/(t+p), about t^p: the recursion by hand, in float64."""
    family, method, state = small_problem()
    method = dataclasses.replace(method, averaging=power)
    trained = lambda ansatz: np.asarray(ansatz.mix)
    expected = trained(state.ansatz)
    assert np.array_equal(trained(state.averaged), expected)
    for number in range(1, 5):
        state, _ = train_step(state, family, method)
        weight = (power + 1) / (number + power) if power else 1.0
        expected = expected + weight * (trained(state.ansatz) - expected)
        np.testing.assert_allclose(trained(state.averaged), expected, rtol=1e-12)
    assert np.array_equal(trained(state.averaged), trained(state.ansatz)) == (power == 0)
    # The first step counts whole: what training began with is no part of it.
    with pytest.raises(ValueError, match="power of the averaging"):
        dataclasses.replace(method, averaging=-1.0)


def test_burn_in_moves_walkers_and_nothing_else():
    family, method, state = small_problem()
    moved = burn_in(state, family, method, 2)
    assert not np.array_equal(moved.positions, state.positions)
    same = lambda s: eqx.filter((s.ansatz, s.optimiser_state, s.step), eqx.is_array)
    for a, b in zip(jax.tree.leaves(same(moved)), jax.tree.leaves(same(state)), strict=True):
        np.testing.assert_array_equal(a, b)
    assert jnp.array_equal(jax.random.key_data(moved.key), jax.random.key_data(state.key))
    assert burn_in(state, family, method, 0) is state


class Counting(eqx.Module):
    """Counts how often Python runs through the ansatz: while tracing only."""

    inner: Small
    calls: list = eqx.field(static=True)

    def __call__(self, r, parameters):
        self.calls.append(1)
        return self.inner(r, parameters)


class Calls(list):
    """A list that is equal to and hashes like any other: static fields are compared."""

    __hash__ = lambda self: 0
    __eq__ = lambda self, other: isinstance(other, Calls)


def counted(state, method, calls):
    ansatz = Counting(state.ansatz, calls)
    fresh = method.optimiser.init(eqx.filter(ansatz, trainable(ansatz)))
    trained = eqx.filter(ansatz, trainable(ansatz))
    return eqx.tree_at(lambda s: (s.ansatz, s.average, s.optimiser_state), state, (ansatz, trained, fresh))


def test_one_trace_for_all_steps_depths_and_a_resume(tmp_path):
    family, method, state = small_problem()
    calls = Calls()
    state = counted(state, method, calls)
    state, _ = last_of(train(state, family, method, 1))
    first = len(calls)
    assert first > 0
    state, _ = last_of(train(state, family, method, 3))
    other = moire_family(Material(), 2, (2, 0), [7.5, 12.5], phi_degrees=30.0)
    state, _ = last_of(train(state, other, method, 1))
    with CheckpointWriter(tmp_path) as writer:
        writer.save(5, state)
    again, same_method, fresh = small_problem()
    fresh = counted(fresh, same_method, Calls())
    last_of(train(load_checkpoint(tmp_path, fresh), again, same_method, 1))
    assert len(calls) == first


@pytest.mark.parametrize("devices", [None, 1, 4])
def test_a_step_compiled_ahead_is_not_compiled_again(devices, caplog):
    # A program of its own, that no test before this one has compiled.
    family, method, state = small_problem(learning_rate=0.25 + 0.01 * (devices or 0), walkers=12)
    mesh = None if devices is None else make_mesh(jax.devices()[:devices])

    def compiled():
        messages = [record.getMessage() for record in caplog.records]
        return [message.split()[1] for message in messages if message.startswith("Compiling")]

    with jax.log_compiles():
        compile_step(state, family, method, mesh=mesh)
        assert "jit(measure_and_update)" in compiled()
        moved = burn_in(state, family, method, 2, mesh=mesh)
        assert "jit(sampling_round)" in compiled()
        caplog.clear()
        last_of(train(moved, family, method, 2, mesh=mesh))
    assert not {"jit(measure_and_update)", "jit(sampling_round)"} & set(compiled())


# ------------------------------------------------------------------------------- faults


def with_nan_parameters(state):
    return eqx.tree_at(lambda s: s.ansatz.out, state, state.ansatz.out * jnp.nan)


def test_a_run_of_nan_parameters_stops_within_its_patience():
    family, method, state = small_problem()
    steps = 0
    with pytest.raises(TrainingFault, match="3 steps in a row failed .the parameters are not finite") as stopped:
        for _ in train(with_nan_parameters(state), family, method, 100, patience=3):
            steps += 1
    assert steps == 3
    assert stopped.value.last_good is None
    _, report = train_step(stopped.value.replay, family, method)
    assert np.all(np.asarray(report.statistics.bad) == 8)


def breaks_at_three(step):
    return jnp.where(step >= 3, jnp.nan, 0.5)


def test_the_last_good_state_is_kept_and_the_fault_replays():
    family, method, state = small_problem(learning_rate=breaks_at_three)
    seen = []
    with pytest.raises(TrainingFault, match="local energies are finite, the update is not") as stopped:
        for new, report in train(state, family, method, 100, patience=2):
            seen.append((new, bool(report.refused)))
    assert [refused for _, refused in seen] == [False, False, False, True, True]
    # What the third step left has measured nothing that was taken: the one before it has.
    assert int(stopped.value.last_good.step) == 2 and stopped.value.last_good is seen[1][0]
    assert int(stopped.value.replay.step) == 3 and stopped.value.measured
    again, report = train_step(stopped.value.replay, family, method)
    assert bool(report.refused)
    # A refused update leaves the parameters as they were.
    np.testing.assert_array_equal(again.ansatz.mix, stopped.value.replay.ansatz.mix)
    with pytest.raises(ValueError, match="patience"):
        next(train(state, family, method, 1, patience=0))


def test_what_is_not_finite_is_named():
    family, method, state = small_problem()
    bad = eqx.tree_at(lambda s: s.positions, state, state.positions * jnp.nan)
    assert diagnose(bad, family, method) == "the walkers' positions are not finite"
    assert diagnose(with_nan_parameters(state), family, method) == "the parameters are not finite: out"
    nan = jax.tree.map(lambda x: x * jnp.nan, family.parameters)
    worse = eqx.tree_at(lambda f: f.parameters, family, eqx.tree_at(lambda p: p.phi, family.parameters, nan.phi))
    assert diagnose(state, worse, method) == (
        "not finite, in numbers of walkers: moire in 16 "
        "(all of member 0, depth_meV = 5; all of member 1, depth_meV = 20)"
    )


def test_one_singular_walker_is_counted_and_does_no_harm():
    family, method, state = small_problem()
    # Two electrons in one place: a node, and an infinite repulsion; no move is accepted from there on NaN.
    positions = state.positions.at[0, 3].set(jnp.nan)
    for new, report in train(eqx.tree_at(lambda s: s.positions, state, positions), family, method, 1):
        assert np.asarray(report.statistics.bad).tolist() == [1, 0]
        assert not bool(report.refused)
        arrays = jax.tree.leaves(eqx.filter(new.ansatz, eqx.is_inexact_array))
        assert all(bool(jnp.all(jnp.isfinite(a))) for a in arrays)


# ------------------------------------------------------------------------------- the start


def test_half_the_walkers_start_near_the_crystal(key):
    family = moire_family(Material(), 3, (6, 0), [5.0, 30.0])
    cell = family.hamiltonian.cell
    sites = crystal_sites(family.hamiltonian, family.select(1))
    r = initial_positions(family.hamiltonian, 2, 40, key=key, sites=sites, width=0.01, dtype=jnp.float64)
    assert r.shape == (2, 40, 6, 2)
    distance = np.linalg.norm(np.asarray(cell.minimum_image(r - sites[None, None])), axis=-1).max(axis=-1)
    assert (distance < 0.1).sum(axis=1).tolist() == [20, 20]
    fractional = np.asarray(cell.fractional(r))
    assert fractional.min() >= -1e-9 and fractional.max() <= 1 + 1e-9
    single = initial_positions(family.hamiltonian, 1, 2, key=key)
    assert single.dtype == jnp.float32


def test_starting_walkers_need_sites_and_widths_that_fit(key):
    family = moire_family(Material(), 2, (2, 0), [5.0])
    with pytest.raises(ValueError, match="at least one Hamiltonian and one walker"):
        initial_positions(family.hamiltonian, 1, 0, key=key)
    with pytest.raises(ValueError, match="2 electrons in 2 dimensions need as many sites"):
        initial_positions(family.hamiltonian, 1, 2, key=key, sites=np.zeros((3, 2)))
    with pytest.raises(ValueError, match="one entry for each of 2 Hamiltonians, got 3"):
        initial_positions(family.hamiltonian, 2, 2, key=key, sites=np.zeros((2, 2)), crystal=np.ones(3, bool))
    for width in (0.0, -1.0, np.nan, np.ones(3)):
        with pytest.raises(ValueError, match="one positive number or one for each of 2 dimensions"):
            initial_positions(family.hamiltonian, 1, 2, key=key, sites=np.zeros((2, 2)), width=width)


def test_walkers_with_open_boundaries_start_in_a_cloud_of_the_given_width(key):
    trap = Hamiltonian(Kinetic(), {"trap": Harmonic(1.0)}, (2, 1), dim=2)
    with pytest.raises(ValueError, match="give the width of a Gaussian cloud"):
        initial_positions(trap, 1, 2, key=key)
    with pytest.raises(ValueError, match="no walkers are uniform"):
        initial_positions(trap, 1, 2, key=key, width=1.0, crystal=np.ones(1, bool))
    r = initial_positions(trap, 2, 4000, key=key, width=np.array([1.0, 3.0]), dtype=jnp.float64)
    assert r.shape == (2, 4000, 3, 2)
    assert np.allclose(np.std(r, axis=(0, 1, 2)), [1.0, 3.0], rtol=0.03)
    assert np.allclose(np.mean(r, axis=(0, 1, 2)), 0.0, atol=0.06)
    nuclei = np.array([[0.0, 0.0], [0.0, 0.0], [7.0, 1.0]])
    near = initial_positions(trap, 1, 4000, key=key, sites=nuclei, width=0.5)
    assert near.dtype == jnp.float32
    assert np.allclose(np.mean(near, axis=(0, 1)), nuclei, atol=0.05)
    assert np.allclose(np.std(near, axis=(0, 1)), 0.5, rtol=0.05)


def spoilt(positions, where, value):
    changed = np.array(positions)
    changed[where] = value
    return changed


def test_walkers_from_which_no_walk_begins_are_refused(key):
    _, method, state = small_problem()
    good = np.asarray(state.positions)

    def start(positions, **options):
        return initial_state(state.ansatz, method, positions, key=key, **options)

    def refused(message, positions, **options):
        with pytest.raises(ValueError, match=message):
            start(positions, **options)

    refused("at least one of each", good[:, :0])
    refused("floating-point numbers", np.round(good).astype(int))
    refused("positions of 1 walkers are not finite, .* number 2 of Hamiltonian 1", spoilt(good, (1, 2), np.nan))
    together = spoilt(good, 1, np.zeros(2))
    refused("every walker of Hamiltonian 1 has two electrons at the same place", together)
    refused("every walker of Hamiltonian 1", together, step_size=0.1)
    refused("all walkers of Hamiltonian 0 are at one place", np.full((1, 4, 1, 2), 3.0))
    for width in (0.0, -0.1, np.nan, np.inf, np.ones(3), np.array([0.1, 0.0])):
        refused("step_size must be a positive number, or one for each of 2", good, step_size=width)
    # One walker on a node is moved off it, equal walkers part, and one place is enough if the width is said.
    assert np.all(start(spoilt(good, (0, 3), np.zeros(2))).step_size > 0)
    assert np.all(start(np.repeat(good[:, :1], 8, axis=1)).step_size > 0)
    assert start(np.full((1, 4, 1, 2), 3.0), step_size=0.1).step_size.tolist() == [0.1]
    assert start(good, step_size=np.array([0.1, 0.2])).step_size.tolist() == [0.1, 0.2]


def test_what_never_adapts_or_clips_everything_is_refused():
    for gain in (-0.1, np.nan, np.inf):
        with pytest.raises(ValueError, match="gain of the step size cannot be negative"):
            Sampler(gain=gain)
    for clip in (0.0, -1.0, np.nan):
        with pytest.raises(ValueError, match="clipping width must be positive"):
            Method(clip=clip)


def test_the_first_moves_are_in_proportion_to_each_cloud():
    normal = np.random.default_rng(0).normal(size=(1, 2000, 4, 2))
    # Wherever it is, and each of its own size.
    clouds = np.concatenate([normal, 100.0 + 3.0 * normal])
    assert np.allclose(starting_width(clouds), [0.15, 0.45], rtol=0.03)


@pytest.mark.parametrize("optimiser", [FirstOrder(optax.sgd(0.01)), None], ids=["gradient", "reconfiguration"])
def test_an_ansatz_of_numpy_and_weakly_typed_arrays_trains(optimiser):
    family, method, state = small_problem(optimiser=optimiser)
    weak = jnp.broadcast_to(jnp.asarray(0.3), state.ansatz.out.shape)
    assert weak.weak_type
    ansatz = Small(np.asarray(state.ansatz.mix), weak, state.ansatz.vectors)
    start = initial_state(ansatz, method, state.positions, key=state.key)
    new, report = train_step(start, family, method)
    assert not bool(report.refused)
    assert all(isinstance(leaf, jax.Array) and not leaf.weak_type for leaf in (new.ansatz.mix, new.ansatz.out))
    assert not np.array_equal(new.ansatz.mix, ansatz.mix) and not np.array_equal(new.ansatz.out, weak)


class Wrong(AbstractLaplacian):
    """A Laplacian that is one part in a thousand off."""

    def __call__(self, log_psi, r, *, key=None):
        d = ForwardLaplacian()(log_psi, r)
        return Derivatives(d.log_psi, d.gradient, d.laplacian * 1.001)


def test_a_wrong_laplacian_is_found():
    family, _, state = small_problem()
    assert check_laplacian(state.ansatz, family.parameters, state.positions).passed
    wrong = check_laplacian(state.ansatz, family.parameters, state.positions, Wrong())
    assert not wrong.passed and 1e-6 < wrong.difference < 1e-2
    nan = check_laplacian(state.ansatz, family.parameters, state.positions * jnp.nan)
    assert not nan.passed


def test_a_wrong_laplacian_ends_a_run_of_which_only_the_start_is_saved(tmp_path):
    problem = build(preset("moire-6", *TINY, "training.steps=2"))
    wrong = dataclasses.replace(problem, method=dataclasses.replace(problem.method, laplacian=Wrong()))
    directory, state = RunDirectory(tmp_path), problem.state()
    with pytest.raises(RuntimeError, match="forward Laplacian differs from the exact one by"):
        for _ in train_in(directory, problem, state, 2, PendingCheck(wrong, state)):
            pass
    assert checkpoint_steps(directory.checkpoints) == (0,)


# ------------------------------------------------------------------------------- files

METRICS = (
    "step",
    "depth_meV",
    "energy",
    "error",
    "variance",
    "acceptance",
    "bad_walkers",
    "step_norm",
    "distance",
    "phase",
    "stuck_walkers",
    "redrawn_walkers",
    "clipped",
    "kinetic_difference",
    "kinetic_difference_error",
    "shrink",
    "refused",
    "effective_per_second",
    "seconds",
    "sampling_seconds",
    "memory_MB",
)


def test_metrics_are_appended_and_cut_to_the_checkpoint(tmp_path):
    family, method, state = small_problem()
    path = tmp_path / "metrics.csv"
    _, report = train_step(state, family, method)

    def write(after, *steps):
        options = {"scale": 380.0 / 2, "after_step": after}
        with MetricsWriter(path, ["depth_meV"], np.array([[5.0], [20.0]]), **options) as metrics:
            for step in steps:
                metrics.write(step, report, ["liquid", ""])
                # flushed: a kill after this line loses nothing
                assert len(path.read_text().splitlines()) == 1 + len(list(read_metrics(path)))

    write(0, 1, 2, 3)
    with path.open("a") as file:
        file.write("4,5,-12.3")
    assert [int(row["step"]) for row in read_metrics(path)] == [1, 1, 2, 2, 3, 3]
    write(2, 3)
    rows = list(read_metrics(path))
    assert [int(row["step"]) for row in rows] == [1, 1, 2, 2, 3, 3]
    assert tuple(rows[0]) == METRICS
    assert [(float(row["depth_meV"]), row["phase"]) for row in rows[:2]] == [(5.0, "liquid"), (20.0, "")]
    energy = np.asarray(report.statistics.energy) * 380.0 / 2
    np.testing.assert_allclose([float(row["energy"]) for row in rows[:2]], energy, atol=1e-6)
    variance = np.asarray(report.statistics.variance) * 190.0**2
    np.testing.assert_allclose([float(row["variance"]) for row in rows[:2]], variance, rtol=1e-5)


def test_a_run_directory_is_not_overwritten(tmp_path):
    directory = RunDirectory(tmp_path / "run")
    one, two = ('[provenance]\ncommand = "one"\n', '[provenance]\ncommand = "two"\n')
    directory.create(one)
    # It stopped before its first checkpoint: nothing is lost.
    directory.create(two)
    assert directory.config.read_text() == two
    assert (directory.path / "config.previous-1.toml").read_text() == one
    (directory.checkpoints / "0").mkdir(parents=True)
    with pytest.raises(ValueError, match="already holds a run"):
        directory.create(one)
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="cannot write in"):
        RunDirectory(tmp_path / "file").create("")


# ------------------------------------------------------------------------------- configurations

VARIANTS = {
    "spinful": ("system.electrons=[2,1]", "ansatz.references=['gaussians','plane_waves']"),
    "complex": (
        "ansatz.references=['liquid','crystal']",
        "ansatz.complex=true",
        "ansatz.gate=squared_relu",
        "ansatz.router=condition",
    ),
    "one depth, oblique": ("system.depths_meV=[10]", "system.supercell=[[1,1],[-1,2]]"),
}


@pytest.mark.filterwarnings("ignore:open shell")
@pytest.mark.parametrize("name", VARIANTS)
def test_what_a_configuration_describes_is_built(name):
    problem = tiny_problem(*VARIANTS[name])
    psi = jax.jit(lambda r, parameters: problem.ansatz(r, parameters))
    r, parameters = problem.state().positions[0, 1], problem.members.select(0)
    here, there = psi(r, parameters), psi(r[jnp.array([1, 0, 2])[: len(r)]], parameters)
    assert np.isfinite(here.log_magnitude)
    np.testing.assert_allclose(here.log_magnitude, there.log_magnitude, atol=1e-9)
    np.testing.assert_allclose(np.exp(1j * float(here.phase - there.phase)), -1, atol=1e-9)
    blank = build(tiny_config("training.precision=double", *VARIANTS[name]), solve=False)
    shapes = lambda state: [(x.shape, x.dtype) for x in jax.tree.leaves(eqx.filter(state, eqx.is_array))]
    assert shapes(blank.state(solved=False)) == shapes(problem.state())
