"""A run of a study: begun, or gone on with where it stopped, and measured."""

from functools import partial

from qernel.presets import Config, build, check_same_model, load, to_toml
from qernel.run_directory import (
    Interrupted,
    RunDirectory,
    Say,
    measure,
    provenance,
    restore,
    start,
    train_in,
    write_results,
)

from ._callbacks import Each, Progress


def run_or_resume(
    config: Config, directory: RunDirectory, command: str, say: Say, each: Each, progress: Progress
) -> None:
    """Train and measure in a directory, unless it holds results of this configuration already.

    **Raises:** `ValueError` if another model was begun there, `Interrupted` after Ctrl-C.
    """
    config = config.model_copy(update={"provenance": {}})
    check = None
    with directory.claim():
        if directory.begun:
            recorded = load(directory.config).model_copy(update={"provenance": {}})
            if recorded == config and directory.results.is_file():
                say(f"{directory.path} is finished")
                return
            check_same_model(recorded, config)
            problem = build(config, solve=False)
            state = restore(problem, directory, say, repair=True)
            if recorded != config:
                directory.write_configuration(to_toml(config, provenance(command, problem.identity)))
            say(f"{config.system.summary}, from step {int(state.step)} -> {directory.path}")
        else:
            say(f"{config.system.summary} -> {directory.path}")
            problem = build(config)
            directory.create(to_toml(config, provenance(command, problem.identity)))
            problem, state, check = start(problem, say)
        for step in train_in(directory, problem, state, config.training.steps, check):
            each(problem, step)
            state = step.state
        try:
            dataset = measure(problem, state, progress=partial(progress, f"measuring {config.system.summary}"))
        except KeyboardInterrupt:
            raise Interrupted(f"stopped while measuring; the trained state is saved in {directory.path}") from None
        write_results(dataset, directory)
