import functools

import pytest
from html_tags import Tags

from course_lm.models.counts import NGram
from course_lm.training import losses
from course_lm.viewing import source as module
from course_lm.viewing.source import highlighted, show_source, source


def test_the_listing_is_the_source_letter_by_letter():
    code = source(losses.perplexity).text.split("\n", 1)[1]
    assert code.startswith("def perplexity(")
    assert "".join(Tags(highlighted(code)).words).rstrip("\n") == code


def test_the_header_names_the_module_and_no_place_on_the_machine():
    made = source(losses.cross_entropy)
    assert "course_lm/training/losses.py" in Tags(made.html).words
    assert made.text.startswith("# course_lm/training/losses.py\n")
    assert "site-packages" not in made.html


def test_folded_source_hides_behind_the_name():
    tags = [tag for tag, _ in Tags(source(losses.cross_entropy, folded=True).html).tags]
    assert tags[:2] == ["details", "summary"]


def test_a_class_and_a_decorated_function_show_their_own_source():
    @functools.lru_cache
    def twice(number):
        return 2 * number

    assert "return 2 * number" in source(twice).text
    assert "class Tags" in source(Tags).text


def test_a_method_starts_at_the_margin():
    assert source(NGram.of_order).text.split("\n")[1].startswith("def of_order(")


@pytest.mark.parametrize("thing", [3, len, "losses.py", None])
def test_what_has_no_python_source_is_explained(thing):
    with pytest.raises(TypeError, match="expected a function or class written in Python"):
        source(thing)


def test_code_is_escaped():
    assert "<b>" not in highlighted("x = '<b>'  # a < b & c\n")


def test_show_source_displays_once(monkeypatch):
    displayed = []
    monkeypatch.setattr(module, "display", displayed.append)
    show_source(losses.bits)
    assert displayed == [source(losses.bits)]
