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

from qernel.cli import main
from qernel.studies.ablation._ablate import at_depth, variants
from qernel.layers import trainable
from qernel.studies.ablation import ablation_error, ablation_verdict
from qernel.studies.ablation._analysis import seed_mean
from qernel.presets import load


def perturbed(problem):
    """The wavefunction away from its start, where FiLM is the identity and the weights do not know λ."""
    trained, static = eqx.partition(problem.ansatz, trainable(problem.ansatz))
    return eqx.combine(jax.tree.map(lambda leaf: leaf + 0.1, trained), static)


def log_psi_at(problem, depth, ansatz=None):
    parameters = problem.family_at((depth,)).select(0)
    return float((ansatz or perturbed(problem))(problem.positions[0, 0], parameters).log_magnitude)


def test_without_film_the_features_do_not_know_the_depth():
    def features(problem, value):
        ansatz = perturbed(problem)
        condition = jnp.full((ansatz.conditioner.size,), value)
        return np.asarray(ansatz.features(problem.positions[0, 0], problem.family.select(0), condition))

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


def test_checkpoints_from_before_these_settings_still_fit():
    assert not {"film", "conditioned"} & tiny_config().identity()["ansatz"].keys()
    assert tiny_config("ansatz.film=false").identity()["ansatz"]["film"] is False


def test_dense_has_as_many_hidden_units_as_the_experts():
    config = tiny_config("ansatz.gate=top_k", "ansatz.top_k=2", "ansatz.experts=4")
    made = {
        name: load("moire-6", [*TINY, "ansatz.gate=top_k", "ansatz.top_k=2", "ansatz.experts=4", *settings])
        for name, (_, settings) in variants(config).items()
    }
    assert made["dense"].ansatz.expert_width == 4 * config.ansatz.expert_width
    assert made["narrow"].ansatz.expert_width == 2 * config.ansatz.expert_width
    assert made["multi-head"].ansatz.key_value_heads == made["multi-head"].ansatz.query_heads


def test_separate_wavefunctions_share_one_compiled_program():
    problem = tiny_problem()
    first, second = at_depth(problem, 0), at_depth(problem, 1)
    assert float(first.family.parameters.depth[0]) < float(second.family.parameters.depth[0])
    assert first.config.system.depths_meV == (5.0,)
    static = [jax.tree.structure((p.ansatz, p.family, p.method)) for p in (first, second)]
    assert static[0] == static[1]
    assert first.positions.shape == (1, *problem.positions.shape[1:])


def synthetic(shift, spread, seeds=3, bar=0.001):
    rng = np.random.default_rng(0)
    names, depths = ["full", "other"], np.array([0.0, 5.0, 10.0])
    common = rng.normal(0, 1.0, (1, seeds, 1))
    error = common + spread * rng.normal(0, 1, (2, seeds, 3)) + np.array([0.0, shift])[:, None, None] + 0 * depths
    of = lambda x: (("variant", "seed", "depth"), x)
    return xarray.Dataset(
        {
            "error": of(error),
            "energy_error": of(np.full_like(error, bar)),
            "seconds": (("variant", "seed"), np.array([[10.0] * seeds, [20.0] * seeds])),
            "family_depth": ("depth", np.array([1, 0, 1], np.int8)),
            "reference_is_exact": ("depth", np.ones(3, np.int8)),
        },
        {"variant": names, "seed": range(seeds), "depth": depths, "meaning": ("variant", ["as is", "without it"])},
        {"units": "meV per electron"},
    )


def test_differences_are_paired_over_seeds():
    """The seeds' common scatter, of size 1, is no part of the difference's error."""
    dataset = synthetic(shift=0.3, spread=0.01)
    found = ablation_error(dataset, "other", "full")
    assert found.mean == pytest.approx(0.3, abs=0.05) and found.error < 0.05 and found.significant
    assert ablation_error(dataset, "other").error > 0.2
    assert any("other (without it): worse by" in line and "2.00 times" in line for line in ablation_verdict(dataset))


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


@pytest.fixture
def ablate(capsys, tmp_path):
    def call(*arguments):
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main(["ablate", *map(str, arguments), *TINY, "--out", str(tmp_path / "out")])
        captured = capsys.readouterr()
        return stopped.value.code or 0, captured.out + captured.err

    return call


def test_a_whole_ablation_resumes_without_training_again(ablate, tmp_path):
    out = tmp_path / "out"
    code, text = ablate("--only", "separate", "full", "--seeds", 2, "--steps", 3)
    assert code == 0, text
    assert "4 runs, 0 of them finished before" in text and "separate (one wavefunction" in text
    # No exact energies are known of this system.
    assert "energies minus the lowest energy of all variants" in text
    rows = list(csv.DictReader((out / "ablation.csv").open()))
    assert len(rows) == 2 * 2 * 2
    assert {(row["variant"], row["seed"]) for row in rows} == {(v, s) for v in ("full", "separate") for s in "01"}
    assert len({row["energy"] for row in rows}) == 8
    size = {row["variant"]: int(row["parameters"]) for row in rows}
    assert size["separate"] == 2 * size["full"]
    assert (out / "ablation.nc").is_file() and (out / "ablation.png").stat().st_size > 10000

    before = {path: os.stat(path).st_mtime_ns for path in out.glob("*/seed-*.nc")}
    (out / "full" / "seed-1.nc").unlink()
    table = (out / "ablation.csv").read_text()
    code, text = ablate("--only", "separate", "full", "--seeds", 2, "--steps", 3)
    assert code == 0 and "4 runs, 3 of them finished before" in text
    after = {path: os.stat(path).st_mtime_ns for path in out.glob("*/seed-*.nc")}
    assert [path for path in before if before[path] != after[path]] == [out / "full" / "seed-1.nc"]
    energies = lambda text: [(row["variant"], row["seed"], row["energy"]) for row in csv.DictReader(text.splitlines())]
    assert energies((out / "ablation.csv").read_text()) == energies(table)

    code, text = ablate("--steps", 4)
    assert code == 2 and "holds an ablation with training.steps = 3, not 4: choose another --out" in text


def test_an_unknown_variant_is_one_sentence(ablate, tmp_path):
    code, text = ablate("--only", "full", "no-flim")
    assert code == 2 and "there is no variant 'no-flim': there are full, no-film" in text
    assert "Traceback" not in text and not (tmp_path / "out").exists()
