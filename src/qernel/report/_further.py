"""What a search for the transition leaves in a run directory."""

import json
from dataclasses import dataclass
from pathlib import Path

from ._figures import Figure


@dataclass(frozen=True)
class Further:
    """An optional section: the sentences of `transition.json`, and `figures/transition.png`, whichever there are.

    `doubtful` if the JSON file says that its result is not "trustworthy".
    """

    name: str
    heading: str
    about: str
    sentences: list[str]
    doubtful: bool
    figure: Figure | None


def further(folder: Path, drawn: dict[str, Figure]) -> list[Further]:
    """The optional sections of a run directory, if there is anything in them.

    Studies of several runs have a folder of their own, and no results to report on.
    """
    name, heading = "transition", "Transition"
    about = "A dedicated search: closer scans of this wavefunction, and its phases trained on."
    sentences, doubtful = _sentences(folder / f"{name}.json")
    section = Further(name, heading, about, sentences, doubtful, drawn.get(name))
    return [section] if sentences or name in drawn else []


def _sentences(path: Path) -> tuple[list[str], bool]:
    if not path.is_file():
        return [], False
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return [str(line) for line in content["sentences"]], content.get("trustworthy") is False
    except (ValueError, TypeError, KeyError):
        raise ValueError(f'{path} is not a JSON object with a list called "sentences"') from None
