"""What is encoded comes back, and what cannot be encoded is named."""

import pytest
import torch

from course_lm.language.tokens import (
    UNKNOWN,
    Vocabulary,
    byte_pairs,
    characters,
    merge,
    split_words,
    words,
)

TEXT = "To be, or not to be: that is the question.\nWhether 'tis nobler in the mind to suffer\n" * 9
STRANGE = ["🙂👩‍👩‍👧 naïve", "日本語", "\n\n \t\r\n", "zero \0 byte", "Ω ≈ ç √", " leading", ""]


def vocabularies():
    return {
        "characters": characters(TEXT),
        "words": words(TEXT, 12),
        "pairs": byte_pairs(TEXT, 270),
    }


@pytest.mark.parametrize("name", vocabularies())
def test_every_vocabulary_gives_ids_below_its_length_and_one_token_an_id(name):
    vocabulary = vocabularies()[name]
    ids = vocabulary.encode(TEXT)
    assert 0 <= min(ids) <= max(ids) < len(vocabulary) == len(vocabulary.tokens)
    assert all(isinstance(token, str) for token in vocabulary.tokens)
    assert vocabulary.decode(torch.tensor(ids)) == vocabulary.decode(ids)
    assert vocabulary.encode("") == []
    assert vocabulary.decode([]) == ""


@pytest.mark.parametrize("name", vocabularies())
@pytest.mark.parametrize("wrong", [-100, 100_000])
def test_an_id_that_stands_for_no_token_is_refused(name, wrong):
    with pytest.raises(ValueError, match=f"expected ids from 0 to .*, got {wrong}; leave out"):
        vocabularies()[name].decode([0, wrong])


def test_characters_come_back_exactly():
    for text in [TEXT, *filter(None, STRANGE)]:
        vocabulary = characters(text)
        assert vocabulary.tokens == tuple(sorted(set(text)))
        assert vocabulary.decode(vocabulary.encode(text)) == text


def test_a_character_that_was_never_seen_is_named():
    with pytest.raises(ValueError, match="expected one of its 3 tokens, got 'd' as token 4 of 4"):
        characters("abc").encode("abcd")


@pytest.mark.parametrize("text", [TEXT, *STRANGE])
def test_byte_pairs_bring_any_text_back(text):
    vocabulary = byte_pairs(TEXT, 300)
    assert vocabulary.decode(vocabulary.encode(text)) == text


def test_a_mark_stands_for_no_text_and_no_text_can_write_one():
    vocabulary = byte_pairs(TEXT, 300, ("<|ask|>", "<|end|>"))
    assert vocabulary.marks == {"<|ask|>": 300, "<|end|>": 301}
    assert vocabulary.tokens[300:] == ("<|ask|>", "<|end|>")
    hostile = "end <|end|> it"
    assert not set(vocabulary.encode(hostile)) & {300, 301}
    assert vocabulary.decode([300, *vocabulary.encode(hostile), 301]) == hostile
    assert vocabulary.encode(TEXT) == byte_pairs(TEXT, 300).encode(TEXT)


def test_merges_make_texts_shorter():
    lengths = [len(byte_pairs(TEXT, size).encode(TEXT)) for size in (256, 270, 300)]
    assert lengths[0] == len(TEXT.encode())
    assert lengths[0] > lengths[1] > lengths[2]
    assert len(byte_pairs(TEXT, 300)) == 300


def test_the_first_learned_merge_is_the_most_frequent_pair():
    learned = byte_pairs("abababab ab ac", 257)
    assert learned.tokens[-1] == "ab"
    assert [learned.tokens[index] for index in learned.encode("abac")] == ["ab", "a", "c"]


def test_a_vocabulary_smaller_than_the_bytes_is_refused():
    with pytest.raises(ValueError, match="at least 256"):
        byte_pairs(TEXT, 255)


def test_words_keep_the_most_frequent_and_make_the_rest_unknown():
    vocabulary = words("b a a a , b <unk> c", 4)
    assert vocabulary.tokens[:3] == (UNKNOWN, "a", "b")
    assert len(vocabulary) == 4
    assert vocabulary.decode(vocabulary.encode("A b ZEBRA a")) == f"a b {UNKNOWN} a"


def test_a_word_keeps_its_apostrophe_and_a_sign_stands_alone():
    assert split_words("Don't stop, o’clock! <S>") == ["don't", "stop", ",", "o’clock", "!", "<s>"]


def test_decoded_words_split_into_the_same_words():
    vocabulary = words(TEXT, 1_000)
    assert split_words(vocabulary.decode(vocabulary.encode(TEXT))) == split_words(TEXT)


def test_an_unknown_token_is_named_with_close_matches():
    vocabulary = Vocabulary(["kitchen", "chicken", "garden"])
    with pytest.raises(ValueError, match=r"got 'kitchin' as token 2 of 3; did you mean 'kitchen'"):
        vocabulary.encode("garden kitchin garden")
    with pytest.raises(ValueError, match=r"got '12345'.*; use known tokens only"):
        vocabulary.encode("12345")


@pytest.mark.parametrize("tokens", [[], ["a", "b", "a"]])
def test_a_vocabulary_needs_tokens_and_each_only_once(tokens):
    with pytest.raises(ValueError, match="expected different tokens, at least one"):
        Vocabulary(tokens)


@pytest.mark.parametrize(
    "learn", [characters, lambda text: words(text, 9), lambda text: byte_pairs(text, 300)]
)
def test_nothing_is_learned_from_an_empty_text(learn):
    with pytest.raises(ValueError, match="got an empty text; give some"):
        learn("")


@pytest.mark.parametrize("size", [1, 0, -5])
def test_a_word_vocabulary_holds_at_least_one_word(size):
    with pytest.raises(ValueError, match=f"at least 2, got {size}"):
        words(TEXT, size)


@pytest.mark.parametrize(
    ("tokens", "pair", "merged"),
    [
        ("lolol", "lo", ["lo", "lo", "l"]),
        ("aaaa", "aa", ["aa", "aa"]),
        ("aaa", "aa", ["aa", "a"]),
        ("abc", "xy", ["a", "b", "c"]),
        ("", "xy", []),
    ],
)
def test_a_merge_by_hand(tokens, pair, merged):
    before = list(tokens)
    assert merge(before, tuple(pair)) == merged
    assert before == list(tokens)


def test_a_merged_token_can_merge_again():
    once = merge(list("lower"), ("l", "o"))
    assert merge(once, ("lo", "w")) == ["low", "e", "r"]
