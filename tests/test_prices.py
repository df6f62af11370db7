"""The price dial: two responses by hand, what the best policy does as the price falls."""

import math
import re
from itertools import pairwise

import pytest
import torch
from html_tags import Tags
from test_figures import HOSTILE

from course_lm.viewing.prices import price_dial, price_html

SAID = ["get lost .", "thank you ."]
LOGS = torch.tensor([0.75, 0.25]).log()
REWARDS = torch.tensor([-1.0, 1.0])
BETAS = [5.0, 1.0, 0.5]


def test_two_responses_have_the_chances_worked_by_hand():
    made = price_html(SAID, LOGS, REWARDS, BETAS, 1)
    kind = 0.25 * math.e / (0.25 * math.e + 0.75 / math.e)  # π_ref e^(r/β) / Z
    head, _, first, second = made.text.splitlines()
    distance = kind * math.log(kind / 0.25) + (1 - kind) * math.log((1 - kind) / 0.75)
    assert head.startswith(f"β = 1: the best policy gets a reward of {2 * kind - 1:.3f} on average")
    assert f"{distance:.3f} nats from the reference" in head
    assert first.split() == ["thank", "you", ".", "1.00", "0.250", f"{kind:.3f}"]
    assert second.split() == ["get", "lost", ".", "−1.00", "0.750", f"{1 - kind:.3f}"]


def test_the_lower_the_price_the_higher_the_reward_and_the_farther_the_policy():
    def told(place):
        head = price_html(SAID, LOGS, REWARDS, BETAS, place).text.splitlines()[0]
        _, reward, kl = re.findall(r"−?[\d.]+(?= on| nats|:)", head)
        return float(reward.replace("−", "-")), float(kl)

    rewards, distances = zip(*map(told, range(len(BETAS))), strict=True)
    assert all(
        one < next_one for series in (rewards, distances) for one, next_one in pairwise(series)
    )


def test_the_same_rows_are_shown_at_every_price_and_the_best_reward_comes_first():
    rng = torch.Generator().manual_seed(0)
    logs, rewards = torch.randn(30, generator=rng).log_softmax(0), torch.randn(30, generator=rng)
    said = [f"no {n}" for n in range(30)]
    pictures = [price_html(said, logs, rewards, BETAS, place).text for place in range(3)]
    rows = [[line.split()[1] for line in text.splitlines()[2:]] for text in pictures]
    assert rows[0] == rows[1] == rows[2]
    ends = logs, logs + rewards / min(BETAS)
    assert {*map(int, rows[0])} == {n for end in ends for n in end.topk(4).indices.tolist()}
    shown = [rewards[int(n)].item() for n in rows[0]]
    assert shown == sorted(shown, reverse=True)


def test_responses_are_shown_as_text():
    tags = Tags(price_html([HOSTILE, "b"], LOGS, REWARDS, BETAS, 0).html)
    assert f"{HOSTILE} " in tags.words


@pytest.mark.parametrize(("responses", "known"), [(2, 1), (1, 2), (0, 0)])
def test_lists_of_different_lengths_and_no_response_are_refused(responses, known):
    with pytest.raises(ValueError, match="prices: expected responses with a log-probability and"):
        price_html(SAID[:responses], LOGS[:known], REWARDS[:known], BETAS, 0)


@pytest.mark.parametrize("beta", [0.0, -1.0, math.inf, math.nan])
def test_a_beta_that_is_no_price_is_refused(beta):
    with pytest.raises(ValueError, match="optimum: expected a finite beta above 0"):
        price_html(SAID, LOGS, REWARDS, [1.0, beta], 1)


def test_the_dial_shows_what_the_static_picture_shows():
    dial, shown = price_dial(SAID, LOGS, REWARDS, BETAS).children
    for place in range(len(BETAS)):
        dial.value = place
        assert shown.value == price_html(SAID, LOGS, REWARDS, BETAS, place).html
