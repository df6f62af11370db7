"""Policy optimisation: make likelier what was better than expected, and stay near the reference.

    maximise  J(π) = E_{y ~ π}[r(x, y)] − β KL(π ‖ π_ref)

One step is a sentence: the policy responds to prompts, the responses are scored, scores and penalty
become rewards, rewards become advantages, and the one loop follows the gradient of

    mean over tokens of  min(ρ A, clip(ρ, 1 − ε, 1 + ε) A),   ρ = π(token) / π_before(token)

Source: Schulman 2017 (the clipped objective); Ziegler 2019, Ouyang 2022 (on language models).
Departures: the critic is a model of its own; the loss is a mean over all tokens of a batch.
"""

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from course_lm.language.windows import IGNORE, Batch
from course_lm.models.contract import check_rewards
from course_lm.models.shared import Shared
from course_lm.training.loop import Recipe, Step, train
from course_lm.training.losses import masked_mean, token_log_probs

from .advantages import METHODS, kl_shaped, rewards_to_go
from .rollouts import Ids, Rollouts, roll_out

Score = Callable[[Sequence[int], Rollouts], Tensor]
CLIP = 0.2  # ε


@dataclass(frozen=True, slots=True)
class PolicyStep(Step):
    """A Step, and what a practitioner looks at; means over the responses of the step.

    reward: what the method was told to raise. kl: log π − log π_ref of a response, nats. entropy:
    −log π of a drawn token, nats. clip_share: of tokens whose ratio left 1 ± ε. length: tokens of a
    response. responses: all of them, with the places of their prompts.
    """

    reward: float = math.nan
    kl: float = math.nan
    entropy: float = math.nan
    clip_share: float = math.nan
    length: float = math.nan
    responses: Sequence[tuple[int, list[int]]] = ()


def clipped_objective(
    log_probs: Tensor, before: Tensor, advantages: Tensor, asked: Tensor, clip: float = CLIP
) -> Tensor:
    """Mean over response tokens of min(ρ A, clip(ρ) A), ρ = exp(log π − log π_before): scalar.

    Where ρ has left 1 ± clip in the direction of A, the gradient is 0. To be maximised.
    """
    ratio = (log_probs - before).exp()
    held = ratio.clamp(1 - clip, 1 + clip)
    return masked_mean(torch.minimum(ratio * advantages, held * advantages), asked)


@dataclass(frozen=True, slots=True, kw_only=True)
class Practice:
    """How a policy gathers experience.

    method: one of METHODS. beta: price of a nat of KL, in rewards. prompts, group: prompts in a
    step, responses to each. updates: on the responses of one step. stop, longest: a response ends
    with this token, if any, and after so many. most_kl: nats of a response; beyond, the run ends.
    """

    method: str = "GRPO"
    beta: float = 0.5
    prompts: int = 16
    group: int = 4
    updates: int = 2
    stop: int | None = None
    longest: int = 20
    most_kl: float = 200.0

    def __post_init__(self) -> None:
        counts = (self.prompts, self.group, self.updates, self.longest)
        if self.method not in METHODS or min(counts) < 1 or not 0 <= self.beta < math.inf:
            raise ValueError(
                f"practice: expected a method of {', '.join(METHODS)}, counts of at least 1 and a "
                f"beta from 0, got {self}; correct it"
            )


class Experience:
    """What a policy learns from: batches of its own responses, made when they are asked for.

    score(places, rollouts): a reward for each response, (B,); places are those of its prompt.
    critic: (B, T) -> (B, T, 1), what is still to come at each place. Raises ValueError for no
    prompt, PPO without a critic, a critic without PPO, and a policy that is its own reference.
    """

    def __init__(self, policy, reference, prompts, score, practice, rng, critic=None) -> None:
        if (practice.method == "PPO") != (critic is not None):
            raise ValueError(
                "optimise: expected a critic for PPO and for no other method, got "
                f"{practice.method} {'without' if critic is None else 'with'} one; correct it"
            )
        if policy is reference or not len(prompts):
            raise ValueError(
                "optimise: expected prompts and a reference that stands still, got "
                f"{len(prompts)} prompts and {'the policy itself' if policy is reference else 'it'}"
                "; give a copy of the policy, and prompts"
            )
        self.policy, self.reference, self.prompts = policy, reference, prompts
        self.score, self.practice, self.rng, self.critic = score, practice, rng, critic
        self.good = copy.deepcopy(policy.state_dict())
        self.updated = 0  # steps so far

    def batches(self, expect: Iterator[Step] | None = None) -> Iterator[Batch]:
        """Respond, score, compare with what was expected; a batch is learned `updates` times."""
        practice = self.practice
        while True:
            self.respond()
            self.rewards = self.scored()
            self.shaped = kl_shaped(self.rewards, self.rollouts, practice.beta)
            values = None if self.critic is None else self.values()
            method = METHODS[practice.method]
            self.advantages = method(self.shaped, self.rollouts, practice.group, values)
            for _ in range(practice.updates):
                if expect:
                    next(expect, None)
                yield self.inputs, self.rollouts.labels
                self.updated += 1

    def respond(self) -> None:
        """Draw prompts and the policy's responses to them; stop where its KL has exploded."""
        practice = self.practice
        some = torch.randint(len(self.prompts), (practice.prompts,), generator=self.rng)
        self.places = some.repeat_interleave(practice.group).tolist()
        asked = [self.prompts[place] for place in self.places]
        ends = practice.stop, practice.longest
        self.rollouts = roll_out(self.policy, self.reference, asked, *ends, self.rng)
        self.inputs = self.rollouts.ids[:, :-1].clamp(min=0)
        kl = self.rollouts.log_ratio.sum(1).mean().item()
        if not kl <= practice.most_kl:
            self.policy.load_state_dict(self.good)
            raise FloatingPointError(
                f"optimise: expected a KL of at most {practice.most_kl:g} nats from the reference, "
                f"got {kl:.0f} after {self.updated} steps; raise beta or lower the rates; the "
                "policy has the weights that it had before its last responses"
            )
        self.good = copy.deepcopy(self.policy.state_dict())

    def scored(self) -> Tensor:
        """The reward of each response, (B,)."""
        rewards = torch.as_tensor(self.score(self.places, self.rollouts)).detach().float()
        if rewards.shape != (len(self.places),):
            raise ValueError(
                f"optimise: expected {len(self.places)} rewards, one for each response, got shape "
                f"{tuple(rewards.shape)}; let score return a tensor of shape (B,)"
            )
        check_rewards("optimise", rewards)
        return rewards

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Minus the clipped objective of the responses: (B, T − 1, V), (B, T − 1) -> scalar."""
        log_probs, before = token_log_probs(logits, labels), self.rollouts.log_probs
        moved = ((log_probs.detach() - before).exp() - 1).abs() > CLIP
        self.clip_share = masked_mean(moved.float(), self.rollouts.asked).item()
        return -clipped_objective(log_probs, before, self.advantages, self.rollouts.asked)

    @torch.no_grad()
    def values(self) -> Tensor:
        """What the critic expects to come at each place, (B, T − 1)."""
        return self.critic(self.inputs)[..., 0].float()

    def value_loss(self, values: Tensor, labels: Tensor) -> Tensor:
        """The critic's mean squared error: (B, T − 1, 1), (B, T − 1) -> scalar."""
        return masked_mean((values[..., 0] - rewards_to_go(self.shaped)).square(), labels != IGNORE)

    def seen(self) -> dict[str, object]:
        """The fields of a PolicyStep."""
        asked, rollouts = self.rollouts.asked, self.rollouts
        return {
            "reward": self.rewards.mean().item(),
            "kl": rollouts.log_ratio.sum(1).mean().item(),
            "entropy": -masked_mean(rollouts.log_probs, asked).item(),
            "clip_share": self.clip_share,
            "length": asked.sum(1).float().mean().item(),
            "responses": list(zip(self.places, rollouts.responses, strict=True)),
        }


def optimise(
    policy: nn.Module,
    reference: nn.Module,
    prompts: Sequence[Ids],
    score: Score,
    recipe: Recipe,
    practice: Practice,
    rng: torch.Generator,
    critic: nn.Module | None = None,
) -> Iterator[PolicyStep]:
    """Move `policy` toward responses that `score` likes, and yield a PolicyStep for every update.

    Raises ValueError as `Experience` does, for more than one batch to a step, and for rewards that
    are not finite, one a response; FloatingPointError where the KL or a weight explodes, the
    weights from before the last responses kept.
    """
    if recipe.accumulate != 1:
        raise ValueError(
            f"optimise: expected one batch to a step, got accumulate={recipe.accumulate}; give "
            "more prompts"
        )
    own = Experience(policy, reference, prompts, score, practice, rng, critic and Shared(critic))
    again = iter(lambda: (own.inputs, own.rollouts.labels), None)
    expect = critic and train(own.critic, again, recipe, loss=own.value_loss)
    try:
        for step in train(Shared(policy), own.batches(expect), recipe, loss=own.loss):
            yield PolicyStep(**asdict(step), **own.seen())
    except FloatingPointError:
        policy.load_state_dict(own.good)  # weights that have given finite responses
        raise
