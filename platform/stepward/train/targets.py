"""Learning from given labels: a number of every step, higher is better, such as minus an error, or a rating.

A label table has the columns id, problem_id, split, label and, where steps are alternatives to one another, group: the
id of what they are alternatives for. Without it the steps of a problem are. What counts is the order within groups.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float, Int
from pydantic import Field

from stepward.core.artifacts import Artifact
from stepward.core.config import Config, one_of, with_defaults
from stepward.core.learning import Judged, Trained, TrainStage
from stepward.core.storage import Folder
from stepward.core.wing import Trainable, Wing, find_wing
from stepward.statistics.ranking import spearman
from stepward.train.examples import Examples
from stepward.train.labels import split_rows
from stepward.train.loop import ExampleTask, predict_logits, seeded_module
from stepward.train.objectives import BradleyTerry, Squared
from stepward.train.optimisation import Optimisation
from stepward.train.subset import choose_rows

__all__ = ["GivenTargets", "TargetLearning", "TargetTask", "misordered", "problem_shares", "read_targets"]

SPLITS = ("train", "validation")
REQUIRED = ("id", "problem_id", "split", "label")


@dataclass(frozen=True)
class GivenTargets:
    """n labelled steps of one split.

    Attributes:
        steps: what a learner encodes and a reward model scores: (states,), or (parents, children) where the domain
            scores steps.
        targets: higher is better.
        groups: equal for alternatives.
        table: all columns, row by row.
    """

    steps: tuple[Any, ...]
    targets: Float[np.ndarray, " n"]
    groups: Int[np.ndarray, " n"]
    table: pa.Table

    def __len__(self) -> int:
        return len(self.table)

    def take(self, rows: Int[np.ndarray, " k"]) -> GivenTargets:
        """Some rows."""
        steps = tuple(part.take(rows) for part in self.steps)
        return GivenTargets(steps, self.targets[rows], self.groups[rows], self.table.take(pa.array(rows)))


def read_targets(folder: Folder, wing: Wing, split: str) -> GivenTargets:
    """Rows of one split of a label artifact, in the order of their ids, however the labelling was batched.

    Raises:
        ValueError: a column is missing, a target is not finite, the split has no row, or none of its groups has two
            targets that differ.
    """
    table = split_rows(folder, split, REQUIRED)
    targets = table["label"].to_numpy().astype(np.float64)
    bad = np.flatnonzero(~np.isfinite(targets))
    if len(bad):
        raise ValueError(
            f"{folder.url}/labels: expected finite targets, got {targets[bad[0]]} in {table['id'][int(bad[0])]}."
        )
    name = "group" if "group" in table.column_names else "problem_id"
    groups = np.unique(table[name].to_numpy(zero_copy_only=False), return_inverse=True)[1].reshape(-1)
    if not len(misordered(targets, targets, groups)[0]):
        raise ValueError(
            f"{folder.url}/labels: expected steps of split {split!r} with different labels in one {name}, got none: "
            "there is no order to learn. Label that split, with several alternatives a state."
        )
    steps = (wing.states(table),) if wing.steps is None else wing.steps(table)
    return GivenTargets(steps, targets, groups, table)


def misordered(
    scores: Float[np.ndarray, " n"], targets: Float[np.ndarray, " n"], groups: Int[np.ndarray, " n"]
) -> tuple[Float[np.ndarray, " g"], Int[np.ndarray, " g"]]:
    """Share of each group's pairs in the wrong order (ties count half), and a row of each group.

    Only pairs with different targets count, and only groups that have one.
    """
    shares, firsts = [], []
    order = np.argsort(groups, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(groups[order])) + 1):
        gap = np.sign(targets[rows][:, None] - targets[rows][None])
        ahead = np.sign(scores[rows][:, None] - scores[rows][None])
        if gap.any():
            shares.append((1 - (gap * ahead)[gap != 0].mean()) / 2)
            firsts.append(rows[0])
    return np.array(shares, np.float64), np.array(firsts, np.int64)


def problem_shares(losses: Float[np.ndarray, " g"], problem_ids: list[str]) -> Float[np.ndarray, " p"]:
    """Share of each problem in the mean of `losses`, in the order of the problems' ids; its mean is that mean."""
    problem = np.unique(problem_ids, return_inverse=True)[1].reshape(-1)
    total = np.bincount(problem, losses)
    return total * (len(total) / len(losses))


class TargetTask(ExampleTask):
    """Scores from given targets; the validation loss is the share of pairs in the wrong order."""

    def scores(self) -> Float[np.ndarray, " n"]:
        """Scores of the validation rows by the module as it is."""
        return predict_logits(self.module, self.validation.inputs).double().cpu().numpy()

    def validate(self) -> dict[str, float]:
        """Mean over groups: the same yardstick for every objective."""
        targets, groups = self.validation.targets.double().cpu().numpy(), self.validation.groups
        assert groups is not None, "given targets have groups"
        wrong, _ = misordered(self.scores(), targets, groups.cpu().numpy())
        return {"validation_loss": float(wrong.mean())}


class TargetSubset(Config):
    """Which of the training labels are learned from; validation is always on all of its labels."""

    num_rows: int | None = Field(None, ge=1, description="training rows at most, chosen at random; none: all")


class TargetLearning:
    """See `stepward.core.learning.Learning`; labels are `GivenTargets`."""

    unit = "share of pairs in the wrong order"

    def fields(self, wing: Wing) -> dict[str, object]:
        """Subset, objective and optimisation."""
        objective: Any = one_of({"bradley_terry": BradleyTerry, "squared": Squared})
        descent: Any = with_defaults(Optimisation, wing.defaults.optimisation)
        return {
            "subset": (TargetSubset, Field(TargetSubset(), description="which training labels are learned from")),
            "objective": (objective, Field(BradleyTerry(), description="what the model is trained for")),
            "optimisation": (descent, Field(descent(), description="gradient descent")),
        }

    def readable(self, labels: Artifact, wing: Wing) -> None:
        """Raise ValueError for labels without targets."""
        for split in SPLITS:
            read_targets(labels.folder, wing, split)

    def check(self, settings: TrainStage) -> None:
        """Raise ValueError for labels without targets, or without an order."""
        self.readable(settings.artifact("label", settings.label), settings.wing)

    def read(self, settings: TrainStage, split: str) -> GivenTargets:
        """Labels of a split; of the training split, those that are learned from."""
        artifact = settings.artifact("label", settings.label)
        found = _read(artifact.url, settings.domain, split, artifact.manifest().fingerprint)
        most = settings.subset.num_rows
        if split != "train" or most is None or most >= len(found):
            return found
        return found.take(choose_rows(found.table["id"].to_pylist(), most, settings.seed))

    def task(
        self, settings: TrainStage, labels: GivenTargets, validation: GivenTargets, device: torch.device | str
    ) -> TargetTask:
        """Descent on the settings' objective."""
        return TargetTask(
            seeded_module(settings.learner.module, settings.seed).to(device),
            _examples(settings.learner, labels),
            _examples(settings.learner, validation),
            settings.objective,
            settings.optimisation,
            seed=settings.seed,
        )

    def losses(self, task: TargetTask, validation: GivenTargets) -> Float[np.ndarray, " p"]:
        """Share of each problem in the validation loss."""
        return _problem_losses(task.scores(), validation)

    def fit(
        self, settings: TrainStage, labels: GivenTargets, validation: GivenTargets
    ) -> tuple[dict[str, np.ndarray], Float[np.ndarray, " p"]]:
        """Learners that are fitted in one call learn from counts.

        Raises:
            ValueError: always.
        """
        raise ValueError(f"learner {settings.learner.kind!r}: expected one that descends gradients on given targets.")

    def facts(self, labels: GivenTargets) -> dict[str, float]:
        """Rows; there are no rollouts."""
        return {"num_rows": len(labels), "num_rollouts": 0.0}

    def judge(self, settings: TrainStage, trained: Trained) -> Judged:
        """How validation steps are ordered, and each one's score."""
        artifact = settings.artifact("label", settings.label)
        train, validation = self.read(settings, "train"), read_targets(artifact.folder, settings.wing, "validation")
        reward = settings.learner.reward(trained.weights)
        first, last = validation.steps[0], validation.steps[-1]
        scores = np.asarray(reward.score(first, last), np.float64)
        wrong, _ = misordered(scores, validation.targets, validation.groups)
        columns: dict[str, Any] = {name: validation.table[name] for name in ("id", "problem_id", "label")}
        return Judged(
            metrics={
                "num_parameters": float(reward.num_parameters),
                "pairs": 1 - float(wrong.mean()),
                "spearman": spearman(scores, validation.targets),
            },
            rows={"train": len(train), "validation": len(validation)},
            tables={"predictions": pa.table(columns | {"prediction": scores})},
        )


def _examples(learner: Trainable, labels: GivenTargets) -> Examples:
    inputs = {name: torch.from_numpy(np.ascontiguousarray(a)) for name, a in learner.encode(*labels.steps).items()}
    targets = torch.from_numpy(labels.targets.astype(np.float32))
    return Examples(inputs, targets, torch.ones(len(labels)), torch.from_numpy(labels.groups))


def _problem_losses(scores: Float[np.ndarray, " n"], labels: GivenTargets) -> Float[np.ndarray, " p"]:
    wrong, firsts = misordered(scores, labels.targets, labels.groups)
    return problem_shares(wrong, labels.table["problem_id"].take(pa.array(firsts)).to_pylist())


@lru_cache(maxsize=2)
def _read(url: str, domain: str, split: str, fingerprint: str) -> GivenTargets:
    """Read once a worker, which may run many trials."""
    return read_targets(Folder(url), find_wing(domain), split)
