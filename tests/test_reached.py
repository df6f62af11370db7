"""How near PPO, GRPO and DPO come to the exact optimum: all that a policy says is enumerated.

Slow, so only on demand: `pytest -m slow`.
"""

import copy
from itertools import islice

import pytest
import torch

from course_lm.finetuning.tasks import task_vocabulary
from course_lm.language import lab
from course_lm.rlhf.annotators import Annotator, as_ids, compared
from course_lm.rlhf.direct import ImplicitReward
from course_lm.rlhf.gold import LONGEST, gold, prompts
from course_lm.rlhf.optimum import best_value, enumerate_responses, reward_and_kl
from course_lm.rlhf.policy import Practice, optimise
from course_lm.rlhf.preferences import labels
from course_lm.rlhf.reward import pairs, scalar_headed
from course_lm.rlhf.rollouts import label_log_probs, with_labels
from course_lm.training.checkpoints import load
from course_lm.training.loop import Recipe, train
from course_lm.training.states import state_path

BETA, NEW = 0.5, 24  # price of a nat of KL; stories that nobody has trained on
VOCABULARY = task_vocabulary()
STOP = VOCABULARY.ids[lab.START]
pytestmark = pytest.mark.usefixtures("one_thread")


def listed(model, prompt):
    """Ids of all likely responses, log-probabilities, gold rewards."""
    ids = VOCABULARY.ids_of(prompt.words)
    said, log_probs = enumerate_responses(model, ids, STOP, LONGEST)
    return said, log_probs, torch.tensor([gold(prompt, VOCABULARY.tokens_of(r)) for r in said])


def value(policy, reference, prompt):
    """E[reward] − β KL(policy ‖ reference) over the policy's own responses."""
    said, log_probs, rewards = listed(policy, prompt)
    assert log_probs.exp().sum() > 0.95
    ids = [VOCABULARY.ids_of(prompt.words)] * len(said)
    before = label_log_probs(reference, *with_labels(ids, said)).sum(1)
    chances = log_probs.exp() / log_probs.exp().sum()
    return (chances * (rewards - BETA * (log_probs - before))).sum().item()


def limits(reference, new):
    """J_ref and J*: what the reference and the best possible policy are worth."""
    tables = [listed(reference, prompt)[1:] for prompt in new]
    start = sum(reward_and_kl(p, p, r)[0] for p, r in tables)
    return start / NEW, sum(best_value(p, r, BETA) for p, r in tables) / NEW


def share(policy, reference, new):
    """Of the way from the reference to the exact optimum."""
    start, best = limits(reference, new)
    reached = sum(value(policy, reference, prompt) for prompt in new) / NEW
    return (reached - start) / (best - start)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(
    ("method", "steps", "rate", "least"),
    [
        ("PPO", 60, 0.002, 0.9),
        ("GRPO", 60, 0.002, 0.9),
        ("PPO", 200, 0.0015, 0.95),
        ("GRPO", 180, 0.001, 0.95),
    ],
)
def test_a_policy_comes_near_the_exact_optimum(method, steps, rate, least, seed):
    rng = torch.Generator().manual_seed(seed)
    reference = load(state_path("assistant"), VOCABULARY).model
    asked, new = prompts(1000, rng), prompts(NEW, rng)

    def score(places, rollouts):
        said = map(VOCABULARY.tokens_of, rollouts.responses)
        return torch.tensor([gold(asked[n], words) for n, words in zip(places, said, strict=True)])

    policy, critic = copy.deepcopy(reference), None
    if method == "PPO":
        critic = scalar_headed(reference, layers=1)
    recipe = Recipe(steps=steps, rate=rate, matrix_rate=1.5 * rate, warmup=0.05)
    practice = Practice(method=method, beta=BETA, stop=STOP)
    ids = [VOCABULARY.ids_of(prompt.words) for prompt in asked]
    *_, last = optimise(policy, reference, ids, score, recipe, practice, rng, critic)
    reached = share(policy, reference, new)
    print(f"{method}, seed {seed}: {reached:.3f} after {steps} updates, {last.seconds:.0f} s")
    assert least < reached < 1


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_dpo_comes_near_it_from_two_thousand_noisy_votes(seed):
    rng = torch.Generator().manual_seed(seed)
    reference = load(state_path("assistant"), VOCABULARY).model
    stream = compared(reference, VOCABULARY, prompts(3000, rng), rng)
    comparisons, new = list(islice(stream, 2000)), prompts(NEW, rng)
    ids, votes = as_ids(VOCABULARY, comparisons), labels(Annotator().votes(comparisons, rng))
    policy, recipe = copy.deepcopy(reference), Recipe(steps=60, rate=0.0003, matrix_rate=None)
    model, batches = ImplicitReward(policy, reference, BETA), pairs(ids, votes, 64, rng)
    *_, last = train(model, batches, recipe)
    reached = share(policy, reference, new)
    print(f"DPO, seed {seed}: {reached:.3f} after {last.step} steps, {last.seconds:.0f} s")
    assert 0.85 < reached < 1
