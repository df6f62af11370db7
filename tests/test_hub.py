"""A folder of ours is a Llama for `transformers`, and a Llama of theirs is a model of ours."""

import copy
import json
import os
import shutil
import socket
import unicodedata
from types import SimpleNamespace

import pytest
import safetensors.torch
import tokenizers
import torch
from small_models import random_ids, randomised, seeded, small_rnn, small_transformer

from course_lm.finetuning.lowrank import add_adapters, merge
from course_lm.finetuning.supervised import (
    Apart,
    exact_match,
    packed,
    respond,
    response_labels,
    with_more_words,
)
from course_lm.finetuning.tasks import task_vocabulary
from course_lm.hub import download, export, load
from course_lm.language import lab
from course_lm.language.pieces import as_tokenizer
from course_lm.language.tokens import Vocabulary, byte_pairs, characters, words
from course_lm.rlhf.direct import ImplicitReward, dpo_loss
from course_lm.rlhf.policy import Practice, optimise
from course_lm.training.checkpoints import load as load_checkpoint
from course_lm.training.checkpoints import save
from course_lm.training.loop import Recipe, train
from course_lm.training.states import state_path

TEXT = (
    "The Old dog's bone, it’s in 2 towns!\nWhat a naïve 'dog' <end> x_1 ½ ² e\u0301 ‿ 你好 Ⅻ "
    "\t snow_man ☃ ÉTÉ straße \x1c ok."
)
VOCABULARIES = {
    "words": words(TEXT * 2 + "more text", 20),
    "all words": words(TEXT, 99),
    "characters": characters(TEXT),
    "byte pairs": byte_pairs(TEXT * 3, 300),
    "names": Vocabulary(["<unk>", "<s>", "[end]", "the", "old", "dog", "."]),
}


@pytest.fixture(scope="module", autouse=True)
def offline():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        yield


@pytest.fixture(params=VOCABULARIES)
def vocabulary(request):
    return VOCABULARIES[request.param]


def model_for(vocabulary, **changes):
    return small_transformer(**{"vocab_size": len(vocabulary), "context": 64} | changes)


def theirs(folder):
    """The model and the tokenizer as `transformers` reads them."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager")
    return model.float().eval(), AutoTokenizer.from_pretrained(folder)


def greedy(model, prompt, longest):
    """The new ids of their `generate`, without drawing."""
    ids = torch.tensor([prompt])
    made = model.generate(
        ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=longest
    )
    return made[0, len(prompt) :].tolist()


@torch.no_grad()
def same(ours, other, ids):
    expected = other(ids).logits
    assert expected.std() > 0.1
    return torch.allclose(ours(ids), expected, rtol=0, atol=1e-5)


# -- from us to them


@pytest.mark.parametrize(
    "changes", [{}, {"kv_heads": 2}, {"tied": True}, {"epsilon": 0.02, "wave": 500.0}]
)
def test_an_exported_model_gives_the_same_logits_and_the_same_text(tmp_path, changes):
    vocabulary = VOCABULARIES["byte pairs"]
    model = model_for(vocabulary, **changes)
    other, tokenizer = theirs(export(model, vocabulary, tmp_path / "out"))
    assert same(model, other, random_ids(3, 64, size=len(vocabulary)))
    prompt = vocabulary.encode("The old dog")
    reply = respond(model, [prompt], stop=-1, longest=20)[0]
    assert greedy(other, prompt, 20) == reply
    assert tokenizer.decode(reply) == vocabulary.decode(reply)


def test_an_exported_vocabulary_cuts_and_joins_as_ours(tmp_path, vocabulary):
    _, tokenizer = theirs(export(model_for(vocabulary), vocabulary, tmp_path / "out"))
    for text in (TEXT, "the old dog .", "  the\n\nold  ", "THE Dog", "x<unk>y [end]", ""):
        try:
            ids = vocabulary.encode(text)
        except ValueError:  # a token that is none of its own
            continue
        assert tokenizer(text).input_ids == ids
        assert tokenizer.decode(ids) == vocabulary.decode(ids)
    assert len(tokenizer) == len(vocabulary)


def test_every_sign_of_unicode_is_cut_as_python_cuts_it():
    ranges = [*range(1, 0x3000), *range(0xFE00, 0x10000), *range(0x1F300, 0x1F700)]
    signs = [chr(i) for i in ranges if unicodedata.category(chr(i)) != "Cn"]
    signs.remove("Σ")  # told in the docstring of as_tokenizer
    text = " ".join(f"a{sign}b {sign} " for sign in signs)
    every = words(text, 10**6)
    assert as_tokenizer(every).encode(text).ids == every.encode(text)
    for split in (str.split, list):
        whole = Vocabulary(sorted(set(split(text))), split, "" if split is list else " ")
        assert as_tokenizer(whole).encode(text).ids == whole.encode(text)


@pytest.mark.parametrize("kind", ["names", "byte pairs"])
def test_a_reply_ends_with_the_stop_for_both(tmp_path, kind):
    vocabulary = VOCABULARIES[kind]
    model, prompt = model_for(vocabulary), [3, 4]
    free = respond(model, [prompt], stop=-1, longest=30)[0]
    stop = vocabulary.ids["[end]"] if kind == "names" else free[4]
    if kind == "names":
        with torch.no_grad():  # the end becomes likely
            model.head.weight[stop] = model.head.weight[free[3]] * 1.01
    other, tokenizer = theirs(export(model, vocabulary, tmp_path / "out", stop=stop))
    reply = respond(model, [prompt], stop, 30)[0]
    assert reply[-1] == stop
    assert len(reply) < 30
    assert greedy(other, prompt, 30) == reply
    assert other.generation_config.eos_token_id == stop
    assert tokenizer.eos_token == ("[end]" if kind == "names" else None)
    assert load(tmp_path / "out")[1].stop == stop


@pytest.mark.parametrize(
    ("name", "vocabulary"), [("foundation", lab.vocabulary()), ("assistant", task_vocabulary())]
)
@torch.no_grad()
def test_the_models_that_the_course_ships_are_llamas(tmp_path, name, vocabulary):
    model = load_checkpoint(state_path(name)).model
    folder = export(model, vocabulary, tmp_path / "out", card="# ours")
    assert (folder / "README.md").read_text("utf-8") == "# ours"
    story = vocabulary.ids_of(lab.sample(300, seeded())[: model.context])
    ids, (other, tokenizer) = torch.tensor([story]), theirs(folder)
    ours, expected = model(ids), other(ids).logits
    # Logits reach 56 here: rounding in float32 is as much larger.
    assert torch.allclose(ours, expected, rtol=0, atol=1e-5 * expected.abs().max().item())
    assert torch.allclose(model.double()(ids).float(), expected, rtol=0, atol=2e-4)
    model.float()
    reply = respond(model, [story[:40]], stop=-1, longest=60)[0]
    assert greedy(other, story[:40], 60) == reply
    assert tokenizer.decode(reply) == vocabulary.decode(reply)
    again, read = load(folder)
    assert torch.equal(again(ids), model(ids))
    assert read.tokens == vocabulary.tokens
    assert read.tokens_of(ids[0]) == vocabulary.tokens_of(ids[0])
    assert read.ids_of(["the", "."]) == vocabulary.ids_of(["the", "."])


def test_a_second_export_takes_the_place_of_the_first(tmp_path):
    vocabulary = VOCABULARIES["names"]
    first, second = model_for(vocabulary), model_for(vocabulary, seed=1)
    folder = export(first, vocabulary, tmp_path / "out")
    assert export(second, vocabulary, folder) == folder
    assert torch.equal(load(folder)[0].embed.weight, second.embed.weight)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_an_export_into_an_empty_folder_is_allowed(tmp_path):
    (tmp_path / "out").mkdir()
    export(small_transformer(vocab_size=7), VOCABULARIES["names"], tmp_path / "out")


@pytest.mark.parametrize("there", ["a file", "another program's", "a note in ours"])
def test_what_is_not_ours_is_never_written_over(tmp_path, there):
    vocabulary, folder = VOCABULARIES["names"], tmp_path / "out"
    if there == "a file":
        folder.write_text("notes")
    else:
        export(model_for(vocabulary), vocabulary, folder)
        (folder / "notes.txt").write_text("mine")
    if there == "another program's":
        (folder / "notes.txt").unlink()
        (folder / "config.json").write_text("{}")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(FileExistsError, match="expected nothing or an older export, got something"):
        export(model_for(vocabulary, seed=1), vocabulary, folder)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("moment", ["fsync", "rename"])
def test_where_an_export_fails_the_older_one_stays_whole(tmp_path, monkeypatch, moment):
    vocabulary, folder = VOCABULARIES["names"], tmp_path / "out"
    model = model_for(vocabulary)
    export(model, vocabulary, folder)
    real, calls = getattr(os, moment), []

    def fail(*args):
        calls.append(args)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        return real(*args)

    monkeypatch.setattr(os, moment, fail)
    with pytest.raises(OSError, match=r"export: expected to write .*No space left"):
        export(model_for(vocabulary, seed=1), vocabulary, folder)
    assert torch.equal(load(folder)[0].embed.weight, model.embed.weight)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def with_adapters(model):
    add_adapters(model, 2, seeded())
    return model


def broken(model):
    model.norm.scale.data[0] = torch.nan
    return model


NAMES = VOCABULARIES["names"]


@pytest.mark.parametrize(
    ("make", "vocabulary", "message"),
    [
        (lambda: small_transformer(causal=False), NAMES, "expected a causal Transformer"),
        (lambda: small_transformer(grams=2), NAMES, "without n-gram tables"),
        (lambda: with_adapters(small_transformer()), NAMES, "adapters can be merged"),
        (small_rnn, NAMES, "got a RNN with"),
        (lambda: torch.nn.Linear(2, 2), NAMES, "got a Linear with None"),
        (small_transformer, NAMES, "expected a vocabulary of 13 tokens .* got 7"),
        (lambda: broken(model_for(NAMES)), NAMES, "expected finite weights"),
        (
            lambda: model_for(NAMES),
            Vocabulary(NAMES.tokens, lambda text: text.split(",")),
            "expected a vocabulary of words or characters",
        ),
        (lambda: model_for(NAMES), Vocabulary(NAMES.tokens, glue="-"), "joins by '-'"),
    ],
)
def test_what_cannot_be_exported_is_told_in_a_sentence(tmp_path, make, vocabulary, message):
    with pytest.raises(ValueError, match=message):
        export(make(), vocabulary, tmp_path / "out")
    assert not any(tmp_path.iterdir())


def test_a_stop_outside_the_vocabulary_is_refused(tmp_path):
    with pytest.raises(ValueError, match="a stop among them, got 7 tokens and 7"):
        export(model_for(NAMES), NAMES, tmp_path / "out", stop=7)


# -- from them to us

CORPUS = "The old dog has a bone. A cat sits in the garden and sings. What does it sing?\n" * 5


def their_tokenizer(kind):
    """Two kinds that models of the hub have, with special tokens."""
    if kind == "byte level":
        made = byte_pairs(CORPUS, 280).tokenizer
        made.add_special_tokens(["<|endoftext|>"])
        return made, "<|endoftext|>", None
    made = tokenizers.Tokenizer(
        tokenizers.models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True)
    )
    made.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
    made.decoder = tokenizers.decoders.Metaspace()
    special = ["<unk>", "<s>", "</s>"]
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=120, special_tokens=special, show_progress=False
    )
    made.train_from_iterator([CORPUS], trainer)
    made.post_processor = tokenizers.processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)]
    )
    return made, "</s>", "<s>"


@pytest.fixture(scope="module")
def their_folder(tmp_path_factory):
    """Makes and keeps a random Llama that `transformers` saved."""
    made = {}

    def make(kind="byte level", dtype="float32", shard="5GB", spare=0, **changes):
        key = json.dumps([kind, dtype, shard, spare, changes])
        if key not in made:
            made[key] = tmp_path_factory.mktemp("theirs")
            save_llama(made[key], kind, getattr(torch, dtype), shard, spare, changes)
        return made[key]

    return make


def save_llama(folder, kind, dtype, shard, spare, changes):
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    tokenizer, end, start = their_tokenizer(kind)
    shape = {
        "vocab_size": tokenizer.get_vocab_size() + spare,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 128,
        "bos_token_id": start and tokenizer.token_to_id(start),
        "eos_token_id": tokenizer.token_to_id(end),
    }
    model = LlamaForCausalLM(LlamaConfig(**shape | changes))
    randomised(model)
    model.to(dtype).save_pretrained(folder, max_shard_size=shard)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=end, bos_token=start
    ).save_pretrained(folder)


SHAPES = {
    "plain": {},
    "tied": {"tie_word_embeddings": True},
    "one head for all keys": {"num_key_value_heads": 1},
    "all heads": {"num_key_value_heads": 4},
    "other numbers": {
        "rms_norm_eps": 0.003,
        "rope_parameters": {"rope_type": "default", "rope_theta": 700.0},
    },
    "half the bits": {"dtype": "bfloat16"},
    "in several files": {"shard": "20KB"},
    "spare rows": {"spare": 9},
    "a text that begins": {"kind": "pieces"},
}


@pytest.mark.parametrize("changes", SHAPES.values(), ids=SHAPES)
def test_their_llama_gives_the_same_logits_and_the_same_text_with_us(their_folder, changes):
    folder = their_folder(**changes)
    if "shard" in changes:
        assert len(list(folder.glob("model-*.safetensors"))) > 2
    model, vocabulary = load(folder)
    other, tokenizer = theirs(folder)
    assert model.embed.weight.dtype == torch.float32
    assert same(model, other, random_ids(2, 128, size=len(vocabulary)))
    text = "The cat has an old bone, 2 dogs."
    ids = vocabulary.start + vocabulary.encode(text)
    assert ids == tokenizer(text).input_ids
    assert vocabulary.decode(ids) == tokenizer.decode(ids)
    reply = respond(model, [ids], vocabulary.stop, 40)[0]
    assert reply == greedy(other, ids, 40)
    assert vocabulary.decode(reply) == tokenizer.decode(reply)
    assert len(vocabulary) == model.config.vocab_size


def test_a_loaded_vocabulary_has_what_the_lessons_ask_of_one(their_folder):
    vocabulary = load(their_folder("pieces", spare=3))[1]
    ids = vocabulary.encode("the old cat")
    assert vocabulary.ids_of(vocabulary.tokens_of(ids)) == ids
    assert vocabulary.ids_of(vocabulary.split("the old cat")) == ids
    assert [vocabulary.tokens[i] for i in vocabulary.start] == ["<s>"]
    assert vocabulary.tokens[vocabulary.stop] == "</s>"
    assert vocabulary.decode([len(vocabulary) - 1]) == ""
    with pytest.raises(ValueError, match="expected ids from 0 to"):
        vocabulary.decode([len(vocabulary)])


def test_text_that_a_loaded_vocabulary_cannot_write_is_refused_in_a_sentence(tmp_path):
    closed = Vocabulary(["the", "dog"])
    _, read = load(export(model_for(closed), closed, tmp_path / "out"))
    assert read.encode("the dog") == [0, 1]
    with pytest.raises(ValueError, match="expected text of its 2 tokens, got 'the cat'"):
        read.encode("the cat")


def test_a_long_context_is_cut_to_what_is_asked(their_folder):
    model, _ = load(their_folder(), context=20)
    assert model.context == 20
    other, _ = theirs(their_folder())
    assert same(model, other, random_ids(2, 20))


def test_what_was_loaded_can_be_exported_and_saved(tmp_path, their_folder):
    model, vocabulary = load(their_folder("pieces"))
    folder = export(model, vocabulary, tmp_path / "out")
    other, tokenizer = theirs(folder)
    ids = random_ids(2, 30, size=len(vocabulary))
    assert same(model, other, ids)
    text = "The old cat sits."
    assert tokenizer(text).input_ids == vocabulary.start + vocabulary.encode(text)
    assert load(folder)[1].stop == vocabulary.stop
    path = save(tmp_path / "model.safetensors", model, vocabulary=vocabulary)
    assert torch.equal(load_checkpoint(path, vocabulary).model(ids), model(ids))


# -- damage and other formats


def changed(folder, **changes):
    path = folder / "config.json"
    told = json.loads(path.read_text("utf-8")) | changes
    path.write_text(json.dumps({k: v for k, v in told.items() if v is not ...}), "utf-8")


def reshaped(folder, edit):
    path = folder / "model.safetensors"
    weights = safetensors.torch.load_file(path)
    edit(weights)
    safetensors.torch.save_file(weights, path)


def cut_off(path, share=0.5):
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])


def pickled(folder):
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04cos\nsystem\n")


def rope(**parts):
    return {"rope_parameters": {"rope_theta": 1e4} | parts, "rope_theta": ...}


NORM = "model.layers.1.input_layernorm.weight"
WRONG = {
    "gpt2": (
        lambda f: changed(f, architectures=["GPT2LMHeadModel"], model_type="gpt2"),
        "expected architectures .'LlamaForCausalLM'., got .'GPT2LMHeadModel'.",
    ),
    "no architecture": (lambda f: changed(f, architectures=...), "architectures .* got None"),
    "biases": (lambda f: changed(f, attention_bias=True), "attention_bias False, got True"),
    "act": (lambda f: changed(f, hidden_act="gelu"), "expected hidden_act 'silu', got 'gelu'"),
    "llama 3 rope": (lambda f: changed(f, **rope(rope_type="llama3")), "'default', got 'llama3'"),
    "old rope": (
        lambda f: changed(f, rope_parameters=..., rope_scaling={"type": "linear", "factor": 2}),
        "rope_type 'default', got 'linear'",
    ),
    "no rope": (lambda f: changed(f, rope_parameters=7), "rope_type 'default', got 7"),
    "few bits": (lambda f: changed(f, quantization_config={"bits": 4}), "quantization_config None"),
    "head_dim": (lambda f: changed(f, head_dim=16), "expected head_dim 8, got 16"),
    "no width": (lambda f: changed(f, hidden_size=...), "hidden_size 'int', got None"),
    "text width": (lambda f: changed(f, hidden_size="32"), "hidden_size 'int', got '32'"),
    "odd heads": (lambda f: changed(f, num_attention_heads=5), "sizes of at least 1"),
    "huge width": (
        lambda f: changed(f, hidden_size=4 * 10**9, head_dim=10**9),
        "expected .* of sh",
    ),
    "endless": (lambda f: changed(f, num_hidden_layers=10**12), "num_hidden_layers of 1000"),
    "more layers": (lambda f: changed(f, num_hidden_layers=3), r"layers.2.* of shape .* got none"),
    "fewer layers": (lambda f: changed(f, num_hidden_layers=1), "expected no model.layers.1"),
    "vocabulary": (lambda f: changed(f, vocab_size=200), "expected at most 200 tokens"),
    "no json": (lambda f: (f / "config.json").write_text("{"), "expected an object in JSON"),
    "a list": (lambda f: (f / "config.json").write_text("[1]"), "expected an object in JSON"),
    "no config": (lambda f: (f / "config.json").unlink(), "expected a file, got 'No such file"),
    "no tokens": (lambda f: (f / "tokenizer.json").unlink(), "a file, .*tokenizer.json"),
    "tokens": (lambda f: (f / "tokenizer.json").write_text("{}"), "expected a tokenizer.json"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "weights in .* got none"),
    "pickle": (pickled, "got only a pickle, which can run code"),
    "cut off": (lambda f: cut_off(f / "model.safetensors"), "expected a whole safetensors file"),
    "empty": (lambda f: cut_off(f / "model.safetensors", 0), "expected a whole safetensors file"),
    "shape": (
        lambda f: reshaped(f, lambda w: w.update({NORM: torch.ones(31)})),
        r"input_layernorm.weight of shape \(32,\), got \(31,\)",
    ),
    "dtype": (
        lambda f: reshaped(f, lambda w: w.update({NORM: torch.ones(32, dtype=torch.int8)})),
        r"of shape \(32,\), got I8",
    ),
    "missing": (lambda f: reshaped(f, lambda w: w.pop(NORM)), r"shape \(32,\), got none"),
    "unknown": (
        lambda f: reshaped(f, lambda w: w.update({"model.bias": torch.ones(3)})),
        r"expected no model.bias, got \(3,\)",
    ),
    "nan": (
        lambda f: reshaped(f, lambda w: w[NORM].fill_(torch.nan)),
        "expected finite weights, got NaN or inf in model.layers.1",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_folder_that_is_wrong_is_refused_in_one_sentence(tmp_path, their_folder, case):
    damage, message = WRONG[case]
    folder = tmp_path / "copy"
    shutil.copytree(their_folder(), folder)
    damage(folder)
    with pytest.raises((ValueError, FileNotFoundError), match=message) as told:
        load(folder)
    assert "\n" not in str(told.value)
    assert "; " in str(told.value)


def test_a_missing_shard_is_refused(tmp_path, their_folder):
    folder = tmp_path / "copy"
    shutil.copytree(their_folder(shard="20KB"), folder)
    sorted(folder.glob("model-*.safetensors"))[1].unlink()
    with pytest.raises(ValueError, match=r"of shape .*, got none"):
        load(folder)


# -- from the hub


@pytest.fixture
def fetched(monkeypatch, their_folder):
    """Stands for the hub; keeps what was asked of it."""
    import huggingface_hub

    asked = []

    def fetch(name, *, allow_patterns, token, dry_run=False):
        asked.append((name, tuple(allow_patterns), token, dry_run))
        files = [SimpleNamespace(filename=p.name, file_size=2e8) for p in fetch.folder.iterdir()]
        return files if dry_run else str(fetch.folder)

    fetch.folder = their_folder()
    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
    return SimpleNamespace(asked=asked, fetch=fetch)


@pytest.mark.parametrize("yes", [False, None, 1, "yes"])
def test_without_a_yes_no_socket_is_opened(monkeypatch, yes):
    def opened(*args, **settings):
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", opened)
    monkeypatch.setattr(socket, "getaddrinfo", opened)
    with pytest.raises(ValueError, match="download: expected yes=True before anything is asked"):
        download("someone/small", yes=yes)


def test_the_size_is_told_before_and_the_model_is_ready(fetched, capsys):
    folder = download("someone/small", yes=True, gigabytes=2)
    count = len(list(fetched.fetch.folder.iterdir()))
    assert capsys.readouterr().out == f"someone/small: {count * 0.2:.2f} GB in {count} files\n"
    assert [ask[3] for ask in fetched.asked] == [True, False]
    assert all(ask[2] is False for ask in fetched.asked)
    assert load(folder)[0].config.width == 32


def test_no_pattern_lets_a_pickle_or_a_program_through(fetched):
    from fnmatch import fnmatch

    download("someone/small", yes=True, gigabytes=2)
    for name in ("pytorch_model.bin", "modeling.py", "tokenizer.pkl", "onnx/model.onnx", "a.pt"):
        assert not any(fnmatch(name, pattern) for pattern in fetched.asked[0][1])


@pytest.mark.parametrize(
    ("case", "message"),
    [("large", "got 1.00 GB; allow"), ("pickle", "got no safetensors"), ("down", "got no answer")],
)
def test_what_is_not_fetched_is_told_in_a_sentence(fetched, tmp_path, case, message):
    if case == "pickle":
        shutil.copytree(fetched.fetch.folder, tmp_path / "copy")
        pickled(tmp_path / "copy")
        fetched.fetch.folder = tmp_path / "copy"
    if case == "down":
        fetched.fetch.folder = SimpleNamespace(
            iterdir=lambda: (_ for _ in ()).throw(OSError("no answer"))
        )
    with pytest.raises(ValueError, match=f"download: expected a public model .*{message}"):
        download("someone/small", yes=True, gigabytes=0.5 if case == "large" else 5)
    assert not any(not ask[3] for ask in fetched.asked)


# -- through the lessons

REPLY = "?"
TALK = [("a cat", "sits"), ("the dog", "has a bone"), ("what", "sings"), ("the garden", "old")]


def test_a_loaded_model_walks_through_tuning_and_alignment_unchanged(their_folder):
    model, vocabulary = load(their_folder("pieces"))
    stop, [reply] = vocabulary.stop, vocabulary.ids_of([REPLY])
    asked = [
        ([*vocabulary.start, *vocabulary.encode(prompt), reply], [*vocabulary.encode(said), stop])
        for prompt, said in TALK
    ]
    pairs = [response_labels(*pair, reply, model.context) for pair in asked]
    recipe = Recipe(steps=40, rate=0.02, matrix_rate=None)

    # Lesson 09: supervised, and with adapters.
    tuned, adapted = copy.deepcopy(model), copy.deepcopy(model)
    losses = [
        step.loss
        for step in train(Apart(tuned, vocabulary.start[0]), packed(pairs, 64, 2, seeded()), recipe)
    ]
    assert losses[-1] < losses[0] / 10
    assert exact_match(model, asked, stop) == 0
    assert exact_match(tuned, asked, stop) == 1
    prompts = [prompt for prompt, _ in asked]
    said = [vocabulary.decode(r[:-1]) for r in respond(tuned, prompts, stop, 20)]
    assert said == [text for _, text in TALK]
    add_adapters(adapted, 8, seeded())
    batches = packed(pairs, 64, 2, seeded())
    losses = [step.loss for step in train(Apart(adapted, vocabulary.start[0]), batches, recipe)]
    assert losses[-1] < losses[0] - 1
    merge(adapted)
    assert with_more_words(tuned, len(vocabulary) + 2, seeded()).config.vocab_size > len(vocabulary)

    # Lesson 11: a reward for even ids, by two methods; comparisons.
    def score(places, rollouts):
        return torch.tensor([sum(i % 2 == 0 for i in r) / len(r) for r in rollouts.responses])

    for method in ("GRPO", "REINFORCE"):
        policy, recipe = copy.deepcopy(model), Recipe(steps=40, rate=0.01)
        practice = Practice(method=method, beta=0.01, prompts=16, stop=stop, longest=4)
        steps = list(optimise(policy, model, prompts, score, recipe, practice, seeded()))
        rewards = [step.reward for step in steps]
        assert sum(rewards[-5:]) > sum(rewards[:5]) + 0.2, (method, rewards)
        assert steps[-1].kl > 0
    policy = copy.deepcopy(tuned)
    reward = ImplicitReward(policy, copy.deepcopy(tuned), beta=0.1)
    ids = torch.tensor([[[*prompts[0], reply + 1, stop], [*prompts[0], reply, stop]]] * 4)
    both = iter(lambda: (ids, torch.zeros(4)), None)
    dpo = Recipe(steps=10, rate=0.003, matrix_rate=None)
    losses = [
        step.loss
        for step in train(reward, both, dpo, loss=lambda r, _: dpo_loss(r[:, 0], r[:, 1], 1.0))
    ]
    assert losses[-1] < losses[0]
