"""How near a text comes to the one that was asked for, where an exact match is too much to ask.

    ROUGE-1 = 2 Σ_w min(c_w, r_w) / (C + R)       words in common, in any order
    ROUGE-L = 2 LCS / (C + R)                      words in common, in the same order
    error rate = Σ edits / Σ R                     symbols to change, leave out or put in

c_w, r_w: how often word w stands in the response and in the reference, of C and R words; LCS: the
length of their longest common subsequence. Both ROUGE scores are F1, the harmonic mean of the
precision m / C and the recall m / R of m words in common. They count words, not sense.

Source: Lin 2004 (ROUGE; words are runs of letters and digits in lower case, without stemming),
Levenshtein 1966 (edits).
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence


def rouge_1(response: str, reference: str) -> float:
    """F1 of the words in common, from 0 to 1; 0 where one side has no word.

    >>> rouge_1("the cat sat", "the cat is on the mat")  # two words in common, of 3 and 6
    0.4444444444444444
    """
    said, asked = Counter(_words(response)), Counter(_words(reference))
    return _f1((said & asked).total(), said.total(), asked.total())


def rouge_l(response: str, reference: str) -> float:
    """F1 of the longest common subsequence of words, from 0 to 1; 0 where one side has no word.

    >>> rouge_l("sat the cat", "the cat sat")  # "the cat" is in order
    0.6666666666666666
    """
    said, asked = _words(response), _words(reference)
    return _f1(longest_common(said, asked), len(said), len(asked))


def longest_common(first: Sequence, second: Sequence) -> int:
    """Length of the longest subsequence of both: in order, not necessarily side by side.

    >>> longest_common("abcd", "bxd")
    2
    """
    row = [0] * (len(second) + 1)  # of the part of `first` so far with each beginning of `second`
    for one in first:
        before = row
        row = [0]
        for place, other in enumerate(second):
            same = before[place] + 1 if one == other else 0
            row.append(max(same, before[place + 1], row[place]))
    return row[-1]


def edits(first: Sequence, second: Sequence) -> int:
    """Fewest symbols to change, leave out or put in that make `second` of `first`.

    >>> edits("kitten", "sitting")
    3
    """
    row = list(range(len(second) + 1))
    for count, one in enumerate(first, 1):
        before = row
        row = [count]
        for place, other in enumerate(second):
            changed = before[place] + (one != other)
            row.append(min(changed, before[place + 1] + 1, row[place] + 1))
    return row[-1]


def error_rate(responses: Sequence[Sequence], references: Sequence[Sequence]) -> float:
    """Edits that the responses need, per symbol of the references; above 1 where they are longer.

    >>> error_rate(["kitten", "cat"], ["sitting", "cat"])
    0.3
    """
    _check("error_rate", responses, references)
    return sum(map(edits, responses, references)) / sum(map(len, references))


def mean_score(
    score: Callable[[str, str], float], responses: Sequence[str], references: Sequence[str]
) -> float:
    """Mean of score(response, reference) over the pairs, each with the same weight."""
    _check("mean_score", responses, references)
    return sum(map(score, responses, references)) / len(references)


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", text.lower())


def _f1(common: int, said: int, asked: int) -> float:
    return 2 * common / (said + asked) if common else 0.0


def _check(subject: str, responses: Sequence, references: Sequence) -> None:
    if len(responses) != len(references) or not sum(map(len, references)):
        raise ValueError(
            f"{subject}: expected a response for each reference, and something in a reference, got "
            f"{len(responses)} responses and {len(references)} references of "
            f"{sum(map(len, references))} symbols; give both in the same order"
        )
