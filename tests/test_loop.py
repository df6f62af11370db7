"""The one loop learns as a plain loop does, says what it did, and loses nothing when stopped."""

import contextlib
import itertools
import math
import os
import signal
import threading
from types import SimpleNamespace

import pytest
import torch
from small_models import random_ids, seeded, small_rnn, small_transformer
from torch import nn

from course_lm.language.windows import IGNORE, all_windows, random_windows
from course_lm.training import loop
from course_lm.training.interrupts import interrupt_later
from course_lm.training.loop import Recipe, evaluate, make_optimisers, train
from course_lm.training.losses import cross_entropy
from course_lm.training.optimisers import AdamW, Muon

STEADY = {"warmup": 0.0, "decay": 0.0}
ADAMW = {"matrix_rate": None}


@pytest.fixture(autouse=True)
def full_precision(monkeypatch):
    monkeypatch.setattr(loop, "half_precision_pays", lambda device: False)


def text_batches(seed=0, batch=4, context=6):
    return random_windows(random_ids(500), context, batch, seeded(seed))


def losses(model, recipe, batches=None, **options):
    batches = text_batches() if batches is None else batches
    return [step.loss for step in train(model, batches, recipe, **options)]


def weights(model):
    return {name: weight.detach().clone() for name, weight in model.named_parameters()}


def same(first, second):
    return all(torch.equal(first[name], second[name]) for name in first)


# -- against a plain loop


def plain_loop(model, batches, steps, rate, decay, warmup, falling, largest):
    """The same training with torch's own optimiser, clipping and loss."""
    matrices = [weight for weight in model.parameters() if weight.dim() > 1]
    others = [weight for weight in model.parameters() if weight.dim() == 1]
    groups = [{"params": matrices, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, betas=(0.9, 0.95))
    for step, (inputs, labels) in enumerate(itertools.islice(batches, steps), start=1):
        progress = (step - 0.5) / steps
        share = min(1.0, progress / warmup, (1 - progress) / falling)
        for group in optimiser.param_groups:
            group["lr"] = rate * share
        optimiser.zero_grad()
        loss = nn.functional.cross_entropy(model(inputs).flatten(0, 1), labels.flatten())
        loss.backward()
        norm = nn.utils.clip_grad_norm_(model.parameters(), largest)
        optimiser.step()
        yield loss.item(), norm.item(), rate * share


@pytest.mark.parametrize("make", [small_transformer, small_rnn])
def test_the_trace_is_that_of_a_plain_loop_with_torchs_adamw(make):
    mine, yours = make(), make()
    recipe = Recipe(steps=30, rate=0.02, warmup=0.2, decay=0.5, weight_decay=0.1, clip=0.7, **ADAMW)
    trace = [(s.loss, s.grad_norm, s.learning_rate) for s in train(mine, text_batches(), recipe)]
    plain = list(plain_loop(yours, text_batches(), 30, 0.02, 0.1, 0.2, 0.5, 0.7))
    for ours, theirs in zip(trace, plain, strict=True):
        assert ours == pytest.approx(theirs, rel=2e-4)
    assert trace[-1][0] < trace[0][0] - 0.02
    for name, weight in mine.named_parameters():
        assert torch.allclose(weight, dict(yours.named_parameters())[name], atol=1e-3)


def test_a_step_says_what_it_did():
    batches = text_batches()
    steps = list(train(small_transformer(), batches, Recipe(steps=5, rate=0.01, warmup=0, decay=1)))
    assert [step.step for step in steps] == [1, 2, 3, 4, 5]
    assert [step.tokens for step in steps] == [24, 48, 72, 96, 120]
    assert [step.learning_rate for step in steps] == pytest.approx(
        [0.009, 0.007, 0.005, 0.003, 0.001]
    )
    seconds = [0.0, *(step.seconds for step in steps)]
    assert all(before < after for before, after in itertools.pairwise(seconds))
    assert all(step.held_out is None for step in steps)
    untrained = cross_entropy(small_transformer()(next(text_batches())[0]), _first_labels())
    assert steps[0].loss == pytest.approx(untrained.item())


def _first_labels():
    return next(text_batches())[1]


def test_a_recipe_with_a_matrix_rate_gives_the_matrices_to_muon():
    model = small_transformer()
    adamw, muon = make_optimisers(model, Recipe(steps=1, rate=0.1, matrix_rate=0.2))
    assert (type(adamw), adamw.rate, type(muon), muon.rate) == (AdamW, 0.1, Muon, 0.2)
    assert "blocks.0.attention.qkv.weight" in muon.weights
    assert adamw.weights.keys() | muon.weights.keys() == dict(model.named_parameters()).keys()
    (alone,) = make_optimisers(model, Recipe(steps=1, **ADAMW))
    assert alone.weights == dict(model.named_parameters())


def test_training_with_muon_and_adamw_learns_a_text_by_heart():
    cycle = [1, 4, 2, 8, 5, 7] * 40
    trace = losses(small_transformer(), Recipe(steps=60), random_windows(cycle, 8, 8, seeded(0)))
    assert trace[0] > 2.0
    assert trace[-1] < 0.3


def test_the_same_seed_gives_the_same_trace():
    traces = [
        losses(small_transformer(seed), Recipe(steps=8), text_batches(seed)) for seed in (0, 0, 1)
    ]
    assert traces[0] == traces[1] != traces[2]


@pytest.mark.parametrize("make", [small_transformer, small_rnn])
def test_one_thread_and_two_agree(make):
    threads, traces = torch.get_num_threads(), []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            model = make(width=64, layers=1)
            traces.append(losses(model, Recipe(steps=6), text_batches(batch=12, context=12)))
    finally:
        torch.set_num_threads(threads)
    assert traces[0] == pytest.approx(traces[1], abs=1e-4)


def test_training_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    losses(small_rnn(), Recipe(steps=3))
    assert torch.equal(torch.get_rng_state(), before)


# -- several batches a step


def test_two_unequal_halves_make_one_batch():
    whole = [random_ids(6, 5, seed=seed) for seed in range(10)]
    batches = []
    for number, inputs in enumerate(whole):
        labels = random_ids(6, 5, seed=100 + number)
        labels[:2, :4] = IGNORE
        batches.append((inputs, labels))
    halves = [(i[a:b], y[a:b]) for i, y in batches for a, b in ((0, 2), (2, 6))]
    assert int((halves[0][1] != IGNORE).sum()) == 2
    assert int((halves[1][1] != IGNORE).sum()) == 20
    once, twice = small_transformer(), small_transformer()
    a = list(train(once, batches, Recipe(steps=10)))
    b = list(train(twice, halves, Recipe(steps=10, accumulate=2)))
    for one, two in zip(a, b, strict=True):
        assert (one.loss, one.grad_norm) == pytest.approx((two.loss, two.grad_norm), rel=1e-4)
        assert one.tokens == two.tokens == 22 * one.step


def test_a_part_without_a_label_counts_nothing():
    inputs, labels = next(text_batches())
    empty = (inputs, torch.full_like(labels, IGNORE))
    once, twice = small_rnn(), small_rnn()
    losses(once, Recipe(steps=1), [(inputs, labels)])
    losses(twice, Recipe(steps=1, accumulate=3), [empty, (inputs, labels), empty])
    assert same(weights(once), weights(twice))


# -- budgets


@pytest.fixture
def clock(monkeypatch):
    """A clock that goes on by an eighth of a second each time it is read, or by `turn(seconds)`."""
    now = SimpleNamespace(time=0.0)

    def read():
        now.time += 0.125
        return now.time

    def turn(seconds):
        now.time += seconds

    monkeypatch.setattr(loop, "time", SimpleNamespace(perf_counter=read))
    return turn


def test_a_budget_in_seconds_ends_when_they_are_spent(clock):
    recipe = Recipe(seconds=2.5, rate=0.01, warmup=0.2, decay=0.5)
    steps = list(train(small_rnn(), text_batches(), recipe))
    assert [step.seconds for step in steps] == [0.25 * n for n in range(1, 11)]
    # A step counts as the middle of the eighth of a second in which it made its gradient.
    shares = [0.125, 0.625, 1, 1, 1, 0.95, 0.75, 0.55, 0.35, 0.15]
    assert [step.learning_rate for step in steps] == pytest.approx([0.01 * s for s in shares])


def test_measuring_and_looking_cost_no_training_seconds(clock):
    def held_out():
        clock(100.0)
        return 1.0

    seconds = []
    for step in train(small_rnn(), text_batches(), Recipe(seconds=1.0), held_out=held_out, every=2):
        clock(50.0)
        seconds.append((step.seconds, step.held_out))
    assert seconds == [(0.25, None), (0.5, 1.0), (0.75, None), (1.0, 1.0)]


def test_a_step_that_takes_all_seconds_is_the_only_one(clock):
    def slow(logits, labels):
        clock(1000.0)
        return cross_entropy(logits, labels)

    recipe = Recipe(seconds=1.0, rate=0.01, warmup=0.0, decay=1.0)
    (step,) = train(small_rnn(), text_batches(), recipe, loss=slow, held_out=lambda: 2.0)
    assert step.learning_rate == pytest.approx(0.005)


def test_a_budget_in_seconds_begins_anew_for_given_optimisers(clock):
    model, recipe = small_rnn(), Recipe(seconds=1.0)
    optimisers = make_optimisers(model, recipe)
    runs = [list(train(model, text_batches(), recipe, optimisers=optimisers)) for _ in range(2)]
    assert [[step.step for step in run] for run in runs] == [[1, 2, 3, 4], [5, 6, 7, 8]]
    assert [step.seconds for step in runs[1]] == [0.25, 0.5, 0.75, 1.0]


@pytest.mark.parametrize(
    "budget",
    [
        {},
        {"steps": 5, "seconds": 1.0},
        {"steps": 0},
        {"steps": -1},
        {"seconds": 0.0},
        {"seconds": -2.0},
        {"seconds": math.nan},
        {"seconds": math.inf},
    ],
)
def test_a_budget_that_is_none_is_refused(budget):
    with pytest.raises(ValueError, match="recipe: expected a budget above 0, in steps or in secon"):
        Recipe(**budget)


@pytest.mark.parametrize(
    ("dial", "message"),
    [
        ({"rate": math.nan}, "learning rates, clip and accumulate above 0, got .*rate=nan"),
        ({"rate": 0.0}, "learning rates, clip and accumulate above 0"),
        ({"rate": -1e-3}, "learning rates, clip and accumulate above 0"),
        ({"rate": math.inf}, "learning rates, clip and accumulate above 0"),
        ({"matrix_rate": math.nan}, "learning rates, clip and accumulate above 0"),
        ({"clip": 0.0}, "learning rates, clip and accumulate above 0"),
        ({"clip": math.nan}, "learning rates, clip and accumulate above 0"),
        ({"accumulate": 0}, "learning rates, clip and accumulate above 0"),
        ({"warmup": 1.5}, "warmup, decay and weight_decay from 0 to 1, got 1.5"),
        ({"decay": -0.1}, "warmup, decay and weight_decay from 0 to 1"),
        ({"weight_decay": math.nan}, "warmup, decay and weight_decay from 0 to 1"),
    ],
)
def test_a_dial_out_of_range_is_refused(dial, message):
    with pytest.raises(ValueError, match=f"recipe: expected {message}"):
        Recipe(steps=1, **dial)


# -- held-out loss


@torch.no_grad()
def test_the_held_out_loss_weighs_every_token_once():
    model, ids = small_rnn(), random_ids(40)
    parts = ids[:7], ids[:18], ids[:40]
    batches = [batch for part in parts for batch in all_windows(part, 6, 2)]
    total, count = 0.0, 0
    for inputs, labels in batches:
        for row, row_labels in zip(inputs, labels, strict=True):
            chances = model(row[None])[0].double().softmax(-1)
            for place, label in enumerate(row_labels.tolist()):
                if label != IGNORE:
                    total, count = total - math.log(chances[place, label]), count + 1
    assert count == 6 + 17 + 39
    assert evaluate(model, batches) == pytest.approx(total / count, rel=1e-6)
    means = [cross_entropy(model(inputs), labels).item() for inputs, labels in batches]
    assert abs(sum(means) / len(means) - total / count) > 1e-3


def test_a_held_out_text_shorter_than_a_window_is_scored_as_far_as_it_goes():
    model, ids = small_transformer(), random_ids(5)
    short = evaluate(model, all_windows(ids, 16, 4))
    assert short == pytest.approx(cross_entropy(model(ids[None, :-1]), ids[None, 1:]).item())


def test_batches_without_a_label_add_nothing_and_nothing_else_is_refused():
    model, (inputs, labels) = small_rnn(), next(text_batches())
    ignored = torch.full_like(labels, IGNORE)
    both = evaluate(model, [(inputs, ignored), (inputs, labels)])
    assert both == evaluate(model, [(inputs, labels)])
    for nothing in ([], [(inputs, ignored)]):
        with pytest.raises(ValueError, match="evaluate: expected at least one label, got none"):
            evaluate(model, nothing)


def test_evaluation_leaves_no_gradient():
    model = small_rnn()
    evaluate(model, [next(text_batches())])
    assert all(weight.grad is None for weight in model.parameters())


@pytest.mark.parametrize(("every", "measured"), [(3, [3, 6, 7]), (7, [7]), (100, [7]), (1, None)])
def test_held_out_loss_is_measured_every_so_often_and_after_the_last_step(every, measured):
    model, held_out = small_rnn(), [next(text_batches(seed=9))]
    expected = {}
    for step in train(
        model,
        text_batches(),
        Recipe(steps=7),
        held_out=lambda: evaluate(model, held_out),
        every=every,
    ):
        if step.held_out is not None:
            expected[step.step] = step.held_out == evaluate(model, held_out)
    assert list(expected) == (measured or list(range(1, 8)))
    assert all(expected.values())


# -- bad input


def broken(value, at):
    """A loss that is the right one but for one step."""
    steps = itertools.count(1)

    def loss(logits, labels):
        right = cross_entropy(logits, labels)
        return right * value if next(steps) == at else right

    return loss


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_is_raised_with_the_step_and_the_weights_stay(value):
    whole, run = Run(steps=3), Run()
    whole.go()
    with pytest.raises(FloatingPointError) as caught:
        run.go(loss=broken(value, at=4))
    assert run.trace() == whole.trace()
    assert same(weights(run.model), weights(whole.model))
    assert [optimiser.steps for optimiser in run.optimisers] == [3, 3]
    assert f"a loss of {value}" in str(caught.value)
    assert "gradient norm of nan at step 4 on a batch of shape (4, 6)" in str(caught.value)


def test_a_gradient_that_is_not_finite_is_raised():
    def steep(logits, labels):
        return cross_entropy(logits, labels) + (logits - logits.detach()).sum() * math.inf

    model = small_rnn()
    before = weights(model)
    with pytest.raises(FloatingPointError, match="norm of nan at step 1"):
        losses(model, Recipe(steps=2), loss=steep)
    assert same(weights(model), before)


def test_a_rate_far_too_high_is_found_in_the_logits():
    model = small_transformer()  # an LSTM's gates may saturate, and nothing is ever infinite
    with pytest.raises(FloatingPointError, match=r"at step \d+ on a batch of shape \(4, 6\); low"):
        losses(model, Recipe(steps=50, rate=1e30, matrix_rate=1e30, **STEADY))


def test_batches_that_end_early_are_named():
    run = Run(steps=9)
    run.stream = itertools.islice(run.stream, 2)
    with pytest.raises(ValueError, match="got the end of the batches at step 3; give more"):
        run.go()
    assert len(run.history) == 2
    with pytest.raises(ValueError, match="got the end of the batches at step 1"):
        losses(small_rnn(), Recipe(steps=1, accumulate=2), [next(text_batches())])
    with pytest.raises(ValueError, match="got the end of the batches at step 1"):
        losses(small_rnn(), Recipe(steps=1), [])


@pytest.mark.parametrize("rows", [0, 3])
def test_a_batch_without_a_label_is_named(rows):
    batch = torch.zeros(rows, 4, dtype=torch.long), torch.full((rows, 4), IGNORE)
    with pytest.raises(ValueError, match="at least one label, got none at step 1; check the wind"):
        losses(small_rnn(), Recipe(steps=1), [batch])


@pytest.mark.parametrize("make", [small_transformer, small_rnn])
@pytest.mark.parametrize("wrong", [13, -1])
def test_ids_out_of_range_are_named(make, wrong):
    inputs, labels = next(text_batches())
    bad = inputs.clone()
    bad[1, 2] = wrong
    with pytest.raises(ValueError, match="expected ids from 0 to 12, got"):
        losses(make(), Recipe(steps=1), [(bad, labels)])
    with pytest.raises(ValueError, match=f"expected labels from 0 to 12 or IGNORE, got {wrong}"):
        losses(make(), Recipe(steps=1), [(inputs, bad)])


def test_windows_longer_than_the_context_are_named():
    with pytest.raises(ValueError, match="T from 1 to 16, its context, got shape"):
        losses(small_transformer(), Recipe(steps=1), text_batches(context=17))


# -- interrupts


@pytest.fixture
def handler():
    """The handler that Python begins with, whoever runs the tests."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield signal.default_int_handler
    signal.signal(signal.SIGINT, before)


class Run:
    """Training that can be stopped and goes on where it stopped."""

    def __init__(self, **options):
        self.model, self.stream, self.history = small_transformer(layers=1), text_batches(), []
        self.recipe = Recipe(steps=options.pop("steps", 6), **STEADY)
        self.optimisers = make_optimisers(self.model, self.recipe)
        self.options = options

    def go(self, **options):
        options = {"optimisers": self.optimisers} | self.options | options
        for step in train(self.model, self.stream, self.recipe, **options):
            self.history.append(step)

    def trace(self):
        return [(step.step, step.loss, step.grad_norm) for step in self.history]


def interrupting(at, times=1):
    """The usual loss, with Ctrl-C in the middle of one step."""
    calls = itertools.count(1)

    def loss(logits, labels):
        if next(calls) == at:
            for _ in range(times):
                signal.raise_signal(signal.SIGINT)
        return cross_entropy(logits, labels)

    return loss


def test_ctrl_c_in_a_step_comes_after_the_step_and_nothing_is_lost(handler):
    whole, run = Run(), Run()
    whole.go()
    with pytest.raises(KeyboardInterrupt):
        run.go(loss=interrupting(at=3))
    assert run.trace() == whole.trace()[:3]
    assert [optimiser.steps for optimiser in run.optimisers] == [3, 3]
    run.go()
    assert run.trace() == whole.trace()
    assert same(weights(run.model), weights(whole.model))


def test_ctrl_c_while_measuring_keeps_the_step(handler):
    def held_out():
        signal.raise_signal(signal.SIGINT)
        return 1.0

    whole, run = Run(), Run()
    whole.go()
    with pytest.raises(KeyboardInterrupt):
        run.go(held_out=held_out, every=2)
    assert run.trace() == whole.trace()[:2]
    assert run.history[-1].held_out is None
    run.go()
    assert run.trace() == whole.trace()


def test_after_ctrl_c_nothing_is_measured(handler):
    measured = []
    with pytest.raises(KeyboardInterrupt):
        Run().go(loss=interrupting(at=2), held_out=lambda: measured.append(1) or 1.0, every=1)
    assert measured == [1]


def test_ctrl_c_while_the_caller_draws_is_the_callers(handler):
    run = Run()
    steps = train(run.model, run.stream, run.recipe, optimisers=run.optimisers)
    next(steps)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    assert [step.step for step in steps] == [2, 3, 4, 5, 6]


def test_a_second_ctrl_c_gets_out_at_once(handler):
    run = Run()
    with pytest.raises(KeyboardInterrupt):
        run.go(loss=interrupting(at=3, times=2))
    assert len(run.history) == 2
    assert signal.getsignal(signal.SIGINT) is handler


def test_at_many_random_moments_ctrl_c_loses_nothing(handler):
    run, whole = Run(steps=100_000), Run(steps=100_000)
    ready, ended, armed, interrupts = threading.Event(), threading.Event(), [False], 0
    pauses = torch.rand(1000, generator=seeded(0)).mul(0.004).tolist()

    def press():
        for pause in itertools.cycle(pauses):
            ready.wait()
            if ended.wait(pause):
                return
            ready.clear()
            os.kill(os.getpid(), signal.SIGINT)

    def before(number, frame):
        """Outside of `train`, Ctrl-C is an exception only inside of the loop that can catch it."""
        if armed[0]:
            armed[0] = False
            raise KeyboardInterrupt
        ready.set()

    signal.signal(signal.SIGINT, before)
    presser = threading.Thread(target=press)
    presser.start()
    try:
        while interrupts < 150:
            with contextlib.suppress(KeyboardInterrupt):
                try:
                    armed[0] = True
                    ready.set()
                    run.go()
                finally:
                    armed[0] = False
            interrupts += 1
    finally:
        ended.set()
        ready.set()
        presser.join()
    assert len(run.history) > 10
    assert [step.step for step in run.history] == list(range(1, len(run.history) + 1))
    assert run.optimisers[0].steps == run.optimisers[1].steps == len(run.history)
    whole.recipe = Recipe(steps=len(run.history), **STEADY)
    whole.go()
    assert run.trace() == whole.trace()
    assert same(weights(run.model), weights(whole.model))


def test_the_handler_from_before_is_back_after_every_step(handler):
    inside = []

    def loss(logits, labels):
        inside.append(signal.getsignal(signal.SIGINT))
        return cross_entropy(logits, labels)

    steps = train(small_rnn(), text_batches(), Recipe(steps=3), loss=loss)
    for _ in steps:
        assert signal.getsignal(signal.SIGINT) is handler
    assert len(inside) == 3
    assert handler not in inside
    with pytest.raises(FloatingPointError):
        losses(small_rnn(), Recipe(steps=3), loss=broken(math.nan, at=1))
    assert signal.getsignal(signal.SIGINT) is handler


def test_a_block_that_holds_ctrl_c_back_says_that_it_came(handler):
    with interrupt_later() as came:
        assert not came
        signal.raise_signal(signal.SIGINT)
        assert len(came) == 1
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is handler


def test_training_works_outside_the_main_thread():
    here, there = Run(), Run()
    here.go()
    thread = threading.Thread(target=there.go)
    thread.start()
    thread.join()
    assert there.trace() == here.trace()


def test_whoever_pulls_may_stop_and_go_on_with_the_same_optimisers():
    whole, run = Run(), Run()
    whole.go()
    for step in train(run.model, run.stream, run.recipe, optimisers=run.optimisers):
        run.history.append(step)
        if step.step == 2:
            break
    run.go()
    assert run.trace() == whole.trace()
    run.go()
    assert len(run.history) == 6


# -- precision


class Listening(nn.Module):
    """One table, whose product shows the precision."""

    def __init__(self):
        super().__init__()
        self.table = nn.Linear(13, 13, bias=False)
        self.heard = []

    def forward(self, ids):
        logits = self.table(nn.functional.one_hot(ids, 13).float())
        self.heard.append(logits.dtype)
        return logits


@pytest.mark.parametrize(("pays", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
def test_half_precision_is_used_where_it_pays_and_losses_are_computed_in_full(
    pays, dtype, monkeypatch
):
    asked, paid = [], []
    monkeypatch.setattr(loop, "half_precision_pays", lambda device: asked.append(device) or pays)

    def loss(logits, labels):
        paid.append((logits.dtype, torch.is_autocast_enabled("cpu")))
        return cross_entropy(logits, labels)

    model = Listening()
    losses(model, Recipe(steps=2), loss=loss)
    assert model.heard == [dtype, dtype]
    assert paid == [(torch.float32, False)] * 2
    assert set(asked) == {torch.device("cpu")}
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    assert model.table.weight.grad.dtype == torch.float32
    assert not torch.is_autocast_enabled("cpu")


def test_in_half_precision_the_losses_are_about_the_same(monkeypatch):
    full = losses(small_transformer(), Recipe(steps=4))
    monkeypatch.setattr(loop, "half_precision_pays", lambda device: True)
    half = losses(small_transformer(), Recipe(steps=4))
    assert half != full
    assert half == pytest.approx(full, abs=0.1)
