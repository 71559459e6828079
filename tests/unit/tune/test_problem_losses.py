"""The loss that trials are compared by, against the epoch loop's own."""

from pathlib import Path

import numpy as np
import torch

from stepward.core.wing import find_wing
from stepward.train import (
    Binomial,
    Optimisation,
    SoftBCE,
    epochs,
    make_examples,
    predict_logits,
    problem_losses,
    read_labels,
    seeded_module,
)
from walk_artifacts import make_labels


def test_the_mean_over_problems_is_the_validation_loss(tmp_path: Path) -> None:
    """Also where problems have different numbers of rows, and rows different numbers of rollouts."""
    wing = find_wing("walk")
    labels = read_labels(make_labels(tmp_path).folder, wing, "test")
    learner = wing.learners["mlp"](hidden_width=8, depth=1)
    module, encoded = seeded_module(learner.module, 0), learner.encode(labels.states)
    examples = make_examples(encoded, labels.successes, labels.num_rollouts, Binomial(), pool=False)
    one = Optimisation(num_epochs=1)
    checkpoint = next(epochs(module, examples, examples, SoftBCE(), one, seed=0))
    probabilities = predict_logits(module, examples.inputs).double().sigmoid().numpy()
    losses = problem_losses(labels, probabilities)
    assert len(losses) == len(set(labels.table["problem_id"].to_pylist()))
    np.testing.assert_allclose(losses.mean(), checkpoint.progress.best_loss, rtol=1e-5)  # one side is in float32


def test_certain_and_wrong_is_finite(tmp_path: Path) -> None:
    labels = read_labels(make_labels(tmp_path).folder, find_wing("walk"), "validation")
    wrong = (labels.successes == 0).astype(float)
    assert np.isfinite(problem_losses(labels, wrong)).all()
    assert torch.tensor(problem_losses(labels, 1 - wrong)).min() >= 0
