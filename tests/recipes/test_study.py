"""Study files: those that come with nuadapt are legal, and what is wrong in one is refused when it is read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from nuadapt.errors import ConfigError
from nuadapt.evaluation.explain.stage import ExplainConfig
from nuadapt.recipes.study import EvaluationPlan, Study, load_study, study_names

GIVEN = {
    "title": "Two models",
    "sets": {"noise": ["readout.noise=1e-4"]},
    "models": {
        "vit": {"train": "vit-{scale}", "explain": {"evidence": 3}},
        "vlm": {"train": "vlm-{scale}", "takes": {"language.tower": "vit"}, "words": ["language.rank=4"]},
    },
    "evaluate": [{}, {"coarsen": 2, "how": "mean"}, {"events": "noise"}],
    "scales": {"smoke": {"events": 30, "set_events": 5, "models": {"vit": None, "vlm": {"words": ["seed=7"]}}}},
}


def loaded(folder: Path, **changed: object) -> Study:
    """The study above with other entries."""
    file = folder / "mine.yaml"
    file.write_text(yaml.safe_dump({**GIVEN, **changed}, sort_keys=False))
    return load_study(file, "smoke")


@pytest.mark.parametrize("scale", ["smoke", "laptop", "paper"])
@pytest.mark.parametrize("name", study_names())
def test_the_studies_that_come_with_nuadapt_are_legal(name, scale):
    study = load_study(name, scale)  # reads every recipe with its words
    assert scale in study.heading
    for model, plan in study.models.items():
        folders = [question.name for question in plan.evaluate]
        assert len(set(folders)) == len(folders), f"two evaluations of {model} share a folder"
    assert all(events.seed != study.events.seed for events in study.sets.values()), "trained on what is asked"


@pytest.mark.parametrize("scale", ["smoke", "laptop", "paper"])
@pytest.mark.parametrize("name", study_names())
def test_shipped_models_are_not_asked_about_the_events_that_they_were_trained_on(name, scale):
    study = load_study(name, scale)
    asked = [study.events, *study.sets.values()] if any(plan.run for plan in study.models.values()) else []
    assert all(events.seed != 1 for events in asked)  # src/nuadapt/models/pretrained/README.md


def test_a_scale_may_have_its_own_seed(tmp_path):
    study = loaded(tmp_path, scales={"smoke": {"events": 30, "seed": 50}})
    assert (study.events.seed, study.sets["noise"].seed) == (50, 51)


def test_sizes_and_models_by_scale():
    assert {scale: load_study("cnn", scale).events.events for scale in ("smoke", "laptop", "paper")} == {
        "smoke": 1200,
        "laptop": 20000,
        "paper": 190000,
    }
    laptop = load_study("vlm", "laptop")
    assert laptop.training("vlm-rank-64", {"vit": "runs/vit"}).language.rank == 64
    assert laptop.training("vlm-prompt-none").language.prompt == "none"
    assert laptop.training("vlm", {"vit": 'runs/a "b": c'}).language.tower == 'runs/a "b": c'
    assert "vlm-rank-64 1500" in laptop.heading
    assert {q.how for q in laptop.models["cnn"].evaluate if q.coarsen == 2} == {None, "mean"}
    few = [laptop.training(n) for n in laptop.models if n.startswith("vlm-")]
    assert len({config.train_events for config in few}) == 1, "ablations are compared at equal size"


def test_the_published_training_is_as_published():
    config = load_study("vlm", "paper").training("vlm")
    assert (config.optimizer.lr, config.optimizer.schedule, config.optimizer.max_grad_norm) == (2e-4, "constant", 0.3)
    assert (config.epochs, config.batch_size * config.accumulate, config.optimizer.warmup_epochs) == (1, 8, 0.03)
    assert config.preset == "llama-3.2-11b-vision"


def test_a_file_becomes_a_study(tmp_path):
    study = loaded(tmp_path)
    assert study.models["vit"].explain == ExplainConfig(evidence=3)
    assert study.models["vlm"].words == ("language.rank=4", "seed=7")
    assert study.models["vlm"].evaluate == (
        EvaluationPlan(),
        EvaluationPlan(coarsen=2, how="mean"),
        EvaluationPlan(events="noise"),
    )
    assert [q.name for q in study.models["vit"].evaluate] == ["test", "test-coarsen2-mean", "noise"]
    assert study.sets["noise"].simulation.readout.noise == 1e-4
    assert (study.sets["noise"].events, study.sets["noise"].seed, study.events.seed) == (5, 2, 1)
    assert study.heading == "Two models (smoke scale, 30 events; training events at most: vlm 32)"


def test_a_recipe_may_stand_beside_the_study(tmp_path):
    (tmp_path / "own-smoke.yaml").write_text("preset: siamese-cnn-small\nepochs: 7\n")
    study = loaded(tmp_path, models={"vit": {"train": "own-{scale}.yaml"}, "vlm": {"train": "vlm-smoke"}})
    assert study.training("vit").epochs == 7


VIT, VLM = GIVEN["models"]["vit"], GIVEN["models"]["vlm"]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"titel": "x"}, "titel.*title"),
        ({"title": ""}, "needs 'title'"),
        ({"models": {"vit": {**VIT, "trian": 1}, "vlm": VLM}}, "trian.*train"),
        ({"models": {"vit": {}, "vlm": VLM}}, "model vit.*lacks 'train'"),
        ({"models": {"vit": {**VIT, "run": "somewhere"}, "vlm": VLM}}, "model vit.*somewhere is finished"),
        ({"models": {"vit": {**VIT, "train": "vit-smok"}, "vlm": VLM}}, "vit-smoke"),
        ({"models": {"vit": {**VIT, "words": ["epoch=1"]}, "vlm": VLM}}, "epoch.*epochs"),
        ({"models": {"vit": {**VIT, "explain": {"reason": 1}}, "vlm": VLM}}, "reason.*reasons"),
        ({"models": {"vit": VIT, "vlm": {**VLM, "takes": {"language.tower": "vti"}}}}, "'vti'.*earlier"),
        ({"models": {"vit": VIT, "vlm": {**VLM, "takes": {"language.towr": "vit"}}}}, "towr.*tower"),
        ({"evaluate": [{"events": "nois"}]}, "'nois'.*noise"),
        ({"evaluate": [{"coarse": 2}]}, "coarse.*coarsen"),
        ({"sets": {"noise": ["readout.nose=1"]}}, "set noise.*nose.*noise"),
        ({"sets": {"noise": [], "a/b": []}}, "a/b"),
        ({"sets": {"noise": [], "test": []}}, "'test' cannot name"),
        ({"scales": {"smok": {"events": 5}}}, "no scale 'smoke'.*smok"),
        ({"scales": {"smoke": {"events": 5, "models": {"vlmm": {}}}}}, "'vlmm'.*vlm"),
        ({"scales": {"smoke": {"set_events": 5}}}, "0 events"),
    ],
)
def test_what_is_wrong_is_refused_with_the_nearest_legal_name(tmp_path, changed, said):
    with pytest.raises(ConfigError, match=said):
        loaded(tmp_path, **changed)


def test_a_model_cannot_take_from_a_later_one(tmp_path):
    with pytest.raises(ConfigError, match="'vit', which is not an earlier model"):
        loaded(tmp_path, models={"vlm": VLM, "vit": VIT}, scales={"smoke": {"events": 5}})


def test_unknown_names_are_refused_with_the_nearest():
    with pytest.raises(ConfigError, match="cnn"):
        load_study("cnm", "smoke")
    with pytest.raises(ConfigError, match="laptop"):
        load_study("cnn", "lapdop")


JETS = {
    "title": "Pretraining",
    "detector": "minerva",
    "simulation": ["response.noise_blobs=0.1"],
    "sets": {"jets": {"detector": "jets", "simulation": ["radius=0.4"]}, "quiet": ["response.noise_blobs=0"]},
    "models": {
        "jets": {"train": "pretrain-{scale}", "events": "jets", "evaluate": []},
        "tuned": {"train": "transfer-{scale}", "takes": {"pretrained.checkpoint": "jets"}, "seeds": 2},
        "long": {"train": "transfer-{scale}", "spends": "tuned", "seeds": 2},
    },
    "scales": {"smoke": {"events": 30, "set_events": {"jets": 20, "quiet": 10}}},
}


def test_sets_may_be_of_another_simulation(tmp_path):
    study = loaded(tmp_path, **JETS, evaluate=[{}])
    assert (study.sets["jets"].events, study.sets["quiet"].events) == (20, 10)
    assert study.sets["jets"].simulation.radius == 0.4
    assert study.sets["quiet"].simulation.response.noise_blobs == 0
    assert study.events.simulation.response.noise_blobs == 0.1
    assert study.models["jets"].evaluate == ()


def test_of_several_seeds_each_takes_from_and_spends_its_own(tmp_path):
    models = loaded(tmp_path, **JETS, evaluate=[{}]).models
    assert list(models) == ["jets", "tuned-seed1", "tuned-seed2", "long-seed1", "long-seed2"]
    assert models["tuned-seed2"].takes == {"pretrained.checkpoint": "jets"}
    assert [models[f"long-seed{seed}"].spends for seed in (1, 2)] == ["tuned-seed1", "tuned-seed2"]
    assert models["long-seed2"].words == ("seed=2",)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"jets": {**JETS["models"]["jets"], "events": "jts"}}, "trained on 'jts'.*jets"),
        ({"jets": {**JETS["models"]["jets"], "spends": "tuned"}}, "'tuned-seed1', which is not an earlier model"),
    ],
)
def test_wrong_events_and_costs_are_refused(tmp_path, changed, said):
    with pytest.raises(ConfigError, match=said):
        loaded(tmp_path, **{**JETS, "models": {**JETS["models"], **changed}}, evaluate=[{}])


def test_a_set_without_a_number_of_events_is_refused(tmp_path):
    scales = {"smoke": {"events": 30, "set_events": {"jets": 20}}}
    with pytest.raises(ConfigError, match=r"set quiet.*0 events"):
        loaded(tmp_path, **{**JETS, "scales": scales}, evaluate=[{}])


@pytest.mark.parametrize("scale", ["smoke", "laptop", "paper"])
def test_the_arms_of_the_transfer_question_differ_in_pretraining_and_epochs_alone(scale):
    study, steps = load_study("minerva", scale), []
    firsts = [name for name in study.models if re.fullmatch(r"(few|some|many)-random(-seed\d)?", name)]
    for first in firsts:
        size, _, seed = first.partition("-random")
        arms = [first, f"{size}-pretrained{seed}", f"{size}-random-long{seed}", f"{size}-frozen{seed}"]
        configs = [study.training(name).as_dict() for name in arms]
        for config in configs:
            config.pop("pretrained")
        assert all(config == configs[0] for config in configs)  # before `spends`
        assert study.models[arms[2]].spends == arms[1]
        assert configs[0]["patience"] > 10 * configs[0]["epochs"], "equal steps need no early stopping"
        steps.append(-(-configs[0]["train_events"] // configs[0]["batch_size"]) * configs[0]["epochs"])
    assert len(firsts) == {"smoke": 1, "laptop": 6, "paper": 3}[scale]
    assert scale == "smoke" or max(steps) < 1.1 * min(steps)
