"""Training of a causal language model on short documents, in stages.

    for checkpoint in train_stages(model, stages, validation, pad_token=0, seed=0):
        ...                                  # save it, report checkpoint.progress.history[-1], or stop

Documents are rows of their own: packing several into one row would let short documents see their neighbours, and the
first token of a prompt stand anywhere. Rows of a batch are of similar length, so little is padded.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Unpack

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import cross_entropy

from stepward.core.seeding import stable_hash
from stepward.train import Checkpoint, Minibatch, Optimisation, Part, Task, training
from stepward.train.trainer import Options

__all__ = ["LanguageStage", "LanguageTask", "pad_rows", "token_losses", "train_stages"]

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


class LanguageTask(Task[Minibatch]):
    """The next token of documents, stage after stage; an epoch of the training loop is a stage.

    The loss of a step is the mean negative log-likelihood (nats) of the tokens of the minibatch. The optimiser's
    moments go on from stage to stage.
    """

    SETTINGS: ClassVar[str] = "recipe.stages"

    def __init__(
        self,
        model: torch.nn.Module,
        stages: Sequence[LanguageStage],
        validation: Documents,
        *,
        pad_token: int,
        seed: int,
        validation_prompts: Sequence[int] | None = None,
    ) -> None:
        for number, stage in enumerate(stages):
            if not len(stage.documents):
                raise ValueError(f"stage {number}: expected at least one document, got none. Ask for more documents.")
        self.module, self.stages, self.validation, self.pad_token, self.seed = (
            model,
            stages,
            validation,
            pad_token,
            seed,
        )
        self.validation, self.validation_prompts = validation, validation_prompts
        self.descent, self.num_epochs = stages[0].optimisation, len(stages)
        self.number, self.began = 0, time.perf_counter()

    @property
    def stage(self) -> LanguageStage:
        """The stage under way."""
        return self.stages[self.number]

    @cached_property
    def prompts(self) -> list[Sequence[int]]:
        """Tokens of each stage's documents that have no loss."""
        return [stage.prompt_lengths or [0] * len(stage.documents) for stage in self.stages]

    def num_steps(self, epoch: int) -> int:
        """Optimiser steps of a stage: all its passes over its documents."""
        stage = self.stages[epoch]
        return stage.optimisation.num_epochs * -(-len(stage.documents) // stage.optimisation.batch_size)

    def minibatches(self, epoch: int) -> list[Minibatch]:
        """The documents of a stage, shuffled anew for each of its passes."""
        self.number, self.began = epoch, time.perf_counter()
        settings, seed = self.stage.optimisation, stable_hash("language stage", self.seed, epoch)
        passes = [batches(self.stage.documents, settings.batch_size, seed + e) for e in range(settings.num_epochs)]
        return [Minibatch(rows) for one in passes for rows in one]

    def rate(self, epoch: int, step: int) -> float:
        """Learning rate at a step of a stage, which has a schedule of its own."""
        return self.stages[epoch].optimisation.rate(step, self.num_steps(epoch))

    def part(self, batch: Minibatch, rows: Int[np.ndarray, " _"], step: int) -> Part:
        """Cross-entropy of the tokens behind the prompts, as a share of the tokens of the whole minibatch."""
        documents, prompts = self.stage.documents, self.prompts[self.number]
        tokens, labels = pad_rows([documents[i] for i in rows], self.pad_token, [prompts[i] for i in rows])
        total = token_losses(self.module, tokens.to(self.device), labels.to(self.device)).sum()
        return Part(total, self.num_tokens(rows), self.num_tokens(batch.rows))

    def num_tokens(self, rows: Int[np.ndarray, " _"]) -> float:
        """Tokens of some documents that have a loss."""
        documents, prompts = self.stage.documents, self.prompts[self.number]
        return float(sum(len(documents[i]) - max(prompts[i], 1) for i in rows))

    def validate(self) -> dict[str, float]:
        """Mean loss a token of documents that were held out, in nats; tokens and seconds of the stage."""
        passes, rows = self.stage.optimisation.num_epochs, np.arange(len(self.stage.documents))
        return {
            "validation_loss": mean_loss(self.module, self.validation, self.pad_token, self.validation_prompts),
            "tokens": passes * self.num_tokens(rows),
            "seconds": time.perf_counter() - self.began,
        }


def train_stages(
    model: torch.nn.Module,
    stages: Sequence[LanguageStage],
    validation: Documents,
    *,
    pad_token: int,
    seed: int,
    validation_prompts: Sequence[int] | None = None,
    **options: Unpack[Options],
) -> Iterator[Checkpoint]:
    """Train through all stages; yields a checkpoint after each.

    Args:
        model: `AutoModelForCausalLM` or alike: called with ``input_ids``, it returns an object with ``logits``.
        stages: what to learn from, in order.
        validation: documents whose loss is reported.
        validation_prompts: tokens at the beginning of each of them that do not count.
        pad_token: fills rows on the right; causal attention never sees it and it has no loss.
        options: of the training loop.

    Raises:
        ValueError: a stage without documents.
    """
    task = LanguageTask(
        model, stages, validation, pad_token=pad_token, seed=seed, validation_prompts=validation_prompts
    )
    return training(task, **options)


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
