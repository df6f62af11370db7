"""300 phones vote on one poll, in three ways: `uv run python benchmarks/poll.py`.

The poll has a process of its own, as in a kernel; the phones share another. Each way ends with a
count of the file by an independent reader: no vote may be lost or doubled. Beside the answers
stands their lower bound, one write that is forced to disk.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from course_lm.classroom.phones import crowd
from course_lm.classroom.poll import poll
from course_lm.classroom.recorded import COMPARISONS, JUDGES, RECORDED
from course_lm.finetuning.tasks import task_vocabulary
from course_lm.rlhf.annotators import as_ids
from course_lm.rlhf.preferences import VOTES, labels, read_comparisons
from course_lm.rlhf.reward import RewardModel, pairs, scalar_headed
from course_lm.rlhf.votes import VoteFile, recorded_votes
from course_lm.training.checkpoints import load
from course_lm.training.loop import Recipe, train
from course_lm.training.states import state_path

PHONES, ROUNDS = 300, 10
THINK = tuple(place / 50 for place in range(150))  # 0 to 3 seconds, 1.5 on average
WAYS = {
    "each after 0 to 3 s": (THINK, "idle"),
    "each after 0 to 3 s, a cell trains": (THINK, "train"),
    "all in the same moment": ((), "idle"),
}


def serve(path: Path, work: str) -> None:
    """Be the kernel: hold the poll until the input ends, and train meanwhile if asked."""
    comparisons = read_comparisons(COMPARISONS)
    torch.set_num_threads(1)
    ended = threading.Event()
    training = reward_training(comparisons) if work == "train" else iter(())
    next(training, None)
    hall = poll(comparisons, path)
    print(hall.url, hall.room.code, flush=True)
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    while not ended.is_set():
        if next(training, None) is None:
            ended.wait(0.1)
    hall.close()


def reward_training(comparisons) -> Iterator:
    """The training of lesson 10."""
    words, rng = task_vocabulary(), torch.Generator().manual_seed(0)
    judge = RewardModel(scalar_headed(load(state_path("assistant"), words).model, layers=2))
    voted = labels(recorded_votes(RECORDED, comparisons, JUDGES[0]))
    batches = pairs(as_ids(words, comparisons), voted, 32, rng)
    return train(judge, batches, Recipe(steps=100_000))


def measure(think: tuple[float, ...], work: str, phones: int, rounds: int) -> dict[str, float]:
    """Let all phones vote; what it took, in milliseconds, and what became of the votes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "votes.jsonl"
        command = [sys.executable, __file__, "--serve", str(path), "--work", work]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        with subprocess.Popen(command, **pipes) as process:
            url, code = process.stdout.readline().split()
            given = [[VOTES[(phone + at) % 4] for at in range(rounds)] for phone in range(phones)]
            voters = crowd(url, code, given, think)
            process.stdin.close()
        file = VoteFile(path, read_comparisons(COMPARISONS))
        found = sorted(str(file.votes(name)[:rounds]) for name in file.voters())
        lines = len(path.read_bytes().splitlines())
    times = sorted(1000 * second for voter in voters for second in voter.seconds)
    return {
        "votes": len(times),
        "lines": lines,
        "as given": float(found == sorted(map(str, given))),
        "median": statistics.median(times),
        "95 %": times[int(0.95 * len(times))],
        "slowest": times[-1],
    }


def forced_write(times: int = 100) -> float:
    """Median milliseconds of one small write that is forced to disk."""
    took = []
    with tempfile.NamedTemporaryFile(buffering=0) as file:
        for _ in range(times):
            began = time.perf_counter()
            file.write(b"x" * 120)
            os.fsync(file.fileno())
            took.append(1000 * (time.perf_counter() - began))
    return statistics.median(took)


def main() -> None:
    """Print a row for each way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--work", default="idle", help=argparse.SUPPRESS)
    parser.add_argument("--phones", type=int, default=PHONES)
    options = parser.parse_args()
    if options.serve:
        return serve(options.serve, options.work)
    print(f"one forced write: {forced_write():.1f} ms; load {os.getloadavg()[0]:.1f} before")
    for name, (think, work) in WAYS.items():
        got = measure(think, work, options.phones, ROUNDS)
        state = (
            "none lost or doubled" if got["as given"] and got["lines"] == got["votes"] else "BAD"
        )
        print(
            f"{options.phones} phones, {name:<35} {got['votes']:,.0f} votes, {state}; median "
            f"{got['median']:.0f} ms, 95 % {got['95 %']:.0f} ms, slowest {got['slowest']:.0f} ms"
        )
    print(f"load {os.getloadavg()[0]:.1f} after, {os.cpu_count()} processors")


if __name__ == "__main__":
    main()
