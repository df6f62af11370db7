"""Several processes train as one does, stop as one, and lose nothing when one of them is killed.

The oracle is always `train` in one process. This file is also the script of the processes: torchrun
starts it once for all checks of the loop, and twice for the command.
"""

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import time
import types
from pathlib import Path

import psutil
import pytest
import torch
from small_models import random_ids, seeded, small_rnn, small_transformer

from course_lm.classroom import together
from course_lm.language.windows import IGNORE, random_windows
from course_lm.training import distributed, loop
from course_lm.training.checkpoints import load, save
from course_lm.training.loop import Recipe, make_optimisers, train
from course_lm.training.losses import cross_entropy

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
STEPS, HALF = 8, 4
CASES = {  # name: (model, settings of the recipe)
    "Muon and AdamW": (small_transformer, {"weight_decay": 0.1}),
    "AdamW alone": (small_rnn, {"matrix_rate": None, "weight_decay": 0.1, "accumulate": 2}),
}
WAYS = ("data parallel", "sharded")


def recipe_of(case):
    return Recipe(steps=STEPS, **CASES[case][1])


def begin(case):
    model = CASES[case][0]()
    return model, make_optimisers(model, recipe_of(case)), seeded(0)


def uneven_batches(rng):
    """Rows with 6, 2 or no labels; in one batch of four only the first process has labels."""
    for inputs, labels in random_windows(random_ids(500), 6, 5, rng):
        labels = labels.clone()
        labels[::2, :4] = IGNORE
        if inputs.sum() % 5 == 0:
            labels[1::2] = IGNORE
        yield inputs, labels


def record(steps):
    return [(step.loss, step.grad_norm, step.tokens) for step in steps]


def alone(case, steps=STEPS):
    model, optimisers, rng = begin(case)
    with full_precision():
        run = train(model, uneven_batches(rng), recipe_of(case), optimisers=optimisers)
        trace = record(itertools.islice(run, steps))
    return model, optimisers, rng, trace


@contextlib.contextmanager
def full_precision():
    before, loop.half_precision_pays = loop.half_precision_pays, lambda device: False
    try:
        yield
    finally:
        loop.half_precision_pays = before


# -- what each process does


def go(case, way, model, optimisers, rng, count=None, **options):
    """Go on with some steps; the model comes back sharded if it was."""
    if way == "sharded" and not distributed._is_sharded(model):
        distributed.shard(model, optimisers)
    batches = options.pop("batches", None) or uneven_batches(rng)
    run = distributed.train_together(model, batches, recipe_of(case), optimisers, **options)
    return record(itertools.islice(run, count))


def keep(path, rank, model, optimisers, rng):
    whole, memories = distributed.gather(model, optimisers)
    if rank == 0:
        save(path, whole, optimisers=memories, rng=rng)
    torch.distributed.barrier()


def traces(folder, rank):
    """Uninterrupted, cut in two, and begun by one process alone, of each case and way."""
    found = {}
    for case, way in itertools.product(CASES, WAYS):
        state = begin(case)
        whole = go(case, way, *state)
        held = together.held_bytes(*state[:2])
        state = begin(case)
        first = go(case, way, *state, count=HALF)
        path = folder / f"{case} {way}.safetensors"
        keep(path, rank, *state)
        ends = []
        for file in (path, folder / f"{case}.safetensors"):
            saved = load(file)
            ends.append(go(case, way, saved.model, saved.optimisers, saved.rng))
        found[f"{case} {way}"] = {"whole": whole, "first": first, "ends": ends, "held": held}
    return found


def stopped(rank, where):
    """Ctrl-C on one process only: in its second step, or between steps."""
    case, calls, state = "Muon and AdamW", itertools.count(1), begin("Muon and AdamW")
    batches, trace, said = uneven_batches(state[2]), [], []

    def loss(logits, labels):
        if where == "in a step" and rank == 1 and next(calls) == 2:
            signal.raise_signal(signal.SIGINT)
        return cross_entropy(logits, labels)

    try:
        options = {"optimisers": state[1], "loss": loss}
        for step in distributed.train_together(state[0], batches, recipe_of(case), **options):
            trace += record([step])
            if where == "between steps" and rank == 0 and step.step == 3:
                signal.raise_signal(signal.SIGINT)
    except KeyboardInterrupt as stop:
        said = stop.args
    return {"steps": len(trace), "said": said, "trace": trace + go(case, WAYS[0], *state)}


def refused(batches, recipe):
    model = small_rnn()
    try:
        list(distributed.train_together(model, batches, recipe, make_optimisers(model, recipe)))
    except (ValueError, FloatingPointError) as error:
        return str(error)


def script(folder):
    sys.excepthook = say_late
    with distributed.processes(patience=20) as (rank, world):
        found = {"traces": traces(folder, rank), "world": world}
        found["stopped"] = {where: stopped(rank, where) for where in ("in a step", "between steps")}
        found["one row"] = refused([(torch.zeros(1, 4).long(),) * 2], Recipe(steps=1))
        found["seconds"] = refused([], Recipe(seconds=1.0))
        found["no batch"] = refused([], Recipe(steps=1))
        (folder / f"{rank}.json").write_text(json.dumps(found))
        state = begin("AdamW alone")
        try:
            go("AdamW alone", WAYS[0], *state, loss=killing(rank))
        except RuntimeError as error:
            (folder / "broken.txt").write_text(str(error))
            raise


def say_late(*error):
    """Print an error when torchrun has long asked this process to end."""
    time.sleep(1)
    sys.__excepthook__(*error)


def killing(rank):
    """The usual loss, in whose third call one process ends without a word."""
    calls = itertools.count(1)

    def loss(logits, labels):
        if rank == 1 and next(calls) == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return cross_entropy(logits, labels)

    return loss


# -- one launch for the loop


@pytest.fixture(scope="module")
def launch(tmp_path_factory):
    folder = tmp_path_factory.mktemp("processes")
    for case in CASES:
        model, optimisers, rng, _ = alone(case, HALF)
        save(folder / f"{case}.safetensors", model, optimisers=optimisers, rng=rng)
    done = run_to_the_end([*TORCHRUN, __file__, str(folder)])
    files = [folder / f"{rank}.json" for rank in (0, 1)]
    assert all(file.exists() for file in files), done.stderr
    return folder, [json.loads(file.read_text()) for file in files], done


def run_to_the_end(command):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)


def triples(trace):
    return [tuple(step) for step in trace]


def assert_same(first, second, tolerance):
    assert len(first) == len(second)
    for one, two in zip(first, second, strict=True):
        assert one[0] == pytest.approx(two[0], abs=tolerance)  # the loss
        assert one[1] == pytest.approx(two[1], rel=tolerance, abs=tolerance)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", CASES)
def test_two_processes_make_the_steps_of_one(launch, case, way):
    *_, trace = alone(case)
    for found in launch[1]:
        together = triples(found["traces"][f"{case} {way}"]["whole"])
        assert_same(together, trace, 1e-5)
        assert [step[2] for step in together] == [step[2] for step in trace]


def test_every_process_reports_the_same_loss_to_the_last_digit(launch):
    one, two = (found["traces"] for found in launch[1])
    assert [run["whole"] for run in one.values()] == [run["whole"] for run in two.values()]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", CASES)
def test_a_checkpoint_goes_on_exactly_with_as_many_processes(launch, case, way):
    found = launch[1][0]["traces"][f"{case} {way}"]
    losses = [[step[:2] for step in part] for part in (found["first"], found["ends"][0])]
    assert losses[0] + losses[1] == [step[:2] for step in found["whole"]]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", CASES)
def test_a_checkpoint_of_two_processes_goes_on_with_one_and_of_one_with_two(launch, case, way):
    folder, found, _ = launch
    *_, trace = alone(case)
    saved = load(folder / f"{case} {way}.safetensors")
    assert type(saved.model) is type(CASES[case][0]())
    with full_precision():
        batches = uneven_batches(saved.rng)
        rest = record(train(saved.model, batches, recipe_of(case), optimisers=saved.optimisers))
    assert_same(rest, trace[HALF:], 1e-5)
    assert_same(found[0]["traces"][f"{case} {way}"]["ends"][1], trace[HALF:], 1e-5)


def test_a_mean_of_the_processes_means_would_be_found_out():
    model, _, rng = begin("AdamW alone")
    for inputs, labels in itertools.islice(uneven_batches(rng), 2):  # all have labels here
        logits = model(inputs)
        halves = [cross_entropy(logits[rank::2], labels[rank::2]).item() for rank in (0, 1)]
        assert abs(sum(halves) / 2 - cross_entropy(logits, labels).item()) > 1e-2


@pytest.mark.parametrize("case", CASES)
def test_sharded_every_process_holds_half(launch, case):
    model, optimisers, _ = begin(case)
    first, second = (found["traces"][f"{case} sharded"]["held"] for found in launch[1])
    assert first == together.held_bytes(model, optimisers, shares=2)
    for name, count in together.held_bytes(model, optimisers).items():
        assert first[name] + second[name] == count
        assert second[name] == pytest.approx(count / 2, rel=0.1)


@pytest.mark.parametrize(("where", "steps"), [("in a step", 2), ("between steps", 3)])
def test_ctrl_c_on_one_process_stops_all_after_the_same_step(launch, where, steps):
    whole = launch[1][0]["traces"]["Muon and AdamW data parallel"]["whole"]
    for found in launch[1]:
        stop = found["stopped"][where]
        assert (stop["steps"], stop["said"]) == (steps, ["all processes"])
        assert [step[:2] for step in stop["trace"]] == [step[:2] for step in whole]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("one row", "expected a row for each of 2 processes, got a batch of 1; give larger bat"),
        ("seconds", "train_together: expected a budget in steps, got seconds; give steps="),
        ("no batch", "got the end of the batches at step 1"),
    ],
)
def test_bad_input_is_named_on_every_process(launch, name, sentence):
    for found in launch[1]:
        assert sentence in found[name]


def test_a_killed_process_ends_the_run_with_a_sentence(launch):
    _, _, done = launch
    assert done.returncode != 0
    assert (
        "ConnectionError: processes: expected 2 processes that answer each other, got none fr"
        in (done.stderr)
    )
    assert "signal 9" in done.stderr.lower()
    assert not leftovers(__file__)


def leftovers(name):
    """Processes that still run with `name` in their command, other than this one."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if name in words and "torch.distributed.run" not in words and "pytest" not in str(words):
            found.append(process)
    return found


# -- the command


MODULE = "course_lm.classroom.together"
DIALS = ["--steps", "100000", "--batch", "5", "--every", "5"]


def reference(count):
    """Losses of the lab model by one process alone, by step."""
    saved, recipe = together.begin(Recipe(steps=100_000)), Recipe(steps=100_000)
    batches = together.lab_batches(5, saved.rng)
    run = train(saved.model, batches, recipe, optimisers=saved.optimisers)
    with full_precision():
        return {step.step: step.loss for step in itertools.islice(run, count)}


@contextlib.contextmanager
def command(path, *dials):
    """The command, running; whatever happens in the block, nothing of it runs afterwards."""
    words = [*TORCHRUN, "-m", MODULE, *DIALS, "--checkpoint", str(path), *dials]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(words, env=environment, **pipes) as run:
        try:
            yield run
        finally:
            for process in workers(run):
                process.kill()
            run.kill()


def workers(run):
    with contextlib.suppress(psutil.NoSuchProcess):
        children = psutil.Process(run.pid).children(recursive=True)
        return [child for child in children if MODULE in child.cmdline()]
    return []


def losses_until(run, count):
    """The losses that the command prints, by step, until there are `count` of them."""
    found = {}
    while len(found) < count and (line := run.stdout.readline()):
        if line.startswith("step"):
            _, step, _, loss, *_ = line.split()
            found[int(step)] = float(loss)
    return found


def test_the_command_survives_a_kill_and_a_ctrl_c(tmp_path):
    path = tmp_path / "lab.safetensors"
    with command(path) as run:
        printed = losses_until(run, 3)
        victim, other = workers(run)
        victim.kill()
        _, errors = run.communicate(timeout=200)
    assert run.returncode != 0
    assert "processes: expected 2 processes that answer each other, got none fr" in errors
    assert "it goes on from the last checkpoint" in errors
    assert not other.is_running()
    steps = load(path).optimisers[0].steps
    assert steps % 5 == 0
    assert steps >= 10
    with command(path, "--shard") as run:  # and now with FSDP2
        printed |= losses_until(run, 2)
        both = workers(run)
        run.send_signal(signal.SIGINT)
        _, errors = run.communicate(timeout=200)
    assert run.returncode != 0
    assert errors.count("together: stopped; the same command goes on from here") == 2
    assert not any(process.is_running() for process in both)
    assert load(path).optimisers[0].steps >= steps + 10
    assert min(set(printed) - {1, 5, 10}) in (15, steps + 5)
    expected = reference(max(printed))
    assert printed == pytest.approx({step: expected[step] for step in printed}, abs=1e-5)


def test_without_torchrun_the_command_says_what_to_type(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(SystemExit, match=r"^processes: expected a process that torchrun started, "):
        together.main([])


def test_no_steps_between_lines_are_refused_with_a_sentence(capsys):
    with pytest.raises(SystemExit):
        together.main(["--every", "0"])
    assert "--every: expected at least 1, got 0; give a number of steps" in capsys.readouterr().err


def test_a_line_leaves_in_one_piece_so_that_two_processes_never_mix_theirs(monkeypatch):
    pieces = []
    monkeypatch.setattr(sys, "stdout", types.SimpleNamespace(write=pieces.append, flush=int))
    together._say("step 1")
    assert pieces == ["step 1\n"]


def test_a_torch_that_cannot_shard_on_processors_is_named(monkeypatch):
    monkeypatch.setattr(torch.cpu, "Stream", object)
    with pytest.raises(ValueError, match=r"^shard: expected FSDP2 on CPU, got torch 2"):
        distributed.shard(small_rnn(), [])


if __name__ == "__main__":
    with full_precision():
        script(Path(sys.argv[1]))
