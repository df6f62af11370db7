"""The table of the benchmarks, without running one."""

import runpy
from pathlib import Path

import pytest

RUN = runpy.run_path(str(Path(__file__).parents[1] / "benchmarks" / "run.py"))


def test_a_ratio_above_one_means_that_ours_is_better():
    assert RUN["row"]("a", "words/s", 10.0, 5.0, "")["ratio"] == 2
    assert RUN["row"]("a", "seconds", 10.0, 5.0, "")["ratio"] == 0.5


def test_without_nltk_its_rows_say_that_they_were_not_measured():
    rows = list(RUN["rows_without_nltk"]())
    assert [row["what"] for row in rows] == [RUN["FIT"], RUN["SCORE"]]
    assert [RUN["line"](row).count("not measured") for row in rows] == [3, 3]


@pytest.mark.parametrize(("value", "text"), [(0.5, "0.50"), (1712748.46, "1,712,748")])
def test_numbers_are_written_with_two_decimals_below_a_thousand(value, text):
    assert text in RUN["line"](RUN["row"]("a", "seconds", value, value, ""))
