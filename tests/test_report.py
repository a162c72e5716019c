"""The report of a run: what it says, that it says what is missing, and what a browser makes of it."""

import base64
import csv
import html
import importlib.util
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from html.parser import HTMLParser
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from synthetic_evaluations import (
    GRID,
    KAPPA,
    OMEGA,
    TILT,
    moire_phases,
    moire_table,
    scattered,
    trap_table,
)
from test_plotting import record_file
from tiny_problem import tiny_config

from qernel.cli import main
from qernel.evaluation import (
    Evaluation,
    ground_state,
    points_of,
    read_netcdf,
    results,
    with_error,
    write_csv,
    write_netcdf,
)
from qernel.hamiltonian import Family, Hamiltonian, Kinetic, Potential
from qernel.judgement import verdict
from qernel.lattice import square
from qernel.presets import to_toml
from qernel.report import write_report
from qernel.report._cell_drawing import cell_drawing
from qernel.report._method import ingredients
from qernel.report._record import read_record
from qernel.report._tables import (
    comparison_table,
    diagnostics_table,
    energy_table,
    observables_table,
    phase_table,
    slope_table,
)
from qernel.report._typeset import typesetter

DEPTHS = np.array([0.0, 5.0, 10.0, 15.0, 20.0, 30.0])
PROVENANCE = {
    "command": "qernel run moire-6 --out <run> & more",
    "started": "2026-01-02T03:04:05+00:00",
    "devices": ["cpu cpu"],
    "machine": "Linux x86_64",
    "versions": {"python": "3.11.7", "qernel": "0.1.0"},
}


class Page(HTMLParser):
    """What a page holds: addresses it loads, anchors and their targets, headings, tables, visible text."""

    def __init__(self, path):
        super().__init__()
        self.loads, self.links, self.ids, self.levels, self.alts = [], [], set(), [], []
        self.tables, self.words, self.open = [], [], []
        self.feed(Path(path).read_text(encoding="utf-8"))
        self.text = re.sub(r"\s+", " ", " ".join(self.words))

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.open.append(tag)
        self.ids |= {attrs["id"]} if "id" in attrs else set()
        self.links += [attrs["href"]] if tag == "a" else []
        self.loads += [attrs["src"]] if "src" in attrs else []
        self.loads += [attrs["href"]] if tag == "link" else []
        self.alts += [attrs.get("alt")] if tag == "img" else []
        self.levels += [int(tag[1])] if re.fullmatch("h[1-6]", tag) else []
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag):
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, text):
        if "style" in self.open:
            return
        self.words.append(text)
        if {"td", "th"} & set(self.open):
            self.tables[-1][-1][-1] += text.strip()

    def table(self, head):
        """The rows of the table that has a column of this head."""
        return next(table for table in self.tables if head in table[0])


def dataset_of(depths=DEPTHS, **options):
    depths = np.asarray(depths, float)
    corner = np.where(depths > 16, 1.3, 0.7)
    energy = -44.4 - 0.0535 * depths**2
    options = {"energy": energy, "slope": -0.107 * depths, "corner": corner} | options
    return moire_table(depths, **options)


def run_of(folder, dataset, config=True, training=True, overrides=()):
    """A run directory with what a run leaves, but for its checkpoints."""
    folder.mkdir(exist_ok=True)
    write_netcdf(dataset, folder / "results.nc")
    if config:
        (folder / "config.toml").write_text(to_toml(tiny_config(*overrides), PROVENANCE))
    if training:
        record_file(folder / "metrics.csv")
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return run_of(tmp_path_factory.mktemp("runs") / "run", dataset_of())


@pytest.fixture(scope="module")
def path(run):
    return write_report(run)


@pytest.fixture(scope="module")
def page(path):
    return Page(path)


def plain(text):
    """Text as the page shows it: a true minus sign."""
    return text.replace("-", "−")


# ------------------------------------------------------------------------------- what it says


def test_it_needs_no_other_file(path, page):
    assert path.name == "report.html"
    assert page.loads and all(address.startswith("data:") for address in page.loads)
    text = path.read_text()
    assert "<script" not in text and "@import" not in text and not re.search(r"url\((?!['\"]?data:)", text)
    assert '<html lang="en">' in text


def test_headings_anchors_and_descriptions(page):
    assert page.levels[0] == 1 and page.levels.count(1) == 1
    assert all(b - a <= 1 for a, b in zip(page.levels, page.levels[1:], strict=False))
    anchors = {link[1:] for link in page.links if link.startswith("#")}
    assert len(anchors) > 15 and anchors <= page.ids
    assert len(page.alts) >= 6 and all(alt and len(alt) > 20 for alt in page.alts)


def test_every_energy_is_in_the_table(run, page):
    dataset = read_netcdf(run / "results.nc")
    rows = page.table("S(K)")[1:]
    assert [float(row[0]) for row in rows] == DEPTHS.tolist()
    for i, row in enumerate(rows):
        for column, name in ((1, "energy"), (4, "interaction")):
            value, error = float(dataset[name].values[i]), float(dataset[f"{name}_error"].values[i])
            assert row[column] == plain(with_error(value, error))


def test_observables_are_shown_where_they_were_measured(page, tmp_path):
    assert "Observables." not in page.text
    dataset = dataset_of(observed={"localisation_length": np.linspace(3.0, 1.0, 6), "mine": DEPTHS})
    dataset["localisation_length"].attrs |= {"units": "nm", "long_name": "how far electrons reach"}
    shown = Page(write_report(run_of(tmp_path / "run", dataset, config=False, training=False)))
    table = shown.table("localisation length (nm)")
    assert [row[1] for row in table[1:]][:2] == ["3.000(20)", "2.600(20)"] and table[0][2] == "mine"
    assert "localisation length: how far electrons reach" in shown.text and "figure-observables" in shown.ids
    assert "structure factor K peak" not in shown.text


def test_the_summary_is_the_verdict(run, page):
    for sentence in verdict(read_netcdf(run / "results.nc"))[1:4]:
        assert sentence.split(":")[0].split("(")[0] in page.text


def test_comparison_with_known_energies(run, page):
    rows = {float(row[0]): row for row in page.table("Hartree-Fock")[1:]}
    assert sorted(rows) == DEPTHS.tolist() and rows[15.0][2] == "−59.5420(66)"
    assert "At worst E − exact is" in page.text and f"on average over {len(DEPTHS)} rows" in page.text
    energy = read_netcdf(run / "results.nc")["energy"].values[2]
    # From the table of reference values: -51.9992 exact and -50.3374 Hartree-Fock at 10 meV.
    above = float(rows[10.0][5].replace("−", "-").split("(")[0])
    assert above == pytest.approx(energy + 51.9992, abs=0.002)
    assert float(rows[10.0][6].replace("−", "-").split("(")[0]) == pytest.approx(
        100 * (energy + 51.9992) / (51.9992 - 50.3374), abs=0.6
    )


def test_provenance_and_settings(path, page):
    for text in ("Linux x86_64", "2026-01-02T03:04:05+00:00", "python 3.11.7", "qernel run moire-6 --out <run> & more"):
        assert text in page.text
    assert "<run>" not in path.read_text()
    downloads = [link for link in page.links if link.startswith("data:")]
    tables = {link.split(";")[0]: base64.b64decode(link.split(",")[1]).decode() for link in downloads}
    assert [float(row["depth_meV"]) for row in csv.DictReader(io.StringIO(tables["data:text/csv"]))] == DEPTHS.tolist()
    assert tomllib.loads(tables["data:application/toml"])["provenance"]["command"] == PROVENANCE["command"]


def test_number_of_parameters(page):
    """Two determinants more are two more columns a row of orbitals (width 8, two electrons) and two more weights
    (four features of λ, λ itself and a constant)."""
    parameters = lambda *overrides: int(ingredients(tiny_config(*overrides))[0][1].replace("\u202f", ""))
    count = parameters()
    assert f"with {count:,} parameters".replace(",", " ") in page.text
    columns, weights = (8 + 1) * 2, 5 + 1
    assert parameters("ansatz.determinants=4") - count == 2 * (columns + weights)


@pytest.mark.parametrize(
    "name, says, cites, does_not_cite",
    [
        ("spring", "0.01 of the mean diagonal, 0.9", {"2302.01941", "2401.10190"}, {"1503.05671", "1806.03884"}),
        ("kfac", "1 of the mean eigenvalue, 0.9", {"1503.05671", "1806.03884"}, {"2302.01941", "2401.10190"}),
        ("adam", "Adam, β₁ = 0.9", set(), {"2302.01941", "2401.10190", "1503.05671", "1806.03884"}),
    ],
)
def test_the_optimiser_is_named_and_cited(name, says, cites, does_not_cite, tmp_path):
    run = run_of(tmp_path / "run", dataset_of(DEPTHS[:1]), overrides=[f"optimiser.name={name}"])
    page = Page(write_report(run))
    assert says in page.text
    assert all(number in page.text for number in cites) and not any(number in page.text for number in does_not_cite)


# ------------------------------------------------------------------------------- doubts


def test_a_clean_run_says_what_was_checked(page):
    assert "not sound" not in page.text
    assert "split R-hat of the walkers at most 1.1" in page.text
    assert "The error bars are statistical" in page.text and "All numbers are those of this periodic cell" in page.text


def test_every_doubt_is_named_and_marked(tmp_path):
    dataset = dataset_of()
    dataset["kinetic_difference"].values[2] = 50 * dataset["kinetic_difference_error"].values[2]
    dataset["r_hat"].values[4] = 1.5
    dataset.attrs["doubts"] = "V₀ = 20 meV: the walkers remember where they started (R-hat 1.50)"
    text = write_report(run_of(tmp_path / "run", dataset)).read_text()
    doubts = html.unescape(text[text.index('<h2 id="doubts"') : text.index('<h2 id="system"')])
    assert "V₀ = 20 meV: the walkers remember where they started (R-hat 1.50)." in doubts
    assert "differ by more than 4 sigma at 10 meV" in doubts
    rows = Page(tmp_path / "run" / "report.html").table("V-score")[1:]
    flagged = [(row[0], i) for row in rows for i, cell in enumerate(row) if "▲" in cell]
    assert ("20", 1) in flagged and ("10", 9) in flagged and not any(depth == "0" for depth, _ in flagged)
    # Not an upper bound where the wavefunction is not smooth.
    assert "an upper bound to the ground-state energy" not in text


# ------------------------------------------------------------------------------- any directory


def test_what_is_missing_is_said(tmp_path):
    with pytest.raises(ValueError, match="there is no directory"):
        write_report(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="has no results.nc to report on: run 'qernel evaluate"):
        write_report(tmp_path)
    assert not list(tmp_path.iterdir())


def test_results_alone_at_one_depth(tmp_path):
    run = run_of(tmp_path / "run", dataset_of([12.5]), config=False, training=False)
    before = sorted(run.iterdir())
    page = Page(write_report(run, tmp_path / "elsewhere" / "page.html"))
    assert sorted(run.iterdir()) == before
    assert "V₀ = 12.5 meV" in page.text and "The directory has no config.toml" in page.text
    assert "Hellmann-Feynman check needs at least three values" in page.text
    assert {link[1:] for link in page.links if link.startswith("#")} <= page.ids
    assert "training" not in page.ids


def test_a_table_with_nothing_but_energies(tmp_path):
    """Electrons in a trap whose strength varies, made up of random numbers: no units but those of the script."""

    def periodic_trap(position, parameters):
        return -jnp.sum(jnp.cos(2 * jnp.pi * position / 7.0))

    rng = np.random.default_rng(0)
    hamiltonian = Hamiltonian(Kinetic(), {"harmonic_trap": Potential(periodic_trap)}, (1, 1), cell=square(7.0))
    family = Family(hamiltonian, {"omega_x": jnp.array([2.0, 1.0, 1.5])}, ("omega_x",))
    series = {name: 1.0 + 0.1 * rng.standard_normal((3, 16, 40)) for name in ("kinetic", "harmonic_trap", "slope")}
    series["energy"] = series["kinetic"] + series["harmonic_trap"]
    series["kinetic_from_gradient"] = series["kinetic"] + 0.01 * rng.standard_normal((3, 16, 40))
    evaluation = Evaluation(
        series=series,
        acceptance=np.full((3, 40), 0.5),
        step_size=np.ones(3),
        stuck=np.zeros(3, np.int64),
        non_finite=np.zeros(3, np.int64),
        density=None,
        density_error=None,
        wave_vectors=np.zeros((0, 2)),
        structure_factor=np.zeros((3, 0)),
        structure_factor_error=np.zeros((3, 0)),
        positions=np.zeros((3, 16, 2, 2)),
        n_electrons=2,
        real=True,
    )
    page = Page(write_report(run_of(tmp_path / "run", results(evaluation, family), config=False, training=False)))
    assert "2 electrons (1 up, 1 down)" in page.text and "omega x = 1 to 2" in page.text
    assert "Ha* per electron" in page.text and "meV" not in page.text
    assert [float(row[0]) for row in page.table("harmonic trap")[1:]] == [1.0, 1.5, 2.0]


# ------------------------------------------------------------------------------- several coordinates, phases, scripts

NAMES = ("ω_y", "κ")


@pytest.fixture(scope="module")
def plane(tmp_path_factory):
    dataset = trap_table(GRID)
    trained = [[1.0, 0.0], [3.0, 0.6]]
    dataset.attrs |= {"trained_points": json.dumps(trained), "steps": 400, "kernel": "Langevin moves"}
    folder = run_of(tmp_path_factory.mktemp("plane") / "run", dataset, config=False, training=False)
    record_file(folder / "metrics.csv", ("omega_y", "kappa"), trained, phases=("compact", "chain"))
    return folder


@pytest.fixture(scope="module")
def plane_page(plane):
    return Page(write_report(plane))


def test_every_point_of_a_plane_has_its_row(plane, plane_page):
    """One column for each coordinate, in every table of rows."""
    dataset = ground_state(read_netcdf(plane / "results.nc"))
    points = [[f"{x:g}" for x in point] for point in points_of(dataset).tolist()]
    for head in ("trap", "V-score", "E − exact", "next above", "A"):
        table = plane_page.table(head)
        assert table[0][:2] == ["ωy", "κ"]
        assert [row[:2] for row in table[1:] if row[0] != "sound if"] == sorted(
            points, key=lambda p: list(map(float, p))
        )
    energies = {tuple(row[:2]): row for row in plane_page.table("trap")[1:]}
    trained = plane_page.table("trap")[0].index("trained")
    assert energies["1", "0"][trained] == "yes" and energies["1", "0.1"][trained] == "no"
    column = plane_page.table("trap")[0].index("E")
    for point, value, error in zip(points, dataset["energy"].values, dataset["energy_error"].values, strict=True):
        assert energies[tuple(point)][column] == plain(with_error(float(value), float(error)))


def test_a_plane_says_where_its_phases_meet(plane_page):
    assert (
        "ω y = 1 to 3, κ = 0 to 0.6" in plane_page.text
        and "3 spin-polarised electrons in two dimensions" in plane_page.text
    )
    assert "trained side by side: compact, chain" in plane_page.text
    for name in ("energy", "order", "observables", "density", "pair_distances", "slope", "training"):
        assert f"figure-{name}" in plane_page.ids
    assert "Dashed: where the exact ground state changes its phase (closed form)" in plane_page.text
    assert "Purple: where the measured energies of two phases are equal" in plane_page.text
    assert "First-order line" in plane_page.text
    assert "Frequency along the trap" in plane_page.text and "attract each other in proportion" in plane_page.text
    assert "Open boundaries" in plane_page.text and "of this cell" not in plane_page.text
    assert all(alt and len(alt) > 20 for alt in plane_page.alts)
    anchors = {link[1:] for link in plane_page.links if link.startswith("#")}
    assert anchors <= plane_page.ids


def test_the_phases_stand_side_by_side(plane, plane_page):
    dataset = read_netcdf(plane / "results.nc")
    row = next(row for row in plane_page.table("next above")[1:] if row[:2] == ["2.1", "0"])
    here = dataset.sel(omega_y=2.1, kappa=0.0)
    value = lambda phase: float(here["energy"].sel(phase=phase))
    assert row[2] == "chain"
    assert [float(cell.split("(")[0]) for cell in row[3:5]] == pytest.approx(
        [value("compact"), value("chain")], abs=1e-4
    )
    assert float(row[5].split("(")[0]) == pytest.approx(value("compact") - value("chain"), abs=1e-4)
    late = plane_page.table("late change")
    assert late[0][:3] == ["ωy", "κ", "lowest"] and [row[:3] for row in late[1:]] == [
        ["1", "0", "compact"],
        ["3", "0.6", "compact"],
    ]


def test_phases_along_one_coordinate(tmp_path):
    record = read_record(run_of(tmp_path / "run", moire_phases(DEPTHS), config=False, training=False))
    for table in (phase_table(record), energy_table(record)):
        column = next(i for i, head in enumerate(table.heads) if head in ("lowest", "phase"))
        assert [row[column].text for row in table.rows] == ["liquid"] * 4 + ["crystal"] * 2
    assert any("cross at V₀ = 16" in finding.text for finding in record.findings)
    assert "E, zero variance" not in energy_table(record).heads
    table = moire_phases(DEPTHS)
    limits = {"energy_zero_variance": table["energy"] - 0.25, "energy_zero_variance_error": table["energy_error"]}
    limited = energy_table(read_record(run_of(tmp_path / "more", table.assign(limits), config=False, training=False)))
    column = limited.heads.index("E, zero variance")
    cells = [(row[column - 1].text, row[column].text) for row in limited.rows]
    assert all(float(e.split("(")[0]) - float(zero.split("(")[0]) == pytest.approx(0.25, abs=2e-3) for e, zero in cells)
    assert "no upper bound" in limited.caption


def test_points_that_lie_on_no_grid(tmp_path):
    record = read_record(run_of(tmp_path / "run", trap_table(scattered(9)), config=False, training=False))
    for table in (energy_table(record), diagnostics_table(record), comparison_table(record), observables_table(record)):
        assert table.heads[:2] == NAMES and len(table.rows) == 9
    assert slope_table(record) is None and record.symbols == "ω_y, κ"


def test_three_coordinates(tmp_path):
    points = {"omega_y": [1.0, 2.5], "kappa": [0.0, 0.6], "tilt": [0.0, 1.0]}
    dataset = trap_table(points, coordinates=(OMEGA, KAPPA, TILT))
    page = Page(write_report(run_of(tmp_path / "run", dataset, config=False, training=False)))
    table = page.table("trap")
    assert table[0][:3] == ["ωy", "κ", "θ"] and len(table) == 9
    assert "in a colour for each value of κ and θ; they are not joined" in page.text
    assert "Hellmann-Feynman check needs" in page.text


def test_a_run_that_a_script_made(tmp_path):
    """What its file says is shown; no configuration is claimed for it."""
    dataset = trap_table({"omega_y": [1.0, 2.0]}, coordinates=(OMEGA,), dim=1, phases=False)
    dataset.attrs["trained_points"] = "[[1.0], [2.0]]"
    copy = run_of(tmp_path / "run", dataset, config=False, training=False)
    text = """[made_by_a_script]
ansatz = "MyJastrow"
optimiser = "KFAC"

[settings]
walkers = 48

[provenance]
command = "python mine.py"
machine = "Linux"
versions = {qernel = "0.1.0"}
"""
    (copy / "config.toml").write_text(text)
    page = Page(write_report(copy))
    for shown in ("MyJastrow", "KFAC", "48 at each of 2 points", "python mine.py", "A script made this run"):
        assert shown in page.text
    assert "wavefunction" not in page.ids and "qernel run config.toml" not in page.text
    downloads = [link for link in page.links if link.startswith("data:application/toml")]
    assert base64.b64decode(downloads[0].split(",")[1]).decode() == text
    (copy / "config.toml").write_text("no TOML at all")
    record = read_record(copy)
    assert record.config is None and record.settings == {} and record.trained_points.tolist() == [[1.0], [2.0]]


def test_symbols_are_typeset():
    typeset = typesetter()
    assert typeset("ω_y = -1.5e-3 a_B*^2") == "ω<sub>y</sub> = −1.5×10⁻³ a<sub>B</sub>*²"
    assert typeset("x_squared, log_psi, 2026-01-02") == "x_squared, log_psi, 2026-01-02"


def test_further_results_are_shown_if_they_are_there(run, tmp_path):
    copy = shutil.copytree(run, tmp_path / "run")
    (copy / "transition.json").write_text(
        json.dumps({"sentences": ["A transition at 16.2(3) meV & sharp.", "So."], "trustworthy": False})
    )
    (copy / "figures").mkdir()
    picture = base64.b64decode(re.search(r"png;base64,([^\"]+)", (run / "report.html").read_text())[1])
    for name in ("transition", "my_own"):
        (copy / "figures" / f"{name}.png").write_bytes(picture)
    page = Page(write_report(copy))
    assert "not to be trusted" in page.text and page.text.count("16.2(3) meV & sharp") == 2
    assert {"transition", "figure-transition", "figure-my_own"} <= page.ids
    assert "transition" in {link[1:] for link in page.links}
    (copy / "transition.json").write_text("[]")
    with pytest.raises(ValueError, match="transition.json is not a JSON object"):
        write_report(copy)


@pytest.mark.parametrize("size", [2, (3, 6), ((1, 1), (-1, 2))])
def test_the_cell_is_drawn_where_it_is(size):
    """As many lattice points inside the outline as the cell has moiré cells, its corners shared."""
    dataset = moire_table([10.0], size, 2)
    drawing = cell_drawing(dataset)
    outline = np.array([[float(v) for v in p.split(",")] for p in re.search('points="([^"]+)"', drawing)[1].split()])
    sites = np.array([[float(x), float(y)] for x, y in re.findall('cx="([^"]+)" cy="([^"]+)"', drawing)])
    area = 0.5 * abs(np.sum(outline[:, 0] * np.roll(outline[:, 1], 1) - outline[:, 1] * np.roll(outline[:, 0], 1)))
    assert area == pytest.approx(abs(np.linalg.det(dataset["supercell"].values)), rel=1e-2)
    fractions = np.round(np.linalg.solve((outline[[1, 3]] - outline[0]).T, (sites - outline[0]).T).T, 2)
    assert np.sum(np.all((fractions >= 0) & (fractions < 1), axis=1)) == dataset.attrs["primitive_cells"]


def test_command(run, tmp_path, capsys):
    out = tmp_path / "page.html"
    with pytest.raises(SystemExit) as stopped:
        main(["report", str(run), "--out", str(out)])
    assert not stopped.value.code and f"report: {out}" in capsys.readouterr().out and out.stat().st_size > 1e5
    with pytest.raises(SystemExit) as stopped:
        main(["report", str(tmp_path)])
    assert stopped.value.code == 2
    assert capsys.readouterr().err.startswith(f"error: {tmp_path} has no results.nc to report on")


def test_the_csv_is_the_one_of_the_run(run, tmp_path):
    write_csv(read_netcdf(run / "results.nc"), tmp_path / "results.csv")
    address = next(link for link in Page(run / "report.html").links if link.startswith("data:text/csv"))
    assert base64.b64decode(address.split(",")[1]) == (tmp_path / "results.csv").read_bytes()


# ------------------------------------------------------------------------------- in a browser

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
ARTEFACTS = Path(os.environ.get("QERNEL_ARTEFACTS", Path(__file__).parents[1] / ".ci" / "artefacts"))


@pytest.mark.skipif(BROWSER is None, reason="there is no chromium or google-chrome on this machine")
@pytest.mark.skipif(importlib.util.find_spec("playwright") is None, reason="playwright is not installed: '.[test]'")
def test_in_a_browser_without_a_network(path):
    ARTEFACTS.mkdir(parents=True, exist_ok=True)
    script = Path(__file__).with_name("open_in_browser.py")
    arguments = [sys.executable, str(script), str(path), str(BROWSER), str(ARTEFACTS), "report"]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=90)
    assert done.returncode == 0, done.stderr[-2000:]
    seen = json.loads(done.stdout)
    assert set(seen) == {"390", "1280"}
    for width, found in seen.items():
        assert found["messages"] == []
        assert [url for url in found["requests"] if not url.startswith("data:")] == [path.as_uri()[:80]]
        assert found["scroll"] <= found["client"] == int(width)
        assert found["wider"] == [], "something reaches beyond the page"
        assert len(found["images"]) >= 6 and all(size > 0 for size, _ in found["images"])
        assert found["broken"] == [] and found["contents"] >= 12
        assert (ARTEFACTS / f"report-{width}.png").stat().st_size > 1e5
