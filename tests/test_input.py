"""Files as people have them, numbers at the edge of what there is, memory asked for before it is taken."""

import math
import os
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_problem import tiny_config

from qernel.chunks import _control_groups as control_groups  # pyright: ignore[reportPrivateUsage]
from qernel.chunks import machine_memory
from qernel.cli import main
from qernel.cli._arguments import check_folder, check_page, points_of, source_of
from qernel.cli._errors import sentences
from qernel.cli._threads import widen_pool
from qernel.hamiltonian import Ewald, Family, Hamiltonian, Kinetic, Potential
from qernel.lattice import Lattice, check_commensurate, square, supercell, triangular, triangular_index
from qernel.optimise import Decay, StochasticReconfiguration
from qernel.orbitals import harmonic_levels, levels_below
from qernel.presets import ConfigurationError, build, check_memory, load, preset, preset_names
from qernel.run_directory import Settings
from qernel.runs import Run
from qernel.systems import System, sized
from qernel.systems.moire import Material

# ------------------------------------------------------------------------------- files

TEXT = "description = 'moiré'\r\n[training]\r\nsteps = 7\r\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_a_file_says_by_its_first_bytes_what_it_is_in(encoding, tmp_path):
    path = tmp_path / "c.toml"
    path.write_bytes(TEXT.encode(encoding))
    config = load(path)
    assert config.training.steps == 7 and config.description == "moiré"


@pytest.mark.parametrize(
    "data, says",
    [
        (TEXT.encode("latin-1"), "the byte 0xe9 in line 1, column 20 is of another encoding, such as Latin-1"),
        (TEXT.encode("utf-16-le"), "or is in UTF-16 without a byte-order mark: save it as UTF-8"),
        (b"\xff\xfe\x00", "begins like a file in UTF-16-LE and is none"),
        (b"#" * 2**20 + b"\n", "is longer than 1024 kB"),
        (b"a = " + b"[" * 5000, "nested too deeply"),
        (b"a = " + b"9" * 5000, "is not valid TOML: Exceeds the limit"),
    ],
)
def test_what_is_in_no_known_encoding_or_no_configuration_is_named(data, says, tmp_path):
    path = tmp_path / "c.toml"
    path.write_bytes(data)
    with pytest.raises(ConfigurationError, match=says) as error:
        load(path)
    assert str(error.value).startswith(str(path))


def test_a_pipe_is_read_once_for_a_command_that_asks_many_times(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    threading.Thread(target=lambda: pipe.write_text(TEXT), daemon=True).start()
    with source_of([str(pipe), "sampling.walkers=3"]) as (source, overrides):
        assert [load(source, overrides).training.steps for _ in range(3)] == [7] * 3
    assert overrides == ["sampling.walkers=3"] and not os.path.exists(source)
    with source_of(None) as nothing:
        assert nothing == (None, [])


def test_an_override_is_no_file_however_long_it_is():
    depths = [float(x) for x in range(1001)]
    with source_of([f"system.depths_meV={depths}"]) as (source, overrides):
        assert source is None and load("moire-6", overrides).system.depths_meV == tuple(depths)
    with pytest.raises(ConfigurationError, match="there is no preset and no file 'aaaa"):
        load("a" * 5000)
    # A line break begins no other key.
    with pytest.raises(ConfigurationError, match=r"training.steps must be a whole number, got '1\\ntraining"):
        load("moire-6", ["steps=1\ntraining = 3"])


def test_where_results_cannot_be_written_is_said_before_they_are_computed(tmp_path):
    (tmp_path / "file").write_text("")
    assert check_folder(tmp_path / "a" / "b") == tmp_path / "a" / "b" and not (tmp_path / "a").exists()
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ConfigurationError, match="is a file"):
            check_folder(path)
    with pytest.raises(ConfigurationError, match="too long"):
        check_folder(tmp_path / ("a" * 300))
    with pytest.raises(ConfigurationError, match="is a directory: give the name of a page"):
        check_page(tmp_path)


# ------------------------------------------------------------------------------- numbers of a configuration

BOUNDS = {
    "seed=99999999999999999999": "training.seed must be at most 9223372036854775807, got 99999999999999999999",
    f"seed={2**63}": "training.seed must be at most 9223372036854775807",
    "steps=2147483648": "training.steps must be at most 2147483647",
    "pair_shells=1000000": "ansatz.pair_shells must be at most 1000, got 1000000",
    "layers=1000000": "ansatz.layers must be at most 100",
    f"supercell={10**9}": "system.supercell must have vectors of at most 10000 moiré cells",
    "supercell=1e300": "system.supercell must have vectors of at most 10000 moiré cells",
    "supercell=101": "system.supercell must hold at most 10000 moiré cells, got 10201",
    "electrons=[100000000,0]": "system.electrons must be at most 1000 together",
    "orbital_spacing_meV=1e-9": "orbital_spacing_meV asks for 3e\\+10 sets of orbitals",
    "dielectric=1e9": "the effective Hartree in meV would be",
    "learning_rate=1e300": "optimiser.learning_rate must be at most 1e\\+15",
    "learning_rate=1e-300": "optimiser.learning_rate must be at least 1e-15",
    "learning_rate=-1": "optimiser.learning_rate must be greater than 0",
    "learning_rate=nan": "optimiser.learning_rate must be a finite number",
    f"evaluation.at.depth_meV={list(range(10_001))}": "evaluation.at.depth_meV must name at most 10000 values",
}


@pytest.mark.parametrize("override", BOUNDS, ids=lambda override: override[:30])
def test_every_number_has_bounds(override):
    with pytest.raises(ConfigurationError, match=BOUNDS[override]) as error:
        preset("moire-6", override)
    assert len(str(error.value)) < 400


def test_all_combinations_are_counted_before_they_are_made():
    many = ",".join(map(str, range(1, 1001)))
    with pytest.raises(ConfigurationError, match="at most 10000 members, and there are 6000000 combinations"):
        preset("trap-3", f"omega_x=[{many}]", f"omega_y=[{many}]")
    with pytest.raises(ConfigurationError, match="evaluation.at must name at most 10000 points together, got 1000000"):
        preset("trap-3", f"evaluation.at.omega_y=[{many}]", f"evaluation.at.kappa=[{many}]")
    with pytest.raises(ConfigurationError, match="at most 10000 points are measured at once"):
        points_of([f"a={many},b={many},c={many}"])


def test_sizes_of_any_number_of_digits_end_at_once():
    section = sized(preset("moire-6").system)
    for size in ("9" * 20, "9" * 5000, "10001", f"[[{'9' * 21},0],[0,3]]", f"[[3,0],[0,{3 * 10**9}]]", "-3"):
        with pytest.raises(ValueError, match="a size|zone corner|no supercell"):
            section.resized(size)
    with pytest.raises(ValueError, match="no supercell of more than"):
        triangular_index(10**30)
    assert triangular_index(7 * 10**10) and Material(dielectric=4.0)


def test_levels_of_many_electrons_are_counted_and_not_searched():
    """Of 2000 fermions a cube of quantum numbers would have eight billion levels."""
    levels = levels_below(2000, 3)
    assert len(levels) == sum(2000 // (i + 1) // (j + 1) for i in range(2000) for j in range(2000 // (i + 1)))
    assert levels == sorted(levels) and levels_below(4, 2) == [
        (0, 0),
        (0, 1),
        (0, 2),
        (0, 3),
        (1, 0),
        (1, 1),
        (2, 0),
        (3, 0),
    ]
    assert len(harmonic_levels((1.0, 1.31415926, 1.71828183), 500)) == 500


# ------------------------------------------------------------------------------- memory


def test_memory_is_asked_for_before_it_is_taken():
    """The sentence names the setting, what it needs, what there is, and how much of it would fit; and that does."""
    have = 4 * 10**9
    for overrides, says, fitting in (
        (["sampling.walkers=300000000"], "sampling.walkers = 300000000 needs about 174 EB for the matrix", "1400"),
        (["sampling.walkers=300000", "optimiser.name=kfac"], "for the derivatives of the network at 300000", "22000"),
        (["optimiser.name=kfac", "chunk=1", "sampling.walkers=300000000"], "positions of the walkers", "3700000"),
        (
            ["evaluation.walkers=30000000"],
            "evaluation.walkers = 30000000 needs about 922 GB for the energies",
            "130000",
        ),
        (["evaluation.rounds=2000000000"], "evaluation.rounds = 2000000000 needs about 65.5 TB", "120000"),
        (["width=60000", "experts=60000"], "ansatz.width = 60000 needs about", "32"),
    ):
        overrides = [o.replace("chunk=1", "training.chunk=1") for o in overrides]
        config = preset("moire-6-sum", *overrides)
        system = config.system.system()
        with pytest.raises(ConfigurationError, match=says) as error:
            check_memory(config, system, available=have)
        assert f"and there are 4 GB here: at most about {fitting} would fit" in str(error.value)
        key = str(error.value).split(" = ")[0]
        check_memory(load(config, [f"{key}={fitting}"]), system, available=have)
    with pytest.raises(ConfigurationError, match="sampling.walkers = 300000000 needs about 174 EB"):
        build(preset("moire-6-sum", "sampling.walkers=300000000"))


def test_orbitals_of_a_large_cell_are_asked_for_as_well():
    config = preset("moire-6", "supercell=60", "electrons=[60,0]", "orbital_spacing_meV=0.01", "sampling.walkers=1")
    with pytest.raises(ConfigurationError, match="the orbitals 'liquid'.*take a smaller cell, or fewer electrons"):
        check_memory(config, config.system.system(), available=10**9)


def test_every_preset_fits_a_laptop():
    for name in preset_names():
        config = preset(name)
        check_memory(config, config.system.system(), available=8 * 10**9)
    assert 2**28 < machine_memory() < 2**50


def test_a_batch_job_has_the_memory_of_its_control_group(tmp_path):
    for version, line, name in (
        (tmp_path / "one" / "memory", "4:memory:/job/step", "memory.limit_in_bytes"),
        (tmp_path / "two", "0::/job/step", "memory.max"),
    ):
        (version / "job" / "step").mkdir(parents=True)
        (version / "job" / "step" / name).write_text("max\n")
        (version / "job" / name).write_text("4096\n")
        (version / name).write_text("9223372036854771712\n")
        processes = version / "cgroup"
        processes.write_text(f"9:cpu:/other\n{line}\n")
        mounted = version.parent if version.name == "memory" else version
        assert sorted(control_groups(str(processes), str(mounted))) == [4096, 9223372036854771712]
    assert control_groups(str(tmp_path / "nowhere")) == []


# ------------------------------------------------------------------------------- errors of others


@pytest.mark.parametrize(
    "error, code, says",
    [
        (MemoryError("Unable to allocate 7 TiB"), 1, "memory of this machine does not suffice: Unable to allocate"),
        (
            jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 40 bytes.\nx"),
            1,
            "memory of the dev",
        ),
        (OverflowError("too large"), 1, "OverflowError: too large (test_input.py, line"),
        (
            RecursionError("maximum recursion depth exceeded"),
            1,
            "this is a mistake in qernel, not yours: please report",
        ),
        (KeyError("[/b]"), 1, "KeyError: '[/b]' (test_input.py"),
        (PermissionError(13, "Permission denied", "a[/b]:cat:"), 2, "error: permission denied: a[/b]:cat:"),
        (IsADirectoryError(21, "Is a directory", "."), 2, "error: is a directory: ."),
        (UnicodeDecodeError("utf-8", b"\xe9", 0, 1, "invalid"), 2, "a file that should hold text in UTF-8 does not"),
        (ValueError("a" * 10**5), 2, "aaaa ... aaaa"),
        (ValueError("moves the cursor \x1b[2J"), 2, "moves the cursor \\x1b[2J"),
    ],
    ids=lambda x: type(x).__name__ if isinstance(x, Exception) else "",
)
def test_every_error_is_a_sentence(error, code, says, capsys):
    import typer

    with pytest.raises(typer.Exit) as stop, sentences(traceback=False):
        raise error
    said = capsys.readouterr().err
    assert stop.value.exit_code == code and says in said and len(said.splitlines()) == 1
    with pytest.raises(type(error)), sentences(traceback=True):
        raise error


def test_a_platform_that_is_not_there(monkeypatch, capsys):
    import typer

    monkeypatch.setenv("JAX_PLATFORMS", "cuda")
    with pytest.raises(typer.Exit), sentences(traceback=False):
        raise RuntimeError("Unable to initialize backend 'cuda': no device (set JAX_PLATFORMS='' to ...)")
    assert "JAX finds no device of JAX_PLATFORMS=cuda: leave the variable unset" in capsys.readouterr().err


def test_an_environment_of_nonsense_is_left_to_jax():
    for devices in ("abc", "9" * 30, "-1", ""):
        environment = {"JAX_NUM_CPU_DEVICES": devices}
        widen_pool(environment)
        assert "NPROC" not in environment


def test_brackets_and_colons_of_a_path_are_printed_as_they_are(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("w/run[seed=1]", "a[/b]c", "x:cat:"):
        for command in ("doctor", "evaluate", "report"):
            with pytest.raises(SystemExit):
                main([command, name])
            assert capsys.readouterr().err == f"error: there is no directory {name}\n"


# ------------------------------------------------------------------------------- numbers that cannot be right


@pytest.mark.parametrize("value", [-1.0, 0.0, math.nan, math.inf])
def test_rates_that_are_none(value):
    for make in (
        lambda: StochasticReconfiguration(learning_rate=value),
        lambda: StochasticReconfiguration(damping=value),
        lambda: Decay(value, 100.0),
        lambda: Decay(0.1, value),
    ):
        with pytest.raises(ValueError, match="must be positive, got"):
            make()
    StochasticReconfiguration(learning_rate=lambda step: value, trust_region=math.inf)


CELL = square(5.0)


def pinned(function, inverse_mass=None, **boundary):
    kinetic = Kinetic() if inverse_mass is None else Kinetic(inverse_mass=inverse_mass)
    boundary = boundary or {"cell": CELL}
    hamiltonian = Hamiltonian(kinetic, {"pinning": Potential(function)}, (2, 0), **boundary)
    return Family.of(hamiltonian, {"depth": 0.1}, "depth", [0.1, 0.2, 0.5])


def nan_in_a_corner(r, p):
    return jnp.where((r[0] % 5 < 1) & (r[1] % 5 < 1), jnp.nan, p["depth"])


@pytest.mark.parametrize(
    "function, says",
    [
        (lambda r, p: jax.lax.complex(p["depth"] * r[0], r[1]), "must be real: a Hamiltonian is Hermitian"),
        (lambda r, p: p["depth"] * r, "must return a scalar, got shape"),
        (nan_in_a_corner, "'pinning' is nan for 7% of all random configurations in the cell at depth = 0.1, the first"),
        (lambda r, p: jnp.sqrt(0.3 - p["depth"]), "'pinning' is nan for 100% .* at depth = 0.5"),
    ],
)
def test_potentials_that_are_no_numbers(function, says):
    with pytest.raises(ValueError, match=says):
        System("pinned", pinned(function))


def test_potentials_that_are_numbers():
    System("pinned", pinned(lambda r, p: p["depth"] * jnp.cos(2 * jnp.pi * r[0] / 5)))
    # A wall, behind which walkers never come.
    for width in (1.0, [1.0, 2.0]):
        System("pinned", pinned(lambda r, p: jnp.where(r[0] > 3, jnp.inf, 0.0), dim=2), walkers=width)
    with pytest.raises(ValueError, match="where walkers start"):
        System("pinned", pinned(lambda r, p: jnp.sqrt(r[0]), dim=2), walkers=1.0)


def test_masses_that_are_none():
    with pytest.raises(ValueError, match="inverse mass must be positive at all members"):
        System("pinned", pinned(lambda r, p: r[0] * 0, lambda p: 0.3 - p["depth"]))


def test_a_rounded_cell_says_how_far_it_is_off():
    primitive = triangular(1.0)
    exact = supercell(primitive, 3).lattice
    rounded = Lattice(np.round(exact.matrix, 4))
    with pytest.raises(
        ValueError, match=r"to 1e-06, and one is off by 2.7e-05; it seems to be rounded: give all digits"
    ):
        check_commensurate(rounded, primitive)
    with pytest.raises(ValueError, match="off by 0.5$"):
        check_commensurate(Lattice(2.5 * primitive.matrix), primitive)
    with pytest.raises(ValueError, match="of the potential 'interaction'.*off by 9.2e-06; it seems to be rounded"):
        Hamiltonian(Kinetic(), {"interaction": Ewald(exact)}, (2, 0), cell=rounded)


def test_seeds_of_a_script_have_sixty_four_bits(tmp_path):
    problem = build(tiny_config(), solve=False)
    for seed in (-1, 2**63):
        with pytest.raises(ValueError, match="a seed is a whole number from 0 to 2"):
            Run.begin(tmp_path / "run", problem.system, problem.ansatz, seed=seed)
    with jax.enable_x64(False):
        keys = [
            Run.begin(tmp_path / str(s), problem.system, problem.ansatz, problem.method, seed=s).problem.key
            for s in (5, 2**32 + 5)
        ]
    assert not np.array_equal(*(np.asarray(jax.random.key_data(key)) for key in keys))


@pytest.mark.parametrize(
    "settings, says",
    [
        (dict(steps=-1), "steps cannot be negative or infinite, got -1"),
        (dict(measured_burn_in=-2), "measured burn in cannot be negative"),
        (dict(margin=float("nan")), "margin cannot be negative or infinite, got nan"),
        (dict(walkers=0), "walkers must be at least 1, got 0"),
        (dict(competition=0.0), "share of the steps"),
        (dict(measured_rounds=3), "at least four measured rounds"),
        (dict(dtype="float16"), "float32 or float64, got 'float16'"),
    ],
)
def test_settings_of_a_script_that_cannot_be(settings, says):
    with pytest.raises(ValueError, match=says):
        Settings(**settings)
