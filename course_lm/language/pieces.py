"""A vocabulary as a tokenizer.json and back: the file that other programs cut text with.

Words and characters become a table of tokens, a rule how text is cut and one how tokens are joined;
byte pairs are such a tokenizer already.
"""

import re
from collections.abc import Iterable
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from .tokens import UNKNOWN, BytePairs, Vocabulary, split_words

LETTER, SPACE = r"\p{L}\p{N}_", r"\s\x1c-\x1f"  # what Python calls \w and \s
CUTS = {  # the rule of `split`, written for `tokenizers`
    str.split: rf"[^{SPACE}]+",
    list: r"[\s\S]",
    split_words: rf"<[{LETTER}]+>|[{LETTER}]+(?:['’][{LETTER}]+)*|[^{LETTER}{SPACE}]",
}
MARKER = re.compile(r"<\w+>|\[\w+\]")  # a token that stands for no text


class Pieces(Vocabulary):
    """The tokens of a tokenizer.json, with ids 0 .. V − 1 (V may be more than it names).

    `encode` cuts a text and adds nothing to it. start: the ids that the file puts before every
    text, often none; a prompt begins with them. stop: the id that ends a response, if any.
    """

    def __init__(self, tokenizer: Tokenizer, size: int, stop: int | None) -> None:
        names = map(tokenizer.id_to_token, range(size))
        pieces = (f"<none {i}>" if name is None else name for i, name in enumerate(names))
        super().__init__(pieces, split=lambda text: self.tokens_of(self.encode(text)))
        self.tokenizer, self.stop = tokenizer, stop
        self.start = [index for index in tokenizer.encode("").ids if index != stop]

    def encode(self, text: str) -> list[int]:
        """Ids of the pieces of `text`; ValueError for a piece that has none."""
        try:
            return self.tokenizer.encode(text, add_special_tokens=False).ids
        except Exception as error:  # the library raises no other kind
            raise ValueError(
                f"vocabulary: expected text of its {len(self)} tokens, got {text[:40]!r}, which "
                f"has a piece that is none of them ({error}); use known tokens only"
            ) from None

    def decode(self, ids: Iterable[int]) -> str:
        """The text of `ids`, markers included."""
        ids = [int(index) for index in ids]
        self.tokens_of(ids)  # raises for an id outside the vocabulary
        return self.tokenizer.decode(ids, skip_special_tokens=False)


def as_tokenizer(vocabulary: Vocabulary | BytePairs, stop: int | None = None) -> Tokenizer:
    """The tokenizer that cuts, numbers and joins as `vocabulary` does.

    A `stop` that is written like a marker becomes a special token, which readers may leave out.
    Lower case is taken sign by sign: a Σ that ends a word becomes σ where Python says ς.
    Raises ValueError for a vocabulary with a way to cut or to join of its own.
    """
    if isinstance(vocabulary, BytePairs | Pieces):
        return vocabulary.tokenizer
    if vocabulary.split not in CUTS or vocabulary.glue not in ("", " "):
        raise ValueError(
            "as_tokenizer: expected a vocabulary of words or characters, joined by a space or by "
            f"nothing, got one that cuts with {vocabulary.split} and joins by {vocabulary.glue!r}; "
            "a file cannot hold that, use words(), characters() or byte_pairs()"
        )
    tokenizer = Tokenizer(models.WordLevel(dict(vocabulary.ids), unk_token=UNKNOWN))
    if vocabulary.split is split_words:
        tokenizer.normalizer = normalizers.Lowercase()
    cut = Regex(CUTS[vocabulary.split])
    tokenizer.pre_tokenizer = pre_tokenizers.Split(cut, behavior="removed", invert=True)
    if vocabulary.glue == "":
        tokenizer.decoder = decoders.Fuse()
    token = "" if stop is None else vocabulary.tokens[stop]
    if MARKER.fullmatch(token) and vocabulary.split(token) == [token]:
        tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False)])
    return tokenizer


def tokenizer_config(tokenizer: Tokenizer, context: int, stop: int | None) -> dict[str, Any]:
    """What `transformers` reads beside a tokenizer.json: as it is, and which marker ends a text."""
    marker = tokenizer.get_added_tokens_decoder().get(stop)
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": context,
        "clean_up_tokenization_spaces": False,
        **({"eos_token": marker.content} if marker else {}),
    }


def read_pieces(data: bytes, size: int, stop: object) -> Pieces:
    """The vocabulary of a tokenizer.json, for a model of `size` tokens.

    stop: what the file beside it names as the end, if it is one of the ids. Raises ValueError for
    a file that cannot be read and for more than `size` tokens.
    """
    try:
        tokenizer = Tokenizer.from_buffer(data)
        tokenizer.no_padding()  # texts come as they are
        tokenizer.no_truncation()
    except Exception as error:  # the library raises no other kind
        raise ValueError(
            f"read_pieces: expected a tokenizer.json, got a file that is none ({str(error)[:80]}); "
            "take another copy"
        ) from None
    if tokenizer.get_vocab_size() > size:
        raise ValueError(
            f"read_pieces: expected at most {size} tokens, as many as the model knows, got "
            f"{tokenizer.get_vocab_size()}; take the tokenizer of this model"
        )
    return Pieces(tokenizer, size, stop if type(stop) is int and 0 <= stop < size else None)
