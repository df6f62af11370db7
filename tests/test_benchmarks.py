"""The table of the benchmarks and the recipes that it compares, without running one."""

import importlib
import json
import math
import sys
from pathlib import Path

import pytest
import torch
from small_models import seeded

from course_lm.language.windows import random_windows
from course_lm.training.loop import Recipe, Step, train

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))
alignment, floor, language, peers, race, recipes, run, speed, table = map(
    importlib.import_module,
    ("alignment", "floor", "language", "peers", "race", "recipes", "run", "speed", "table"),
)
SETUPS = [recipes.LLAMA, *recipes.MINUTE.values()]


# -- the table


@pytest.mark.parametrize(
    ("unit", "ratio"),
    [("words/s", 2), ("% of peak", 2), ("seconds", 0.5), ("nats/character", 0.5), ("exponent", "")],
)
def test_a_ratio_above_one_means_that_ours_is_better(unit, ratio):
    assert table.row("a", unit, 10.0, 5.0, "")["ratio"] == ratio


def test_what_was_not_reached_has_no_ratio():
    new = table.row("a", "seconds", table.NOT_REACHED, 5.0, "")
    assert new["ratio"] == ""
    assert table.line(new).count("not reached") == 1


def test_without_nltk_its_rows_say_that_they_were_not_measured():
    rows = list(language.rows_without_nltk())
    assert [row["what"] for row in rows] == [language.FIT, language.SCORE]
    assert [table.line(row).count("not measured") for row in rows] == [3, 3]


def test_without_its_package_a_part_says_that_it_was_not_measured(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert {"race", "training", "generation", "alignment"} == set(run.NEEDS)
    for part, package in run.NEEDS.items():
        (row,) = run.rows(part, recipes.QUICK, None)
        assert table.line(row).count("not measured") == 3
        assert f"{package} is not installed" in row["about"]


@pytest.mark.parametrize(("value", "text"), [(0.5, "0.50"), (1712748.46, "1,712,748")])
def test_numbers_are_written_with_two_decimals_below_a_thousand(value, text):
    assert text in table.line(table.row("a", "seconds", value, value, ""))


def test_every_number_stands_under_its_heading():
    new = table.row("a", "seconds", 10.0, 5.0, "peer")
    assert len(table.heading()) == len(table.line(new))


def test_parts_that_were_not_measured_keep_their_rows(tmp_path):
    results = tmp_path / "results.json"
    run.keep([{"part": "lab", "ours": 1}, {"part": "race", "ours": 2}], results)
    run.keep([{"part": "race", "ours": 3}, {"part": "ngrams", "ours": 4}], results)
    run.keep([{"part": "lab", **table.not_measured("lab", "", "nltk")}], results)
    rows = json.loads(results.read_text("utf-8"))
    assert [(row["part"], row["ours"]) for row in rows] == [("lab", 1), ("ngrams", 4), ("race", 3)]
    assert all("threads, torch" in row["machine"] for row in rows)


def test_the_rows_that_are_kept_belong_to_parts():
    rows = json.loads(run.RESULTS.read_text("utf-8"))
    assert {row["part"] for row in rows} <= set(run.PARTS)


def test_an_unknown_part_is_named(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["run.py", "trainig"])
    with pytest.raises(SystemExit):
        run.main()
    assert "got trainig" in capsys.readouterr().err


# -- how it is measured


def test_a_quarter_of_the_steps_is_faster_than_the_clean_time():
    assert table.clean([1.0, 2.0, 3.0, 4.0, 100.0]) == 2.0


def test_the_exponent_of_a_power_is_found_and_a_constant_factor_changes_nothing():
    sizes = (64, 128, 512)
    assert table.exponent(sizes, [3.0 * size**1.5 for size in sizes]) == pytest.approx(1.5)
    assert table.exponent(sizes, [0.2, 0.2, 0.2]) == pytest.approx(0.0)


def test_trainings_take_turns_and_the_first_step_does_not_count():
    pulled = []

    def training(name):
        for step in range(4):
            pulled.append((name, step))
            yield

    times = table.step_seconds(training("a"), training("b"), rounds=3)
    assert pulled == [(name, step) for step in range(4) for name in "ab"]
    assert all(time >= 0 for time in times)


def test_the_next_step_goes_to_the_training_that_had_least_time():
    order = []

    def training(name, each, steps):
        for step in range(1, steps + 1):
            order.append(name)
            yield Step(step, 0.0, 0.0, 0.0, each * step, step)

    times = race.share_time({"fast": training("fast", 1.0, 4), "slow": training("slow", 2.0, 2)})
    assert times == {"fast": [1.0] * 4, "slow": [2.0, 2.0]}
    assert order == ["fast", "slow", "fast", "fast", "slow", "fast"]


def test_the_first_budget_that_reaches_the_loss_counts():
    tried = []

    def training(steps):
        tried.append(steps)
        return race.Run(steps, 1.0, 1.0, validation=100 / steps, test=0.0)

    assert race.reach(1.0, (50, 100, 200), training).steps == 100
    assert tried == [50, 100]
    assert race.reach(0.1, (50, 100, 200), training) is None


def test_of_the_budgets_of_a_rival_the_one_with_the_lowest_validation_loss_counts(
    monkeypatch, tmp_path
):
    def runs(validation, test):
        return dict.fromkeys(recipes.MINUTE, race.Run(1, 1.0, 1.0, validation, test))

    by_budget = {20: runs(validation=1.0, test=3.0), 60: runs(validation=2.0, test=0.5)}
    monkeypatch.setattr(race, "side_by_side", lambda text, seconds: by_budget[seconds])
    path = tmp_path / "own.txt"
    path.write_text("to be or not to be\n" * 200, "utf-8")
    rows = list(race.rival_rows(recipes.replace(recipes.QUICK, budgets=(20, 60)), path))
    assert [row["ours"] for row in rows] == [3.0] * 4


def test_the_work_of_a_step_is_counted_from_its_matrices():
    width, layers, tokens = peers.WIDTH, peers.LAYERS, 10
    block = 4 * width**2 + 3 * width * peers.HIDDEN
    weights = layers * block + width * speed.VOCABULARY
    attention = 12 * layers * width * peers.CONTEXT
    assert speed.flops(speed.transformer(8), tokens) == tokens * (6 * weights + attention)


def test_a_file_of_your_own_is_cut_into_three_parts(tmp_path):
    path = tmp_path / "own.txt"
    path.write_text("to be or not to be\n" * 200, "utf-8")
    text = race.read_text(path)
    assert [len(part) for part in (text.train, text.validation, text.test)] == [3040, 380, 380]
    assert text.vocab_size == len(set("to be or not to be\n"))


# -- what is compared


@pytest.mark.parametrize("setup", SETUPS)
def test_every_recipe_trains(setup):
    model = setup.model(11, seeded())
    ids = torch.randint(11, (3 * setup.context,), generator=seeded())
    batches = random_windows(ids, setup.context, 1, seeded())
    (step,) = train(model, batches, Recipe(**setup.recipe, steps=1))
    assert step.loss == pytest.approx(math.log(11), abs=0.3)


def test_the_peer_warms_up_and_ends_at_a_tenth():
    rates = [peers.rate(step, 2_000) for step in range(2_000)]
    assert max(rates) == rates[peers.WARMUP] == pytest.approx(1e-3)
    assert rates[: peers.WARMUP + 1] == sorted(rates[: peers.WARMUP + 1])
    assert rates[-1] == pytest.approx(1e-4, rel=0.01)


@pytest.mark.parametrize("effort", [recipes.FULL, recipes.QUICK])
def test_budgets_are_tried_from_small_to_large(effort):
    for budgets in (effort.llama, effort.short, effort.middle):
        assert list(budgets) == sorted(set(budgets))


def test_the_aligned_policy_gives_every_response_its_full_length():
    (step, _) = alignment.our_grpo(1)
    lengths = [len(response) for _, response in step.responses]
    assert lengths == [alignment.RESPONSE] * alignment.PROMPTS * alignment.GROUP


def test_comparisons_begin_at_even_chances():
    policy, reference = alignment.transformer(0), alignment.transformer(0)
    implicit = alignment.ImplicitReward(policy, reference, alignment.BETA)
    judge = alignment.RewardModel(alignment.scalar_headed(policy))
    for model in (implicit, judge):
        first = next(alignment.our_comparisons(model, 1))
        assert (first.loss, first.tokens) == (pytest.approx(math.log(2)), alignment.PAIRS)


def test_the_ids_of_a_text_are_words_that_the_peer_reads_back():
    ids = alignment.random_ids(500)
    words = alignment.text(ids).split(" ")
    assert alignment.VOCABULARY.ids_of(words) == ids.tolist()
    assert not {alignment.END, alignment.START} & set(words)


# -- the lab's floor


def test_the_truth_stands_on_the_floor():
    words = language.lab.sample(3_000, seeded())
    assert abs(floor.over_floor(language.lab.Truth(), words)) < 1e-4


def test_neither_model_comes_below_the_floor_of_new_stories(monkeypatch):
    monkeypatch.setattr(floor, "WORDS", 20_000)
    monkeypatch.setattr(floor, "NEW", 3_000)
    (row,) = floor.floor_rows(recipes.replace(recipes.QUICK, seconds=0.5))
    assert min(row["ours"], row["peer"]) > 0
