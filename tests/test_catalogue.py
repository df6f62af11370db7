"""The catalogue of corpora is complete and agrees with itself."""

import pytest

from course_lm.language.catalogue import CORPORA, GIB

BY_NAME = {corpus.name: corpus for corpus in CORPORA}


def test_every_corpus_has_a_size_a_source_a_licence_filters_and_a_paper_with_its_year():
    assert len(BY_NAME) == len(CORPORA) >= 10
    for corpus in CORPORA:
        assert corpus.size > 0
        assert all((corpus.kind, corpus.source, corpus.licence, corpus.filters))
        assert any(str(year) in corpus.paper for year in range(2019, 2026))


def test_the_largest_comes_first():
    sizes = [corpus.size for corpus in CORPORA]
    assert sizes == sorted(sizes, reverse=True)


def test_a_token_takes_between_two_and_six_bytes():
    for corpus in CORPORA:
        if corpus.tokens and corpus.name != "Project Gutenberg (PG-19)":  # counted in words
            assert 2 < corpus.size / corpus.tokens < 6, corpus.name


def test_the_parts_of_the_pile_fit_into_it():
    parts = ("Books3", "Stack Exchange", "Project Gutenberg (PG-19)", "Wikipedia, English")
    assert sum(BY_NAME[name].size for name in parts) < BY_NAME["The Pile"].size / 5


def test_units_of_the_sources_are_converted_to_bytes():
    assert BY_NAME["The Pile"].size == pytest.approx(886.03e9, rel=1e-4)  # its data sheet in GB
    assert BY_NAME["OpenWebText"].size / GIB == 38
