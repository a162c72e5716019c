"""The command line: a whole run, what a user may do with it, and what a user may do wrong."""

import csv
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
import tomllib

import jax.numpy as jnp
import numpy as np
import pytest
from tiny_problem import TINY, tiny_config

from qernel.cli import main
from qernel.cli._arguments import is_name, is_point, is_size, points_of, spread_values
from qernel.presets import ConfigurationError, load, parse, preset, preset_names, to_toml
from qernel.run_directory import Interruption, checkpoint_steps, read_metrics
from qernel.runs import Run

COLUMNS = (
    "depth_meV,energy,energy_error,kinetic,kinetic_error,kinetic_from_gradient,kinetic_from_gradient_error,"
    "moire,moire_error,interaction,interaction_error,variance,v_score,structure_factor_K,structure_factor_K_error,"
    "acceptance,autocorrelation_time,effective_samples,r_hat,localisation_length,localisation_length_error,"
    "polarisation_modulus,polarisation_modulus_error,energy_zero_variance,energy_zero_variance_error"
).split(",")


class Outcome:
    def __init__(self, code, captured):
        self.code, self.out, self.err = code, captured.out, captured.err


@pytest.fixture
def qernel(capsys):
    """Run a command in this process, where compiled programs are shared."""

    def call(*arguments):
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main([str(a) for a in arguments])
        return Outcome(stopped.value.code or 0, capsys.readouterr())

    return call


def table(directory):
    with (directory / "results.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run of four steps, and what it printed."""
    directory = tmp_path_factory.mktemp("runs") / "run"
    with pytest.MonkeyPatch.context() as patch:
        lines = []
        patch.setattr("rich.console.Console.print", lambda self, *a, **k: lines.append(" ".join(map(str, a))))
        with pytest.raises(SystemExit) as stopped:
            main(["run", *TINY, "--out", str(directory)])
    assert stopped.value.code in (0, None), lines
    return directory, "\n".join(lines)


@pytest.fixture
def run(finished, tmp_path):
    """A copy of the finished run, to be changed."""
    return shutil.copytree(finished[0], tmp_path / "copy")


# ------------------------------------------------------------------------------- a whole run


def test_a_run_leaves_what_it_promises(finished):
    directory, printed = finished
    assert checkpoint_steps(directory / "checkpoints") == (0, 2, 4)
    rows = list(csv.DictReader((directory / "metrics.csv").open()))
    assert len(rows) == 4 * 2
    results = table(directory)
    assert list(results[0]) == COLUMNS
    assert [float(row["depth_meV"]) for row in results] == [5.0, 20.0]
    assert (directory / "results.nc").is_file()
    figures = sorted((directory / "figures").glob("*.png"))
    assert figures and all(str(figure) in printed for figure in figures)
    assert "electrons in 4 moiré cells" in printed and "kinetic estimators" in printed
    assert f"qernel report {directory}" in printed


def test_the_configuration_is_what_ran(finished):
    text = (finished[0] / "config.toml").read_text()
    table = tomllib.loads(text)
    assert set(table["provenance"]) == {"command", "model", "started", "devices", "machine", "versions"}
    assert {"python", "jax", "qernel"} <= set(table["provenance"]["versions"])
    config = load(finished[0] / "config.toml")
    assert config.identity() == tiny_config().identity()
    assert config.training == tiny_config().training


def test_evaluation_at_depths_never_trained(run, qernel, tmp_path):
    before = (run / "results.csv").read_text()
    done = qernel("evaluate", run, "--at", "depth_meV=7.5", "depth_meV=25", "--out", tmp_path / "other")
    assert done.code == 0, done.err
    assert [float(row["depth_meV"]) for row in table(tmp_path / "other")] == [7.5, 25.0]
    assert "V₀ = 25 meV lies outside the trained range of 5 to 20 meV" in done.out + done.err
    assert (run / "results.csv").read_text() == before


def test_evaluation_repeats_exactly_and_keeps_the_earlier_results(run, qernel):
    before = (run / "results.csv").read_text()
    assert qernel("evaluate", run).code == 0
    assert (run / "results.csv").read_text() == before
    assert (run / "results.previous-1.csv").read_text() == before
    # None of the earlier ones is lost, however many there are.
    assert qernel("evaluate", run, "--at", "depth_meV=7.5").code == 0
    assert [(run / f"results.previous-{n}.csv").read_text() for n in (1, 2)] == [before, before]
    assert {path.suffix for path in run.glob("results.previous-2.*")} == {".csv", ".nc"}
    assert qernel("plot", run).code == 0


def test_resuming_a_finished_run_extends_it(run, qernel):
    done = qernel("resume", run, "steps=5")
    assert done.code == 0, done.err
    assert checkpoint_steps(run / "checkpoints") == (2, 4, 5)
    rows = list(csv.DictReader((run / "metrics.csv").open()))
    assert [int(row["step"]) for row in rows] == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert load(run / "config.toml").training.steps == 5


def test_a_damaged_checkpoint_costs_the_steps_since_the_one_before(run, qernel):
    for path in (run / "checkpoints" / "4").rglob("*"):
        if path.is_file() and path.parent.name == "d":
            path.write_bytes(b"")
    before = list(read_metrics(run / "metrics.csv", repeatable=True))
    done = qernel("resume", run)
    assert done.code == 0, done.err
    assert "checkpoint of step 4 is damaged" in done.out + done.err
    assert "from step 2" in done.out
    # The same steps again, and the same numbers.
    assert list(read_metrics(run / "metrics.csv", repeatable=True)) == before
    assert checkpoint_steps(run / "checkpoints") == (0, 2, 4)


def interrupt_after(path, rows):
    """Ctrl-C from another thread, once the file has so many lines."""

    def watch():
        while not path.is_file() or len(path.read_text().splitlines()) < rows:
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=watch, daemon=True).start()


def test_control_c_saves_and_says_how_to_go_on(run, qernel):
    # Whatever it is: a background process inherits an ignored SIGINT.
    handler = signal.getsignal(signal.SIGINT)
    interrupt_after(run / "metrics.csv", 1 + 2 * 8)
    stopped = qernel("resume", run, "steps=100000")
    assert stopped.code == 130
    last = checkpoint_steps(run / "checkpoints")[-1]
    assert last > 4
    assert f"saved step {last}; continue with: qernel resume {run}" in stopped.err
    rows = list(csv.DictReader((run / "metrics.csv").open()))
    assert int(rows[-1]["step"]) == last
    assert signal.getsignal(signal.SIGINT) is handler


def test_a_run_of_the_command_line_goes_on_in_a_script(run):
    """Opened by its path alone, with settings that leave the model as it is."""
    opened = Run.open(run, overrides=["steps=5"])
    assert opened.step == 4 and opened.config.training.steps == 5
    np.testing.assert_allclose(opened.results["depth_meV"], [5.0, 20.0])
    assert any("kinetic estimators" in sentence for sentence in opened.verdict())
    r = np.random.default_rng(0).normal(size=(3, 2, 2))
    value = opened.psi(r, depth_meV=7.5)
    assert value.log_magnitude.shape == (3,) and np.isfinite(value.log_magnitude).all()
    by_hand = opened.state.averaged(
        jnp.asarray(r[1], jnp.float32), opened.problem.family_at(np.array([[7.5]])).select(0)
    )
    np.testing.assert_allclose(value.log_magnitude[1], by_hand.log_magnitude, rtol=1e-5)
    assert [step.number for step in opened.train()] == [5]
    with pytest.raises(ValueError, match="ansatz.width cannot change in a run that has begun: it is 8"):
        Run.open(run, overrides=["width=16"])


def test_a_second_control_c_stops_at_once():
    with Interruption() as interruption:
        os.kill(os.getpid(), signal.SIGINT)
        assert interruption.requested is signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)


def test_a_fault_ends_the_run_and_is_replayed(run, qernel, monkeypatch):
    import qernel.run_directory._training as training

    def poisoned(state, *arguments, **keywords):
        import equinox as eqx

        nan = eqx.tree_at(lambda s: s.positions, state, state.positions * float("nan"))
        return real(nan, *arguments, **keywords)

    real = training.train
    monkeypatch.setattr(training, "train", poisoned)
    stopped = qernel("resume", run, "steps=100", "patience=2")
    assert stopped.code == 1
    assert "2 steps in a row failed (the walkers' positions are not finite)" in stopped.err
    # Whatever they begin with is poisoned: no checkpoint is to blame.
    assert "nothing finite is measured from any checkpoint (0, 2, 4): the wavefunction" in stopped.err
    assert checkpoint_steps(run / "checkpoints")[-1] == 4
    replayed = qernel("doctor", run)
    assert replayed.code == 0
    assert "step 5 fails again: the walkers' positions are not finite" in replayed.out


# ------------------------------------------------------------------------------- presets and overrides


def test_every_preset_is_valid_and_listed(qernel):
    listed = qernel("presets").out.splitlines()
    assert [line.split()[0] for line in listed] == list(preset_names())
    # Small systems first.
    assert preset_names()[:4] == ("dot-2", "gas-2d-2", "gas-3d-2", "trap-3")
    for name in preset_names():
        config = preset(name)
        assert config.description
        assert parse(to_toml(config)) == config
        family = config.system.system().family
        trained, measured = family.points, family.as_points(config.evaluation.at)
        assert np.all(trained.min(axis=0) <= measured.min(axis=0))
        assert np.all(measured.max(axis=0) <= trained.max(axis=0))
    assert parse(qernel("presets", "moire-24").out) == preset("moire-24")


def test_overrides():
    config = preset("moire-6", "steps=7", "optimiser.learning_rate=0.5", "supercell=[2,3]", "optimiser.name=adam")
    assert config.training.steps == 7
    assert config.optimiser.learning_rate == 0.5
    assert config.system.supercell == ((2, 0), (0, 3))
    assert config.optimiser.name == "adam"


def test_several_values_after_one_option():
    spread = ["evaluate", "D", "--at", "a=0", "--at", "a=7.5", "--at", "a=-2", "--out", "E"]
    assert spread_values(["evaluate", "D", "--at", "a=0", "a=7.5", "a=-2", "--out", "E"], "--at", is_point) == spread
    assert spread_values(["--at=a=1", "a=2", "D", "a=3"], "--at", is_point) == ["--at=a=1", "--at", "a=2", "D", "a=3"]
    kept = ["--at", "a=0", "E", "training.steps=3"]
    assert spread_values(kept, "--at", is_point) == kept
    kept = ["--at", "a=0", "training.steps=3", "a=1"]
    assert spread_values(kept, "--at", is_point) == kept
    sizes = ["--sizes", "3", "--sizes", "[[2,1],[-1,1]]", "--sizes", "2,3", "moire-6"]
    assert spread_values(["--sizes", "3", "[[2,1],[-1,1]]", "2,3", "moire-6"], "--sizes", is_size) == sizes
    only = ["--only", "full", "--only", "no-film", "moire-6", "steps=2"]
    assert spread_values(["--only", "full", "no-film", "moire-6", "steps=2"], "--only", is_name) == only


def test_points_on_the_command_line():
    assert points_of(None) is None and points_of([]) is None
    assert points_of(["a=0,10", "a=5"]) == [{"a": 0.0}, {"a": 10.0}, {"a": 5.0}]
    assert points_of(["a=1,b=2"]) == [{"a": 1.0, "b": 2.0}]
    # All combinations of the values, and every point once.
    assert points_of(["a=1,2,b=3,4", "a=1,b=3"]) == [{"a": a, "b": b} for a in (1.0, 2.0) for b in (3.0, 4.0)]
    wrong = {
        "7.5": "a point has the form COORDINATE=VALUE, got '7.5'",
        "=3": "a point has the form COORDINATE=VALUE",
        "a=deep": "a must be a number, got 'deep'",
        "a=": "a must be a number, got ''",
        "a=1,": None,
        "a=inf": "a must be a finite number, got 'inf'",
        "a=nan": "a must be a finite number",
    }
    for word, message in wrong.items():
        if message is None:
            assert points_of([word]) == [{"a": 1.0}]
        else:
            with pytest.raises(ConfigurationError, match=message):
                points_of([word])
    with pytest.raises(ConfigurationError, match="all points must name the same coordinates"):
        points_of(["a=1", "a=1,b=2"])


# ------------------------------------------------------------------------------- bad input

WRONG = {
    "optimiser.learnng_rate=1": "unknown configuration key 'optimiser.learnng_rate': did you mean "
    "'optimiser.learning_rate'?",
    "learnng_rate=1": "unknown configuration key 'learnng_rate': did you mean 'optimiser.learning_rate'?",
    "walkers=3": "'walkers' could be sampling.walkers or evaluation.walkers: write the one you mean in full",
    "sampling.walkers=0": "sampling.walkers must be at least 1, got 0",
    "effective_mass=-1": "system.effective_mass must be greater than 0, got -1",
    "learning_rate=fast": "optimiser.learning_rate must be a number, got 'fast'",
    "steps=1.5": "training.steps must be a whole number, got 1.5",
    "complex=1": "ansatz.complex must be true or false, got 1",
    "gate=softmx": "ansatz.gate must be one of softmax, squared_relu, spline, top_k, got 'softmx': "
    "did you mean 'softmax'?",
    "supercell=2.5": "system.supercell must hold whole moiré cells: a supercell with the vectors [[2.5, 0], "
    "[0, 2.5]] is incommensurate with the moiré lattice",
    "supercell=[[1,1],[2,2]]": "system.supercell must have two independent vectors, got [[1, 1], [2, 2]]",
    "electrons=[0,0]": "system.electrons must be [n_up, n_down] with at least one electron and no negative "
    "number, got [0, 0]",
    "electrons=6": "system.electrons must be a list such as [6, 0], got 6",
    "system.depths_meV=[]": "system.depths_meV must name at least one value, got []",
    "system.depths_meV=[1,1]": "system.depths_meV must not name a value twice, got 1 more than once",
    "determinants=3": "ansatz: determinants must be a multiple of the 2 sets of references, got 3",
    "key_value_heads=3": "ansatz: key_value_heads must divide query_heads, got 3 and 4",
    "electrons=[999,0]": "999 electrons of one spin need as many orbitals, and 9 moiré cells have 211: choose "
    "fewer electrons or a larger supercell",
    "moire-7": "there is no preset and no file 'moire-7': did you mean 'moire-6'?",
    "nowhere.toml": "there is no file nowhere.toml",
}


@pytest.mark.parametrize("argument", WRONG)
def test_bad_input_is_one_sentence(argument, qernel, tmp_path):
    done = qernel("run", argument, "--out", tmp_path / "run")
    assert done.code == 2
    assert done.err == f"error: {WRONG[argument]}\n"
    assert not (tmp_path / "run").exists()


def test_bad_files(qernel, tmp_path):
    path = tmp_path / "c.toml"
    path.write_text("[system\n")
    done = qernel("run", path)
    assert done.code == 2 and "is not valid TOML" in done.err
    path.write_text("[sytem]\ndepths_meV = [0]\n")
    assert "unknown configuration key 'sytem': did you mean" in qernel("run", path).err
    path.write_text("system = 3\n")
    assert "system is a section" in qernel("run", path).err
    assert "is a directory" in qernel("run", tmp_path).err
    assert "one preset or file at a time" in qernel("run", "moire-6", path).err


def test_directories_that_are_no_runs(qernel, tmp_path, run):
    for command in ("evaluate", "resume", "plot"):
        done = qernel(command, tmp_path / "nowhere")
        assert done.code == 2 and done.err == f"error: there is no directory {tmp_path / 'nowhere'}\n"
    (tmp_path / "empty").mkdir()
    for command in ("evaluate", "resume"):
        done = qernel(command, tmp_path / "empty")
        assert done.code == 2 and "is not the directory of a run" in done.err
    assert "no results.nc to draw" in qernel("plot", tmp_path / "empty").err
    shutil.rmtree(run / "checkpoints")
    assert f"error: {run} has no checkpoint: the run ended before its first step" in qernel("evaluate", run).err
    assert "already holds a run" in qernel("run", *TINY, "--out", run).err


def test_a_checkpoint_of_another_model(qernel, run):
    config = run / "config.toml"
    config.write_text(config.read_text().replace("phi_degrees = 45.0", "phi_degrees = 30.0"))
    done = qernel("evaluate", run)
    assert done.code == 2
    assert "is a checkpoint of another model: system.phi_degrees is 45.0 there and 30.0 here" in done.err
    assert len(done.err.splitlines()) == 1


def test_the_model_of_a_run_cannot_change(qernel, run):
    done = qernel("resume", run, "width=16")
    assert done.code == 2 and "ansatz.width cannot change in a run that has begun: it is 8" in done.err
    assert "depth_meV must be a number, got 'deep'" in qernel("evaluate", run, "--at", "depth_meV=deep").err
    unknown = qernel("evaluate", run, "--at", "kappa=1")
    assert unknown.code == 2 and "the family has no coordinate 'kappa': there are depth_meV" in unknown.err


def test_from_a_shell():
    """In a process of its own, in the default environment: quick, one line, no traceback."""

    def shell(*arguments):
        return subprocess.run([sys.executable, "-m", "qernel", *arguments], capture_output=True, text=True, timeout=120)

    wrong = shell("run", "stpes=3")
    assert wrong.returncode == 2
    assert wrong.stderr == "error: unknown configuration key 'stpes': did you mean 'training.steps'?\n"
    assert "Traceback" in shell("run", "stpes=3", "--traceback").stderr
    assert shell("run", "--no-such-option").returncode == 2
    with pytest.raises(ConfigurationError):
        preset("moire-6", "stpes=3")


def test_a_command_that_failed_ends_whatever_still_runs():
    """A thread of a library that waits for memory or for a disk keeps no failed command alive."""
    code = """
        import sys, threading, time
        threading.Thread(target=time.sleep, args=(300,)).start()
        sys.argv = ["qernel", "report", "nowhere"]
        from qernel.cli import main
        main()
        """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and done.stderr == "error: there is no directory nowhere\n"
