"""Training of a causal language model on short documents, in stages, on one worker or several.

    for checkpoint in train_stages(model, stages, validation, pad_token=0, seed=0):
        ...                                  # save it, report checkpoint.progress.history[-1], or stop

Documents are rows of their own: packing several into one row would let short documents see their neighbours, and the
first token of a prompt stand anywhere. Rows of a batch are of similar length, so little is padded. As for reward
models, what a stage draws comes from (seed, stage), and a training that goes on from a checkpoint ends as if it had
never stopped.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from accelerate import Accelerator
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import cross_entropy

from stepward.core.seeding import stable_hash
from stepward.train.checkpoints import Checkpoint, Progress, plain
from stepward.train.optimisation import Optimisation

__all__ = ["LanguageStage", "pad_rows", "token_losses", "train_stages"]

Documents = Sequence[Int[np.ndarray, " _"]]
IGNORED = -100  # label of a padded place, as `cross_entropy` expects it
EVALUATION_ROWS = 256  # rows a forward pass without gradients
POOL = 32  # batches that are sorted by length together


@dataclass(frozen=True)
class LanguageStage:
    """A part of a curriculum.

    Attributes:
        documents: token ids of each document, end token included.
        optimisation: rate, batch size and epochs of this stage; its patience is not looked at.
        prompt_lengths: tokens at the beginning of each document that are read without a loss; None: no such tokens.
            What cannot be foreseen, such as the question, adds noise to the gradient and nothing to learn.
    """

    documents: Documents
    optimisation: Optimisation
    prompt_lengths: Sequence[int] | None = None


def train_stages(
    model: torch.nn.Module,
    stages: Sequence[LanguageStage],
    validation: Documents,
    *,
    pad_token: int,
    seed: int,
    validation_prompts: Sequence[int] | None = None,
    start: Checkpoint | None = None,
    accelerator: Accelerator | None = None,
    on_step: Callable[[int, int, float], None] = lambda step, num_steps, loss: None,
) -> Iterator[Checkpoint]:
    """Train through all stages; yields a checkpoint after each, which `Progress` counts as an epoch.

    The loss of a step is the mean negative log-likelihood (nats) of the tokens of the global batch, whoever holds them:
    with W workers each scales its sum by W and the gradients are averaged. The optimiser's moments go on from stage to
    stage.

    Args:
        model: `AutoModelForCausalLM` or alike: called with ``input_ids``, it returns an object with ``logits``.
        stages: what to learn from, in order.
        validation: documents whose loss is reported, by the first worker alone.
        validation_prompts: tokens at the beginning of each of them that do not count.
        pad_token: fills rows on the right; causal attention never sees it and it has no loss.
        start: checkpoint to go on from.
        accelerator: where the model runs, in which precision, and beside which other workers; by default one CPU or
            GPU process.
        on_step: called after every step with its number (from 1), the number of steps of the stage, and its loss.

    Raises:
        ValueError: a stage without documents.
    """
    for number, stage in enumerate(stages):
        if not len(stage.documents):
            raise ValueError(f"stage {number}: expected at least one document, got none. Ask for more documents.")
    accelerator = accelerator or Accelerator()
    optimiser = stages[0].optimisation.optimiser(model)
    progress, best = Progress(), plain(model.state_dict())
    if start is not None:
        model.load_state_dict(start.weights)
        optimiser.load_state_dict(start.optimiser)
        progress, best = start.progress, start.best
    parallel, prepared = accelerator.prepare(model, optimiser)
    while progress.epochs_done < len(stages):
        number, began = progress.epochs_done, time.perf_counter()
        stage_seed = stable_hash("language stage", seed, number)
        loss, tokens = _stage(parallel, prepared, stages[number], accelerator, pad_token, stage_seed, on_step)
        bare = accelerator.unwrap_model(parallel)
        weights = plain(bare.state_dict())
        better = progress.note(
            {
                "train_loss": loss,
                "validation_loss": mean_loss(bare, validation, pad_token, validation_prompts),
                "tokens": float(tokens),
                "seconds": time.perf_counter() - began,
            }
        )
        best = weights if better else best
        yield Checkpoint(weights, best, prepared.state_dict(), progress)


def batches(documents: Documents, batch_size: int, seed: int) -> list[Int[np.ndarray, " _"]]:
    """Rows of every batch of one epoch: shuffled, of similar length within a batch, in random order."""
    rng = np.random.default_rng(seed)
    lengths = np.array([len(document) for document in documents])
    order = rng.permutation(len(documents))
    cut: list[np.ndarray] = []
    for first in range(0, len(order), batch_size * POOL):
        pool = order[first : first + batch_size * POOL]
        pool = pool[np.argsort(lengths[pool], kind="stable")]
        cut += [pool[i : i + batch_size] for i in range(0, len(pool), batch_size)]
    return [cut[i] for i in rng.permutation(len(cut))]


def pad_rows(
    documents: Documents, pad_token: int, prompt_lengths: Sequence[int] | None = None
) -> tuple[Int[Tensor, "b t"], Int[Tensor, "b t"]]:
    """Documents as one matrix, padded on the right, and their labels (`IGNORED` where padded, and in prompts)."""
    width = max(len(document) for document in documents)
    tokens = np.full((len(documents), width), pad_token, dtype=np.int64)
    labels = np.full_like(tokens, IGNORED)
    for row, document in enumerate(documents):
        tokens[row, : len(document)] = labels[row, : len(document)] = document
        if prompt_lengths is not None:
            labels[row, : prompt_lengths[row]] = IGNORED
    return torch.from_numpy(tokens), torch.from_numpy(labels)


def token_losses(
    model: torch.nn.Module, tokens: Int[Tensor, "b t"], labels: Int[Tensor, "b t"]
) -> Float[Tensor, "b t-1"]:
    """−log p(token | tokens before) in nats of every token but the first; 0 where the label is `IGNORED`."""
    logits = model(input_ids=tokens, use_cache=False).logits[:, :-1].float()
    wanted = labels[:, 1:]
    losses = cross_entropy(logits.flatten(0, 1), wanted.flatten(), reduction="none", ignore_index=IGNORED)
    return losses.view_as(wanted)


@torch.no_grad()
def mean_loss(
    model: torch.nn.Module, documents: Documents, pad_token: int, prompt_lengths: Sequence[int] | None = None
) -> float:
    """Mean negative log-likelihood of a token beyond the prompts, in nats."""
    device, prompts = next(model.parameters()).device, prompt_lengths or [0] * len(documents)
    order = np.argsort([len(document) for document in documents], kind="stable")
    model.eval()
    total, count = 0.0, 0
    for first in range(0, len(order), EVALUATION_ROWS):
        rows = order[first : first + EVALUATION_ROWS]
        tokens, labels = pad_rows([documents[i] for i in rows], pad_token, [prompts[i] for i in rows])
        total += float(token_losses(model, tokens.to(device), labels.to(device)).sum())
        count += int((labels[:, 1:] != IGNORED).sum())
    return total / count


def _stage(
    model: torch.nn.Module,
    optimiser: torch.optim.Optimizer,
    stage: LanguageStage,
    accelerator: Accelerator,
    pad_token: int,
    seed: int,
    on_step: Callable[[int, int, float], None],
) -> tuple[float, int]:
    """Mean training loss of a token over the stage, and the tokens learned from, all workers together."""
    settings, world, rank = stage.optimisation, accelerator.num_processes, accelerator.process_index
    plan = [b for e in range(settings.num_epochs) for b in batches(stage.documents, settings.batch_size, seed + e)]
    prompts = stage.prompt_lengths or [0] * len(stage.documents)
    sums = torch.zeros(2, device=accelerator.device)
    model.train()
    for step, rows in enumerate(plan):
        for group in optimiser.param_groups:
            group["lr"] = settings.rate(step, len(plan))
        num_tokens = sum(len(stage.documents[i]) - max(prompts[i], 1) for i in rows)
        # A worker that is left without rows of its own runs the first with no weight: all must take part.
        mine = np.array_split(rows, world)[rank]
        taken = mine if len(mine) else rows[:1]
        tokens, labels = pad_rows([stage.documents[i] for i in taken], pad_token, [prompts[i] for i in taken])
        total = token_losses(model, tokens.to(accelerator.device), labels.to(accelerator.device)).sum() * bool(
            len(mine)
        )
        optimiser.zero_grad(set_to_none=True)
        accelerator.backward(total * (world / num_tokens))
        accelerator.clip_grad_norm_(model.parameters(), settings.max_grad_norm)
        optimiser.step()
        total = accelerator.reduce(total.detach(), reduction="sum")
        sums += torch.stack([total, total.new_tensor(num_tokens)])
        on_step(step + 1, len(plan), float(total) / num_tokens)
    return float(sums[0] / sums[1]), int(sums[1])
