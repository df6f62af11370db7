"""The examples in the docstrings of the core say what the code does."""

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CORE = ("language", "models", "training", "finetuning", "rlhf")
EXAMPLES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for room in CORE
    for path in sorted((ROOT / "course_lm" / room).glob("*.py"))
    if ">>> " in path.read_text("utf-8")
]


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_examples_of_a_module_give_what_they_say(name):
    module = importlib.import_module(name)
    result = doctest.testmod(module, extraglobs={"torch": importlib.import_module("torch")})
    assert result.attempted > 0
    assert result.failed == 0
