"""Learning from counts: how often the policy solved the problem from a state, S of M.

Calibration is cross-checked by problem: calibrators are fitted on the validation problems of half "fit" and every
calibration metric, the raw model's included, is of half "judge". What is written is what was judged.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field
from scipy.special import expit

from stepward.core.artifacts import Artifact
from stepward.core.config import with_defaults
from stepward.core.learning import Judged, Trained, TrainStage
from stepward.core.seeding import stable_hash
from stepward.core.storage import Folder
from stepward.core.wing import Wing, find_wing
from stepward.rewards.calibrators import Calibrator, calibrate, fit_calibrators
from stepward.statistics.calibration import brier_score, debiased_brier, expected_calibration_error
from stepward.statistics.ranking import spearman
from stepward.train.examples import Examples, make_examples
from stepward.train.labels import LabelledStates, read_labels
from stepward.train.loop import ExampleTask, predict_logits, seeded_module
from stepward.train.objectives import OBJECTIVES, Binomial, Objective, Pairwise
from stepward.train.optimisation import Optimisation
from stepward.train.subset import LabelSubset

SPLITS = ("train", "validation")
TINY = 1e-12  # probabilities are kept this far from 0 and 1


class CountLearning:
    """See `stepward.core.learning.Learning`; labels are `LabelledStates`."""

    unit = "nats a rollout"

    def fields(self, wing: Wing) -> dict[str, object]:
        """Subset, objective and optimisation, with the domain's defaults."""
        descent: Any = with_defaults(Optimisation, wing.defaults.optimisation)
        objective = OBJECTIVES[wing.defaults.objective]
        return {
            "subset": (LabelSubset, Field(LabelSubset(), description="which training labels are learned from")),
            "objective": (Objective, Field(objective(), description="what the model is trained for")),
            "optimisation": (descent, Field(descent(), description="gradient descent")),
        }

    def readable(self, labels: Artifact, wing: Wing) -> None:
        """Raise ValueError for labels without counts."""
        for split in SPLITS:
            read_labels(labels.folder, wing, split)

    def check(self, settings: TrainStage) -> None:
        """Raise ValueError for labels without counts, or without a column that the settings name."""
        folder = settings.artifact("label", settings.label).folder
        for split in SPLITS:
            found = read_labels(folder, settings.wing, split)
            if split == "train":
                found = settings.subset.of(found, settings.seed)
            if isinstance(settings.objective, Pairwise):
                found.column_codes(settings.objective.group_by)
            if settings.optimisation.sampling.needs_lengths:
                found.column_numbers(settings.optimisation.sampling.length)

    def read(self, settings: TrainStage, split: str) -> LabelledStates:
        """Labels of a split; of the training split, those that are learned from."""
        artifact = settings.artifact("label", settings.label)
        found = _read(artifact.url, settings.domain, split, artifact.manifest().fingerprint)
        return settings.subset.of(found, settings.seed) if split == "train" else found

    def task(
        self, settings: TrainStage, labels: LabelledStates, validation: LabelledStates, device: torch.device | str
    ) -> ExampleTask:
        """Descent on the settings' objective, judged by the likelihood of validation rollouts."""
        module, examples = seeded_module(settings.learner.module, settings.seed), examples_of(settings, labels)
        if hasattr(settings.learner, "adapt"):
            settings.learner.adapt(module, examples.inputs)
        return ExampleTask(
            module.to(device),
            examples,
            make_examples(settings.learner.encode(validation.states), *_counts(validation), Binomial(), pool=False),
            settings.objective,
            settings.optimisation,
            seed=settings.seed,
            judge=_judge(validation),
        )

    def losses(self, task: ExampleTask, validation: LabelledStates) -> Float[np.ndarray, " p"]:
        """Share of each problem in the likelihood of validation rollouts."""
        logits = predict_logits(task.module, task.validation.inputs).double().cpu().numpy()
        return problem_losses(validation, expit(logits))

    def fit(
        self, settings: TrainStage, labels: LabelledStates, validation: LabelledStates
    ) -> tuple[dict[str, np.ndarray], Float[np.ndarray, " p"]]:
        """Weights from the training labels in one call, and the losses of the reward model they make."""
        weights = settings.learner.fit(labels.states, *_counts(labels), settings.seed)
        scores = settings.learner.reward(weights).score(validation.states, validation.states)
        return weights, problem_losses(validation, np.asarray(scores, np.float64))

    def facts(self, labels: LabelledStates) -> dict[str, float]:
        """Rows, and the mean M."""
        return {"num_rows": len(labels), "num_rollouts": float(labels.num_rollouts.mean())}

    def judge(self, settings: TrainStage, trained: Trained) -> Judged:
        """Predictions of validation states, raw and calibrated, and how good they are."""
        wing, reward = settings.wing, settings.learner.reward(trained.weights)
        artifact = settings.artifact("label", settings.label)
        validation = read_labels(artifact.folder, wing, "validation")
        scores = np.asarray(reward.score(validation.states, validation.states), np.float64)
        fitting = half_of_problems(validation, settings.seed)
        budgets = None if wing.budgets is None else wing.budgets.left(validation.states)
        calibrators = _calibrators(scores, validation, budgets, fitting)
        applied = {"raw": scores} | {name: calibrate(found, scores, budgets) for name, found in calibrators.items()}
        return Judged(
            metrics={"num_parameters": float(reward.num_parameters)} | _metrics(validation, applied, ~fitting),
            rows={"train": _num_rows(settings, artifact), "validation": len(validation)},
            tables={"predictions": _predictions(validation, applied, fitting)},
            documents={"calibration.json": {name: c.to_dict() for name, c in calibrators.items()}},
        )


def examples_of(settings: TrainStage, labels: LabelledStates) -> Examples:
    """Training labels as the settings' learner and objective take them."""
    objective, learner, sampling = settings.objective, settings.learner, settings.optimisation.sampling
    groups = labels.column_codes(objective.group_by) if isinstance(objective, Pairwise) else None
    bundle = getattr(learner, "bundles", None)
    bundles = None if bundle is None else bundle(labels.states)
    lengths = labels.column_numbers(sampling.length) if sampling.needs_lengths else None
    inputs = learner.encode(labels.states)
    if hasattr(learner, "beside"):
        inputs |= learner.beside(labels.states, labels.successes / labels.num_rollouts)
    return make_examples(inputs, *_counts(labels), objective, groups, bundles=bundles, lengths=lengths)


def problem_losses(labels: LabelledStates, probabilities: Float[np.ndarray, " n"]) -> Float[np.ndarray, " p"]:
    """Share of each problem in the validation loss, in the order of the problems' ids.

    The loss is the mean negative log-likelihood of a validation rollout,

        L = Σ_i M_i BCE(p_i, S_i / M_i) / Σ_i M_i  [nats],

    and the share of a problem is the part of its rows times the number of problems, so that the mean over problems is L
    and its standard error that over problems, which are independent as rows are not.
    """
    p = np.clip(probabilities, TINY, 1 - TINY)
    failures = labels.num_rollouts - labels.successes
    losses = -labels.successes * np.log(p) - failures * np.log1p(-p)
    per_problem = np.bincount(labels.column_codes("problem_id"), losses)
    return per_problem * (len(per_problem) / labels.num_rollouts.sum())


@lru_cache(maxsize=2)
def _read(url: str, domain: str, split: str, fingerprint: str) -> LabelledStates:
    """Read once a worker, which may run many trials."""
    return read_labels(Folder(url), find_wing(domain), split)


def _num_rows(settings: TrainStage, labels: Artifact) -> int:
    """Training rows that were learned from; filters have to look at the labels once more."""
    if settings.subset.filters:
        return len(settings.subset.of(read_labels(labels.folder, settings.wing, "train"), settings.seed))
    return settings.subset.num_kept(labels.manifest().rows["train"])


def half_of_problems(labels: LabelledStates, seed: int) -> Bool[np.ndarray, " n"]:
    """True for rows of a half of the problems that depends on (seed, problem id) alone."""
    ids, row = np.unique(labels.table["problem_id"].to_numpy(zero_copy_only=False), return_inverse=True)
    chosen = np.array([stable_hash("calibration half", seed, i) % 2 == 0 for i in ids])
    return chosen[row.reshape(-1)]


def _judge(labels: LabelledStates) -> Callable[[Float[np.ndarray, " n"]], dict[str, float]]:
    """Metrics of an epoch from validation probabilities, one a row of `labels`."""

    def judge(probabilities: Float[np.ndarray, " n"]) -> dict[str, float]:
        found = {}
        if (labels.num_rollouts >= 2).all():  # one rating, as of given labels, does not show its own noise
            found["debiased_brier"] = debiased_brier(probabilities, *_counts(labels))
        if labels.exact is not None:
            found["spearman_exact"] = spearman(probabilities, labels.exact)
        return found

    return judge


def _counts(labels: LabelledStates) -> tuple[np.ndarray, np.ndarray]:
    return labels.successes, labels.num_rollouts


def _calibrators(
    scores: Float[np.ndarray, " n"],
    labels: LabelledStates,
    budgets: Int[np.ndarray, " n"] | None,
    fitting: Bool[np.ndarray, " n"],
) -> dict[str, Calibrator]:
    """Calibrators of the half `fitting`; none where it is empty, or all there is."""
    if fitting.all() or not fitting.any():
        return {}
    counts = scores[fitting], labels.successes[fitting], labels.num_rollouts[fitting]
    return fit_calibrators(*counts, None if budgets is None else budgets[fitting])


def _metrics(
    labels: LabelledStates, applied: dict[str, np.ndarray], judging: Bool[np.ndarray, " n"]
) -> dict[str, float]:
    """Flat metrics; names without a suffix are of the raw model."""
    if not judging.any():
        judging = np.ones(len(labels), bool)
    shares = labels.successes / labels.num_rollouts
    truth = shares if labels.exact is None else labels.exact
    found: dict[str, float] = {}
    rng = np.random.default_rng(stable_hash("calibration error", len(labels)))
    for name, scores in applied.items():
        suffix = "" if name == "raw" else f"_{name}"
        error = expected_calibration_error(scores[judging], truth[judging], rng=rng)
        found[f"ece{suffix}"], found[f"ece_debiased{suffix}"] = error.plug_in, error.debiased
        if (labels.num_rollouts >= 2).all():
            counts = labels.successes[judging], labels.num_rollouts[judging]
            found[f"debiased_brier{suffix}"] = debiased_brier(scores[judging], *counts)
    found["spearman"] = spearman(applied["raw"], shares)
    if labels.exact is not None:
        found["spearman_exact"] = spearman(applied["raw"], labels.exact)
        found["brier_exact"] = brier_score(applied["raw"], labels.exact)
    return found


def _predictions(labels: LabelledStates, applied: dict[str, np.ndarray], fitting: np.ndarray) -> pa.Table:
    """Validation predictions: id, problem_id, prediction, its calibrations, the counts, and the half of each row."""
    columns: dict[str, Any] = {name: labels.table[name] for name in ("id", "problem_id", "successes", "num_rollouts")}
    if labels.exact is not None:
        columns["exact"] = labels.table["exact"]
    columns["prediction"] = applied["raw"]
    columns |= {f"prediction_{name}": values for name, values in applied.items() if name != "raw"}
    columns["half"] = pa.array(np.where(fitting, "fit", "judge").tolist(), pa.string())
    return pa.table(columns)
