import pytest
import torch
from html_tags import Tags
from small_models import seeded

from course_lm.language import lab
from course_lm.language.tokens import Vocabulary
from course_lm.viewing.rails import IMPOSSIBLE, UNKNOWN, rail_stepper, rails, rails_html

VOCABULARY, TRUTH = lab.vocabulary(), lab.Truth()


def story(seed: int = 0) -> list[int]:
    words = lab.sample(30, seeded(seed))
    return VOCABULARY.ids_of(words[:30])


def always(word: str):
    def model(ids):
        logits = torch.full((*ids.shape, len(VOCABULARY)), -torch.inf)
        logits[..., VOCABULARY.ids[word]] = 0.0
        return logits

    return model


def uniform(ids):
    return torch.zeros(*ids.shape, len(VOCABULARY))


def test_the_truth_rail_reads_the_true_words_and_the_own_rail_what_it_said():
    true, own = rails(uniform, TRUTH, story(), seeded())
    assert true.read == story()
    assert own.read == [story()[0], *own.said]
    assert len(true.said) == len(own.said) == len(story()) - 1


def test_both_rails_say_the_same_until_they_read_different_words():
    true, own = rails(TRUTH, TRUTH, story(), seeded(2))
    pairs = list(zip(true.read, own.read, strict=True))
    apart = next(place for place, (one, other) in enumerate(pairs) if one != other)
    assert true.said[:apart] == own.said[:apart]


@pytest.mark.parametrize("seed", range(3))
def test_the_language_itself_slips_on_neither_rail(seed):
    true, own = rails(TRUTH, TRUTH, story(seed), seeded(seed))
    assert {*true.marks, *own.marks} == {""}


def test_the_marks_are_the_exact_truths_and_nothing_is_known_after_an_impossible_word():
    true, own = rails(always("is"), TRUTH, story(), seeded())
    words = VOCABULARY.tokens_of(story())
    for place, mark in enumerate(true.marks):
        assert (mark == "") == ("is" in lab.next_word(words[: place + 1]))
    assert own.marks == [IMPOSSIBLE] + [UNKNOWN] * (len(own.said) - 1)


def test_the_start_mark_opens_a_new_story_but_an_own_text_that_is_lost_stays_lost():
    _, own = rails(always("<s>"), TRUTH, story(), seeded())
    assert own.marks[0] == IMPOSSIBLE
    assert {*own.marks[1:]} == {UNKNOWN}


def test_the_predictions_are_the_models_after_what_each_rail_has_read():
    torch.manual_seed(0)
    table = torch.randn(len(VOCABULARY), len(VOCABULARY))
    for rail in rails(lambda ids: table[ids], TRUTH, story(), seeded()):
        assert torch.equal(rail.logits, table[torch.tensor(rail.read[:-1])])


def test_the_same_dice_give_the_same_rails():
    one, other = (rails(uniform, TRUTH, story(), seeded(5)) for _ in range(2))
    assert [rail.said for rail in one] == [rail.said for rail in other]


def test_the_picture_names_the_rails_marks_the_words_and_counts():
    made = rails_html(rails(always("is"), TRUTH, story(), seeded()), VOCABULARY)
    assert made.text.startswith("true words       ")
    assert "own words        is✗" in made.text
    assert "is?" in made.text
    assert "its own text is lost from word 1, 'is', on." in made.text
    heads = [tag for tag, _ in Tags(made.html).tags if tag == "th"]
    assert len(heads) == 9  # three rows in each of three lines of ten words


def test_a_step_shows_its_bars_and_no_later_word():
    pair = rails(TRUTH, TRUTH, story(), seeded())
    made = rails_html(pair, VOCABULARY, 2)
    assert "2 words. After the true words 0 words were impossible" in made.text
    own = next(line for line in made.text.splitlines() if line.startswith("own words"))
    assert own.split()[2:] == VOCABULARY.tokens_of(pair[1].said[:2])
    after = made.text.split("after the true words\n")[1]
    assert after.splitlines()[0].split() == ["word", "truth", "model"]


def test_the_bars_after_a_lost_text_have_no_truth():
    pair = rails(always("is"), TRUTH, story(), seeded())
    after = rails_html(pair, VOCABULARY, 3).text.split("after its own words\n")[1]
    assert after.splitlines()[0].split() == ["word", "model"]


def test_words_from_outside_are_shown_as_text():
    vocabulary = Vocabulary(["<b>", "$x$"])
    pair = rails(
        lambda ids: torch.zeros(*ids.shape, 2),
        lambda ids: torch.zeros(*ids.shape, 2),
        [0, 1, 0],
        seeded(),
    )
    made = rails_html(pair, vocabulary, 2)
    assert "b" not in {tag for tag, _ in Tags(made.html).tags}
    assert "<b>" in Tags(made.html).words


@pytest.fixture
def stepper():
    return rail_stepper(always("is"), TRUTH, VOCABULARY, story())


def label(stepper) -> str:
    ((_, attrs), *_) = Tags(stepper.picture.value).tags
    return attrs["aria-label"]


def test_the_stepper_begins_with_one_word_and_goes_on_to_the_last(stepper):
    assert label(stepper).startswith("1 word.")
    for _ in range(100):
        stepper.next.click()
    assert stepper.word.value == len(story()) - 1
    assert label(stepper).startswith("29 words.")


def test_another_text_throws_the_dice_again_and_keeps_the_word():
    stepper = rail_stepper(uniform, TRUTH, VOCABULARY, story())
    stepper.word.value, before = 4, stepper.pair[1].said
    stepper.again.click()
    assert stepper.word.value == 4
    assert stepper.pair[1].said != before


def test_the_widget_has_three_controls_and_ends_where_the_static_picture_does(stepper):
    assert len(stepper.children[0].children) == 3
    stepper.word.value = stepper.word.max
    assert label(stepper) in rails_html(stepper.pair, VOCABULARY).text
