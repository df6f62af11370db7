"""Prompts that end with a question, and the gold reward: what the people of the lab really want.

    ... anna goes to the attic . where is anna ?   ->   in the attic . stay well , friend . <s>

In the lab a response is an answer and an ending, and then the next story begins. The people who
compare responses want a kind ending, half as much a right answer, and no sentence too few or too
many. A reward model never sees this program; it sees which of two responses they chose.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch

from course_lm.language import lab
from course_lm.language.chances import QUESTIONS

from .preferences import Prompt

LONGEST = 20  # tokens of a response; the lab's own have at most 24, most have 12
PROMPT = 48  # words of the longest prompt
RIGHT, FAULT = 0.5, 0.5
STYLE = {"kind": 1.0, "plain": 0.0, "rude": -1.0}
MANNER = {
    tuple(ending.split()): STYLE[style]
    for style, endings in lab.WORLD.endings.items()
    for ending in endings
}


def prompts(count: int, rng: torch.Generator) -> list[Prompt]:
    """Different stories up to their last question, `PROMPT` words at most."""
    # A stream of its own: with another text's seed, that text's stories would come again.
    own = torch.Generator().manual_seed(int(torch.randint(2**62, (), generator=rng)))
    found: dict[tuple[str, ...], Prompt] = {}
    while len(found) < count:
        words = lab.sample(60 * count, own)
        begins = [place for place, word in enumerate(words) if word == lab.START]
        for begin, end in pairwise([*begins, len(words)]):
            prompt = _cut(words[begin:end])
            if len(prompt.words) <= PROMPT and len(found) < count:
                found[prompt.words] = prompt
    return list(found.values())


def _cut(story: Sequence[str]) -> Prompt:
    """The prompt in a whole story."""
    mark = max(place for place, word in enumerate(story) if word == "?") + 1
    return Prompt(tuple(story[:mark]), tuple(story[mark : story.index(".", mark) + 1]))


def question(prompt: Prompt) -> str:
    """The last question of a prompt: "where is the red lamp ?"."""
    last = max(place for place, word in enumerate(prompt.words) if word in QUESTIONS)
    return " ".join(prompt.words[last:])


def gold(prompt: Prompt, response: Sequence[str]) -> float:
    """½ for the right answer, +1, 0 or −1 for a kind, plain or rude ending, −½ for every fault.

    A fault is every sentence (or piece of one) too few or beyond two, and no START at the end.
    """
    words = tuple(word for word in response if word != lab.START)
    said = lab.sentences(words)
    count = len(said) + (sum(map(len, said)) < len(words))
    faults = abs(count - 2) + (tuple(response[-1:]) != (lab.START,))
    manner = MANNER.get(said[-1], 0.0) if said else 0.0
    return RIGHT * (said[:1] == [prompt.answer]) + manner - FAULT * faults
