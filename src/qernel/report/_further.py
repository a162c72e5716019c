"""Further results that other commands may leave in a run directory."""

import csv
import json
from dataclasses import dataclass
from pathlib import Path

from ._figures import Figure
from ._table import Cell, Table

# Name of the files, heading, and what the section is about.
_KINDS = (
    ("transition", "Transition", "A dedicated search: closer scans of this wavefunction, and its phases trained on."),
    ("fidelity", "Fidelity susceptibility", "Response of the wavefunction to the parameter of the family."),
    ("susceptibility", "Fidelity susceptibility", "Response of the wavefunction to the parameter of the family."),
    ("ablation", "Ablation", "The same training without one ingredient of the wavefunction at a time."),
    ("scaling", "Size of the cell", "The same measurement in cells of different size."),
)


@dataclass(frozen=True)
class Further:
    """One optional section: `name.json` ("sentences"), `name.csv` and `figures/name.png`, whichever there are.

    `doubtful` if the JSON file says that its result is not "trustworthy".
    """

    name: str
    heading: str
    about: str
    sentences: list[str]
    doubtful: bool
    table: Table | None
    figure: Figure | None


def further(folder: Path, drawn: dict[str, Figure]) -> list[Further]:
    """The optional sections of a run directory, those alone that have a file."""
    found = []
    for name, heading, about in _KINDS:
        sentences, doubtful = _sentences(folder / f"{name}.json")
        table = _table(folder / f"{name}.csv", heading)
        if sentences or table is not None or name in drawn:
            found.append(Further(name, heading, about, sentences, doubtful, table, drawn.get(name)))
    return found


def _sentences(path: Path) -> tuple[list[str], bool]:
    if not path.is_file():
        return [], False
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return [str(line) for line in content["sentences"]], content.get("trustworthy") is False
    except (ValueError, TypeError, KeyError):
        raise ValueError(f'{path} is not a JSON object with a list called "sentences"') from None


def _table(path: Path, heading: str) -> Table | None:
    if not path.is_file():
        return None
    with path.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.reader(file) if row]
    if not rows:
        return None
    words = [i for i in range(len(rows[0])) if not all(_is_number(row[i]) for row in rows[1:] if i < len(row))]
    cells = [[Cell(_short(text)) for text in row] for row in rows[1:]]
    heads = tuple(head.replace("_", " ") for head in rows[0])
    return Table(f"{heading}: {path.name} in full.", heads, cells, words=tuple(heads[i] for i in words))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _short(text: str) -> str:
    return f"{float(text):.6g}" if _is_number(text) else text
