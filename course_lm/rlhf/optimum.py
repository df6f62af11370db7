"""The best that any policy can do, worked out exactly: there is a limit, and it is known.

    π*(y|x) = π_ref(y|x) exp(r(x, y) / β) / Z(x),   Z(x) = Σ_y π_ref(y|x) exp(r(x, y) / β)
    J*(x) = max_π E_π[r] − β KL(π ‖ π_ref) = β log Z(x)

Source: Ziegler 2019, Korbak 2022 (RL with a KL penalty is Bayesian inference).
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from course_lm.models.contract import check_rewards
from course_lm.models.transformer import Transformer

NO_PRICE = "without a price the best policy always gives the response of the highest reward"


@torch.no_grad()
def enumerate_responses(
    model: Transformer, prompt: Sequence[int], stop: int, longest: int, least: float = 1e-4
) -> tuple[list[list[int]], Tensor]:
    """All responses whose probability is at least `least`, up to `stop` or `longest`, and log P.

    Their probabilities sum to a little less than 1; what is missing was too rare to be followed.
    """
    if not 0 < least <= 1 or longest < 1:
        raise ValueError(
            "enumerate_responses: expected a least probability above 0 and up to 1, and a longest "
            f"response of at least 1 token, got {least} and {longest}; take for instance 0.0001"
        )
    logits, memory = model.read(torch.tensor([list(prompt)]))
    begun, chances = torch.empty(1, 0, dtype=torch.long), torch.zeros(1)
    found: list[list[int]] = []
    scores: list[Tensor] = []
    for length in range(1, longest + 1):
        after = chances[:, None] + logits[:, -1].log_softmax(-1)  # (rows, V)
        parents, tokens = (after >= math.log(least)).nonzero(as_tuple=True)
        begun, chances = torch.cat([begun[parents], tokens[:, None]], 1), after[parents, tokens]
        ended = (tokens == stop) | (length == longest)
        found += begun[ended].tolist()
        scores.append(chances[ended])
        begun, chances, parents = begun[~ended], chances[~ended], parents[~ended]
        if not len(begun):
            break
        memory.select(parents)
        logits, memory = model.read(begun[:, -1:], memory)
    return found, torch.cat(scores)


def optimal(log_probs: Tensor, rewards: Tensor, beta: float) -> Tensor:
    """log π*(y|x) of enumerated responses: (N,), (N,) -> (N,).

    >>> optimal(torch.tensor([0.5, 0.5]).log(), torch.tensor([0.0, 1.0]), 1.0).exp()
    tensor([0.2689, 0.7311])
    """
    check_beta("optimum", beta, NO_PRICE)
    check_rewards("optimal", rewards)
    return (log_probs + rewards / beta).log_softmax(0)


def best_value(log_probs: Tensor, rewards: Tensor, beta: float) -> float:
    """J* = β log Σ π_ref exp(r / β) of enumerated responses, (N,), (N,), π_ref summing to 1."""
    check_beta("optimum", beta, NO_PRICE)
    check_rewards("best_value", rewards)
    return beta * torch.logsumexp(log_probs.log_softmax(0) + rewards / beta, 0).item()


def reward_and_kl(log_probs: Tensor, reference: Tensor, rewards: Tensor) -> tuple[float, float]:
    """E_π[r] and KL(π ‖ π_ref) of a policy over enumerated responses: (N,) each; nats."""
    check_rewards("reward_and_kl", rewards)
    log_probs, reference = log_probs.log_softmax(0), reference.log_softmax(0)
    chances = log_probs.exp()
    log_ratio = (log_probs - reference).masked_fill(chances == 0, 0.0)
    return (chances @ rewards).item(), (chances @ log_ratio).item()


def best_of_n(log_probs: Tensor, rewards: Tensor, n: int) -> Tensor:
    """log P of each response as the best of n drawn; equal rewards share alike: (N,), (N,) -> (N,).

    P(best ≤ r) = P(one ≤ r)ⁿ. Its KL from the reference is at most log n − (n − 1) / n.
    """
    if n < 1:
        raise ValueError(f"best_of_n: expected n of at least 1, got {n}; draw one or more")
    check_rewards("best_of_n", rewards)
    chances = log_probs.log_softmax(0).double().exp()
    levels, level = rewards.unique(return_inverse=True)  # in rising order
    mass = torch.zeros(len(levels), dtype=torch.double).scatter_add_(0, level, chances)
    up_to = mass.cumsum(0).clamp(max=1) ** n
    best = torch.diff(up_to, prepend=up_to.new_zeros(1))
    return (chances * (best / mass).nan_to_num()[level]).log().float()  # 0 / 0: never drawn


def check_beta(subject: str, beta: float, why: str) -> None:
    """Raise ValueError unless the price of a nat is above 0 and finite; `why` says what for."""
    if not 0 < beta < math.inf:
        raise ValueError(f"{subject}: expected a finite beta above 0, got {beta}; {why}")
