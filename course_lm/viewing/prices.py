"""The price of distance as one dial: what the best possible policy says at each price."""

from collections.abc import Sequence
from html import escape

from ipywidgets import VBox
from torch import Tensor

from ..rlhf.optimum import optimal, reward_and_kl
from .chances import bar
from .dials import picture_dial
from .strips import Html, aligned
from .style import number

LIKELIEST = 4  # responses shown of the reference, and as many of the best policy


def price_html(
    said: Sequence[str], log_probs: Tensor, rewards: Tensor, betas: Sequence[float], place: int
) -> Html:
    """Responses with their probability in the reference and in the best policy at betas[place].

    said: enumerated responses; log_probs, rewards: log π_ref and the reward of each, (N,); both
    policies are shares of these. Shown are the likeliest of both ends, the reference and the lowest
    of `betas`, best reward first. Raises ValueError for no response and for lists of different
    lengths, and what `optimum.optimal` raises.
    """
    if not 0 < len(said) == len(log_probs) == len(rewards):
        raise ValueError(
            "prices: expected responses with a log-probability and a reward each, got "
            f"{len(said)} responses, {len(log_probs)} and {len(rewards)}; give as many of each"
        )
    beta, log_probs = betas[place], log_probs.log_softmax(0)
    best = optimal(log_probs, rewards, beta)
    reward, kl = reward_and_kl(best, log_probs, rewards)
    told = (
        f"β = {beta:g}: the best policy gets a reward of {number(reward)} on average, "
        f"{number(kl)} nats from the reference."
    )
    columns = [x.tolist() for x in (rewards, log_probs.exp(), best.exp())]
    rows = [(said[n], *(c[n] for c in columns)) for n in _shown(log_probs, rewards, min(betas))]
    lines = "".join(_row(*row, first=row is rows[0]) for row in rows)
    html = (
        f"<div role='group' aria-label='{escape(told)}' style='max-width:760px;line-height:1.4'>"
        f"<div>{escape(told)}</div>{lines}</div>"
    )
    text = aligned([("response", "reward", "reference", "optimum"), *rows])
    return Html(html, f"{told}\n{text}")


def _shown(log_probs: Tensor, rewards: Tensor, beta: float) -> list[int]:
    ends = log_probs, optimal(log_probs, rewards, beta)
    places = {n for end in ends for n in end.topk(min(LIKELIEST, len(end))).indices.tolist()}
    return sorted(places, key=lambda n: (-rewards[n].item(), -log_probs[n].item()))


def _row(said: str, reward: float, before: float, best: float, *, first: bool) -> str:
    names = [name if first else "" for name in ("reference", "optimum")]
    return (
        f"<div style='margin-top:6px'>{escape(said)} <b>{number(reward)}</b></div>"
        + bar("reference", before, names[0])
        + bar("optimum", best, names[1])
    )


def price_dial(
    said: Sequence[str], log_probs: Tensor, rewards: Tensor, betas: Sequence[float]
) -> VBox:
    """Slide the price of a nat through `betas` and see the best policy move; as `price_html`."""
    return picture_dial(
        "price β",
        [f"{beta:g}" for beta in betas],
        lambda place: price_html(said, log_probs, rewards, betas, place),
    )
