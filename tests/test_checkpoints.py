"""A checkpoint is whole or not there, is refused when it has changed, and training goes on exactly.

The oracle for going on is the uninterrupted run, compared bit for bit.
"""

import ast
import contextlib
import errno
import itertools
import json
import os
import random
import select
import signal
import sys
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest
import safetensors.torch
import torch
from small_models import seeded

from course_lm.language.tokens import Vocabulary, byte_pairs
from course_lm.language.windows import all_windows, random_windows
from course_lm.models.rnn import RNN, RNNConfig
from course_lm.models.transformer import Transformer, TransformerConfig
from course_lm.training import checkpoints, sealed, states
from course_lm.training.checkpoints import load, load_weights, save
from course_lm.training.loop import Recipe, evaluate, make_optimisers, train
from course_lm.training.optimisers import AdamW
from course_lm.training.states import cached, own_state, state_path

SENTENCE = r"^(checkpoint|state_path): expected [^\n]+, got [^\n]+; [^\n]+$"
TEXT = torch.randint(11, (400,), generator=torch.Generator().manual_seed(1))
pytestmark = pytest.mark.usefixtures("one_thread")


def transformer(seed=0, **sizes):
    shape = {"vocab_size": 11, "context": 8, "width": 16, "layers": 2, "hidden": 24}
    heads = {"heads": 2, "kv_heads": 2}
    return Transformer(TransformerConfig(**shape | heads | sizes), seeded(seed))


def rnn(seed=0, **sizes):
    return RNN(RNNConfig(**{"vocab_size": 11, "width": 6} | sizes), seeded(seed))


def same_weights(one, other):
    ours, theirs = one.state_dict(), other.state_dict()
    return ours.keys() == theirs.keys() and all(ours[n].equal(theirs[n]) for n in ours)


def seen(step):
    """A Step without its clock and without the count that begins anew."""
    return step.step, step.loss, step.grad_norm, step.learning_rate, step.held_out


# -- going on


MODELS = {
    "transformer": transformer,
    "tied": lambda: transformer(tied=True),
    "grouped": lambda: transformer(kv_heads=1, causal=False),
    "rnn": lambda: rnn(cell="plain"),
    "gru": lambda: rnn(cell="gru", layers=2),
    "lstm": rnn,
    "tables": lambda: rnn(grams=2),
}


@pytest.mark.parametrize("matrix_rate", [None, 0.02], ids=["AdamW", "AdamW and Muon"])
@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_training_goes_on_bit_for_bit_wherever_it_was_cut(tmp_path, make, matrix_rate):
    recipe = Recipe(steps=5, matrix_rate=matrix_rate, weight_decay=0.1, warmup=0.4, accumulate=2)

    def run(model, rng, optimisers):
        def held_out():
            return evaluate(model, all_windows(TEXT[:60], 8, 4))

        batches = random_windows(TEXT, 8, 3, rng)
        return train(model, batches, recipe, optimisers=optimisers, held_out=held_out, every=2)

    model = make()
    whole = [seen(step) for step in run(model, seeded(2), None)]
    assert len({loss for _, loss, *_ in whole}) == 5
    for cut in (0, 1, 3, 5):
        early, rng = make(), seeded(2)
        optimisers = make_optimisers(early, recipe)
        begun = [seen(s) for s in itertools.islice(run(early, rng, optimisers), cut)]
        path = save(tmp_path / "cut", early, optimisers=optimisers, rng=rng)
        saved = load(path)
        rest = [seen(step) for step in run(saved.model, saved.rng, saved.optimisers)]
        assert begun + rest == whole
        assert same_weights(saved.model, model)


def test_saving_changes_nothing_in_what_is_saved(tmp_path):
    recipe, runs = Recipe(steps=4), []
    for saves in (False, True):
        model, rng = transformer(tied=True), seeded(2)
        optimisers = make_optimisers(model, recipe)
        trace = []
        for step in train(model, random_windows(TEXT, 8, 3, rng), recipe, optimisers=optimisers):
            trace.append(seen(step))
            if saves:
                save(tmp_path / "it", model, optimisers=optimisers, rng=rng, loss=step.loss)
        runs.append((trace, model))
    assert runs[0][0] == runs[1][0]
    assert same_weights(runs[0][1], runs[1][1])


def test_optimisers_come_back_with_their_settings_and_move_the_loaded_weights(tmp_path):
    model = transformer()
    recipe = Recipe(steps=3, rate=0.1 + 0.2, matrix_rate=1e-3, weight_decay=0.25)
    optimisers = make_optimisers(model, recipe)
    list(train(model, random_windows(TEXT, 8, 3, seeded()), recipe, optimisers=optimisers))
    saved = load(save(tmp_path / "it", model, optimisers=optimisers))
    weights = dict(saved.model.named_parameters())
    for old, new in zip(optimisers, saved.optimisers, strict=True):
        assert (type(new), new.steps, new.rate, new.decay) == (type(old), 3, old.rate, old.decay)
        assert list(new.weights) == list(old.weights)
        assert all(weights[name] is weight for name, weight in new.weights.items())
        for part, memory in old.memory().items():
            assert all(new.memory()[part][name].equal(memory[name]) for name in memory)
    assert saved.optimisers[1].momentum == optimisers[1].momentum
    assert saved.optimisers[0].betas == optimisers[0].betas


def test_the_settings_of_an_optimiser_outlive_two_rounds(tmp_path):
    model, path = rnn(), tmp_path / "it"
    optimisers = [AdamW(dict(model.named_parameters()), 0.01, betas=(0.5, 0.6))]
    for _ in range(2):
        saved = load(save(path, model, optimisers=optimisers))
        model, optimisers = saved.model, saved.optimisers
    assert optimisers[0].betas == (0.5, 0.6)


def test_a_generator_goes_on_where_it_was(tmp_path):
    rng = seeded(3)
    torch.randn(5, generator=rng)
    saved = load(save(tmp_path / "it", rnn(), rng=rng))
    assert torch.randn(9, generator=saved.rng).equal(torch.randn(9, generator=rng))


def test_optimisers_of_another_model_are_refused(tmp_path):
    optimisers = make_optimisers(rnn(), Recipe(steps=1))
    with pytest.raises(ValueError, match=SENTENCE) as caught:
        save(tmp_path / "it", rnn(), optimisers=optimisers)
    assert "optimisers of the saved model" in str(caught.value)
    assert not list(tmp_path.iterdir())


# -- coming back


@pytest.mark.parametrize("seed", range(12))
def test_any_model_comes_back_as_it_was(tmp_path, seed):
    pick = random.Random(seed)
    if pick.random() < 0.5:
        heads = pick.choice([1, 2, 4])
        model = transformer(
            seed,
            vocab_size=pick.randint(1, 40),
            context=pick.randint(1, 9),
            width=2 * heads * pick.randint(1, 3),
            layers=pick.randint(1, 3),
            heads=heads,
            kv_heads=pick.choice([1, heads]),
            hidden=pick.randint(1, 30),
            causal=pick.random() < 0.5,
            tied=pick.random() < 0.5,
        )
    else:
        cell = pick.choice(["plain", "gru", "lstm"])
        model = rnn(seed, width=pick.randint(1, 9), layers=pick.randint(1, 3), cell=cell)
    facts = {"loss": pick.random(), "corpus": "Æsop, ‘fables’\n\0", "nested": [{"a": None}, -1]}
    saved = load(save(tmp_path / "it", model, **facts))
    assert type(saved.model) is type(model)
    assert saved.model.config == model.config
    assert same_weights(saved.model, model)
    assert (saved.facts, saved.optimisers, saved.rng) == (facts, [], None)


def test_tied_weights_are_stored_once_and_stay_tied(tmp_path):
    path = save(tmp_path / "it", transformer(tied=True, vocab_size=1000))
    assert path.stat().st_size < save(tmp_path / "b", transformer(vocab_size=1000)).stat().st_size
    model = load(path).model
    assert model.head.weight is model.embed.weight


def test_the_same_model_makes_the_same_bytes(tmp_path):
    one, other = (save(tmp_path / name, transformer(tied=True), loss=1.5) for name in "ab")
    assert one.read_bytes() == other.read_bytes()


def test_the_file_is_plain_safetensors_for_other_programs(tmp_path):
    model = rnn()
    tensors = safetensors.torch.load_file(save(tmp_path / "it.safetensors", model))
    assert tensors.keys() == {f"model.{name}" for name in model.state_dict()}
    assert tensors["model.embed.weight"].equal(model.embed.weight)


def test_half_precision_halves_the_file_and_is_read_as_full_precision(tmp_path):
    model = transformer(width=64, hidden=200)
    full = save(tmp_path / "full", model).stat().st_size
    half = save(tmp_path / "half", model, dtype=torch.bfloat16)
    assert half.stat().st_size < 0.6 * full
    for name, weight in load(half).model.named_parameters():
        assert weight.dtype == torch.float32
        assert weight.equal(model.get_parameter(name).bfloat16().float())


def test_what_comes_back_cannot_be_changed_by_accident(tmp_path):
    saved = load(save(tmp_path / "it", rnn()))
    with pytest.raises(FrozenInstanceError):
        saved.facts = {}


def test_a_fact_that_looks_like_the_checksum_is_a_fact(tmp_path):
    facts = {"sha256": "0" * 64, "note": '"sha256": "' + "0" * 64 + '", "bytes": 1', "bytes": 0}
    assert load(save(tmp_path / "it", rnn(), **facts)).facts == facts


@pytest.mark.parametrize("fact", [float("nan"), float("inf"), torch.tensor(1.0), {1, 2}, Path("a")])
def test_a_fact_that_json_cannot_hold_is_refused(tmp_path, fact):
    with pytest.raises(ValueError, match=SENTENCE):
        save(tmp_path / "it", rnn(), fact=fact)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite_are_refused_and_the_old_file_stays(tmp_path, number):
    model = rnn()
    path = save(tmp_path / "it", model)
    before = path.read_bytes()
    with torch.no_grad():
        model.head.weight[2, 1] = number
    with pytest.raises(ValueError, match=SENTENCE) as caught:
        save(path, model)
    assert "got 1 that are not in model.head.weight" in str(caught.value)
    assert path.read_bytes() == before


def test_weights_too_large_for_the_stored_precision_are_refused(tmp_path):
    model = rnn()
    with torch.no_grad():
        model.head.bias[0] = 1e6
    with pytest.raises(ValueError, match=SENTENCE):
        save(tmp_path / "it", model, dtype=torch.float16)


# -- the wrong file


def test_another_vocabulary_is_refused(tmp_path):
    ours, longer = Vocabulary("the old dog".split()), Vocabulary("the old dog ran".split())
    moved = Vocabulary("old the dog".split())
    path = save(tmp_path / "it", rnn(), vocabulary=ours)
    assert same_weights(load(path, Vocabulary("the old dog".split())).model, rnn())
    for other in (moved, longer):
        for read in (load, lambda path, words: load_weights(path, rnn(), words)):
            with pytest.raises(ValueError, match=SENTENCE) as caught:
                read(path, other)
            assert f"{len(other)} tokens" in str(caught.value)
    with pytest.raises(ValueError, match=SENTENCE):
        load(save(tmp_path / "none", rnn()), ours)


def test_a_vocabulary_of_byte_pairs_has_a_fingerprint_too(tmp_path):
    path = save(tmp_path / "it", rnn(), vocabulary=byte_pairs("so so so", 258))
    load(path, byte_pairs("so so so", 258))
    with pytest.raises(ValueError, match=SENTENCE):
        load(path, byte_pairs("do do do", 258))


def test_nothing_at_the_path_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match=SENTENCE):
        load(tmp_path / "it")
    with pytest.raises(OSError, match=SENTENCE):
        load(tmp_path)


def kept(tmp_path):
    """A small file with every part that a checkpoint has, and its bytes."""
    model = rnn(width=2)
    recipe = Recipe(steps=2)
    optimisers = make_optimisers(model, recipe)
    list(train(model, random_windows(TEXT, 8, 3, seeded()), recipe, optimisers=optimisers))
    path = save(tmp_path / "it", model, optimisers=optimisers, loss=0.5)
    return path, path.read_bytes()


def test_a_file_cut_off_at_any_length_is_told(tmp_path):
    path, data = kept(tmp_path)
    header = 8 + int.from_bytes(data[:8], "little")
    assert 1000 < header < len(data)
    some = random.Random(0).sample(range(len(data)), 100)
    for length in (*range(12), header - 1, header, header + 1, len(data) - 1, *some):
        path.write_bytes(data[:length])
        with pytest.raises(ValueError, match=SENTENCE) as caught:
            load(path)
        assert f"only {length:,} bytes of a longer one" in str(caught.value)


def test_a_change_of_any_byte_is_told(tmp_path):
    path, data = kept(tmp_path)
    header = 8 + int.from_bytes(data[:8], "little")
    pick = random.Random(0)
    tensors, head = (pick.sample(range(*ends), 120) for ends in ((header, len(data)), (9, header)))
    for place in (*range(9), *head, *tensors):
        changed = bytearray(data)
        changed[place] ^= pick.choice([1, 32, 128, pick.randint(1, 255)])
        path.write_bytes(changed)
        with pytest.raises(ValueError, match=SENTENCE):
            load(path)
    path.write_bytes(data)
    load(path)


def test_bytes_added_swapped_or_zeroed_are_told(tmp_path):
    path, data = kept(tmp_path)
    middle = len(data) * 3 // 4
    for changed in (
        data + b"\0",
        data[:middle]
        + data[middle + 4 : middle + 8]
        + data[middle : middle + 4]
        + data[middle + 8 :],
        data[:-64] + bytes(64),
        bytes(len(data)),
    ):
        assert changed != data
        path.write_bytes(changed)
        with pytest.raises(ValueError, match=SENTENCE):
            load(path)


def test_a_file_of_another_kind_is_told(tmp_path):
    path = tmp_path / "it"
    torch.save({"weight": torch.ones(3)}, path)
    for content in (
        path.read_bytes(),
        b"Call me Ishmael. " * 9,
        json.dumps({"loss": 1.5}).encode(),
    ):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=SENTENCE) as caught:
            load(path)
        assert "one of another kind" in str(caught.value)
    safetensors.torch.save_file({"weight": torch.ones(3)}, path)
    with pytest.raises(ValueError, match=SENTENCE) as caught:
        load(path)
    assert "one that another program wrote" in str(caught.value)


def test_a_later_format_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(sealed, "FORMAT", 2)
    path = save(tmp_path / "it", rnn())
    monkeypatch.undo()
    with pytest.raises(ValueError, match=SENTENCE) as caught:
        load(path)
    assert "expected format 1, got 2" in str(caught.value)


# -- weights for a model that is there


class Own(torch.nn.Module):
    def __init__(self, width=3):
        super().__init__()
        self.layer = torch.nn.Linear(width, 2)
        self.register_buffer("count", torch.tensor([4]))


def test_a_model_of_ones_own_is_saved_and_its_weights_come_back(tmp_path):
    old, new = Own(), Own()
    old.count += 3
    path = save(tmp_path / "it", old, dtype=torch.bfloat16, loss=2.0)
    assert load_weights(path, new) == {"loss": 2.0}
    assert new.layer.weight.equal(old.layer.weight.bfloat16().float())
    assert new.count.tolist() == [7]
    with pytest.raises(ValueError, match=SENTENCE) as caught:
        load(path)
    assert "use load_weights" in str(caught.value)


def test_a_class_of_ones_own_with_a_name_of_the_course_is_not_taken_for_it(tmp_path):
    namesake = type("RNN", (Own,), {})
    path = save(tmp_path / "it", namesake())
    with pytest.raises(ValueError, match=SENTENCE):
        load(path)
    with pytest.raises(ValueError, match=SENTENCE):
        load_weights(path, rnn())


@pytest.mark.parametrize(
    ("saved", "given"),
    [
        (rnn, lambda: rnn(width=7)),
        (rnn, lambda: rnn(layers=2)),
        (lambda: rnn(layers=2), rnn),
        (transformer, lambda: transformer(vocab_size=12)),
        (transformer, lambda: transformer(tied=True)),
        (lambda: transformer(tied=True), transformer),
        (lambda: transformer(heads=4, kv_heads=4), transformer),
        (transformer, lambda: transformer(causal=False)),
        (transformer, rnn),
        (rnn, transformer),
        (Own, rnn),
    ],
)
def test_weights_that_do_not_fit_are_refused_and_the_model_stays(tmp_path, saved, given):
    path = save(tmp_path / "it", saved())
    model, before = given(), given()
    with pytest.raises(ValueError, match=SENTENCE):
        load_weights(path, model)
    assert same_weights(model, before)


def test_weights_are_put_into_a_tied_model(tmp_path):
    model = transformer(5, tied=True)
    load_weights(save(tmp_path / "it", transformer(tied=True)), model)
    assert same_weights(model, transformer(tied=True))
    assert model.head.weight is model.embed.weight


# -- nothing is lost while writing


def drafts(folder):
    return [path for path in folder.iterdir() if path.name.endswith(".draft")]


def test_the_bytes_are_on_disk_before_the_name_and_the_name_before_the_end(tmp_path, monkeypatch):
    calls = []
    sync, replace = os.fsync, os.replace

    def noted_sync(handle):
        sync(handle)
        calls.append(("sync", os.fstat(handle).st_ino, os.fstat(handle).st_size))

    def noted_replace(draft, path):
        assert Path(draft).parent == Path(path).parent  # a rename across disks is a copy
        calls.append(("replace", os.stat(draft).st_ino, os.stat(draft).st_size))
        replace(draft, path)

    monkeypatch.setattr(os, "fsync", noted_sync)
    monkeypatch.setattr(os, "replace", noted_replace)
    file = save(tmp_path / "it", rnn()).stat()
    assert calls[:2] == [(kind, file.st_ino, file.st_size) for kind in ("sync", "replace")]
    assert [call[:2] for call in calls[2:]] == [("sync", tmp_path.stat().st_ino)]


@contextlib.contextmanager
def disk_of(size):
    """No file can grow beyond `size` bytes: write() stops there, as on a full disk."""
    resource = pytest.importorskip("resource")  # not on Windows
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_leaves_the_old_checkpoint_and_no_draft(tmp_path):
    path = save(tmp_path / "it", rnn(1))
    before = path.read_bytes()
    for size in (0, 1, 1024, len(before) // 2, len(before) - 1):
        with disk_of(size), pytest.raises(OSError, match=SENTENCE) as caught:
            save(path, rnn(2))
        assert f"expected to write {len(before):,} bytes" in str(caught.value)
        assert path.read_bytes() == before
        assert list(tmp_path.iterdir()) == [path]
    save(path, rnn(2))
    assert same_weights(load(path).model, rnn(2))


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left"), KeyboardInterrupt()])
def test_a_late_failure_leaves_the_old_checkpoint_and_no_draft(tmp_path, monkeypatch, call, error):
    def fail(*_):
        raise error

    path = save(tmp_path / "it", rnn(1))
    monkeypatch.setattr(os, call, fail)
    with pytest.raises(type(error)) as caught:
        save(path, rnn(2))
    monkeypatch.undo()
    if isinstance(error, OSError):
        assert "got 'No space left'; make room" in str(caught.value)
    assert same_weights(load(path).model, rnn(1))
    assert list(tmp_path.iterdir()) == [path]


def test_a_path_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "file" / "it", tmp_path / "folder", tmp_path / ("a" * 300)):
        with pytest.raises(OSError, match=SENTENCE):
            save(path, rnn())
    assert {path.name for path in tmp_path.iterdir()} == {"file", "folder"}


def test_the_folder_of_a_checkpoint_is_made(tmp_path):
    load(save(str(tmp_path / "new" / "folder" / "it"), rnn()))


def test_drafts_of_killed_processes_are_swept_away_after_an_hour(tmp_path):
    young, old = (tmp_path / sealed.DRAFT.format(name) for name in "ab")
    for draft in (young, old):
        draft.write_bytes(b"half of")
    os.utime(old, (time.time() - 7200,) * 2)
    path = save(tmp_path / "it", rnn())
    assert set(tmp_path.iterdir()) == {path, young}


def test_savers_of_the_same_file_do_not_disturb_each_other_or_a_reader(tmp_path):
    path = save(tmp_path / "it", rnn(0), seed=0)

    def saver(seed):
        model = rnn(seed)
        for _ in range(10):
            save(path, model, seed=seed)

    with ThreadPoolExecutor() as pool:
        savers = [pool.submit(saver, seed) for seed in range(4)]
        while not all(one.done() for one in savers):
            saved = load(path)
            assert same_weights(saved.model, rnn(saved.facts["seed"]))
    assert [one.result() for one in savers] == [None] * 4
    assert list(tmp_path.iterdir()) == [path]


def child(work):
    """A copy of this process that does `work` and nothing else; its number."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the copy needs no other thread
        number = os.fork()
    if not number:
        try:
            work()
        finally:
            os._exit(1)
    return number


@pytest.mark.skipif(sys.platform == "win32", reason="it forks")
def test_kill_at_100_random_moments_of_saving_leaves_one_whole_checkpoint(tmp_path):
    models = [transformer(seed, width=32, hidden=256, vocab_size=100) for seed in (0, 1)]
    path = save(tmp_path / "it", models[0], number=0)
    began = time.perf_counter()
    save(path, models[0], number=0)
    duration = time.perf_counter() - began
    pick, last = random.Random(0), 0

    def save_again_and_again(begins):
        for number in itertools.count(last + 1):
            os.write(begins, b".")
            save(path, models[number % 2], number=number)

    for kills in range(100):
        awake, begins = os.pipe()
        number = child(lambda begins=begins: save_again_and_again(begins))
        for _ in range(1 + kills % 2):  # every other one lives to finish a save, however slow
            assert select.select([awake], [], [], 60)[0]
            os.read(awake, 1)
        time.sleep(pick.uniform(0, 2 * duration))
        os.kill(number, signal.SIGKILL)
        assert os.waitstatus_to_exitcode(os.waitpid(number, 0)[1]) == -signal.SIGKILL
        os.close(awake)
        os.close(begins)
        saved = load(path)
        assert same_weights(saved.model, models[saved.facts["number"] % 2])
        assert saved.facts["number"] >= last + kills % 2
        last = saved.facts["number"]
    killed_within = len(drafts(tmp_path))
    print(f"100 kills: {killed_within} left a draft, {last} saves were finished")
    assert killed_within > 3
    assert last >= 50
    save(path, models[0], number="after")  # what the killed ones left is in nobody's way
    assert load(path).facts["number"] == "after"


# -- ready states


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """(the learner's folder, the course's), both not there yet."""
    own, course = tmp_path / "own", tmp_path / "course_lm"
    monkeypatch.setenv("COURSE_LM_STATES", str(own))
    monkeypatch.setattr(states, "__file__", str(course / "training" / "states.py"))
    return own, course / "states"


def test_a_state_is_looked_for_at_the_learners_and_then_in_the_course(folders):
    own, shipped = folders
    with pytest.raises(FileNotFoundError, match=SENTENCE) as caught:
        state_path("story")
    assert str(own) in str(caught.value)
    assert not own.exists()
    there = save(shipped / "story.safetensors", rnn(1))
    assert state_path("story") == there
    here = save(own_state("story"), rnn(2))
    assert state_path("story") == here == own / "story.safetensors"


def test_without_a_setting_the_states_lie_in_the_users_cache(monkeypatch):
    monkeypatch.delenv("COURSE_LM_STATES", raising=False)
    assert own_state("story") == Path.home() / ".cache" / "course_lm" / "story.safetensors"


def test_a_cached_model_is_trained_once(folders):
    runs, words = [], Vocabulary("ab")

    def trained():
        runs.append(1)
        return rnn(3)

    for _ in range(3):
        assert same_weights(cached("story", trained, words), rnn(3))
    assert len(runs) == 1
    with pytest.raises(ValueError, match=SENTENCE):
        cached("story", trained, Vocabulary("ba"))


def test_a_trained_model_is_not_lost_where_it_cannot_be_kept(folders):
    folders[0].write_text("a file where the folder should be")
    assert same_weights(cached("story", lambda: rnn(3)), rnn(3))


# -- no code in files


@pytest.mark.parametrize("module", [checkpoints, sealed, states])
def test_nothing_that_can_run_code_is_used_to_read_or_write(module):
    tree = ast.parse(Path(module.__spec__.origin).read_text("utf-8"))
    imported = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    imported |= {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    assert not imported & {"pickle", "dill", "joblib", "marshal", "shelve", "importlib"}
    called = {ast.unparse(n.func) for n in ast.walk(tree) if isinstance(n, ast.Call)}
    assert not called & {"torch.load", "torch.save", "eval", "exec", "getattr_static", "__import__"}
