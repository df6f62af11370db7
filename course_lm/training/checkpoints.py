"""A model on disk, with all that is needed to go on as if nothing had happened.

    saved = load(path)
    train(saved.model, random_windows(ids, T, B, saved.rng), recipe, optimisers=saved.optimisers)

A checkpoint is one safetensors file, guarded as `sealed.py` says. Its header holds, as JSON: the
model's class and config, the optimisers' settings and steps, the fingerprint of the vocabulary,
and facts that the caller wants to keep.
"""

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from course_lm.language.tokens import BytePairs, Vocabulary
from course_lm.models.rnn import RNN, RNNConfig
from course_lm.models.transformer import Transformer, TransformerConfig

from . import sealed
from .optimisers import Adagrad, AdamW, Muon, Optimisers

MODELS = {"RNN": (RNN, RNNConfig), "Transformer": (Transformer, TransformerConfig)}
OPTIMISERS = {"AdamW": AdamW, "Muon": Muon, "Adagrad": Adagrad}
AnyVocabulary = Vocabulary | BytePairs | None


@dataclass(frozen=True, slots=True)
class Saved:
    """What a checkpoint held. The optimisers move the weights of `model`."""

    model: nn.Module
    optimisers: Optimisers
    rng: torch.Generator | None
    facts: dict[str, Any]


def save(
    path: str | Path,
    model: nn.Module,
    *,
    optimisers: Optimisers | None = None,
    rng: torch.Generator | None = None,
    vocabulary: AnyVocabulary = None,
    dtype: torch.dtype | None = None,
    **facts: Any,
) -> Path:
    """Write one checkpoint; its path. With `optimisers` and `rng`, training can go on exactly.

    dtype: of the weights in the file; torch.bfloat16 halves it and keeps about three digits.
    facts: JSON values worth keeping, such as the loss, the corpus, the command.

    Raises ValueError for weights that are not finite, optimisers of another model and facts that
    JSON cannot hold; OSError where the file cannot be written, with the old one untouched.
    """
    optimisers = optimisers or []
    tensors = {f"model.{name}": tensor for name, tensor in _weights(model).items()}
    if dtype is not None:
        tensors = {n: t.to(dtype) if t.is_floating_point() else t for n, t in tensors.items()}
    for index, optimiser in enumerate(optimisers):
        tensors |= _memory(optimiser, index)
    if rng is not None:
        tensors["rng"] = rng.get_state()
    about = {
        "model": type(model).__name__,
        "config": _config(model),
        "vocabulary": _fingerprint(vocabulary),
        "optimisers": [_about(optimiser, model) for optimiser in optimisers],
        "rng": rng and rng.device.type,
        "facts": facts,
    }
    return sealed.write(Path(path), tensors, about)


def load(path: str | Path, vocabulary: AnyVocabulary = None, device: str = "cpu") -> Saved:
    """Make the model of a checkpoint anew, and whatever else it holds.

    Raises ValueError for a file that is no checkpoint, is cut off or altered, and, if one is
    given, for another vocabulary than the model's; FileNotFoundError where there is no file.
    """
    about, tensors = _read(path, vocabulary)
    if about["model"] not in MODELS or about["config"] is None:
        raise ValueError(
            f"checkpoint: expected a model of {' or '.join(MODELS)}, got a {about['model']} in "
            f"{path}; make that model and use load_weights"
        )
    make, config = MODELS[about["model"]]
    model = make(config(**about["config"]), torch.Generator()).to(device)
    _put(path, tensors, model)
    rng = about["rng"] and torch.Generator(about["rng"])
    if rng:
        rng.set_state(tensors["rng"])
    optimisers = []
    for index, kept in enumerate(about["optimisers"]):
        own = {name: model.get_parameter(name) for name in kept["weights"]}
        optimiser = OPTIMISERS[kept["kind"]](own, **kept["settings"])
        optimiser.steps = kept["steps"]
        for name, tensor in _memory(optimiser, index).items():
            tensor.copy_(tensors[name])
        optimisers.append(optimiser)
    return Saved(model, optimisers, rng, about["facts"])


def load_weights(path: str | Path, model: nn.Module, vocabulary: AnyVocabulary = None) -> dict:
    """Put the weights of a checkpoint into `model`, of the same class and shape; the facts.

    Raises what `load` raises, and ValueError, with `model` untouched, where class or shape differ.
    """
    about, tensors = _read(path, vocabulary)
    want, got = _kind(type(model).__name__, _config(model)), _kind(about["model"], about["config"])
    if want != got:
        raise ValueError(
            f"checkpoint: expected the weights of a {want}, got those of a {got} in {path}; make "
            "such a model, or take another file"
        )
    _put(path, tensors, model)
    return about["facts"]


def _read(path: str | Path, vocabulary: AnyVocabulary) -> tuple[dict, dict]:
    about, tensors = sealed.read(Path(path))
    given = _fingerprint(vocabulary)
    if given and given != about["vocabulary"]:
        raise ValueError(
            "checkpoint: expected the vocabulary that the model was trained with "
            f"({about['vocabulary'] or 'none was saved'}), got {given} for {path}; make the same "
            "one, or train again"
        )
    return about, tensors


def _fingerprint(vocabulary: AnyVocabulary) -> str | None:
    if vocabulary is None:
        return None
    tokens = json.dumps(list(vocabulary.tokens)).encode()
    return f"{len(vocabulary)} tokens, sha256 {hashlib.sha256(tokens).hexdigest()}"


def _config(model: nn.Module) -> dict[str, Any] | None:
    config = getattr(model, "config", None)
    return dataclasses.asdict(config) if dataclasses.is_dataclass(config) else None


def _kind(name: str, config: dict[str, Any] | None) -> str:
    """The class of a model and what the shapes of its weights do not tell."""
    settings = {k: v for k, v in (config or {}).items() if k in ("heads", "kv_heads", "causal")}
    return " ".join([name, *(f"{key}={value}" for key, value in settings.items())])


def _weights(model: nn.Module) -> dict[str, Tensor]:
    """What has to be kept of a model, by name; a tensor with two names, under the first."""
    named = model.state_dict(keep_vars=True)
    first = {id(tensor): name for name, tensor in reversed(named.items())}
    return {name: named[name] for name in first.values()}


def _put(path: str | Path, tensors: dict[str, Tensor], model: nn.Module) -> None:
    """Copy the weights of a file into a model that has the same ones."""
    own = {f"model.{name}": tensor for name, tensor in _weights(model).items()}
    kept = {name: tensor for name, tensor in tensors.items() if name.startswith("model.")}
    sealed.put(Path(path), kept, own, "make a model with the sizes of the saved one")


def _about(optimiser: AdamW | Muon | Adagrad, model: nn.Module) -> dict[str, Any]:
    """What makes the optimiser again; its settings have the names of its arguments."""
    weights = dict(model.named_parameters())
    if any(weights.get(name) is not weight for name, weight in optimiser.weights.items()):
        raise ValueError(
            "checkpoint: expected optimisers of the saved model, got one of other weights; save "
            "those that trained it"
        )
    plain = {k: v for k, v in vars(optimiser).items() if isinstance(v, int | float | tuple)}
    steps, kind = plain.pop("steps"), type(optimiser).__name__
    return {"kind": kind, "weights": list(optimiser.weights), "steps": steps, "settings": plain}


def _memory(optimiser: AdamW | Muon | Adagrad, index: int) -> dict[str, Tensor]:
    return {
        f"optimiser{index}.{part}.{name}": tensor
        for part, memory in optimiser.memory().items()
        for name, tensor in memory.items()
    }
