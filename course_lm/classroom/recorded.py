"""Draw the comparisons on which a class votes, and record two simulated judges of them.

    python -m course_lm.classroom.recorded

Lesson 10 shows them, so that a run without a class has votes, too. Both judges want what
`rlhf.gold` says and err as Bradley and Terry have it; the file says that they are simulated.
"""

from itertools import islice
from pathlib import Path

import torch

from course_lm.finetuning.tasks import task_vocabulary
from course_lm.rlhf.annotators import Annotator, compared
from course_lm.rlhf.gold import prompts
from course_lm.rlhf.preferences import write_comparisons
from course_lm.rlhf.votes import VoteFile
from course_lm.training.checkpoints import load

from .foundation import FOLDER

COMPARISONS, RECORDED = FOLDER / "comparisons.json", FOLDER / "votes.jsonl"
JUDGES = ("simulated one", "simulated two")
COUNT = 60


def main(folder: Path = FOLDER, count: int = COUNT) -> Path:
    """Write both files anew; where the votes lie."""
    rng = torch.Generator().manual_seed(0)
    words = task_vocabulary()
    model = load(FOLDER / "assistant.safetensors", words).model
    comparisons = list(islice(compared(model, words, prompts(2 * count, rng), rng), count))
    write_comparisons(folder / COMPARISONS.name, comparisons)
    path = folder / RECORDED.name
    path.unlink(missing_ok=True)
    file = VoteFile(path, comparisons)
    for judge in JUDGES:
        for place, vote in enumerate(Annotator(noise=0.5).votes(comparisons, rng)):
            file.add(place, vote, judge)
    return path


if __name__ == "__main__":
    print(main())
