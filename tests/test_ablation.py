"""What is missing from a variant is missing, variants are compared fairly, and nothing is trained twice."""

import csv
import os

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray
from tiny_problem import TINY, tiny_config, tiny_problem

from qernel.evaluation import read_netcdf, write_netcdf
from qernel.layers import trainable
from qernel.presets import load
from qernel.run_directory import nothing_said
from qernel.studies.ablation import (
    ablate,
    ablation_error,
    ablation_verdict,
    at_point,
    compare_variants,
    seed_mean,
    variants,
)
from qernel.studies.ablation._collect import path_of
from qernel.studies.ablation._measured import measured


def position(problem):
    """One configuration of the walkers before the burn-in."""
    return problem.system.starting_walkers(1, key=jax.random.key(0), dtype=jnp.float64)[0, 0]


def perturbed(problem):
    """The wavefunction away from its start, where FiLM is the identity and the weights do not know λ."""
    trained, static = eqx.partition(problem.ansatz, trainable(problem.ansatz))
    return eqx.combine(jax.tree.map(lambda leaf: leaf + 0.1, trained), static)


def log_psi_at(problem, depth, ansatz=None):
    parameters = problem.family_at(np.array([[depth]])).select(0)
    return float((ansatz or perturbed(problem))(position(problem), parameters).log_magnitude)


def test_without_film_the_features_do_not_know_the_depth():
    def features(problem, value):
        ansatz = perturbed(problem)
        condition = jnp.full((ansatz.conditioner.size,), value)
        return np.asarray(ansatz.features(position(problem), problem.system.family.select(0), condition))

    # The other routers see λ by design.
    settings = ("ansatz.router=electron",)
    with_film, without = tiny_problem(*settings), tiny_problem(*settings, "ansatz.film=false")
    assert not np.allclose(features(with_film, 0.0), features(with_film, 1.0))
    np.testing.assert_array_equal(features(without, 0.0), features(without, 1.0))
    # λ enters elsewhere, and all else starts alike.
    assert log_psi_at(without, 5.0) != log_psi_at(without, 20.0)
    starts = [log_psi_at(problem, 5.0, problem.ansatz) for problem in (without, with_film)]
    assert starts[0] == pytest.approx(starts[1], abs=1e-12)


@pytest.mark.parametrize("reference", ["plane_waves", "liquid"])
def test_unconditioned_is_one_wavefunction(reference):
    settings = (f"ansatz.references=['{reference}']",)
    problem, family = tiny_problem(*settings, "ansatz.conditioned=false"), tiny_problem(*settings)
    assert log_psi_at(problem, 2.0) == log_psi_at(problem, 25.0)
    assert log_psi_at(family, 2.0) != log_psi_at(family, 25.0)
    # That of the middle of 5 and 20 meV; and the constants are not trained.
    assert log_psi_at(problem, 2.0) == pytest.approx(log_psi_at(family, 12.5), abs=1e-9)
    assert not any(jax.tree.leaves(trainable(problem.ansatz).parameters))


def test_dense_has_as_many_hidden_units_as_the_experts():
    config = tiny_config("ansatz.gate=top_k", "ansatz.top_k=2", "ansatz.experts=4")
    made = {
        name: load("moire-6", [*TINY, "ansatz.gate=top_k", "ansatz.top_k=2", "ansatz.experts=4", *variant.settings])
        for name, variant in variants(config).items()
    }
    assert made["dense"].ansatz.expert_width == 4 * config.ansatz.expert_width
    assert made["narrow"].ansatz.expert_width == 2 * config.ansatz.expert_width
    assert made["multi-head"].ansatz.key_value_heads == made["multi-head"].ansatz.query_heads


def test_every_set_of_orbitals_of_the_system_is_a_variant():
    """But the one that the full wavefunction has alone: names and meanings are the system's."""
    found = variants(tiny_config())
    only = [name for name in found if name.startswith("only-")]
    assert only == ["only-liquid", "only-crystal", "only-gaussians"]
    assert found["only-gaussians"].meaning == "no orbitals but Gaussians on the crystal's sites"
    assert load("moire-6", [*TINY, *found["only-crystal"].settings]).ansatz.references == ("crystal",)
    assert [name for name in variants(load("trap-3")) if name.startswith("only-")] == [
        "only-filling_2_1",
        "only-filling_3",
    ]
    assert "only-plane_waves" in variants(load("moire-6"))


def test_separate_wavefunctions_share_one_compiled_program():
    problem = tiny_problem()
    (first, walkers), (second, others) = at_point(problem, 0), at_point(problem, 1)
    assert first.system.family.points.tolist() == first.points.tolist() == [[5.0]]
    assert second.system.family.points.tolist() == second.points.tolist() == [[20.0]]
    static = [jax.tree.structure((p.ansatz, p.system.family, p.method)) for p in (first, second)]
    assert static[0] == static[1]
    # Those of the nearest trained point, as the family starts from them.
    positions = problem.state().positions
    np.testing.assert_array_equal(jnp.concatenate([walkers, others]), positions)


def synthetic(shift, spread, seeds=3, bar=0.001):
    rng = np.random.default_rng(0)
    names, depths = ["full", "other"], np.array([0.0, 5.0, 10.0])
    common = rng.normal(0, 1.0, (1, seeds, 1))
    error = common + spread * rng.normal(0, 1, (2, seeds, 3)) + np.array([0.0, shift])[:, None, None] + 0 * depths
    of = lambda x: (("variant", "seed", "depth"), x)
    return xarray.Dataset(
        {
            "energy": (("variant", "seed", "depth"), error, {"units": "meV per electron"}),
            "error": of(error),
            "energy_error": of(np.full_like(error, bar)),
            "seconds": (("variant", "seed"), np.array([[10.0] * seeds, [20.0] * seeds])),
            "trained": ("depth", np.array([1, 0, 1], np.int8)),
            "reference_is_exact": ("depth", np.ones(3, np.int8)),
        },
        {"variant": names, "seed": range(seeds), "depth": depths, "meaning": ("variant", ["as is", "without it"])},
        {"rows": "depth", "coordinate_names": ["depth"], "axes": ["depth"], "reference_method": "diagonalisation"},
    )


def test_differences_are_paired_over_seeds():
    """The seeds' common scatter, of size 1, is no part of the difference's error."""
    dataset = synthetic(shift=0.3, spread=0.01)
    found = ablation_error(dataset, "other", "full")
    assert found.mean == pytest.approx(0.3, abs=0.05) and found.error < 0.05 and found.significant
    assert ablation_error(dataset, "other").error > 0.2
    assert any("other (without it): worse by" in line and "2.00 times" in line for line in ablation_verdict(dataset))


def test_a_reference_that_is_exact_at_some_points_only():
    dataset = synthetic(shift=0.3, spread=0.01).assign(reference_is_exact=("depth", np.array([1, 0, 1], np.int8)))
    places = "diagonalisation (depth = 0; depth = 10) and the lowest energy of all variants elsewhere"
    assert f"energies minus {places}" in ablation_verdict(dataset)[0]


def test_what_cannot_be_told_apart_is_said_to_be():
    text = "\n".join(ablation_verdict(synthetic(shift=0.0, spread=0.05)))
    assert "cannot be told apart" in text


def test_interval_of_few_seeds():
    """95 % of intervals from three normal numbers hold the truth."""
    rng = np.random.default_rng(1)
    inside = [not seed_mean(x, np.zeros(3)).significant for x in rng.normal(size=(2000, 3))]
    assert np.mean(inside) == pytest.approx(0.95, abs=0.015)
    # Three seeds that agree by chance are no better known than their measurements.
    assert seed_mean(np.ones(3), np.full(3, 0.3)).error == pytest.approx(0.3 / 3**0.5)


def test_a_whole_ablation_resumes_without_training_again(capsys, tmp_path):
    out = tmp_path / "out"
    said, steps = [], []

    def run(*settings, only=("separate", "full")):
        said.clear(), steps.clear()
        each = lambda problem, step: steps.append((problem.system.family.size, step.number))
        return ablate("moire-6", only, out=out, seeds=2, overrides=[*TINY, *settings], say=said.append, each=each)

    found = run("training.steps=3")
    assert any(text.startswith("4 runs, 0 of them finished before") for text in said)
    assert steps == 2 * [*((2, n) for n in (1, 2, 3)), *(2 * [(1, n) for n in (1, 2, 3)])]
    assert any(text.startswith("separate (one wavefunction") for text in found.sentences)
    # No exact energies are known of this system.
    assert "energies minus the lowest energy of all variants, in meV per electron" in found.sentences[0]
    rows = list(csv.DictReader(found.csv.open()))
    assert len(rows) == 2 * 2 * 2 and list(rows[0])[:3] == ["variant", "seed", "depth_meV"]
    assert {(row["variant"], row["seed"]) for row in rows} == {(v, s) for v in ("full", "separate") for s in "01"}
    assert {float(row["depth_meV"]) for row in rows} == {5.0, 20.0}
    assert len({row["energy"] for row in rows}) == 8
    size = {row["variant"]: int(row["parameters"]) for row in rows}
    assert size["separate"] == 2 * size["full"]
    assert found.figure == out / "ablation.png" and found.figure.stat().st_size > 10000
    table = read_netcdf(found.netcdf)
    assert table["trained"].values.tolist() == [1, 1] and table["reference_is_exact"].values.tolist() == [0, 0]
    np.testing.assert_allclose(table["error"].mean("seed").min("variant"), 0, atol=1e-12)
    assert table["energy"].sel(depth=20.0).shape == (2, 2)

    before = {path: os.stat(path).st_mtime_ns for path in out.glob("*/seed-*.nc")}
    (out / "full" / "seed-1.nc").unlink()
    text = found.csv.read_text()
    run("training.steps=3")
    assert any(line.startswith("4 runs, 3 of them finished before") for line in said)
    after = {path: os.stat(path).st_mtime_ns for path in out.glob("*/seed-*.nc")}
    assert [path for path in before if before[path] != after[path]] == [out / "full" / "seed-1.nc"]
    energies = lambda text: [(row["variant"], row["seed"], row["energy"]) for row in csv.DictReader(text.splitlines())]
    assert energies(found.csv.read_text()) == energies(text)

    with pytest.raises(ValueError, match="holds an ablation with training.steps = 3, not 4: choose another --out"):
        run("training.steps=4")
    # A study says what it does to its caller alone.
    assert capsys.readouterr().out == ""


def test_an_unknown_variant_is_one_sentence(tmp_path):
    with pytest.raises(ValueError, match="there is no variant 'no-flim': there are full, no-film"):
        ablate("moire-6", ["full", "no-flim"], out=tmp_path / "out", overrides=TINY)
    for wrong, message in (({"seeds": 0}, "at least one seed"), ({"overrides": [*TINY, "steps=0"]}, "at least 1")):
        with pytest.raises(ValueError, match=message):
            ablate("moire-6", **{"out": tmp_path / "out", "overrides": TINY, **wrong})
    assert not (tmp_path / "out").exists()


TRAP = (
    *(setting for setting in TINY if not setting.startswith(("system", "ansatz.start", "ansatz.ref", "evaluation.at"))),
    *("system.points=[[1,0],[4,0],[1,0.3]]", "ansatz.phases=sum", "training.steps=1"),
)


def test_points_of_two_coordinates_are_rows(tmp_path):
    """Each with a wavefunction of its own beside one for all, whose energies are made up."""
    config = load("trap-3", [*TRAP, "evaluation.at={}"])
    ignored = (nothing_said, lambda problem, step: None, lambda text, done, total: None)
    table = measured(config, True, False, *ignored)
    higher = table.copy(deep=True)
    higher["energy"].values += 1.0
    for name, found in (("separate", table), ("full", higher)):
        path_of(tmp_path, name, 0).parent.mkdir()
        write_netcdf(found, path_of(tmp_path, name, 0))
    found = compare_variants(tmp_path, config)
    rows = list(csv.DictReader(found.csv.open()))
    assert list(rows[0])[:4] == ["variant", "seed", "omega_y", "kappa"] and "member" not in rows[0]
    assert [(row["omega_y"], row["kappa"]) for row in rows[:3]] == [("1.0", "0.0"), ("4.0", "0.0"), ("1.0", "0.3")]
    table = read_netcdf(found.netcdf)
    assert table["energy"].dims == ("variant", "seed", "member")
    assert table["trained"].values.tolist() == [1, 1, 1] and table["reference_is_exact"].values.tolist() == [1, 1, 1]
    # Without a coupling, three fermions in 00, 10 and 01, and in 00, 10 and 20.
    np.testing.assert_allclose(table["reference"].sel(kappa=0.0), [(1 + 2 + 2) / 3, (2.5 + 3.5 + 4.5) / 3])
    one = table.sel(omega_y=4.0, kappa=0.0)
    np.testing.assert_allclose(one["error"].sel(variant="full") - one["error"].sel(variant="separate"), 1.0)
    assert (
        "energies minus the closed form, in ħω₀ per electron" in found.sentences[0] and "3 points" in found.sentences[0]
    )
    assert any(text.startswith("separate (one wavefunction") and "better by 1.000" in text for text in found.sentences)
    assert found.figure.stat().st_size > 10000
