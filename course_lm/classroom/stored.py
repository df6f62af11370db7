"""Training runs that a rehearsal kept, for the stage: the same run again in no time, and said so.

    uv run python -m course_lm.classroom.pages --rehearse 05      at home, the evening before
    from course_lm.classroom.stored import use_stored; use_stored()   on stage, in the first cell

From then on each watched run of the page is read instead of made. What a cell does between the
steps (a probe at every checkpoint, say) is done again, with the weights that the model had then. A
run is known by the text of its cell, its place in that cell and its recipe: change one of them, and
the run is made live again.
"""

import inspect
import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from datetime import date
from hashlib import sha256
from pathlib import Path

import torch
from IPython import get_ipython
from torch import Tensor, nn

from ..rlhf.policy import PolicyStep
from ..training import sealed
from ..training.loop import Step
from ..training.states import own_state

MODE, KEEP, STORED = "COURSE_LM_RUNS", "keep", "stored"
RECORDS = {kind.__name__: kind for kind in (Step, PolicyStep)}
RESCUE = "; a stored run is there: call use_stored() and run the cell again"
AGAIN = "rehearse the page again"
runs_of_cell: dict[int, int] = {}  # execution count: so many runs were watched in that cell


def use_stored(on: bool = True) -> None:
    """Let the watched runs of this kernel come from the store, where one was kept, or live again.

    What comes from there is shown with the day on which it was made.
    """
    os.environ[MODE] = STORED if on else ""


def kept(steps: Iterable[Step]) -> tuple[Iterable[Step], str, Callable[[], str]]:
    """The run itself, kept meanwhile, or a stored one, as the mode says.

    With it words on where it comes from, and a call for those on what can be done if it fails. A
    run is kept only if it is a generator that was given a model.
    """
    kernel, given = get_ipython(), {}
    if kernel is not None and inspect.isgenerator(steps):
        given = inspect.getgeneratorlocals(steps)
    models = {name: value for name, value in given.items() if isinstance(value, nn.Module)}
    if not models:
        return steps, "", str
    path, model = _place(kernel, given.get("recipe")), nn.ModuleDict(models)
    match os.environ.get(MODE):
        case "keep":
            return _keep(steps, model, path), "", str
        case "stored":
            try:
                about, tensors = sealed.read(path)
            except FileNotFoundError:
                return steps, "; live: no stored run of this cell", str
            except ValueError as error:
                return steps, f"; live: {error}", str
            words = f"; a stored run of {about['day']}, not made now"
            return _replay(model, path, about, tensors), words, str
    return steps, "", lambda: RESCUE if path.is_file() else ""


def _place(kernel, recipe) -> Path:
    """Where the run that the cell begins now belongs."""
    count = kernel.execution_count
    runs_of_cell[count] = runs_of_cell.get(count, 0) + 1
    known = f"{kernel.user_ns['In'][-1]}\n{runs_of_cell[count]}\n{recipe}"
    return own_state(f"runs/{sha256(known.encode()).hexdigest()[:16]}")


def _keep(steps: Iterable[Step], model: nn.Module, path: Path) -> Iterator[Step]:
    """The steps; at their end they are written, with the weights at each look and the last ones."""
    records, tensors, looking = [], {}, False

    def looked(*_) -> None:
        if looking and f"{len(records)}/" not in tensors:
            tensors.update(_weights(model, len(records)))
            tensors[f"{len(records)}/"] = torch.zeros(1)

    hooks = [part.register_forward_pre_hook(looked) for part in model.modules()]
    try:
        for step in steps:
            records.append(step)
            looking = True
            yield step
            looking = False
    finally:
        for hook in hooks:
            hook.remove()
    tensors.update(_weights(model, len(records)))
    told = json.dumps([asdict(step) for step in records])  # NaN: what a run does not measure
    kind = type(records[0]).__name__ if records else "Step"
    about = {"steps": told, "kind": kind, "day": date.today().isoformat()}
    sealed.write(path, tensors, about)


def _replay(
    model: nn.Module, path: Path, about: dict, tensors: dict[str, Tensor]
) -> Iterator[Step]:
    """The steps as they were, each after the weights that somebody looked at then."""
    at: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        step, _, own = name.partition("/")
        at.setdefault(int(step), {}).update({own: tensor} if own else {})
    records = [RECORDS[about["kind"]](**values) for values in json.loads(about["steps"])]
    for number, record in enumerate(records, 1):
        if number in at:
            sealed.put(path, at[number], model.state_dict(), AGAIN)
        yield record


def _weights(model: nn.Module, step: int) -> dict[str, Tensor]:
    return {f"{step}/{name}": tensor.clone() for name, tensor in model.state_dict().items()}
