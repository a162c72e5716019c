"""What a study tells its caller while it goes on."""

from collections.abc import Callable

from qernel.run_directory import Problem, Step

# Called with every step of every training, and with the problem that is trained: `each(problem, step)`.
Each = Callable[[Problem, Step], None]
# Called with words, and how much of how much is measured: `progress("measuring", 3, 40)`.
Progress = Callable[[str, int, int], None]


def unwatched(problem: Problem, step: Step) -> None:
    """Watch no step."""
    del problem, step


def unmeasured(text: str, done: int, total: int) -> None:
    """Watch no measurement."""
    del text, done, total
