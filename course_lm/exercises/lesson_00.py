"""The question of lesson 00: what will I have built by the end?"""

from .quiz import Question

what_it_computes = Question(
    "What does a language model compute?",
    (
        (
            "The meaning of a sentence.",
            "It may need to know something of it, but what it gives out is a probability.",
        ),
        (
            "The probability of the next token, given the tokens before.",
            "And everything else in this course follows from it.",
        ),
        (
            "The grammatically correct next word.",
            "Many words can be correct; the model says how likely each is.",
        ),
    ),
    correct=1,
)
