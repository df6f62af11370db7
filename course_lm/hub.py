"""To and from the Hugging Face Llama format, which most programs for language models read.

    export(model, vocabulary, "my_model")                # `transformers` loads this folder
    model, vocabulary = load(download(name, yes=True))   # from here on as if it were our own

A folder holds the shape (config.json), the weights (model.safetensors) and the tokenizer
(tokenizer.json): names and numbers, no code, so that reading what somebody else wrote runs nothing.
"""

import json
import os
import secrets
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open

from course_lm.language.pieces import Pieces, as_tokenizer, read_pieces, tokenizer_config
from course_lm.models.llama import from_llama, llama_weights, places, to_llama
from course_lm.models.transformer import Transformer
from course_lm.training.checkpoints import AnyVocabulary
from course_lm.training.sealed import DRAFT

OURS = "course_lm"  # who made a folder, in config.json; no other is written over
WANTED = ("config.json", "generation_config.json", "tokenizer.json", "model*.safetensors")
FLOATS = ("F32", "F16", "BF16")


def export(
    model: Transformer,
    vocabulary: AnyVocabulary,
    folder: str | Path,
    *,
    stop: int | None = None,
    card: str = "",
) -> Path:
    """Write a folder that `transformers` loads, whole or not at all; its path.

    stop: the id that ends a response. card: the text of its README.md. An older export is replaced.
    Raises ValueError for a model without the Llama shape or with numbers that are not finite and
    for a vocabulary that is not the model's or that no file can hold; FileExistsError where
    something else stands at `folder`.
    """
    weights = {name: view.cpu().clone() for name, view in llama_weights(model).items()}
    if not all(weight.isfinite().all() for weight in weights.values()):
        raise ValueError("export: expected finite weights, got others; take an older checkpoint")
    stop = getattr(vocabulary, "stop", None) if stop is None else stop
    size, asked = len(vocabulary), model.config.vocab_size
    if size != asked or not (stop is None or 0 <= stop < size):
        raise ValueError(
            f"export: expected a vocabulary of {asked} tokens and a stop among them, "
            f"got {size} tokens and {stop}; give what the model was trained with"
        )
    tokenizer = as_tokenizer(vocabulary, stop)
    ends = {"bos_token_id": None, "eos_token_id": stop, "pad_token_id": stop}
    dtype = {"dtype": str(model.embed.weight.dtype).removeprefix("torch.")}
    about = {
        "config.json": to_llama(model.config) | dtype | ends | {"made_with": OURS},
        "generation_config.json": ends,
        "tokenizer_config.json": tokenizer_config(tokenizer, model.context, stop),
    }
    texts = {name: json.dumps(facts, indent=1) for name, facts in about.items()}
    texts |= {"tokenizer.json": tokenizer.to_str()} | ({"README.md": card} if card else {})
    files = {name: text.encode() for name, text in texts.items()}
    files["model.safetensors"] = safetensors.torch.save(weights, metadata={"format": "pt"})
    return _write(Path(folder).expanduser().absolute(), files)


def load(folder: str | Path, context: int = 1024) -> tuple[Transformer, Pieces]:
    """The model of a folder in the Llama format, in float32, and its vocabulary.

    context: most tokens that the model will see; what it was made for, where that is less.
    Raises FileNotFoundError for a missing file, and ValueError for another architecture, a shape
    that ours cannot have and a file that is damaged or does not fit the others.
    """
    folder = Path(folder).expanduser()
    told = _json(folder / "config.json")
    config = from_llama(told, context)
    data, stop = _bytes(folder / "tokenizer.json"), _stop(folder, told)
    vocabulary = read_pieces(data, config.vocab_size, stop)
    shapes = {name: shape for parts in places(config).values() for name, shape in parts.items()}
    unused = {"lm_head.weight"} if config.tied else set()
    found = {
        name: tuple(part.get_shape()) if part.get_dtype() in FLOATS else part.get_dtype()
        for name, part in _slices(folder)
        if name not in unused and not name.endswith("rotary_emb.inv_freq")
    }
    for name in sorted(shapes | found):
        if shapes.get(name) != found.get(name):
            expected = f"{name} of shape {shapes[name]}" if name in shapes else f"no {name}"
            raise _wrong(expected, found.get(name, "none"), folder)
    model = Transformer(config, torch.Generator())
    views = llama_weights(model)
    for name, part in _slices(folder):
        if name in views:
            views[name].copy_(part[:])
            if not views[name].isfinite().all():
                raise _wrong("finite weights", f"NaN or inf in {name}", folder)
    return model, vocabulary


def download(name: str, *, yes: bool = False, gigabytes: float = 1.0) -> Path:
    """Fetch a public model from the hub, once; the folder, for `load`. The size is printed first.

    Only tables of numbers and names are fetched, never pickled weights or code. Nothing is asked of
    the network without `yes`. Raises ValueError without it, for a model of more than `gigabytes`
    or without safetensors, and where the hub does not answer.
    """
    if yes is not True:
        raise ValueError(
            f"download: expected yes=True before anything is asked of the network, got {yes!r}; "
            f"with it, huggingface.co is asked for {name!r}, and up to {gigabytes:g} GB are fetched"
        )
    from huggingface_hub import snapshot_download  # comes with `tokenizers`

    try:
        fetch = partial(snapshot_download, name, allow_patterns=WANTED, token=False)
        listed = fetch(dry_run=True)
        size = sum(file.file_size for file in listed) / 1e9
        if not any(file.filename.endswith(".safetensors") for file in listed):
            raise ValueError("no safetensors; a pickle can run code and is never fetched")
        if size > gigabytes:
            raise ValueError(f"{size:.2f} GB; allow so many gigabytes or take a smaller model")
        print(f"{name}: {size:.2f} GB in {len(listed)} files")
        return Path(fetch())
    except Exception as error:  # of many kinds: no network, no such name, a broken answer
        reason = " ".join(str(error).split())[:160]
        raise ValueError(
            f"download: expected a public model of at most {gigabytes:g} GB named {name!r}, got "
            f"{reason or type(error).__name__}"
        ) from error


def _write(folder: Path, files: dict[str, bytes]) -> Path:
    """Put a folder of files in place; an older export goes once the new one is on disk."""
    there = {path.name for path in folder.iterdir()} if folder.is_dir() else {""}
    ours = there <= {*files, "README.md"}  # a learner's own file is not deleted
    if there and ours:
        ours = _json(folder / "config.json").get("made_with") == OURS
    if folder.exists() and not ours:
        raise FileExistsError(
            f"export: expected nothing or an older export, got something else at {folder}; choose "
            "another place"
        )
    draft, old = (folder.parent / DRAFT.format(secrets.token_hex(8)) for _ in range(2))
    try:
        draft.mkdir(parents=True)
        for name, data in files.items():
            with open(draft / name, "xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        if folder.exists():
            os.rename(folder, old)
        os.rename(draft, folder)
    except OSError as error:
        raise type(error)(
            f"export: expected to write {folder}, got {error.strerror!r}; make room or choose "
            "another place, what stood there is untouched"
        ) from None
    finally:
        if old.exists() and not folder.exists():
            os.rename(old, folder)
        for left in (draft, old):
            shutil.rmtree(left, ignore_errors=True)
    return folder


def _stop(folder: Path, told: dict[str, Any]) -> int | None:
    more = folder / "generation_config.json"
    stop = (told | (_json(more) if more.exists() else {})).get("eos_token_id")
    return stop[0] if isinstance(stop, list) and stop else stop


def _slices(folder: Path) -> Iterator[tuple[str, Any]]:
    """The tensors of a folder by their names, not read yet."""
    whole = folder / "model.safetensors"
    paths = [whole] if whole.exists() else sorted(folder.glob("model-*-of-*.safetensors"))
    if not paths:
        pickled = "only a pickle, which can run code" if any(folder.glob("*.bin")) else "none"
        raise _wrong("weights in model.safetensors", pickled, folder, FileNotFoundError)
    for path in paths:
        try:
            with safe_open(path, "pt") as file:
                yield from ((name, file.get_slice(name)) for name in file.keys())  # noqa: SIM118
        except SafetensorError as error:
            raise _wrong("a whole safetensors file", str(error)[:80], path) from None


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _wrong("a file", repr(error.strerror), path, type(error)) from None


def _json(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(_bytes(path)))
    except (ValueError, TypeError, RecursionError) as error:
        raise _wrong("an object in JSON", str(error)[:80], path) from None


def _wrong(expected: str, got: object, place: Path, kind: type = ValueError) -> Exception:
    return kind(f"load: expected {expected}, got {got} in {place}; take another folder or file")
