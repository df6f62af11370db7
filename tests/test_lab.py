"""The lab's probabilities are what it says they are."""

import math
import random
from collections import Counter, defaultdict
from itertools import pairwise

import pytest
import torch
from small_models import seeded

from course_lm.language import lab, stories
from course_lm.language.chances import ADJECTIVES
from course_lm.language.windows import next_token
from course_lm.language.world import NUMBERS, Animal, Person, World
from course_lm.models.counts import kneser_ney
from course_lm.training.losses import (
    cross_entropy,
    entropy,
    expected_cross_entropy,
    kl_divergence,
)

TWELVE = (
    "<s> anna is in the kitchen . ben is in the attic . anna takes the red lamp . anna finds "
    "five coins . anna finds five coins . anna finds two coins . ben goes to the kitchen . "
    "how many coins does anna have ? twelve . that is all ."
)
STORY = TWELVE.split()


@pytest.fixture(scope="module")
def words():
    return lab.sample(200_000, seeded(1))


@pytest.fixture(scope="module")
def rows():
    """Ids of 32 stories, (32, 40): whole beginnings, so that the lab knows all that came before."""
    text = lab.sample(5_000, seeded(2))
    ids = torch.tensor(lab.vocabulary().ids_of(text))
    starts = (ids == 0).nonzero().flatten()[:32]
    return ids[starts[:, None] + torch.arange(40)]


# -- declared and drawn


def choices(words):
    """How often each word came in each context that leaves a choice, by the declared chances."""
    seen = defaultdict(Counter)
    for word, options in zip(words, lab.distributions(words), strict=False):
        if len(options) > 1:
            seen[tuple(options.items())][word] += 1
    return seen


def pooled(seen):
    """The same counts; contexts with the same chances in the same order are one context."""
    pool = defaultdict(Counter)
    for options, counts in seen.items():
        chances = tuple(enumerate(chance for _, chance in options))
        for place, (word, _) in enumerate(options):
            pool[chances][place] += counts[word]
    return pool


def chi_square(options, counts):
    """P(a deviation as large as this or larger), if the declared chances are the true ones."""
    total = sum(counts.values())
    cells = [(total * chance, counts[word]) for word, chance in options]
    small = [cell for cell in cells if cell[0] < 5]
    cells = [cell for cell in cells if cell[0] >= 5]
    if sum(expected for expected, _ in small) >= 5:
        cells.append(tuple(map(sum, zip(*small, strict=True))))
    statistic = sum((came - expected) ** 2 / expected for expected, came in cells)
    half = torch.tensor([(len(cells) - 1) / 2, statistic / 2], dtype=torch.float64)
    return float(torch.special.gammaincc(half[0], half[1]))


def smallest_chance(seen, at_least=1_000):
    """The smallest of the chi-square probabilities, times how many there are (Bonferroni)."""
    chances = [
        chi_square(options, counts)
        for options, counts in seen.items()
        if sum(counts.values()) >= at_least
    ]
    assert len(chances) >= 30
    return min(chances) * len(chances)


def test_a_million_drawn_words_come_as_often_as_declared_in_every_context():
    seen = choices(lab.sample(1_000_000, seeded(3)))
    assert smallest_chance(seen) > 0.001
    assert smallest_chance(pooled(seen)) > 0.001


def test_the_same_test_fails_if_one_common_choice_is_drawn_2_percent_too_often(monkeypatch):
    declared = stories.sentence_starts

    def two_percent_more_people(names, may_ask, counted):
        chances = dict(declared(names, may_ask, counted))
        for name in names:
            chances["the"] -= 0.02 * chances[name]
            chances[name] *= 1.02
        return chances

    with monkeypatch.context() as patch:
        patch.setattr(stories, "sentence_starts", two_percent_more_people)
        words = lab.sample(1_000_000, seeded(3))
    assert smallest_chance(pooled(choices(words))) < 1e-6


def tiny_world():
    people = [
        Person(name=name, home="arden", lives=0.5, comes=0.0, manner="even")
        for name in ("al", "bo")
    ]
    dog = Animal(one="dog", many="dogs", weight=1.0, verbs=((("runs", "run"), 1.0),))
    return World(
        people=tuple(people),
        places=("barn", "yard"),
        things=("cup", "hat"),
        colours=("red", "blue"),
        items=(("nut", "nuts"),),
        animals=(dog,),
        spots=("pond",),
        lands={"arden": "norland"},
    )


def test_the_chance_of_a_word_at_a_place_is_the_sum_over_all_texts_that_lead_there():
    world, place = tiny_world(), 21
    texts = {("<s>",): 1.0}
    for _ in range(place):
        texts = {
            (*text, word): chance * share
            for text, chance in texts.items()
            for word, share in lab.next_word(text, world).items()
        }
    chances = Counter()
    for text, chance in texts.items():
        chances[text[-1]] += chance
    assert math.fsum(chances.values()) == pytest.approx(1, abs=1e-9)

    words = lab.sample(100_000, seeded(4), world)
    starts = [index for index, word in enumerate(words) if word == "<s>"]
    counts = Counter(words[index + place] for index in starts)
    assert len(chances) > 3
    assert chi_square(tuple(chances.items()), counts) > 0.001


# -- distributions


def test_every_distribution_sums_to_1_over_words_of_the_vocabulary(words):
    known = set(lab.vocabulary().tokens)
    for options in lab.distributions(words[:100_000]):
        assert math.fsum(options.values()) == pytest.approx(1, abs=1e-9)
        assert min(options.values()) > 0
        assert options.keys() <= known


def test_every_word_but_the_largest_numbers_comes_within_200000_words(words):
    missing = set(lab.vocabulary().tokens) - set(words)
    assert missing <= set(NUMBERS[9:])


def test_every_number_can_come():
    assert not any(math.isinf(chance) for chance in lab.log_probs(STORY))
    assert set(lab.next_word(STORY[: STORY.index("five")])) == set(NUMBERS[:5])


def test_nothing_the_lab_draws_is_impossible(words):
    assert not any(math.isinf(chance) for chance in lab.log_probs(words))


def test_the_score_of_a_text_is_the_sum_over_its_stories(words):
    text = words[: words.index("<s>", 5_000)]
    starts = [index for index, word in enumerate(text) if word == "<s>"] + [len(text)]
    parts = [text[first:last] for first, last in pairwise(starts)]
    assert len(parts) > 50
    scores = [math.fsum(lab.log_probs(part)) for part in parts]
    assert math.fsum(lab.log_probs(text)) == pytest.approx(math.fsum(scores), abs=1e-9)


def test_the_score_of_a_word_is_the_log_of_its_declared_chance():
    scores = lab.log_probs(STORY)
    for index in range(1, len(STORY)):
        chance = lab.next_word(STORY[:index])[STORY[index]]
        assert scores[index] == math.log(chance)


def test_a_hand_calculation_of_the_first_words():
    people = len(lab.WORLD.people)
    places = len(lab.WORLD.places)
    text = "<s> anna and ben are in the attic ."
    scores = lab.log_probs(text.split())
    by_hand = [1, 1 / people, 0.4, 1 / (people - 1), 1, 1, 1, 1 / places, 1]
    assert scores == pytest.approx([math.log(chance) for chance in by_hand], abs=1e-12)


# -- prefixes, possible and impossible


def test_the_start_may_be_left_out():
    assert lab.next_word([]) == lab.next_word(["<s>"])
    assert lab.next_word(["anna"]) == lab.next_word(["<s>", "anna"])


def test_an_answered_dictionary_may_be_changed_without_changing_the_language():
    before = lab.next_word(["anna"])
    lab.next_word(["anna"]).clear()
    assert lab.next_word(["anna"]) == before


def test_an_impossible_prefix_is_refused_with_what_was_possible():
    with pytest.raises(
        lab.ImpossibleText, match=r"expected one of 'is', 'and' after '<s> anna', got"
    ):
        lab.next_word(["anna", "sleeps"])
    assert issubclass(lab.ImpossibleText, ValueError)


def test_an_unknown_word_is_named_with_its_neighbours():
    with pytest.raises(ValueError, match=r"got 'kitchin' as token 6 of 6; did you mean 'kitchen'"):
        lab.next_word(["anna", "is", "in", "the", "kitchin"])
    with pytest.raises(ValueError, match="'xyzzy'"):
        lab.log_probs(["<s>", "xyzzy"])


def test_after_an_impossible_word_all_words_are_equal_until_a_story_starts():
    text = ["<s>", "anna", "sleeps", "and", "ben", "<s>", "anna", "is"]
    size = len(lab.vocabulary())
    scores = [math.exp(score) for score in lab.log_probs(text)]
    by_hand = [1, 1 / len(lab.WORLD.people), 0, 1 / size, 1 / size, 1 / size]
    assert scores == pytest.approx([*by_hand, 1 / len(lab.WORLD.people), 0.6])


def test_a_story_that_starts_too_early_is_impossible_and_then_known_again():
    scores = lab.log_probs(["<s>", "anna", "<s>", "anna", "is"])
    assert scores[2] == -math.inf
    assert scores[3:] == lab.log_probs(["<s>", "anna", "is"])[1:]


# -- samples


def test_the_same_seed_gives_the_same_words_and_another_seed_gives_others():
    assert lab.sample(500, seeded(7)) == lab.sample(500, seeded(7))
    assert lab.sample(500, seeded(7)) != lab.sample(500, seeded(8))


def test_a_sample_is_whole_stories_of_at_least_the_length():
    words = lab.sample(500, seeded(7))
    assert words[0] == "<s>"
    assert words[-1] == "."
    assert 500 <= len(words) < 700
    assert lab.next_word(words) == {"<s>": 1.0}


@pytest.mark.parametrize("length", [0, -3])
def test_a_sample_without_words_is_refused(length):
    with pytest.raises(ValueError, match=f"at least 1 word, got {length}"):
        lab.sample(length, seeded(0))


def test_the_vocabulary_holds_each_word_once_and_starts_with_the_start():
    tokens = lab.vocabulary().tokens
    assert tokens[0] == "<s>"
    assert len(set(tokens)) == len(tokens)
    assert set(ADJECTIVES) | set(NUMBERS) < set(tokens)
    assert lab.vocabulary().encode(" ".join(STORY)) == lab.vocabulary().ids_of(STORY)


# -- the truth as a model


def test_the_truth_gives_the_logs_of_next_word_for_100_random_prefixes(words):
    truth, pick = lab.Truth(), random.Random(5)
    starts = [index for index, word in enumerate(words) if word == "<s>"]
    for first in pick.sample(starts[:-2], 100):
        prefix = words[first : first + pick.randint(1, 60)]
        logits = truth(torch.tensor([lab.vocabulary().ids_of(prefix)]))[0, -1]
        declared = lab.next_word(prefix)
        chances = [declared.get(word, 0.0) for word in lab.vocabulary().tokens]
        assert logits.exp().tolist() == pytest.approx(chances, abs=1e-6)
        assert logits.isfinite().tolist() == [chance > 0 for chance in chances]


@pytest.mark.parametrize("ids", [torch.tensor([[1, 2]]), torch.tensor([0, 1])])
def test_the_truth_refuses_rows_that_do_not_begin_with_a_story(ids):
    with pytest.raises(ValueError, match=r"each row beginning with '<s>' \(id 0\), got shape"):
        lab.Truth()(ids)


# -- the floor


def test_the_floor_is_the_cross_entropy_of_the_truth():
    story = lab.sample(1, seeded(6))
    ids = torch.tensor([lab.vocabulary().ids_of(story)])
    inputs, labels = next_token(ids)
    loss = cross_entropy(lab.Truth()(inputs), labels)
    assert lab.floor(story) == pytest.approx(float(loss), abs=1e-6)


def test_the_floor_of_one_word_is_refused():
    with pytest.raises(ValueError, match="at least 2 words that begin with '<s>', got 1"):
        lab.floor(["<s>"])


def test_the_mean_surprise_comes_to_the_mean_entropy(words):
    distributions = list(lab.distributions(words))[1:-1]
    entropies = [-sum(p * math.log(p) for p in options.values()) for options in distributions]
    assert lab.floor(words) == pytest.approx(math.fsum(entropies) / len(entropies), rel=0.01)


def test_no_n_gram_goes_below_the_floor(words):
    held_out = lab.sample(50_000, seeded(9))
    ids = torch.tensor(lab.vocabulary().ids_of(words))
    longest = kneser_ney(ids[:100_000], 5, len(lab.vocabulary()))
    held_out_ids = lab.vocabulary().ids_of(held_out)
    for n in (1, 3, 5):
        loss = -longest.of_order(n).token_log_probs(held_out_ids).mean()
        assert float(loss) > lab.floor(held_out) + 0.05


def test_cross_entropy_is_entropy_plus_divergence(words, rows):
    ids = torch.tensor(lab.vocabulary().ids_of(words))
    model = kneser_ney(ids[:50_000], 4, len(lab.vocabulary()))
    true_logits, model_logits = lab.Truth()(rows).double(), model(rows).double()
    parts = entropy(true_logits) + kl_divergence(true_logits, model_logits)
    whole = expected_cross_entropy(true_logits, model_logits)
    assert whole.isfinite().all()
    assert float((whole - parts).abs().max()) < 1e-6
    assert (kl_divergence(true_logits, model_logits) > -1e-6).all()


def test_the_floor_of_a_text_cut_inside_a_story_is_refused():
    with pytest.raises(ValueError, match="got 3 that begin 'anna is in'; cut the text"):
        lab.floor(["anna", "is", "in"])


def test_changing_a_yielded_distribution_leaves_the_language_as_it_was():
    for distribution in lab.distributions(["<s>", "anna"]):
        distribution.clear()
    assert lab.next_word(["anna"]) == {"is": 0.6, "and": 0.4}


@pytest.mark.parametrize("index", [-1, -100, 500])
def test_the_truth_refuses_an_id_outside_the_vocabulary(index):
    with pytest.raises(ValueError, match="expected ids from 0 to"):
        lab.Truth()(torch.tensor([[0, index]]))


# ---- from both sides ----


def test_from_both_sides_a_word_is_certain_where_its_neighbours_leave_no_choice():
    assert lab.between(STORY, 0) == {"<s>": 1}
    assert lab.between(STORY, STORY.index(".")) == {".": 1}
    amount = len(STORY) - 6  # before: . that is all .
    assert lab.between(STORY, amount) == {"twelve": 1}  # five and five and two


def test_from_both_sides_by_hand():
    line = "<s> anna is in the kitchen . ben is in the attic . anna takes the red lamp .".split()
    everyone = {person.name for person in lab.WORLD.people}
    second = lab.between(line, 7)
    assert second == pytest.approx(dict.fromkeys(everyone - {"anna"}, 1 / 7))
    assert lab.between(line, 1) == {"anna": 1}  # she takes the lamp, and is no second of the two
    assert lab.between(line[:13], 1) == pytest.approx(dict.fromkeys(everyone - {"ben"}, 1 / 7))
    assert lab.between(line, 14) == {"takes": 1}


@pytest.mark.parametrize("place", [1, 5, 12, 19, 30])
def test_at_the_last_word_of_a_text_both_sides_know_what_one_side_knows(words, place):
    cut = words[: place + 1]
    assert lab.between(cut, place) == pytest.approx(lab.next_word(words[:place]))


def test_from_both_sides_is_bayes_rule_over_every_word_of_the_vocabulary(words):
    begins = [place for place, word in enumerate(words) if word == "<s>"]
    for begin, place in zip(begins[:12], range(1, 36, 3), strict=True):
        line = words[begin : begin + 40]
        chances = {}
        for word in lab.vocabulary().tokens:
            score = sum(lab.log_probs([*line[:place], word, *line[place + 1 :]]))
            chances[word] = math.exp(score) if math.isfinite(score) else 0.0
        total = sum(chances.values())
        expected = {word: chance / total for word, chance in chances.items() if chance}
        assert lab.between(line, place) == pytest.approx(expected)


def test_from_both_sides_chances_sum_to_1_and_hold_the_word_that_stands_there(words):
    for place in range(0, 3000, 7):
        chances = lab.between(words[: place + 50], place)
        assert math.fsum(chances.values()) == pytest.approx(1)
        assert chances[words[place]] > 0


def test_words_come_as_often_as_both_sides_say(words):
    """The mean surprise of the true word is the mean entropy, and lower than from one side."""
    begins = [place for place, word in enumerate(words) if word == "<s>"][:2000]
    surprise, gaps, one_sided = 0.0, [], 0.0
    for number, begin in enumerate(begins):
        line, place = words[begin : begin + 40], 1 + number % 39
        chances = lab.between(line, place)
        own = -math.log(chances[line[place]])
        gaps.append(own + sum(p * math.log(p) for p in chances.values()))
        surprise += own
        one_sided -= lab.log_probs(line)[place]
    gaps = torch.tensor(gaps)
    assert abs(float(gaps.mean())) < 4 * float(gaps.std()) / len(gaps) ** 0.5
    assert surprise < 0.6 * one_sided


def test_from_both_sides_the_word_itself_is_not_read():
    hidden = [*STORY[:3], "[mask]", *STORY[4:]]
    assert lab.between(hidden, 3) == {"in": 1}


def test_a_story_knows_nothing_of_the_next_one():
    first, second = STORY, "<s> cleo and dan are in the attic .".split()
    for place in (3, 12, 20):
        assert lab.between([*first, *second], place) == lab.between([*first, "<s>"], place)
    assert lab.between([*first, *second], len(first) + 1) == lab.between(second, 1)


@pytest.mark.parametrize(
    ("line", "place", "words"),
    [
        ("<s> anna is", 3, "got place 3 of 3 that begin '<s> anna is'"),
        ("<s> anna is", -1, "got place -1 of 3"),
        ("anna is in", 1, "that begin 'anna is in'; count from"),
        ("<s> anna is", 1.5, "got place 1.5"),
    ],
)
def test_a_place_outside_a_story_is_refused(line, place, words):
    with pytest.raises(ValueError, match=words):
        lab.between(line.split(), place)


@pytest.mark.parametrize("line", ["<s> anna is anna the kitchen", "<s> anna is in the lamp"])
def test_words_that_no_word_can_join_are_refused(line):
    with pytest.raises(lab.ImpossibleText):
        lab.between(line.split(), 4 if "lamp" not in line else 3)
