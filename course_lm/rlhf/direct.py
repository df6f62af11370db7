"""Direct preference optimisation: the policy is its own reward model.

For the policy that maximises E[r] − β KL(π ‖ π_ref) the reward can be read off its probabilities,

    r(x, y) = β (log π(y|x) − log π_ref(y|x)) + a number that depends on x alone,

and in a comparison of two responses to one prompt that number cancels. So the two implicit rewards
are two logits, and the loss is that of the reward model: cross-entropy on a difference.

Source: Rafailov 2023.
"""

import torch
from torch import Tensor, nn

from course_lm.language.windows import next_token
from course_lm.models.contract import Model
from course_lm.models.shared import Shared
from course_lm.training.losses import token_log_probs

from .optimum import check_beta
from .reward import bradley_terry

NO_PRICE = "the reward is beta times a log-ratio, and with 0 nothing would be learned"


def dpo_loss(chosen: Tensor, rejected: Tensor, beta: float) -> Tensor:
    """Mean of −log σ(β (d_chosen − d_rejected)): (N,), (N,) -> scalar, nats per comparison.

    d = log π(y|x) − log π_ref(y|x), summed over the response: `bradley_terry` of the implicit
    rewards. Raises ValueError for β of 0 or less, and what `bradley_terry` raises.

    >>> dpo_loss(torch.tensor([10.0]), torch.tensor([0.0]), beta=0.1)
    tensor(0.3133)
    """
    check_beta("direct", beta, NO_PRICE)
    return bradley_terry(beta * chosen, beta * rejected)


def text_log_probs(model: Model, ids: Tensor) -> Tensor:
    """log P of all tokens but the first: ids (..., T), filled up with IGNORE, -> (...), nats."""
    inputs, labels = next_token(ids.flatten(0, -2))
    logits = Shared(model)(inputs.clamp(min=0)).float()
    return token_log_probs(logits, labels).sum(1).view(ids.shape[:-1])


class ImplicitReward(nn.Module):
    """β (log π − log π_ref) of whole texts, the rewards that a policy implies: (..., T) -> (...).

    A text is a prompt with a response. What the prompt adds is the same for both responses of a
    comparison and cancels in the loss, with its gradient.
    """

    def __init__(self, policy: nn.Module, reference: nn.Module, beta: float) -> None:
        super().__init__()
        check_beta("direct", beta, NO_PRICE)
        if policy is reference:
            raise ValueError(
                "direct: expected a reference that stands still, got the policy itself; give a "
                "copy of the policy"
            )
        self.policy, self.beta = policy, beta
        self._reference = [reference]  # in a list: no part of what learns

    def forward(self, ids: Tensor) -> Tensor:
        """(..., T), filled up on the right with IGNORE, -> (...)."""
        with torch.no_grad():
            known = text_log_probs(self._reference[0], ids)
        return self.beta * (text_log_probs(self.policy, ids) - known)
