"""A step of SFT, the reward model, DPO and GRPO beside TRL, whose trainers run from end to end.

Both sides: the shape of the course's assistant, batches of the same size, AdamW, the precision that
pays here, no dropout, no gradient checkpointing, random weights, ids that mean nothing. Before a
step of SFT, GRPO or DPO is timed, TRL's loss of one batch is compared with ours of the same
logits.

A step of TRL is all that lies between the ends of two steps of its trainer, with the batch and the
figures that it collects; a step of ours is one record of the loop. `trl` and `transformers` are
imported when something is built, so that only the peer pays.
"""

import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import torch
from recipes import Effort
from table import Row, row, seconds
from torch import Tensor, nn

from course_lm.finetuning.tasks import END, START, task_vocabulary
from course_lm.language.windows import IGNORE, next_token
from course_lm.models.transformer import Transformer, TransformerConfig
from course_lm.rlhf.direct import ImplicitReward, dpo_loss
from course_lm.rlhf.policy import Practice, clipped_objective, optimise
from course_lm.rlhf.reward import RewardModel, pairs, scalar_headed
from course_lm.rlhf.rollouts import Rollouts
from course_lm.training.hardware import half_precision_pays
from course_lm.training.loop import Recipe, Step, train
from course_lm.training.losses import cross_entropy

LAYERS, WIDTH, HIDDEN, HEADS = 4, 128, 256, 4  # of the assistant
PROMPT, RESPONSE = 48, 16  # tokens
PAIRS, PROMPTS, GROUP = 32, 16, 4  # comparisons; prompts, and responses to each
ROWS = PROMPTS * GROUP  # of a step of SFT or GRPO
BETA, RATE = 0.1, 1e-5  # price of a nat of KL, learning rate
CLOSE = 1e-5  # how far the losses may lie apart
VOCABULARY = task_vocabulary()


def random_ids(*shape: int) -> Tensor:
    """Ids that mean nothing, without END and START, which TRL takes for its end and padding."""
    special = {VOCABULARY.ids[END], VOCABULARY.ids[START]}
    words = torch.tensor([i for i in range(len(VOCABULARY)) if i not in special])
    rng = torch.Generator().manual_seed(0)
    return words[torch.randint(len(words), shape, generator=rng)]


def text(ids: Tensor) -> str:
    """Ids as TRL wants to have them."""
    return " ".join(VOCABULARY.tokens[i] for i in ids.tolist())


# -- ours


def transformer(seed: int) -> Transformer:
    """Ours, in the assistant's shape."""
    config = TransformerConfig(
        vocab_size=len(VOCABULARY),
        context=PROMPT + RESPONSE,
        width=WIDTH,
        layers=LAYERS,
        heads=HEADS,
        kv_heads=HEADS,
        hidden=HIDDEN,
    )
    return Transformer(config, torch.Generator().manual_seed(seed))


def recipe(rounds: int) -> Recipe:
    """Of ours: the peer's optimiser."""
    return Recipe(steps=rounds + 1, rate=RATE, matrix_rate=None)


def our_tuning(rounds: int) -> Iterator[Step]:
    """Train on responses to prompts, each in a row of its own."""
    inputs, labels = next_token(random_ids(ROWS * 4, PROMPT + RESPONSE))
    labels = labels.clone()
    labels[:, : PROMPT - 1] = IGNORE
    batches = zip(inputs.split(ROWS) * rounds, labels.split(ROWS) * rounds, strict=True)
    return train(transformer(0), batches, recipe(rounds))


def our_comparisons(model: nn.Module, rounds: int) -> Iterator[Step]:
    """Train on comparisons: DPO or the reward model, whatever gives a reward to a text."""
    ids, labels = random_ids(PAIRS * 4, 2, PROMPT + RESPONSE), torch.zeros(PAIRS * 4).long()
    batches = pairs(ids, labels, PAIRS, torch.Generator().manual_seed(0))
    return train(model, batches, recipe(rounds))


def our_grpo(rounds: int) -> Iterator[Step]:
    """Respond, score and learn, once for each step; no response ends before its time."""

    def score(places: Sequence[int], rollouts: Rollouts) -> Tensor:
        return torch.tensor(even(rollouts.responses))

    practice = Practice(beta=BETA, prompts=PROMPTS, group=GROUP, updates=1, longest=RESPONSE)
    prompts, rng = random_ids(PROMPTS * 4, PROMPT).tolist(), torch.Generator().manual_seed(0)
    return optimise(transformer(0), transformer(0), prompts, score, recipe(rounds), practice, rng)


def even(responses: Sequence[Sequence[int]]) -> list[float]:
    """A reward that costs nothing: how many ids are even."""
    return [float(sum(i % 2 == 0 for i in response)) for response in responses]


# -- the peer


@torch.random.fork_rng(devices=[])
def llama(seed: int, folder: Path, rewards: bool = False) -> nn.Module:
    """LlamaForCausalLM in the same shape, or LlamaForSequenceClassification with one number.

    It is saved and read again, because GRPOTrainer reads its reference from the same folder.
    """
    from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification

    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(VOCABULARY),
        max_position_embeddings=PROMPT + RESPONSE,
        hidden_size=WIDTH,
        intermediate_size=HIDDEN,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        pad_token_id=VOCABULARY.ids[START],
        bos_token_id=None,
        eos_token_id=None,
        **({"num_labels": 1} if rewards else {}),
    )
    kind = LlamaForSequenceClassification if rewards else LlamaForCausalLM
    kind(config).save_pretrained(folder / f"llama{seed}")
    return kind.from_pretrained(folder / f"llama{seed}", dtype=torch.float32).train()


def tokenizer():
    """The words of the vocabulary, each with the id it has."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel(dict(VOCABULARY.ids), unk_token=START))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=words, eos_token=END, pad_token=START)


def arguments(folder: Path, batch: int, rounds: int) -> dict[str, object]:
    """What all three trainers are told."""
    return {
        "output_dir": str(folder),
        "per_device_train_batch_size": batch,
        "max_steps": rounds + 1,
        "learning_rate": RATE,
        "bf16": half_precision_pays(torch.device("cpu")),
        "gradient_checkpointing": False,
        "use_cpu": True,
        "dataloader_pin_memory": False,
        "logging_strategy": "no",
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
    }


def trl_grpo(folder: Path, rounds: int):
    """GRPOTrainer, which generates with transformers' cache before each step."""
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    def score(completion_ids, **_):
        return even(completion_ids)

    config = GRPOConfig(
        **arguments(folder, ROWS, rounds),
        num_generations=GROUP,
        max_completion_length=RESPONSE,
        beta=BETA,
        generation_kwargs={"eos_token_id": None},  # as ours: no response ends before its time
    )
    prompts = [text(ids) for ids in random_ids(PROMPTS * 4, PROMPT)]
    return GRPOTrainer(
        model=llama(0, folder),
        reward_funcs=score,
        args=config,
        train_dataset=Dataset.from_dict({"prompt": prompts}),
        processing_class=tokenizer(),
    )


def trl_sft(folder: Path, rounds: int):
    """SFTTrainer on prompts and completions, which ends each text with END."""
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    ids = random_ids(ROWS * 4, PROMPT + RESPONSE - 1)
    columns = {
        "prompt": [text(row[:PROMPT]) for row in ids],
        "completion": [" " + text(row[PROMPT:]) for row in ids],
    }
    return SFTTrainer(
        model=llama(0, folder),
        args=SFTConfig(**arguments(folder, ROWS, rounds)),
        train_dataset=Dataset.from_dict(columns),
        processing_class=tokenizer(),
    )


def trl_dpo(folder: Path, rounds: int):
    """DPOTrainer, which ends each text with END."""
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    ids = random_ids(PAIRS * 4, 2, PROMPT + RESPONSE - 1)
    columns = {
        "prompt": [text(both[0, :PROMPT]) for both in ids],
        "chosen": [" " + text(both[0, PROMPT:]) for both in ids],
        "rejected": [" " + text(both[1, PROMPT:]) for both in ids],
    }
    return DPOTrainer(
        model=llama(0, folder),
        ref_model=llama(1, folder),
        args=DPOConfig(**arguments(folder, PAIRS, rounds), beta=BETA),
        train_dataset=Dataset.from_dict(columns),
        processing_class=tokenizer(),
    )


def trl_reward(folder: Path, rounds: int):
    """RewardTrainer, which ends each text with END."""
    from datasets import Dataset
    from trl import RewardConfig, RewardTrainer

    ids = random_ids(PAIRS * 4, 2, PROMPT + RESPONSE - 1)
    columns = {
        "chosen": [text(both[0]) for both in ids],
        "rejected": [text(both[1]) for both in ids],
    }
    return RewardTrainer(
        model=llama(0, folder, rewards=True),
        args=RewardConfig(**arguments(folder, PAIRS, rounds)),
        train_dataset=Dataset.from_dict(columns),
        processing_class=tokenizer(),
    )


# -- the same loss


def response_log_probs(model: nn.Module, ids: Tensor) -> Tensor:
    """log P of the tokens of the responses, (B, T) -> (B, RESPONSE)."""
    logs = model(input_ids=ids, use_cache=False).logits[:, PROMPT - 1 : -1].log_softmax(-1)
    return logs.gather(-1, ids[:, PROMPT:, None])[..., 0]


@torch.no_grad()
def sft_gap(trainer) -> float:
    """How far TRL's loss of one batch lies from `cross_entropy`."""
    inputs = next(iter(trainer.get_train_dataloader()))
    logits = trainer.model(input_ids=inputs["input_ids"], use_cache=False).logits[:, :-1]
    ours = cross_entropy(logits, inputs["labels"][:, 1:])
    return abs(ours - trainer.compute_loss(trainer.model, inputs)).item()


@torch.no_grad()
def dpo_gap(trainer) -> float:
    """How far TRL's DPO loss of one batch lies from `dpo_loss`."""
    inputs = next(iter(trainer.get_train_dataloader()))
    ids = inputs["input_ids"]
    policy, reference = (
        response_log_probs(model, ids).sum(1) for model in (trainer.model, trainer.ref_model)
    )
    ours = dpo_loss(*(policy - reference).chunk(2), beta=BETA)
    return abs(ours - trainer._compute_loss(trainer.model, inputs, False)).item()


@torch.no_grad()
def grpo_gap(trainer) -> float:
    """How far TRL's GRPO loss lies from `clipped_objective`, after a step that clips many ratios.

    The reference of the penalty, which is no part of ours, is the policy: it adds 0.
    """
    rng = torch.Generator().manual_seed(0)
    ids = random_ids(ROWS, PROMPT + RESPONSE)
    lengths = torch.randint(1, RESPONSE + 1, (len(ids), 1), generator=rng)
    asked = torch.arange(RESPONSE) < lengths
    read = torch.cat([torch.ones_like(ids[:, :PROMPT]), asked.long()], 1)
    known = trainer._get_per_token_logps_and_entropies  # in the precision that TRL trains in
    now = known(trainer.model, ids, read, RESPONSE)[0]
    before = now + 0.4 * torch.randn(now.shape, generator=rng)
    advantages = torch.randn(len(ids), generator=rng)
    inputs = {
        "prompt_ids": ids[:, :PROMPT],
        "prompt_mask": read[:, :PROMPT],
        "completion_ids": ids[:, PROMPT:],
        "completion_mask": read[:, PROMPT:],
        "advantages": advantages,
        "old_per_token_logps": before,
        "ref_per_token_logps": now,
        "num_items_in_batch": asked.sum(),
    }
    trainer.current_gradient_accumulation_steps = 1
    theirs = trainer._compute_loss(trainer.model, inputs)
    return abs(theirs + clipped_objective(now, before, advantages[:, None], asked)).item()


# -- the rows


def take_turns(trainer, training: Iterator[Step]) -> tuple[float, float]:
    """Median seconds of a step of ours and of the trainer; the first of each warms up."""
    from transformers import PrinterCallback, TrainerCallback

    times = []

    class Turns(TrainerCallback):
        def on_train_begin(self, *_, **__) -> None:
            self.begun = time.perf_counter()

        def on_step_end(self, *_, **__) -> None:
            peer = time.perf_counter() - self.begun
            times.append((seconds(lambda: next(training)), peer))
            self.begun = time.perf_counter()

    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(Turns())
    trainer.train()
    ours, peer = map(statistics.median, zip(*times[1:], strict=True))
    return ours, peer


def alignment_rows(effort: Effort) -> Iterator[Row]:
    """A step of each method; stops with an AssertionError where the losses differ."""
    import datasets
    import transformers
    import trl

    datasets.disable_progress_bars()
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    rows = f"{ROWS} rows of {PROMPT + RESPONSE} tokens, labels on {RESPONSE}"
    responses = f"{ROWS} responses of {RESPONSE} tokens, generation included"
    comparisons = f"{PAIRS} pairs of {PROMPT + RESPONSE} tokens"
    reward = RewardModel(scalar_headed(transformer(0)))
    both: tuple[tuple[str, Callable, Callable, Callable | None, str], ...] = (
        ("SFT step", our_tuning, trl_sft, sft_gap, rows),
        ("GRPO step", our_grpo, trl_grpo, grpo_gap, responses),
        (
            "DPO step",
            partial(our_comparisons, ImplicitReward(transformer(0), transformer(1), BETA)),
            trl_dpo,
            dpo_gap,
            comparisons,
        ),
        ("reward model step", partial(our_comparisons, reward), trl_reward, None, comparisons),
    )
    for what, ours, make, gap, about in both:
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of names that TRL still uses
            trainer = make(Path(folder), effort.rounds)
            if gap:
                apart = gap(trainer)
                assert apart < CLOSE, f"{what}: TRL's loss lies {apart:.1e} from ours"
            times = take_turns(trainer, ours(effort.rounds))
        milliseconds = (1e3 * time for time in times)
        yield row(what, "ms", *milliseconds, f"TRL {trl.__version__}; {about}")
