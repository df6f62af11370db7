import math

import pytest
import torch
from html_tags import Tags
from test_figures import HOSTILE

from course_lm.language import lab
from course_lm.language.tokens import Vocabulary, byte_pairs, characters
from course_lm.viewing.chances import chances, ids_of, impossible, next_token_table
from course_lm.viewing.figures import png
from course_lm.viewing.surprise import cross_entropy_figure, nudge, nudge_html
from course_lm.viewing.widgets import cross_entropy_explorer, next_token_explorer

WORDS = ("cat", "dog", "sat", "ran")


def uniform(size: int):
    return lambda ids: torch.zeros(*ids.shape, size)


@pytest.fixture
def explorer():
    vocabulary = lab.vocabulary()
    return next_token_explorer(uniform(len(vocabulary)), vocabulary, "finn is in the", lab.Truth())


def spoken(explorer) -> str:
    ((_, attrs), *_) = Tags(explorer.picture.value).tags
    return attrs["aria-label"]


def test_the_truth_stands_beside_the_model():
    made = next_token_table(uniform(131), lab.vocabulary(), "finn is in the", lab.Truth(), top=3)
    exact = lab.next_word("finn is in the".split())
    word, truth, model = made.text.splitlines()[1].split()
    assert float(truth) == pytest.approx(exact[word], abs=5e-4)
    assert float(model) == pytest.approx(1 / 131, abs=5e-5)


def test_the_table_says_why_the_truth_is_missing_after_an_impossible_prompt(explorer):
    made = next_token_table(uniform(131), lab.vocabulary(), "anna anna", lab.Truth(), top=3)
    explorer.prompt.value = "anna anna"
    sentence = made.text.splitlines()[-1]
    assert sentence.startswith("The truth gives 'anna', token 2, probability 0")
    assert sentence in Tags(explorer.message.value).words
    assert sentence in Tags(made.html).words
    assert "truth" not in made.text.splitlines()[0]


def test_the_rows_and_the_rest_hold_all_probability():
    _, series = chances(torch.randn(50), torch.randn(50), 8, temperature=0.7, top_k=20, top_p=0.9)
    assert {name: len(probs) for name, probs in series.items()} == {"truth": 9, "model": 9}
    assert [sum(probs) for probs in series.values()] == pytest.approx([1, 1])


def test_the_dials_change_the_model_only_and_never_the_rows():
    logits, truth = torch.randn(50), torch.randn(50)
    plain, turned = chances(logits, truth, 8), chances(logits, truth, 8, temperature=3.0)
    assert plain[0] == turned[0]
    assert plain[1]["truth"] == turned[1]["truth"]
    assert plain[1]["model"] != turned[1]["model"]


def test_a_text_may_leave_the_start_out():
    vocabulary = lab.vocabulary()
    assert ids_of(vocabulary, "finn is") == ids_of(vocabulary, "<s> finn is")


def test_impossible_names_the_first_word_that_cannot_stand_there():
    vocabulary, truth = lab.vocabulary(), lab.Truth()
    assert impossible(truth, ids_of(vocabulary, "finn is in the")) is None
    assert impossible(truth, ids_of(vocabulary, "finn is is in the")) == 3


def test_a_click_on_a_word_appends_it_and_back_takes_it_away(explorer):
    word = explorer.words[0].description
    explorer.words[0].click()
    assert explorer.prompt.value == f"finn is in the {word}"
    explorer.back.click()
    assert explorer.prompt.value == "finn is in the"


def test_back_stops_where_the_text_begins(explorer):
    for _ in range(9):
        explorer.back.click()
    assert explorer.prompt.value == ""
    assert "begins" in explorer.message.value


def test_a_draw_repeats_with_the_same_generator():
    drawn = []
    for _ in range(2):
        rng, vocabulary = torch.Generator().manual_seed(3), lab.vocabulary()
        explorer = next_token_explorer(lab.Truth(), vocabulary, "finn is", rng=rng)
        for _ in range(5):
            explorer.sample.click()
        drawn.append(explorer.prompt.value)
    assert drawn[0] == drawn[1]
    assert len(drawn[0].split()) == 7


def test_top_k_of_one_leaves_one_word(explorer):
    explorer.top_k.value = 1
    assert "model 1.00" in spoken(explorer)


def test_a_typed_unknown_word_is_explained_and_nothing_is_lost(explorer):
    before = explorer.picture.value
    explorer.prompt.value = "finn is in the ktchen"
    assert "kitchen" in explorer.message.value
    assert explorer.picture.value == before
    explorer.prompt.value = "finn is in the kitchen"
    assert explorer.message.value == ""


def test_an_impossible_text_is_explained_and_the_model_goes_on(explorer):
    explorer.prompt.value = "finn is is"
    assert "probability 0" in explorer.message.value
    assert "model" in spoken(explorer)
    assert "truth" not in spoken(explorer)


def test_a_model_that_allows_no_word_is_explained():
    nothing = lambda ids: torch.full((*ids.shape, 4), -math.inf)  # noqa: E731
    with pytest.raises(ValueError, match="probability 0 for every word"):
        next_token_table(nothing, Vocabulary(WORDS), "cat")


def test_an_explorer_without_a_prompt_is_explained():
    with pytest.raises(ValueError, match="at least one token"):
        next_token_explorer(uniform(4), Vocabulary(WORDS), "")


def test_a_dead_end_is_explained_and_the_text_stays():
    def model(ids):  # after "dog" nothing can come
        return torch.zeros(*ids.shape, 4).masked_fill((ids == 1)[..., None], -math.inf)

    explorer = next_token_explorer(model, Vocabulary(WORDS), "cat")
    explorer.words[1].click()
    assert "probability 0 for every word" in explorer.message.value
    assert explorer.prompt.value == "cat"


def test_characters_are_appended_without_a_space():
    vocabulary = Vocabulary("ab\n ", split=list, glue="")
    explorer = next_token_explorer(uniform(4), vocabulary, "ab", top=4)
    assert [button.description for button in explorer.words] == ["a", "b", "⏎", "␣"]
    explorer.words[0].click()
    explorer.words[3].click()
    assert explorer.prompt.value == "aba "


def test_half_a_letter_stays_in_the_ids_though_no_text_can_show_it():
    vocabulary = byte_pairs("a cat sat", 260)
    explorer = next_token_explorer(uniform(len(vocabulary)), vocabulary, "a")
    ids = [*vocabulary.encode("a cat"), *vocabulary.encode("é")[:1]]
    explorer.go_to(ids)
    assert explorer.ids == ids != vocabulary.encode(vocabulary.decode(ids))
    explorer.prompt.value = "a cat"
    assert explorer.ids == vocabulary.encode("a cat")


def test_a_line_end_is_shown_in_the_field_and_read_back():
    vocabulary = characters("ab\n")
    explorer = next_token_explorer(uniform(3), vocabulary, "a\nb")
    assert explorer.prompt.value == "a⏎b"
    assert vocabulary.decode(explorer.ids) == "a\nb"
    explorer.prompt.value = "a⏎ba"
    assert vocabulary.decode(explorer.ids) == "a\nba"


def test_typing_the_text_so_far_again_clears_the_message(explorer):
    explorer.prompt.value = "finn is in the ktchen"
    explorer.prompt.value = "finn is in the"
    assert explorer.message.value == ""


def test_a_click_asks_the_model_once():
    asked = []

    def model(ids):
        asked.append(ids.shape[-1])
        return torch.zeros(*ids.shape, 4)

    explorer = next_token_explorer(model, Vocabulary(WORDS), "cat")
    explorer.words[1].click()
    assert asked == [1, 2]


def test_hostile_tokens_are_escaped():
    vocabulary = Vocabulary((HOSTILE, "b"), split=lambda text: [text])
    explorer = next_token_explorer(uniform(2), vocabulary, "b")
    made = next_token_table(uniform(2), vocabulary, "b")
    seen = nudge_html(nudge((HOSTILE, "b"), "b", 0.5, 1.0))
    explorer.prompt.value = HOSTILE + HOSTILE
    for html in (explorer.picture.value, explorer.message.value, made.html, seen.html):
        assert "img" not in {tag for tag, _ in Tags(html).tags}


def test_the_gradient_is_softmax_minus_one_hot():
    seen = nudge(WORDS, "sat", 0.1, 1.0)
    assert seen.before == pytest.approx([0.15, 0.3, 0.1, 0.45])
    assert seen.gradient == pytest.approx([0.15, 0.3, 0.1 - 1, 0.45])
    assert seen.loss == pytest.approx(-math.log(0.1))


@pytest.mark.parametrize("p", [0.01, 0.5, 0.99])
@pytest.mark.parametrize("step_size", [0.1, 1.0, 5.0])
def test_a_step_raises_the_true_word_and_lowers_the_loss(p, step_size):
    seen = nudge(WORDS, "sat", p, step_size)
    assert seen.after[2] > p
    assert seen.loss_after < seen.loss
    assert sum(seen.after) == pytest.approx(1)


def test_a_nudge_explains_a_missing_true_word_and_an_impossible_probability():
    with pytest.raises(ValueError, match="add the true word"):
        nudge(WORDS, "cow", 0.5, 1.0)
    with pytest.raises(ValueError, match="between 0 and 1"):
        nudge(WORDS, "sat", 0.0, 1.0)


def test_the_static_twin_draws_and_carries_the_numbers_of_the_widget():
    figure = cross_entropy_figure(WORDS, "sat", 0.1, 1.0)
    assert figure.numbers[3][:3] == ["sat", pytest.approx(0.1), pytest.approx(-0.9)]
    png(figure)


def test_the_cross_entropy_explorer_follows_its_sliders():
    box = cross_entropy_explorer(WORDS, "sat")
    probability, step_size = box.children[0].children
    probability.value, step_size.value = 0.5, 0.0
    assert "0.693 nats" in box.children[1].value
    assert "after the step P(sat) = <b>0.500</b>" in box.children[1].value
