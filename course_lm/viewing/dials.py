"""A slider beside a field of the same name, so that nobody needs to see it or to drag it.

The handle of a slider has no accessible name, and nothing in Python gives it one; of a choice it
tells the place and not the words. The field has both. It stands where the slider's own number
stood.
"""

from collections.abc import Callable, Sequence

from ipywidgets import (
    HTML,
    BoundedFloatText,
    BoundedIntText,
    Dropdown,
    FloatSlider,
    HBox,
    IntSlider,
    SelectionSlider,
    VBox,
    link,
)

from .strips import Html

NUMBER, CHOICE, LETTER = 76, 46, 8  # pixels of a field, and of a letter in a choice


class Dial(HBox):
    """A slider and its field, as wide as the slider was; each follows the other."""

    def __init__(self, slider: FloatSlider | IntSlider | SelectionSlider) -> None:
        self.slider = slider
        self.field = _choice(slider) if isinstance(slider, SelectionSlider) else _number(slider)
        self.field.description = slider.description
        self.field.style.description_width = "0px"  # it is read aloud; the slider shows it
        left = int(slider.layout.width.removesuffix("px"))
        slider.layout.width = f"{left - int(self.field.layout.width.removesuffix('px'))}px"
        slider.readout, slider.tooltip = False, slider.description
        slider.layout.overflow = "visible"  # at its end the handle stands half outside
        link((slider, "disabled"), (self.field, "disabled"))
        super().__init__([slider, self.field])

    @property
    def value(self) -> object:
        """What both stand at."""
        return self.slider.value

    @value.setter
    def value(self, value: object) -> None:
        self.slider.value = value


def picture_dial(
    name: str, labels: Sequence[str], picture: Callable[[int], Html], begin: int = 0
) -> VBox:
    """A dial through `labels`, and below it the picture of the place that it stands at."""
    options = [(label, place) for place, label in enumerate(labels)]
    slider = SelectionSlider(options=options, value=begin, description=name)
    slider.layout.width = "420px"
    shown = HTML()

    def paint(_=None) -> None:
        shown.value = picture(slider.value).html

    slider.observe(paint, "value")
    paint()
    return VBox([Dial(slider), shown])


def _choice(slider: SelectionSlider) -> Dropdown:
    wide = CHOICE + LETTER * max(len(label) for label, _ in slider.options)
    field = Dropdown(options=slider.options, index=slider.index, layout={"width": f"{wide}px"})
    link((slider, "index"), (field, "index"))
    return field


def _number(slider: FloatSlider | IntSlider) -> BoundedFloatText | BoundedIntText:
    kind = BoundedIntText if isinstance(slider, IntSlider) else BoundedFloatText
    limits = {"min": slider.min, "max": slider.max, "step": slider.step}
    field = kind(slider.value, layout={"width": f"{NUMBER}px"}, **limits)
    link((slider, "max"), (field, "max"))
    # a slider that counts in tenths arrives at 0.30000000000000004
    link((slider, "value"), (field, "value"), transform=(lambda v: round(v, 9), lambda v: v))
    return field
