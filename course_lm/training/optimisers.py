"""From gradients to better weights: AdamW, Muon, Adagrad, and which weights go to which.

AdamW and Muon keep one running mean of the gradients, or momentum. AdamW divides it, number by
number, by the usual size of that number's gradient. Muon looks at a matrix as a whole: it replaces
the momentum by the nearest matrix whose singular values are all 1, so that no direction is left
behind. That makes sense for a matrix that maps vectors to vectors; rows of an embedding, the rows
of the output that stand for tokens, biases and scales are no such maps and go to AdamW. Adagrad is
for tables of which a batch looks up a few rows (`models/grams.py`): a row that is seldom seen moves
far when it is.

Source: Kingma and Ba 2015, Loshchilov and Hutter 2019 (AdamW); Jordan 2024 (Muon); Duchi 2011
(Adagrad).
"""

import math

import torch
from torch import Tensor, nn

Weights = dict[str, nn.Parameter]
TABLES = "grams"
NOT_MAPS = {"embed", "head", TABLES}  # modules, also where the model is inside another one
QUINTIC = (3.4445, -4.7750, 2.0315)  # pulls singular values toward 1 fast (Jordan 2024)


def split_weights(model: nn.Module) -> tuple[Weights, Weights, Weights]:
    """(the matrices that map vectors to vectors, tables of rows, all other weights), by name.

    A weight that stands still (`requires_grad` is off) is left out.
    """
    named = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    maps = {n: w for n, w in named.items() if w.dim() == 2 and is_map(n)}
    tables = {n: w for n, w in named.items() if TABLES in n.split(".")}
    return maps, tables, {n: w for n, w in named.items() if n not in maps and n not in tables}


def is_map(name: str) -> bool:
    """Whether a weight, by its name, belongs to neither the embedding, the output nor a table."""
    return NOT_MAPS.isdisjoint(name.split("."))


class AdamW:
    """w ← w − η (m̂ / (√v̂ + ε) + λ w).

    m and v are running means of the gradient g and of g², with hats corrected for their start at 0:
    m ← β₁ m + (1 − β₁) g, m̂ = m / (1 − β₁ᵗ). λ, the weight decay, is for matrices only.
    """

    def __init__(
        self,
        weights: Weights,
        rate: float,
        decay: float = 0.0,
        betas: tuple[float, float] = (0.9, 0.95),
        epsilon: float = 1e-8,
    ) -> None:
        self.weights, self.rate, self.decay = weights, rate, decay
        self.betas, self.epsilon = tuple(betas), epsilon  # a checkpoint gives a list
        self.steps = 0
        self.means = {name: torch.zeros_like(weight) for name, weight in weights.items()}
        self.squares = {name: torch.zeros_like(weight) for name, weight in weights.items()}

    @torch.no_grad()
    def step(self, share: float = 1.0) -> None:
        """Move every weight that has a gradient once; η is `share` of the rate."""
        self.steps += 1
        beta1, beta2 = self.betas
        rate = share * self.rate
        corrected = rate / (1 - beta1**self.steps)
        root = math.sqrt(1 - beta2**self.steps)
        for name, weight in self.weights.items():
            if weight.grad is None:
                continue
            mean, square = self.means[name], self.squares[name]
            mean.lerp_(weight.grad, 1 - beta1)
            square.mul_(beta2).addcmul_(weight.grad, weight.grad, value=1 - beta2)
            if weight.dim() > 1:
                weight.mul_(1 - rate * self.decay)
            weight.addcdiv_(mean, square.sqrt().div_(root).add_(self.epsilon), value=-corrected)

    def memory(self) -> dict[str, dict[str, Tensor]]:
        """The running means, which a checkpoint keeps."""
        return {"means": self.means, "squares": self.squares}


class Muon:
    """w ← w − η (√max(1, rows/columns) · orthogonal((1 − μ) g + μ m) + λ w), for matrices.

    m ← μ m + (1 − μ) g is the momentum, looked at one step ahead (Nesterov).
    """

    def __init__(
        self, weights: Weights, rate: float, decay: float = 0.0, momentum: float = 0.95
    ) -> None:
        self.weights, self.rate, self.decay = weights, rate, decay
        self.momentum = momentum
        self.steps = 0
        self.means = {name: torch.zeros_like(weight) for name, weight in weights.items()}

    @torch.no_grad()
    def step(self, share: float = 1.0) -> None:
        """Move every matrix that has a gradient once; η is `share` of the rate."""
        self.steps += 1
        rate = share * self.rate
        for name, weight in self.weights.items():
            if weight.grad is None:
                continue
            mean = self.means[name].lerp_(weight.grad, 1 - self.momentum)
            ahead = weight.grad.lerp(mean, self.momentum)
            stretch = math.sqrt(max(1, weight.shape[0] / weight.shape[1]))
            weight.mul_(1 - rate * self.decay)
            weight.add_(orthogonal(ahead), alpha=-rate * stretch)

    def memory(self) -> dict[str, dict[str, Tensor]]:
        """The momentum, which a checkpoint keeps."""
        return {"means": self.means}


class Adagrad:
    """w ← w − η g / (√s + ε), s ← s + g², for the rows of tables that were looked up.

    Only those rows are read and written, however long the table is. Gradients are sparse.
    """

    def __init__(self, weights: Weights, rate: float = 0.03, epsilon: float = 1e-8) -> None:
        self.weights, self.rate, self.epsilon = weights, rate, epsilon
        self.steps = 0
        self.squares = {name: torch.zeros_like(weight) for name, weight in weights.items()}

    @torch.no_grad()
    def step(self, share: float = 1.0) -> None:
        """Move every row that has a gradient once; η is `share` of the rate."""
        self.steps += 1
        for name, weight in self.weights.items():
            if weight.grad is None:
                continue
            gradient = weight.grad.coalesce()
            rows, values = gradient.indices()[0], gradient.values()
            squares = self.squares[name].index_add_(0, rows, values.square())[rows]
            scaled = values / (squares.sqrt() + self.epsilon)
            weight.index_add_(0, rows, scaled, alpha=-share * self.rate)

    def memory(self) -> dict[str, dict[str, Tensor]]:
        """The sums of squares, which a checkpoint keeps."""
        return {"squares": self.squares}


Optimisers = list[AdamW | Muon | Adagrad]


def orthogonal(matrix: Tensor, steps: int = 5) -> Tensor:
    """About U Vᵀ for a matrix U S Vᵀ, (rows, columns).

    Newton–Schulz: X ← a X + (b A + c A²) X with A = X Xᵀ moves each singular value s to
    a s + b s³ + c s⁵ and nothing else; (a, b, c) = QUINTIC. Five steps bring all above 0.002 √Σ s²
    to between 0.68 and 1.21; smaller ones grow up to 3.4445⁵ = 485 times.
    """
    a, b, c = QUINTIC
    tall = matrix.shape[0] > matrix.shape[1]
    near = matrix.T if tall else matrix
    near = near / near.norm().clamp(min=1e-7)  # now no singular value is above 1
    for _ in range(steps):
        square = near @ near.T
        near = torch.addmm(near, torch.addmm(square, square, square, beta=b, alpha=c), near, beta=a)
    return near.T if tall else near


def clip(model: nn.Module, largest: float) -> float:
    """Shrink all gradients together so that their norm is at most `largest`; the norm before.

    ‖g‖ = √Σ g² over all weights (Pascanu 2013), tables left out: the length of a table's gradient
    makes no difference to Adagrad.
    """
    gradients = [weight.grad for weight in model.parameters() if weight.grad is not None]
    gradients = [gradient for gradient in gradients if not gradient.is_sparse]
    norm = torch.stack([gradient.norm() for gradient in gradients]).norm().item()
    if norm > largest:
        for gradient in gradients:
            gradient.mul_(largest / norm)
    return norm


def schedule(progress: float, warmup: float, decay: float) -> float:
    """Share of the learning rate at `progress` from 0 to 1 through the budget.

    It rises in the first `warmup`, stays, and falls to 0 in a straight line in the last `decay`.

    >>> [schedule(progress, 0.1, 0.5) for progress in (0.05, 0.3, 0.75)]
    [0.5, 1.0, 0.5]
    """
    rising = progress / warmup if warmup else 1.0
    falling = (1 - progress) / decay if decay else 1.0
    return max(0.0, min(1.0, rising, falling))
