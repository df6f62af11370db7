"""The peer: GPT-2 and Llama of `transformers`, trained the way that nanoGPT trains on a processor.

`transformers` and `torch.optim` are imported when something is built, so that only the peer pays.
"""

import math
from collections.abc import Iterable, Iterator

import torch
from torch import nn

from course_lm.language.windows import Batch

LAYERS, HEADS, WIDTH, CONTEXT, BATCH = 4, 4, 128, 64, 12  # nanoGPT's size for a processor
HIDDEN = 352  # of the gated layer: about as many weights as GPT-2's 4 · WIDTH without a gate
RATE, LAST_RATE, WARMUP = 1e-3, 1e-4, 100
BETAS, DECAY, CLIP = (0.9, 0.99), 0.1, 1.0


@torch.random.fork_rng(devices=[])
def gpt2(vocab_size: int) -> nn.Module:
    """GPT2LMHeadModel without dropout."""
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=vocab_size,
        n_positions=CONTEXT,
        n_embd=WIDTH,
        n_layer=LAYERS,
        n_head=HEADS,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=None,
        eos_token_id=None,
        use_cache=False,
    )
    return GPT2LMHeadModel(config).train()


@torch.random.fork_rng(devices=[])
def llama(vocab_size: int, context: int) -> nn.Module:
    """LlamaForCausalLM in the shape of ours."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=vocab_size,
        max_position_embeddings=context,
        hidden_size=WIDTH,
        intermediate_size=HIDDEN,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=None,
    )
    return LlamaForCausalLM(config).train()


def training(model: nn.Module, batches: Iterable[Batch], steps: int) -> Iterator[float]:
    """Train for `steps` steps and yield the loss of each."""
    matrices = [weight for weight in model.parameters() if weight.dim() > 1]
    others = [weight for weight in model.parameters() if weight.dim() < 2]
    groups = [
        {"params": matrices, "weight_decay": DECAY},
        {"params": others, "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW(groups, lr=RATE, betas=BETAS)
    for step, (inputs, labels) in zip(range(steps), batches, strict=False):
        for group in optimiser.param_groups:
            group["lr"] = rate(step, steps)
        logits = model(inputs, use_cache=False).logits
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten())
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimiser.step()
        yield loss.item()


def rate(step: int, steps: int) -> float:
    """Learning rate: up in a straight line, then down along a cosine."""
    if step < WARMUP:
        return RATE * (step + 1) / (WARMUP + 1)
    progress = (step - WARMUP) / (steps - WARMUP)
    return LAST_RATE + (RATE - LAST_RATE) * (1 + math.cos(math.pi * progress)) / 2


def generate(model: nn.Module, rows: int, length: int) -> torch.Tensor:
    """Draw `length` tokens after token 0 in each row, with the key-value cache."""
    prompt = torch.zeros(rows, 1, dtype=torch.long)
    return model.generate(
        prompt,
        attention_mask=torch.ones_like(prompt),
        min_new_tokens=length,
        max_new_tokens=length,
        do_sample=True,
        top_k=0,
    )
