"""How loss falls with the size of a model and of its text, and what the reading costs.

The law: L(N, D) = E + A / N^a + B / D^b, with N weights outside the embeddings, D tokens read, and
E the floor that no size passes. The cost: C = 6 N D products and sums.

Source: Kaplan 2020 (power laws, 6 N D); Hoffmann 2022 (the sum of two powers and a floor).
Departures: exponents are searched on a grid and the rest is least squares of the relative error,
where Hoffmann follows the gradient of a Huber loss of log L. Both ends of the grid are choices.
Both papers found gentle powers, 0.05 to 0.35, in long runs; the short ones of lesson 07 fall more
steeply with their text. A few noisy runs cannot tell a steeper power with a higher floor from a
gentler one with a lower: with the steepest at 0.6 the sixth run of lesson 07 came out 5 to 8 %
above its prediction, with 1.25 within 2.6 % of it (eight seeds).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .optimisers import is_map

DAY = 86_400  # seconds
GENTLEST, STEEPEST = 0.2, 1.25  # exponents
COARSE = torch.linspace(GENTLEST, STEEPEST, 22, dtype=torch.float64)  # tried first


def body_weights(model: nn.Module) -> int:
    """N: how many weights stand between the embedding, or tables of rows, and the head."""
    return sum(w.numel() for name, w in model.named_parameters() if is_map(name))


def training_compute(weights: float, tokens: float) -> float:
    """C = 6 N D in floating-point operations (FLOP).

    Each weight takes part in one product and one sum for each token, 2 FLOP, and backward in twice
    as many: once for the gradient of what came in, once for its own. Attention's products of words
    with words are left out; they are few where the width is large beside the context.

    >>> training_compute(175e9, 300e9)  # GPT-3
    3.15e+23
    """
    if not (weights > 0 and tokens > 0):
        raise ValueError(
            f"training_compute: expected weights and tokens above 0, got {weights} and {tokens}; "
            "give counts"
        )
    return 6 * weights * tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Something that computes.

    flops: floating-point operations a second at its best, as its maker says or as measured. share
    of it that training reaches. price: dollars an hour.
    """

    name: str
    flops: float
    share: float = 0.4
    price: float = 0.0

    def days(self, compute: float, count: int = 1) -> float:
        """How long `count` such machines take for `compute` FLOP."""
        return compute / (self.flops * self.share * count) / DAY

    def dollars(self, compute: float) -> float:
        """What it costs, on however many machines."""
        return 24 * self.days(compute) * self.price


@dataclass(frozen=True, slots=True)
class Published:
    """A model of the literature: N weights, D tokens read, and where that is said."""

    name: str
    weights: float
    tokens: float
    source: str


# All weights, embeddings too, as the papers count them.
PUBLISHED = (
    Published("BERT large", 0.34e9, 137e9, "Devlin 2019; tokens: Raffel 2020"),
    Published("GPT-3", 175e9, 300e9, "Brown 2020, table D.1"),
    Published("Chinchilla", 70e9, 1.4e12, "Hoffmann 2022"),
    Published("Llama 1", 65e9, 1.4e12, "Touvron 2023a"),
    Published("Llama 2", 70e9, 2.0e12, "Touvron 2023b"),
    Published("Llama 3.1", 405e9, 15.6e12, "Grattafiori 2024"),
)
# Peak of dense products in half precision, from the makers' data sheets; prices are examples.
A100 = Machine(name="NVIDIA A100", flops=312e12, price=2.0)
H100 = Machine(name="NVIDIA H100", flops=989e12, price=3.0)


@dataclass(frozen=True, slots=True)
class Law:
    """L(N, D) = floor + A / N^a + B / D^b, in nats per token; error: relative, root mean square."""

    floor: float
    A: float
    a: float
    B: float
    b: float
    error: float

    def __call__(self, weights: float, tokens: float) -> float:
        """The loss that the law expects of a model with so many weights after so many tokens."""
        return self.floor + self.A * weights**-self.a + self.B * tokens**-self.b


def fit_law(weights: Sequence[float], tokens: Sequence[float], losses: Sequence[float]) -> Law:
    """The law with the least mean square of (L(N, D) − loss) / loss; none of its terms below 0.

    For given exponents it is linear in (E, A, B). A grid of exponents from 0.2 to 1.25 is searched,
    then a finer one around the best. An exponent at an end was not chosen by the runs alone.

    Raises ValueError for fewer than six runs, fewer than three sizes or three amounts of text, and
    numbers that are not above 0.
    """
    N, D, L = (torch.tensor(list(v), dtype=torch.float64) for v in (weights, tokens, losses))
    if not len(N) == len(D) == len(L) >= 6 or min(len(N.unique()), len(D.unique())) < 3:
        raise ValueError(
            f"fit_law: expected at least 6 runs of 3 sizes and 3 amounts of text, got {len(N)}, "
            f"{len(D)} and {len(L)} numbers with {len(N.unique())} sizes and {len(D.unique())} "
            "amounts; train more"
        )
    if not all((v > 0).all() and v.isfinite().all() for v in (N, D, L)):
        raise ValueError("fit_law: expected numbers above 0, got others; leave out broken runs")
    best = _best(N, D, L, COARSE, COARSE)
    for step in (0.01, 0.002):
        near = torch.arange(-5, 6, dtype=torch.float64) * step
        best = _best(N, D, L, best.a + near, best.b + near)
    return best


def _best(N: Tensor, D: Tensor, L: Tensor, some_a: Tensor, some_b: Tensor) -> Law:
    """The law with the least error among these exponents."""
    a, b = (v.flatten() for v in torch.meshgrid(_allowed(some_a), _allowed(some_b), indexing="ij"))
    # The sizes are taken in units of the largest, so that the columns are of one magnitude.
    columns = (
        torch.ones(len(a), len(N)),
        (N / N.max()) ** -a[:, None],
        (D / D.max()) ** -b[:, None],
    )
    terms = torch.stack([column / L for column in columns], dim=-1)  # (pairs, runs, 3)
    found = torch.zeros(len(a), 3, dtype=torch.float64)
    errors = torch.full((len(a),), torch.inf, dtype=torch.float64)
    for kept in ([0, 1, 2], [1, 2], [0, 1], [0, 2]):  # a term that would fall below 0 is left out
        part = terms[..., kept]
        values = torch.linalg.lstsq(part, torch.ones(len(a), len(N), 1).double()).solution
        error = (part @ values - 1).square().mean((1, 2)).sqrt()
        better = (values >= 0).all(1)[:, 0] & (error < errors)
        errors[better] = error[better]
        full = torch.zeros_like(found)
        full[:, kept] = values[..., 0]
        found[better] = full[better]
    at = int(errors.argmin())
    (E, A, B), a, b = found[at].tolist(), a[at].item(), b[at].item()
    return Law(E, A * N.max().item() ** a, a, B * D.max().item() ** b, b, errors[at].item())


def _allowed(exponents: Tensor) -> Tensor:
    return exponents[(exponents > GENTLEST - 1e-9) & (exponents < STEEPEST + 1e-9)]


def leave_one_out(
    weights: Sequence[float],
    tokens: Sequence[float],
    losses: Sequence[float],
    at: tuple[float, float],
) -> list[float]:
    """What the law expects of the run `at`, (weights, tokens), when each known run is left out.

    How far these lie apart says how far to trust a prediction; jackknife, Quenouille 1949.
    """
    runs = list(zip(weights, tokens, losses, strict=True))
    rest = [[run for run in runs if run is not left] for left in runs]
    return [fit_law(*zip(*some, strict=True))(*at) for some in rest]
