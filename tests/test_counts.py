"""n-grams agree with a second implementation in plain dictionaries, and always sum to one."""

import math
from collections import Counter, defaultdict

import pytest
import torch
from small_models import seeded

from course_lm.language import lab
from course_lm.models.counts import add_k, kneser_ney, maximum_likelihood


def small_text(length=300, size=6):
    """Ids in which some follow-ups are far likelier than others."""
    steps = torch.tensor([0.6, 0.2, 0.1, 0.1]).multinomial(length, True, generator=seeded(1))
    return (steps.cumsum(0) % size).tolist()


# -- a second implementation, in plain dictionaries


def counted(ids, n):
    return Counter(tuple(ids[i : i + n]) for i in range(len(ids) - n + 1))


def plain_add_k(ids, order, size, k):
    def prob(word, past):
        context = tuple(past[len(past) - n + 1 :]) if (n := min(order, len(past) + 1)) > 1 else ()
        grams = counted(ids, n)
        total = sum(grams[(*context, other)] for other in range(size))
        if total + k * size == 0:
            return 1 / size
        return (grams[(*context, word)] + k) / (total + k * size)

    return prob


class PlainKneserNey:
    """Interpolated Kneser–Ney: raw counts at the longest context, left neighbours below it."""

    def __init__(self, ids, order, size):
        self.order, self.size = order, size
        self.grams = {n: counted(ids, n) for n in range(1, order + 1)}
        self.lefts = {}
        for n in range(1, order):
            neighbours = defaultdict(set)
            for gram in self.grams[n + 1]:
                neighbours[gram[1:]].add(gram[0])
            self.lefts[n] = {gram: max(1, len(neighbours[gram])) for gram in self.grams[n]}
        self.tables = {}

    def table(self, n, longest):
        """context -> {word: count}, and the discount of each count."""
        if (n, longest) not in self.tables:
            counts = self.grams[n] if longest else self.lefts[n]
            table = defaultdict(dict)
            for gram, count in counts.items():
                table[gram[:-1]][gram[-1]] = count
            self.tables[n, longest] = table, self.discounts(counts)
        return self.tables[n, longest]

    @staticmethod
    def discounts(counts):
        how_many = Counter(counts.values())
        n1, n2, n3, n4 = (max(1, how_many[c]) for c in (1, 2, 3, 4))
        share = n1 / (n1 + 2 * n2)
        by_formula = 1 - 2 * share * n2 / n1, 2 - 3 * share * n3 / n2, 3 - 4 * share * n4 / n3
        return [min(max(d, 0.1), c) for c, d in enumerate(by_formula, start=1)]

    def prob(self, word, past, n=None):
        longest = n is None
        n = min(self.order, len(past) + 1) if longest else n
        if n == 0:
            return 1 / self.size
        table, discounts = self.table(n, longest)
        after = table.get(tuple(past[len(past) - n + 1 :]) if n > 1 else (), {})
        base = self.prob(word, past, n - 1)
        if not after:
            return base
        total = sum(after.values())
        taken = {other: discounts[min(count, 3) - 1] for other, count in after.items()}
        direct = after.get(word, 0) - taken.get(word, 0)
        return (direct + sum(taken.values()) * base) / total


def random_prefixes(ids, size, how_many):
    """Half are pieces of the text, half are drawn at random, most of them never seen."""
    pasts = []
    for index in range(how_many):
        length = index % 7 + 1
        first = int(torch.randint(len(ids) - length, (), generator=seeded(index)))
        drawn = torch.randint(size, (length,), generator=seeded(index)).tolist()
        pasts.append(drawn if index % 2 else list(ids[first : first + length]))
    return pasts


FITS = {
    "maximum likelihood": maximum_likelihood,
    "add-k": lambda ids, order, size: add_k(ids, order, size, 0.3),
    "Kneser–Ney": kneser_ney,
}


@pytest.mark.parametrize("order", [1, 2, 3, 5])
@pytest.mark.parametrize("name", FITS)
def test_probabilities_sum_to_one_after_1000_prefixes_seen_and_unseen(name, order):
    ids, size = small_text(), 8
    model = FITS[name](ids, order, size)
    for length in range(1, 8):
        pasts = [p for p in random_prefixes(ids, size, 1_000) if len(p) == length]
        logits = model(torch.tensor(pasts)).double()
        assert not logits.isnan().any()
        assert logits.exp().sum(-1).flatten().tolist() == pytest.approx(
            [1.0] * len(pasts) * length, abs=1e-5
        )


@pytest.mark.parametrize("order", [1, 2, 3, 5])
@pytest.mark.parametrize("k", [0.0, 0.5, 2.0])
def test_add_k_agrees_with_plain_dictionaries(order, k):
    ids, size = small_text(80), 7
    model, prob = add_k(ids, order, size, k), plain_add_k(ids, order, size, k)
    for past in random_prefixes(ids, size, 15):
        by_hand = [prob(word, past) for word in range(size)]
        scores = [model.token_log_probs([*past, word])[-1].exp() for word in range(size)]
        assert scores == pytest.approx(by_hand, abs=1e-9)


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_kneser_ney_agrees_with_plain_dictionaries(order):
    ids, size = small_text(), 8
    model, plain = kneser_ney(ids, order, size), PlainKneserNey(ids, order, size)
    for past in random_prefixes(ids, size, 40):
        by_hand = [plain.prob(word, past) for word in range(size)]
        assert math.fsum(by_hand) == pytest.approx(1, abs=1e-9)
        scores = [model.token_log_probs([*past, word])[-1].exp() for word in range(size)]
        assert scores == pytest.approx(by_hand, abs=1e-9)


def test_kneser_ney_agrees_with_plain_dictionaries_on_stories():
    vocabulary = lab.vocabulary()
    ids = vocabulary.ids_of(lab.sample(5_000, seeded(2)))
    new = vocabulary.ids_of(lab.sample(300, seeded(3)))
    plain = PlainKneserNey(ids, 4, len(vocabulary))
    by_hand = [math.log(plain.prob(new[t], new[:t])) for t in range(1, len(new))]
    scores = kneser_ney(ids, 4, len(vocabulary)).token_log_probs(new)
    assert scores.tolist() == pytest.approx(by_hand, abs=1e-9)


@pytest.mark.parametrize("name", FITS)
def test_the_score_of_a_token_is_its_place_in_the_table(name):
    ids = small_text()
    model = FITS[name](ids, 4, 6)
    new = torch.tensor(small_text(60))
    table = model(new[None])[0, :-1].gather(-1, new[1:, None]).squeeze(-1)
    assert model.token_log_probs(new).tolist() == pytest.approx(table.tolist(), abs=1e-5)


@pytest.mark.parametrize("name", FITS)
def test_a_lower_order_from_the_same_counts_is_the_model_fitted_with_that_order(name):
    ids, new = small_text(), torch.tensor([small_text(50)])
    for n in (1, 2, 3, 4):
        lower, fitted = FITS[name](ids, 4, 6).of_order(n), FITS[name](ids, n, 6)
        assert lower.order == n
        assert torch.equal(lower(new), fitted(new))


# -- by hand


def test_counts_by_hand():
    model = maximum_likelihood([0, 1, 0, 1, 0, 2], 2, 4)
    probs = model(torch.tensor([[0], [1], [3]])).exp()[:, 0]
    by_hand = [0, 2 / 3, 1 / 3, 0], [1, 0, 0, 0], [0.25] * 4  # 3 never came: all are equal
    assert probs.tolist() == [pytest.approx(row) for row in by_hand]


def test_add_one_by_hand():
    probs = add_k([0, 1, 0, 1, 0, 2], 2, 4, 1.0)(torch.tensor([[0], [1], [3]])).exp()[:, 0]
    by_hand = [1 / 7, 3 / 7, 2 / 7, 1 / 7], [3 / 6, 1 / 6, 1 / 6, 1 / 6], [0.25] * 4
    assert probs.tolist() == [pytest.approx(row) for row in by_hand]


def test_kneser_ney_prefers_the_word_of_many_contexts_to_the_frequent_one_of_a_single_context():
    # 1 ("Francisco") comes often, but only after 0 ("San"); 2 comes less often, after many tokens.
    ids = [0, 1] * 10 + [3, 2, 4, 2, 5, 2, 6, 2]
    after_something_new = kneser_ney(ids, 2, 8)(torch.tensor([[7]]))[0, 0]
    assert after_something_new[2] > after_something_new[1]
    assert kneser_ney(ids, 1, 8)(torch.tensor([[7]]))[0, 0].argmax() in (0, 1)


# -- short and strange texts


@pytest.mark.parametrize("name", FITS)
@pytest.mark.parametrize("ids", [[0, 1], [1, 0], [0, 0], [0, 1, 2, 1, 2, 3], [3, 0, 3, 0, 1, 0]])
def test_a_token_that_only_ends_the_text_is_a_context_without_counts(name, ids):
    for order in range(1, min(len(ids), 4) + 1):
        model = FITS[name](ids, order, 5)
        probs = model(torch.tensor([[*ids, 4, *ids]])).exp().sum(-1)
        assert probs.flatten().tolist() == pytest.approx([1.0] * (2 * len(ids) + 1), abs=1e-5)


@pytest.mark.parametrize("name", FITS)
def test_one_token_is_enough_for_order_1_and_too_short_for_order_2(name):
    assert FITS[name]([2], 1, 3)(torch.tensor([[0]])).argmax() == 2
    with pytest.raises(ValueError, match=r"got order 2 and shape .*; give a longer text"):
        FITS[name]([2], 2, 3)


@pytest.mark.parametrize("name", FITS)
@pytest.mark.parametrize(("ids", "order"), [([0, 1, 2], 0), ([0, 1], -1), ([], 1), ([[0, 1]], 1)])
def test_an_order_below_1_and_a_text_that_is_no_row_are_refused(name, ids, order):
    with pytest.raises(ValueError, match="expected an order of at least 1 and a row"):
        FITS[name](ids, order, 3)


@pytest.mark.parametrize("name", FITS)
@pytest.mark.parametrize("wrong", [-1, 3])
def test_ids_outside_the_vocabulary_are_refused_in_fitting_and_in_use(name, wrong):
    with pytest.raises(ValueError, match=r"expected ids from 0 to 2, got .*; use the vocabulary"):
        FITS[name]([0, 1, wrong], 2, 3)
    model = FITS[name]([0, 1, 2], 2, 3)
    with pytest.raises(ValueError, match="expected ids from 0 to 2"):
        model(torch.tensor([[0, wrong]]))
    with pytest.raises(ValueError, match="expected ids from 0 to 2"):
        model.token_log_probs([0, wrong, 1])


@pytest.mark.parametrize("k", [-0.1, math.inf, math.nan])
def test_a_k_that_is_no_number_of_counts_is_refused(k):
    with pytest.raises(ValueError, match="expected k of 0 or more"):
        add_k([0, 1, 2], 2, 3, k)


@pytest.mark.parametrize("n", [0, 3])
def test_an_order_that_was_not_counted_is_refused(n):
    with pytest.raises(ValueError, match=f"expected an order from 1 to 2, got {n}"):
        kneser_ney([0, 1, 2], 2, 3).of_order(n)


def test_a_model_looks_back_no_further_than_its_context():
    model = kneser_ney(small_text(), 3, 6)
    assert (model.order, model.context) == (3, 2)
    assert torch.equal(
        model(torch.tensor([[0, 1, 2, 3]]))[0, -1], model(torch.tensor([[5, 5, 2, 3]]))[0, -1]
    )


@pytest.mark.parametrize("wrong", [-100, -1, 3])
def test_an_unknown_last_id_is_refused(wrong):
    with pytest.raises(ValueError, match="expected ids from 0 to 2"):
        add_k([0, 1, 2, 0, 1], 2, 3, k=0.5).token_log_probs([0, wrong])


@pytest.mark.parametrize("ids", [[], [1]])
def test_a_text_too_short_to_score_is_refused(ids):
    with pytest.raises(ValueError, match="at least 2 tokens to score"):
        add_k([0, 1, 2, 0, 1], 2, 3, k=0.5).token_log_probs(ids)


def test_a_text_of_one_letter_can_be_counted_and_scored():
    model = kneser_ney([0, 0, 0, 0], 3, 2)
    probs = model(torch.tensor([[0, 0, 0]])).exp()
    assert torch.allclose(probs.sum(-1), torch.ones(1, 3))
