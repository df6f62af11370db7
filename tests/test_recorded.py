"""The comparisons that the course ships, and the votes recorded on them."""

import pytest

from course_lm.classroom import recorded
from course_lm.rlhf.gold import gold
from course_lm.rlhf.preferences import FIRST, SECOND, agreement, read_comparisons
from course_lm.rlhf.preferences import write_comparisons as write
from course_lm.rlhf.votes import VoteFile


@pytest.fixture(scope="module")
def comparisons():
    return read_comparisons(recorded.COMPARISONS)


def test_every_comparison_has_two_different_responses_and_is_there_once(comparisons):
    assert len(comparisons) == len(set(comparisons)) == recorded.COUNT
    assert all(c.first != c.second and c.prompt.words[-1] == "?" for c in comparisons)


def test_both_simulated_judges_have_voted_on_all_of_them_and_mostly_for_the_better(comparisons):
    file = VoteFile(recorded.RECORDED, comparisons)
    assert file.voters() == sorted(recorded.JUDGES)
    assert all("simulated" in judge for judge in recorded.JUDGES)
    for judge in recorded.JUDGES:
        votes = file.votes(judge)
        assert set(votes) == {FIRST, SECOND}
        margins = [gold(c.prompt, c.first) - gold(c.prompt, c.second) for c in comparisons]
        better = [(vote == FIRST) == (m > 0) for vote, m in zip(votes, margins, strict=True) if m]
        assert sum(better) / len(better) > 0.6
    assert agreement(*map(file.votes, recorded.JUDGES)) > 0.5


def test_the_command_writes_both_files_and_the_same_again(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        path = recorded.main(tmp_path / name, count=3)
        assert (
            VoteFile(path, read_comparisons(path.with_name("comparisons.json"))).next_open(
                recorded.JUDGES[0]
            )
            is None
        )
    files = [sorted(p.read_bytes() for p in (tmp_path / n).iterdir()) for n in ("one", "two")]
    assert files[0] == files[1]


def test_comparisons_come_back_as_they_were_written(comparisons, tmp_path):
    some = comparisons[:5]
    write(tmp_path / "some.json", some)
    assert read_comparisons(tmp_path / "some.json") == some


@pytest.mark.parametrize("text", ["", "{}x", "[1]", '[["a", "b"]]', "[[1, 2, 3, 4]]", '["abcd"]'])
def test_another_file_is_refused_with_a_sentence(text, tmp_path):
    path = tmp_path / "some.json"
    path.write_text(text, "utf-8")
    with pytest.raises(ValueError, match=r"expected comparisons of four texts each in some\.json"):
        read_comparisons(path)
