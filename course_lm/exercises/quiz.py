"""A question inside a page: every option has a reason, shown when it is chosen."""

from dataclasses import dataclass

import ipywidgets

from course_lm.exercises.sentences import box, marked, show


@dataclass(frozen=True)
class Question:
    """`options` are pairs (option, reason); `correct` is the place of the right one, from 0."""

    text: str
    options: tuple[tuple[str, str], ...]
    correct: int

    def __post_init__(self):
        if len(self.options) < 2 or self.correct not in range(len(self.options)):
            raise ValueError(
                f"question: expected two options or more with `correct` among them, got "
                f"{len(self.options)} and {self.correct}; give the place of the right one, from 0"
            )

    @property
    def labels(self) -> list[str]:
        """The options as the page shows them: `a) ...`, `b) ...`."""
        return [f"{chr(97 + place)}) {text}" for place, (text, _) in enumerate(self.options)]

    def verdict(self, place: int) -> tuple[str, dict[str, object]]:
        """What is said when this option is chosen: plain text, and content by MIME type."""
        right = place == self.correct
        title = f"{chr(97 + place)}) {'Right.' if right else 'Not this one.'}"
        reason = self.options[place][1]
        colour = "--jp-success-color1" if right else "--jp-warn-color1"
        return f"{title} {reason}", box(title, [reason], colour)


def widget(question: Question) -> ipywidgets.VBox:
    """The question with radio buttons; choosing one shows its reason below."""
    choice = ipywidgets.RadioButtons(
        options=[(label, place) for place, label in enumerate(question.labels)],
        value=None,
        description="Your answer",
        layout={"width": "max-content"},
    )
    reason = ipywidgets.HTML()

    def on_choice(change):
        reason.value = "" if change.new is None else question.verdict(change.new)[1]["text/html"]

    choice.observe(on_choice, "value")
    return ipywidgets.VBox([ipywidgets.HTML(marked(question.text)), choice, reason])


def quiz(question: Question, answer: str | None = None) -> None:
    """Ask; with `answer` (a letter) show the reason at once, as `quiz(question, "b")`.

    The page's plain text is the question with its options, so that it reads without a kernel.
    """
    letters = [label[0] for label in question.labels]
    if answer is None:
        page = widget(question)._repr_mimebundle_()
        show("\n".join([question.text, *question.labels]), page)
    elif answer in letters:
        show(*question.verdict(letters.index(answer)))
    else:
        said = f"quiz: expected one of {', '.join(letters)}, got {answer!r}; choose a letter"
        show(said, box(said, [], "--jp-warn-color1"))
