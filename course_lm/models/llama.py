"""Our Transformer in the words of Llama (Touvron 2023): the same numbers under other names.

    our qkv weight = Llama's q_proj, k_proj and v_proj, row under row

The shape is the same to the last sum, so that both compute the same logits.
"""

from typing import Any

from torch import Tensor

from .transformer import Transformer, TransformerConfig

NAMES = {  # our config -> Llama's
    "vocab_size": "vocab_size",
    "context": "max_position_embeddings",
    "width": "hidden_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "kv_heads": "num_key_value_heads",
    "hidden": "intermediate_size",
    "tied": "tie_word_embeddings",
    "epsilon": "rms_norm_eps",
    "wave": "rope_theta",
}
ALWAYS = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_act": "silu",
    "attention_bias": False,
    "mlp_bias": False,
}
UNTOLD = {  # in a config.json that does not tell
    "hidden_act": "silu",
    "attention_bias": False,
    "mlp_bias": False,
    "max_position_embeddings": 2048,
    "tie_word_embeddings": False,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10_000.0,
}
MOST_LAYERS = 1000


def places(config: TransformerConfig) -> dict[str, dict[str, tuple[int, ...]]]:
    """Our weights -> the Llama weights that lie in each, row under row, with their shapes."""
    wide, inner, keys = config.width, config.hidden, config.kv_heads * config.width // config.heads
    table, qkv = (config.vocab_size, wide), {"q": wide, "k": keys, "v": keys}
    block = {
        "attention_norm.scale": {"input_layernorm": (wide,)},
        "attention.qkv.weight": {f"self_attn.{x}_proj": (n, wide) for x, n in qkv.items()},
        "attention.out.weight": {"self_attn.o_proj": (wide, wide)},
        "feed_norm.scale": {"post_attention_layernorm": (wide,)},
        "feed_forward.gate_up.weight": {f"mlp.{x}_proj": (inner, wide) for x in ("gate", "up")},
        "feed_forward.down.weight": {"mlp.down_proj": (wide, inner)},
    }
    found = {"embed.weight": {"model.embed_tokens.weight": table}}
    for i in range(config.layers):
        for ours, parts in block.items():
            theirs = {f"model.layers.{i}.{name}.weight": shape for name, shape in parts.items()}
            found[f"blocks.{i}.{ours}"] = theirs
    found["norm.scale"] = {"model.norm.weight": (wide,)}
    return found if config.tied else found | {"head.weight": {"lm_head.weight": table}}


def llama_weights(model: Transformer) -> dict[str, Tensor]:
    """The weights by their Llama names: views, so that what is copied into one is in the model.

    Raises ValueError for a model that has no Llama shape.
    """
    views, own = {}, dict(model.named_parameters())
    fits = type(model) is Transformer and model.config.causal and model.config.grams == 1
    if not fits or own.keys() != places(model.config).keys():
        raise ValueError(
            "llama_weights: expected a causal Transformer without n-gram tables or adapters, got a "
            f"{type(model).__name__} with {getattr(model, 'config', None)}; nothing else has the "
            "shape of Llama, but adapters can be merged"
        )
    for ours, parts in places(model.config).items():
        rows = own[ours].detach().split([shape[0] for shape in parts.values()])
        views |= zip(parts, rows, strict=True)
    return views


def to_llama(config: TransformerConfig) -> dict[str, Any]:
    """The config.json of a causal Transformer without n-gram tables."""
    return ALWAYS | {theirs: getattr(config, ours) for ours, theirs in NAMES.items()}


def from_llama(told: dict[str, Any], context: int) -> TransformerConfig:
    """The config of a Llama's config.json, with at most `context` tokens to see.

    Raises ValueError for another architecture and for what ours does not have: biases, stretched
    rotations, numbers of few bits, heads whose widths do not add up to that of the model.
    """
    told = {name: value for name, value in told.items() if value is not None}
    rope = told.get("rope_parameters", told.get("rope_scaling", {}))
    rope = rope if isinstance(rope, dict) else {"rope_type": rope}
    same = {"num_key_value_heads": told.get("num_attention_heads")}
    told = UNTOLD | same | told | rope
    told |= {"rope_type": told.get("rope_type", told.get("type", "default"))}
    for name, value in (ALWAYS | {"rope_type": "default", "quantization_config": None}).items():
        _check(name, value, told.get(name))
    sizes = {}
    for ours, theirs in NAMES.items():
        kind, value = type(UNTOLD.get(theirs, 0)), told.get(theirs)
        if type(value) is not kind and not (kind is float and type(value) is int):
            _check(theirs, kind.__name__, value)
        sizes[ours] = value
    _check("num_hidden_layers of", min(sizes["layers"], MOST_LAYERS), sizes["layers"])
    config = TransformerConfig(**sizes | {"context": min(sizes["context"], context)})
    size = config.width // config.heads
    _check("head_dim", size, told.get("head_dim", size))
    return config


def _check(name: str, expected: object, got: object) -> None:
    if got != expected:
        raise ValueError(
            f"from_llama: expected {name} {expected!r}, got {got!r} in config.json; ours has no "
            "such shape, take another model"
        )
