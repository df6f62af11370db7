"""Trained models that are ready at once, so that a lecture can begin at any section.

A learner's own lie in a cache folder, those that the course ships in `course_lm/states`.
"""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

from torch import nn

from .checkpoints import AnyVocabulary, load, save


def state_path(name: str) -> Path:
    """Where the trained model `name` lies: the learner's own, else the one the course ships.

    Raises FileNotFoundError where there is neither.
    """
    own = own_state(name)
    for path in (own, Path(__file__).parents[1] / "states" / own.name):
        if path.is_file():
            return path
    raise FileNotFoundError(
        f"state_path: expected a trained model named {name!r}, got none in {own.parent} and none "
        f"with the course; train one and save it with save(own_state({name!r}), model)"
    )


def own_state(name: str) -> Path:
    """Where a learner's trained model belongs; COURSE_LM_STATES in the environment moves it."""
    folder = os.environ.get("COURSE_LM_STATES") or "~/.cache/course_lm"
    return Path(folder).expanduser() / f"{name}.safetensors"


def cached(
    name: str, train: Callable[[], nn.Module], vocabulary: AnyVocabulary = None
) -> nn.Module:
    """The trained model `name`, at once; where there is none, train() makes it and it is kept."""
    with contextlib.suppress(FileNotFoundError):
        return load(state_path(name), vocabulary).model
    model = train()
    with contextlib.suppress(OSError):  # what cannot be kept is still there now
        save(own_state(name), model, vocabulary=vocabulary)
    return model
