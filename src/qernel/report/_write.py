"""The page: everything gathered, rendered and written in one stroke."""

import base64
import datetime
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from qernel import __version__
from qernel.evaluation import potentials_of, write_csv
from qernel.plotting import draw
from qernel.presets import to_toml
from qernel.run_directory import RunDirectory, write_atomically

from ._cell_drawing import cell_drawing
from ._citations import Citation, citations
from ._doubts import checked, doubts, unchecked
from ._figures import SECTIONS, Figure, figures
from ._further import further
from ._method import ingredients, kernel, measurement_facts, training_facts
from ._provenance import provenance_facts
from ._record import Record, read_record
from ._system import boundary, facts, length_unit, term_words, title, words
from ._tables import (
    comparison_table,
    diagnostics_table,
    energy_table,
    momentum_table,
    observables_table,
    phase_table,
    slope_table,
    training_table,
)
from ._typeset import typesetter


def write_report(run_dir: str | os.PathLike, out: str | os.PathLike | None = None) -> Path:
    """Write one self-contained web page about a run, and return its path.

    Reads `results.nc`, and `config.toml`, `metrics.csv`, `figures/` and the files of further commands where they
    are there. The figures are drawn afresh, so that they show the numbers of the tables; nothing else in the
    directory changes. The page needs no network, no script and no other file.

    **Arguments:** `out`: the file to write, by default `report.html` in the directory.

    **Raises:** `ValueError` that says what is missing, if there are no results, or that `out` is a directory.
    """
    record = read_record(run_dir)
    path = record.path / "report.html" if out is None else Path(out)
    if path.is_dir():
        raise ValueError(f"{path} is a directory: give the name of a page, such as {path / 'report.html'}")
    with tempfile.TemporaryDirectory() as folder:
        drawn = _figures(record, Path(folder))
        csv = write_csv(record.dataset, Path(folder) / "results.csv").read_text(encoding="utf-8")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, _render(_content(record, drawn, csv)))
    return path


def _figures(record: Record, folder: Path) -> dict[str, Figure]:
    for other in (*record.path.glob("*.png"), *RunDirectory(record.path).figures.glob("*.png")):
        shutil.copy(other, folder)
    draw(record.path, folder)
    return figures(record, folder)


def _content(record: Record, drawn: dict[str, Figure], csv: str) -> dict[str, Any]:
    """Everything that the template shows, by name."""
    dataset, sources = record.dataset, citations(record)
    optional = further(record.path, drawn)
    placed = {name for names in SECTIONS.values() for name in names} | {section.name for section in optional}
    toml = record.text if record.config is None else to_toml(record.config, record.provenance)
    advice = dict.fromkeys(finding.advice for finding in record.findings if finding.advice)
    return {
        "record": record,
        "symbols": record.symbols,
        "trained": record.trained_points,
        "terms": [term_words(record, name) for name in potentials_of(dataset)],
        "length_unit": length_unit(record),
        "title": title(record),
        "findings": record.findings,
        "advice": list(advice),
        "doubts": doubts(record)
        + [f"{s.heading}: the measurement itself finds that it is not to be trusted." for s in optional if s.doubtful],
        "checked": checked(record),
        "unchecked": unchecked(record),
        "words": words(record),
        "boundary": boundary(record),
        "facts": facts(record),
        "drawing": cell_drawing(dataset),
        "provenance": provenance_facts(record),
        "ingredients": [] if record.config is None else ingredients(record.config),
        "training_facts": training_facts(record),
        "measurement_facts": measurement_facts(record),
        "kernel": kernel(record),
        "energies": energy_table(record),
        "phase_energies": phase_table(record),
        "momenta": momentum_table(record),
        "observables": observables_table(record),
        "diagnostics": diagnostics_table(record),
        "slopes": slope_table(record),
        "comparison": comparison_table(record),
        "late": training_table(record),
        "figures": {section: [drawn[name] for name in names if name in drawn] for section, names in SECTIONS.items()},
        "others": [figure for name, figure in drawn.items() if name not in placed],
        "further": optional,
        "toml": toml,
        "downloads": {"results.csv": _address(csv, "text/csv")}
        | ({"config.toml": _address(toml, "application/toml")} if toml else {}),
        "sources": sources,
        "cite": _citing(sources),
        "version": __version__,
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }


def _address(text: str, kind: str) -> str:
    """Text as a `data:` address."""
    return f"data:{kind};base64,{base64.b64encode(text.encode()).decode('ascii')}"


def _citing(sources: list[Citation]) -> Callable[..., str]:
    """The function that puts numbered links into the text, for the sources that apply."""
    from markupsafe import Markup

    numbers = {source.key: number for number, source in enumerate(sources, 1)}

    def cite(*keys: str) -> str:
        found = [(key, numbers[key]) for key in keys if key in numbers]
        links = ", ".join(f'<a href="#source-{key}">{number}</a>' for key, number in found)
        return Markup(f"&nbsp;[{links}]" if links else "")

    return cite


def _render(content: dict[str, Any]) -> str:
    # Not needed for anything else that qernel does.
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("qernel.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["typeset"] = typesetter()
    return environment.get_template("report.html.jinja").render(content)
