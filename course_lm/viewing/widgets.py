"""The two explorers. Their numbers come from the package; nothing on a page depends on a slider."""

from collections.abc import Sequence

import torch
from ipywidgets import HTML, Button, FloatSlider, HBox, Label, Layout, SelectionSlider, Text, VBox

from ..models.sampling import Model, adjust, draw, next_logits
from .chances import REST, ROW_PIXELS, chances, chances_html, ids_of, impossible, start_of, why_lost
from .dials import Dial
from .strips import alert
from .style import visible
from .surprise import nudge, nudge_html

DIAL = {"width": "275px"}
LINE_END = visible("\n")  # a field of one line cannot hold a line end
TOP_K = (1, 2, 3, 5, 8, 10, 20, 50, 100)


def next_token_explorer(
    model: Model,
    vocabulary,
    prompt: str,
    truth: Model | None = None,
    top: int = 8,
    rng: torch.Generator | None = None,
) -> VBox:
    """A text that grows by typing, by a click on a word or by a draw, and what can come next.

    The model's bars stand beside the true ones; temperature, top-k and top-p change the model's.
    An unknown or impossible word is answered with a sentence; the text so far stays.
    """
    rng = rng or torch.Generator().manual_seed(0)
    return NextTokenExplorer(model, vocabulary, prompt, truth, top, rng)


class NextTokenExplorer(VBox):
    """The widget of `next_token_explorer`.

    `ids` is the text so far. The field only shows it, a line end as ⏎, and is read when someone
    types: half a letter, which no text can show, is not lost.
    """

    def __init__(self, model, vocabulary, prompt, truth, top, rng) -> None:
        self.model, self.truth, self.vocabulary, self.rng = model, truth, vocabulary, rng
        self.prompt = Text(placeholder="type a text, press Enter", continuous_update=False)
        self.prompt.description, self.prompt.layout = (
            "text",
            Layout(flex="1 1 300px", max_width="860px"),
        )
        self.prompt.style.description_width = "40px"
        self.back, self.sample = _button("back"), _button("sample")
        self.temperature = _slider("temperature", 1.0, 0.1, 3.0, 0.1)
        sizes = [(str(k), k) for k in TOP_K if k < len(vocabulary)]
        self.top_k = SelectionSlider(options=[*sizes, ("all", 0)], value=0, layout=DIAL)
        self.top_k.description = "top-k"
        self.top_p = _slider("top-p", 1.0, 0.05, 1.0, 0.05)
        self.words = [_button("", "130px") for _ in range(min(top, len(vocabulary)))]
        self.picture, self.message = HTML(), HTML()
        rest = Label(REST, layout=Layout(width="126px", justify_content="center"))
        names = VBox([*self.words, rest], layout=Layout(width="136px", margin="0"))
        super().__init__([HBox([self.prompt, self.back, self.sample]), self.message])
        self.children += (_wrap(self.temperature, self.top_k, self.top_p),)
        self.children += (HBox([names, self.picture]),)
        self._reach(ids_of(vocabulary, prompt))
        self._listen()

    def go_to(self, ids: Sequence[int]) -> None:
        """Show what follows `ids`; where nothing can follow, say so and stay."""
        try:
            self._reach(ids)
        except ValueError as error:
            self.say(str(error))

    def _reach(self, ids: Sequence[int]) -> None:
        logits = next_logits(self.model, ids)
        lost = impossible(self.truth, ids) if self.truth else None
        known = self.truth is not None and lost is None
        true_logits = next_logits(self.truth, ids) if known else None
        chances(logits, true_logits, len(self.words))  # raises where nothing can follow
        self.ids, self.logits, self.true_logits, self.lost = list(ids), logits, true_logits, lost
        self.prompt.value = self._shown_text()
        self._say_if_lost()
        self.paint()

    def _shown_text(self) -> str:
        text = self.vocabulary.decode(self.ids[len(start_of(self.vocabulary)) :])
        return text.replace("\n", LINE_END)

    def paint(self, _=None) -> None:
        """Draw the bars for the text so far as the sliders stand."""
        self.shown, series = chances(self.logits, self.true_logits, len(self.words), **self.dials())
        tokens = [self.vocabulary.decode([i]) for i in self.shown]
        for button, token in zip(self.words, tokens, strict=True):
            button.description = visible(token)
        self.picture.value = chances_html(tokens, series, names=False).html

    def dials(self) -> dict[str, float | None]:
        """What the three sliders stand at, as `sampling.adjust` takes it."""
        top_k = self.top_k.value or None
        return {"temperature": self.temperature.value, "top_k": top_k, "top_p": self.top_p.value}

    def say(self, sentence: str) -> None:
        """Show a sentence above the sliders; an empty one clears it."""
        self.message.value = alert(sentence)

    def _listen(self) -> None:
        for dial in (self.temperature, self.top_k, self.top_p):
            dial.observe(self.paint, "value")
        for place, button in enumerate(self.words):
            button.on_click(lambda _, place=place: self.go_to([*self.ids, self.shown[place]]))
        self.prompt.observe(self._typed, "value")
        self.back.on_click(lambda _: self._go_back())
        self.sample.on_click(lambda _: self._draw())

    def _typed(self, _) -> None:
        if self.prompt.value == self._shown_text():  # written by `_reach`, or back where it was
            return self._say_if_lost()
        try:
            ids = ids_of(self.vocabulary, self.prompt.value.replace(LINE_END, "\n"))
        except ValueError as error:
            return self.say(str(error))
        self.go_to(ids)

    def _go_back(self) -> None:
        if len(self.ids) > max(1, len(start_of(self.vocabulary))):
            self.go_to(self.ids[:-1])
        else:
            self.say("This is where the text begins; click a word to go on.")

    def _draw(self) -> None:
        logits = adjust(self.logits, **self.dials())
        self.go_to([*self.ids, int(draw(logits[None], self.rng))])

    def _say_if_lost(self) -> None:
        lost = self.lost is not None
        self.say(why_lost(self.vocabulary, self.ids, self.lost) if lost else "")


def cross_entropy_explorer(
    words: Sequence[str] = ("cat", "dog", "sat", "ran"), true_word: str = "sat"
) -> VBox:
    """Drag the probability of the true word; see −log p, its gradient, and the step that follows.

    The second slider is the size of the step along minus the gradient with respect to the logits.
    """
    probability = _slider("P(true word)", 0.1, 0.01, 0.99, 0.01)
    step_size = _slider("step size", 1.0, 0.0, 5.0, 0.1)
    picture = HTML()

    def paint(_=None) -> None:
        picture.value = nudge_html(nudge(words, true_word, probability.value, step_size.value)).html

    for slider in (probability, step_size):
        slider.observe(paint, "value")
    paint()
    return VBox([_wrap(probability, step_size), picture])


def _button(text: str, width: str = "80px") -> Button:
    return Button(description=text, layout=Layout(width=width, height=f"{ROW_PIXELS - 4}px"))


def _slider(text: str, value: float, low: float, high: float, step: float) -> FloatSlider:
    slider = FloatSlider(value, min=low, max=high, step=step, description=text, layout=DIAL)
    slider.style.description_width = "90px"
    return slider


def _wrap(*sliders) -> HBox:
    return HBox([*map(Dial, sliders)], layout=Layout(flex_flow="row wrap"))
