"""The commands and their options; what they do is in `_commands` and `_studies`, loaded when it is needed."""

import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, TextIO, cast

import typer
from rich.console import Console

from ._arguments import check_page, is_name, is_point, is_size, points_of, source_of, spread_values
from ._errors import print_anything, sentences
from ._joined import joined
from ._output import Outlived
from ._threads import widen_pool

app = typer.Typer(
    name="qernel",
    help="One neural wavefunction for a whole family of many-electron Hamiltonians.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _option(flag: str, metavar: str, text: str, least: int | None = None) -> Any:
    return typer.Option(flag, metavar=metavar, help=text, min=least, show_default=False)


def _argument(metavar: str, text: str) -> Any:
    return typer.Argument(metavar=metavar, help=text, show_default=False)


WHAT = "A preset or a configuration file, and settings to change, such as steps=100 or sampling.walkers=128."
CACHE = "Where compiled programs are kept for the next time, or 'off' [default: the user's cache folder]."
DISTRIBUTED = (
    "This is one of several processes that share the work: 'auto' asks SLURM or Open MPI, or give the address of "
    "process 0, how many there are, and which this is, from 0."
)
TRAINED = "Begin with the network and the pair function of this run, of fewer electrons."
AT = "Points, trained or not, such as kappa=0.1,omega_y=2 [default: those of the configuration]."
RESOLUTION = "Scan closer until the change lies within this [default: a sixtieth of the range]."
STEP = "Go back to the checkpoint of this step; later ones are set aside."
RUN_OUT = "Where to write [default: runs/PRESET-TIME]."
OTHER_OUT = "Where to write [default: DIR; earlier results are kept beside]."
COMPARED = "Directories of runs of one system."
COMPARE_OUT = "The figure to write, .png, .pdf or .svg; the curves lie beside [default: compare.png]."
LOWEST = "Compare at all common points, above the lowest energy that any run reaches, whatever is known exactly."
ERROR = "Statistical error of the running means, in the unit of energy [default: from the noisiest run]."
STUDY_OUT = "Where to write, or an unfinished study to continue [default: runs/STUDY-PRESET-TIME]."

What = Annotated[list[str] | None, _argument("[PRESET | FILE.toml] [KEY=VALUE]...", WHAT)]
Run = Annotated[Path, _argument("DIR", "The directory of a run.")]
Overrides = Annotated[list[str] | None, _argument("[KEY=VALUE]...", "Settings to change.")]
OtherOut = Annotated[Path | None, _option("--out", "DIR2", OTHER_OUT)]
StudyOut = Annotated[Path | None, _option("--out", "DIR", STUDY_OUT)]
Cache = Annotated[str | None, _option("--compilation-cache", "DIR | off", CACHE)]
Distributed = Annotated[str | None, _option("--distributed", "auto | HOST:PORT,PROCESSES,NUMBER", DISTRIBUTED)]
Traceback = Annotated[bool, typer.Option("--traceback", help="Show where an error comes from.")]


@contextlib.contextmanager
def _session(traceback: bool, distributed: str | None = None) -> Iterator[Console]:
    """What every command begins with; yields where it prints: nowhere, in any but the first of several processes."""
    with sentences(traceback), joined(distributed) as first:
        stream = cast(TextIO, Outlived(sys.stdout))
        yield Console(file=stream, highlight=False, markup=False, emoji=False, soft_wrap=True, quiet=not first)


@contextlib.contextmanager
def _computing(traceback: bool, cache: str | None, distributed: str | None = None) -> Iterator[Console]:
    """What a command begins with that compiles programs."""
    with _session(traceback, distributed) as console:
        from ._program_cache import keep_programs

        keep_programs(cache, console)
        yield console


def _command() -> str:
    return " ".join(["qernel", *sys.argv[1:]])


@app.command(short_help="Train, evaluate, draw.")
def run(
    what: What = None,
    out: Annotated[Path | None, _option("--out", "DIR", RUN_OUT)] = None,
    trained: Annotated[Path | None, _option("--from", "RUN", TRAINED)] = None,
    cache: Cache = None,
    distributed: Distributed = None,
    traceback: Traceback = False,
) -> None:
    """Train one wavefunction for a family of Hamiltonians, evaluate it and draw the figures."""
    with _computing(traceback, cache, distributed) as console, source_of(what) as (source, overrides):
        # A misspelt key should not wait for what imports JAX.
        from qernel.presets import DEFAULT_PRESET, load

        load(source or DEFAULT_PRESET, overrides)
        from . import _commands

        _commands.run(source, overrides, out, _command(), console, trained)


@app.command(short_help="Measure a trained wavefunction at any points.")
def evaluate(
    directory: Run,
    overrides: Overrides = None,
    at: Annotated[list[str] | None, _option("--at", "COORDINATE=VALUE[,...] ...", AT)] = None,
    out: OtherOut = None,
    cache: Cache = None,
    distributed: Distributed = None,
    traceback: Traceback = False,
) -> None:
    """Measure a trained wavefunction with frozen parameters at any points: --at omega_y=2,kappa=0.1,0.2."""
    with _computing(traceback, cache, distributed) as console:
        points = points_of(at)
        from . import _commands

        _commands.evaluate(directory, points, out, overrides or [], console)


@app.command(short_help="Continue a run from its last checkpoint.")
def resume(
    directory: Run,
    overrides: Overrides = None,
    step: Annotated[int | None, _option("--step", "N", STEP, least=0)] = None,
    cache: Cache = None,
    distributed: Distributed = None,
    traceback: Traceback = False,
) -> None:
    """Continue a run from its last checkpoint; steps=N extends it."""
    with _computing(traceback, cache, distributed) as console:
        from . import _commands

        _commands.resume(directory, overrides or [], _command(), console, step)


@app.command(short_help="Which ingredients of the wavefunction pay.")
def ablate(
    what: What = None,
    out: StudyOut = None,
    seeds: Annotated[
        int, typer.Option("--seeds", min=1, max=1000, metavar="N", help="Independent runs of each variant.")
    ] = 3,
    steps: Annotated[
        int | None, _option("--steps", "N", "Steps of each run [default: as configured].", least=1)
    ] = None,
    only: Annotated[list[str] | None, _option("--only", "VARIANT ...", "Train these variants only.")] = None,
    cache: Cache = None,
    traceback: Traceback = False,
) -> None:
    """Train variants of the wavefunction, each without one ingredient, at equal budget and compare their errors."""
    with _computing(traceback, cache) as console, source_of(what) as (source, overrides):
        overrides += [] if steps is None else [f"training.steps={steps}"]
        from . import _studies

        _studies.study("ablation", source, overrides, out, _command(), console, seeds=seeds, only=only or [])


@app.command(short_help="Find where the phase changes.")
def transition(
    directory: Run,
    overrides: Overrides = None,
    points: Annotated[
        int, typer.Option(max=1000, metavar="N", help="Points of the first scan, along each coordinate.")
    ] = 12,
    resolution: Annotated[float | None, _option("--resolution", "WIDTH", RESOLUTION)] = None,
    steps: Annotated[
        int, typer.Option("--steps", min=1, max=2**31 - 1, metavar="N", help="Training steps of each branch.")
    ] = 200,
    branches: Annotated[bool, typer.Option(help="Train the phases on apart, to see them cross.")] = True,
    out: OtherOut = None,
    cache: Cache = None,
    traceback: Traceback = False,
) -> None:
    """Scan a trained wavefunction, train its phases on; say whether, where and how one turns into another."""
    with _computing(traceback, cache) as console:
        from . import _commands

        options = {"points": points, "resolution": resolution, "steps": steps, "branches": branches}
        _commands.transition(directory, out, overrides or [], console, command=_command(), **options)


@app.command(short_help="The same family at several sizes.")
def scaling(
    what: What = None,
    sizes: Annotated[list[str] | None, _option("--sizes", "SIZE ...", "Sizes, as the system counts them.")] = None,
    out: StudyOut = None,
    cache: Cache = None,
    traceback: Traceback = False,
) -> None:
    """Train and measure the same system at several sizes: where is the transition, does it sharpen?"""
    with _computing(traceback, cache) as console, source_of(what) as (source, overrides):
        from . import _studies

        _studies.study("scaling", source, overrides, out, _command(), console, sizes=sizes or [])


@app.command(short_help="Finished runs of several sizes side by side.")
def sizes(
    runs: Annotated[list[Path], _argument("RUN...", "Directories of runs of one system in several sizes.")],
    out: Annotated[Path, _option("--out", "DIR", "Where to write [default: sizes].")] = Path("sizes"),
    traceback: Traceback = False,
) -> None:
    """Compare finished runs of one system in several sizes: crossings, order and energies against 1/N."""
    with _session(traceback) as console:
        from . import _studies

        _studies.sizes(runs, out, console)


@app.command(short_help="Trainings of several runs side by side.")
def compare(
    runs: Annotated[list[Path], _argument("RUN...", COMPARED)],
    out: Annotated[Path, _option("--out", "FILE", COMPARE_OUT)] = Path("compare.png"),
    error: Annotated[float | None, _option("--error", "E", ERROR)] = None,
    lowest: Annotated[bool, typer.Option("--lowest", help=LOWEST)] = False,
    traceback: Traceback = False,
) -> None:
    """Error against seconds and against samples of several trainings of one system, in one figure."""
    with _session(traceback) as console:
        target = check_page(out)
        from ._studies import comparison

        comparison(runs, target, error, lowest, console)


@app.command(short_help="Draw the figures of a run again.")
def plot(
    directory: Run,
    out: Annotated[Path | None, _option("--out", "DIR2", "Where to write [default: DIR/figures].")] = None,
    traceback: Traceback = False,
) -> None:
    """Draw the figures of a run again."""
    with _session(traceback) as console:
        from . import _commands

        _commands.plot(directory, out, console)


@app.command(short_help="Write a web page about a run.")
def report(
    directory: Run,
    out: Annotated[Path | None, _option("--out", "FILE.html", "The page to write [default: DIR/report.html].")] = None,
    traceback: Traceback = False,
) -> None:
    """Write one self-contained web page about a run: system, method, checks, results, doubts."""
    with _session(traceback) as console:
        from qernel.report import write_report

        target = None if out is None else check_page(out)
        with console.status("writing the report"):
            path = write_report(directory, target)
        console.print(f"report: {path}")


@app.command(short_help="List the presets, or print one.")
def presets(
    name: Annotated[str | None, _argument("[PRESET]", "Print this one in full.")] = None, traceback: Traceback = False
) -> None:
    """List the presets; with a name, print its configuration, ready to be edited."""
    with _session(traceback) as console:
        from qernel.presets import DEFAULT_PRESET, preset, preset_names, to_toml

        if name is not None:
            console.out(to_toml(preset(name)), end="")
            return
        width = max(len(n) for n in preset_names())
        for n in preset_names():
            default = " (the default)" if n == DEFAULT_PRESET else ""
            console.print(f"{n.ljust(width)}  {preset(n).description}{default}")


@app.command(short_help="Check this machine, or replay a run's fault.")
def doctor(
    directory: Annotated[Path | None, _argument("[DIR]", "A run that stopped with a fault: replay it.")] = None,
    traceback: Traceback = False,
) -> None:
    """Versions, devices and a self-check of this machine; with a run's directory, replay its fault."""
    with _session(traceback) as console:
        from ._doctor import check_machine, replay

        if directory is None:
            check_machine(console)
        else:
            replay(directory, console)


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse and carry out; ends with `SystemExit`."""
    print_anything()
    widen_pool()
    given = list(sys.argv[1:] if arguments is None else arguments)
    for option, belongs in (("--at", is_point), ("--only", is_name), ("--sizes", is_size)):
        given = spread_values(given, option, belongs)
    typer.main.get_command(app).main(args=given, prog_name="qernel")
