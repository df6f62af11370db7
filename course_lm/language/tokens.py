"""Text to ids and back: characters, words, byte-pair merges.

Every vocabulary has `tokens` (id -> token), `encode(text) -> ids`, `decode(ids) -> text` and a
length. They differ in one thing: where text is cut. Short pieces make long sequences from few
tokens; long pieces make short sequences from many.
"""

import difflib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import tokenizers

UNKNOWN = "<unk>"
WORD = re.compile(r"<\w+>|\w+(?:['’]\w+)*|[^\w\s]")


class Vocabulary:
    """Tokens with ids 0 .. V-1, in the order given.

    split: text -> tokens. glue: what stands between tokens in decoded text. If UNKNOWN is one of
    the tokens, every piece outside the vocabulary becomes UNKNOWN; otherwise `encode` raises
    ValueError and names it.
    """

    def __init__(
        self,
        tokens: Iterable[str],
        split: Callable[[str], Sequence[str]] = str.split,
        glue: str = " ",
    ) -> None:
        self.tokens = tuple(tokens)
        self.split = split
        self.glue = glue
        self.ids = {token: index for index, token in enumerate(self.tokens)}
        if not self.tokens or len(self.ids) != len(self.tokens):
            raise ValueError(
                f"vocabulary: expected different tokens, at least one, got {len(self.tokens)} of "
                f"which {len(self.ids)} differ; leave each out that stands twice"
            )

    def __len__(self) -> int:
        return len(self.tokens)

    def encode(self, text: str) -> list[int]:
        """Ids of the tokens of `text`."""
        return self.ids_of(self.split(text))

    def ids_of(self, tokens: Sequence[str]) -> list[int]:
        """Ids of tokens that are cut already."""
        try:
            return [self.ids[token] for token in tokens]
        except KeyError:
            if UNKNOWN not in self.ids:
                raise ValueError(self._what_is_unknown(tokens)) from None
        unknown = self.ids[UNKNOWN]
        return [self.ids.get(token, unknown) for token in tokens]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of `ids`; spaces of the original that `split` dropped do not come back."""
        return self.glue.join(self.tokens_of(ids))

    def tokens_of(self, ids: Iterable[int]) -> list[str]:
        """The token of each id; raises ValueError for an id outside the vocabulary."""
        return [self.tokens[index] for index in _checked(ids, len(self))]

    def _what_is_unknown(self, tokens: Sequence[str]) -> str:
        place, token = next((i, t) for i, t in enumerate(tokens) if t not in self.ids)
        near = difflib.get_close_matches(token, self.tokens, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(map(repr, near))}?" if near else "use known tokens only"
        return (
            f"vocabulary: expected one of its {len(self)} tokens, got {token!r} as token "
            f"{place + 1} of {len(tokens)}; {hint}"
        )


def characters(text: str) -> Vocabulary:
    """One token a character: every character of `text`, in code-point order."""
    return Vocabulary(sorted(set(_not_empty(text, "characters"))), split=list, glue="")


def words(text: str, size: int) -> Vocabulary:
    """The `size` - 1 most frequent words and signs of `text`, lower case; UNKNOWN for the rest."""
    if size < 2:
        raise ValueError(f"words: expected a size of at least 2, got {size}; raise it")
    counts = Counter(split_words(_not_empty(text, "words")))
    most = [word for word, _ in counts.most_common() if word != UNKNOWN][: size - 1]
    return Vocabulary([UNKNOWN, *most], split=split_words)


def split_words(text: str) -> list[str]:
    """Words (apostrophes inside belong to them) and single signs, in lower case."""
    return WORD.findall(text.lower())


class BytePairs:
    """Byte-pair merges (Sennrich 2016) from the `tokenizers` library; nothing is unknown.

    marks: {name: id} of tokens that stand for no text, so that `encode` never gives one.
    """

    def __init__(self, tokenizer: tokenizers.Tokenizer) -> None:
        self.tokenizer = tokenizer
        tokenizer.encode_special_tokens = True  # a mark's name in a text is text
        self.marks = {t.content: i for i, t in tokenizer.get_added_tokens_decoder().items()}
        ids = range(tokenizer.get_vocab_size())
        self.tokens = tuple(tokenizer.decode([i], skip_special_tokens=False) for i in ids)

    def __len__(self) -> int:
        return len(self.tokens)

    def encode(self, text: str) -> list[int]:
        """Ids of the pieces of `text`."""
        return self.tokenizer.encode(text).ids

    def decode(self, ids: Iterable[int]) -> str:
        """The text of `ids` without marks, byte for byte what was encoded."""
        return self.tokenizer.decode(_checked(ids, len(self)))


def byte_pairs(text: str, size: int, marks: Sequence[str] = ()) -> BytePairs:
    """Train byte-pair merges on `text` to at most `size` entries; the `marks` come behind them."""
    if size < 256:
        raise ValueError(
            f"byte_pairs: expected a size of at least 256 (all bytes), got {size}; raise it"
        )
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=size,
        show_progress=False,
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator([_not_empty(text, "byte_pairs")], trainer)
    tokenizer.add_special_tokens(list(marks))
    return BytePairs(tokenizer)


def merge(tokens: Sequence[str], pair: tuple[str, str]) -> list[str]:
    """One byte-pair step: every `pair` of neighbours becomes one token, from left to right.

    >>> merge(["l", "o", "l", "o", "l"], ("l", "o"))
    ['lo', 'lo', 'l']
    """
    merged: list[str] = []
    for token in tokens:
        if merged and (merged[-1], token) == tuple(pair):
            merged[-1] += token
        else:
            merged.append(token)
    return merged


def _checked(ids: Iterable[int], size: int) -> list[int]:
    ids = [int(index) for index in ids]
    for index in ids:
        if not 0 <= index < size:
            raise ValueError(
                f"vocabulary: expected ids from 0 to {size - 1}, got {index}; "
                "leave out what stands for no token, such as IGNORE"
            )
    return ids


def _not_empty(text: str, subject: str) -> str:
    if not text:
        raise ValueError(
            f"{subject}: expected text to learn a vocabulary from, got an empty text; give some"
        )
    return text
