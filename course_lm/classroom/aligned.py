"""Make the assistant that people's votes have moved, once; afterwards it is ready at once.

    python -m course_lm.classroom.aligned

The recipe is that of lesson 11: simulated people compare 1,000 pairs of responses, a reward model
learns from their votes, and GRPO moves the assistant toward what the reward model likes. It takes
about a minute on one core.
"""

import copy
from itertools import islice

import torch

from course_lm.finetuning.tasks import task_vocabulary
from course_lm.language.lab import START
from course_lm.models.transformer import Transformer
from course_lm.rlhf.annotators import Annotator, as_ids, compared
from course_lm.rlhf.gold import prompts
from course_lm.rlhf.policy import Practice, optimise
from course_lm.rlhf.preferences import labels
from course_lm.rlhf.reward import RewardModel, pairs, rewards_of, scalar_headed
from course_lm.training.checkpoints import load
from course_lm.training.loop import Recipe, train
from course_lm.training.states import cached, own_state, state_path

NAME = "aligned"
JUDGING = Recipe(steps=60, rate=0.003, matrix_rate=None)
MOVING = Recipe(steps=30, rate=0.002, matrix_rate=0.003, warmup=0.05)


def aligned() -> Transformer:
    """The assistant after policy optimisation, from the learner's cache; made where it is not."""
    return cached(NAME, make, task_vocabulary())


def make(votes: int = 1000, judging: Recipe = JUDGING, moving: Recipe = MOVING) -> Transformer:
    """Compare, vote, learn the reward and move the assistant."""
    words, rng = task_vocabulary(), torch.Generator().manual_seed(0)
    reference = load(state_path("assistant"), words).model
    asked = [words.ids_of(prompt.words) for prompt in prompts(votes, rng)]
    stream = compared(reference, words, prompts(3 * votes // 2, rng), rng)
    comparisons = list(islice(stream, votes))
    voted = labels(Annotator().votes(comparisons, rng))
    judge = RewardModel(scalar_headed(reference, layers=2))
    for _ in train(judge, pairs(as_ids(words, comparisons), voted, 32, rng), judging):
        pass
    policy = copy.deepcopy(reference)
    practice = Practice(stop=words.ids[START])

    def score(_, rollouts):
        return rewards_of(judge, rollouts.ids)

    for _ in optimise(policy, reference, asked, score, moving, practice, rng):
        pass
    return policy


if __name__ == "__main__":
    torch.set_num_threads(1)  # the steps are small, and the digits the same everywhere
    aligned()
    print(own_state(NAME))
