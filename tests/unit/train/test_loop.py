"""The epoch loop: seeds, resuming, pooling, shares of workers, early stopping, checkpoints."""

import numpy as np
import pytest
import torch

from stepward.train import (
    Binomial,
    Checkpoint,
    Focal,
    Optimisation,
    Pairwise,
    Progress,
    SoftBCE,
    Workers,
    epochs,
    make_examples,
    minibatches,
    seeded_module,
)
from stepward.train.checkpoints import plain


class Network(torch.nn.Module):
    """Two layers with dropout, so that a resumed training must draw the same masks."""

    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(3, 16), torch.nn.ReLU(), torch.nn.Dropout(0.2), torch.nn.Linear(16, 1)
        )

    def forward(self, x):
        return self.layers(x)[:, 0]


def labelled(num=300, seed=0, m=16):
    generator = np.random.default_rng(seed)
    x = generator.integers(-2, 3, (num, 3)).astype(np.float32)  # 125 different rows, so some are equal
    p = 1 / (1 + np.exp(-(x @ [1.0, -0.5, 0.25])))
    return {"x": x}, generator.binomial(m, p).astype(float), np.full(num, float(m))


def run(num_epochs, *, start=None, stop=None, seed=0, objective=None, total=4, **settings):
    objective = objective or SoftBCE()
    groups = np.arange(300) // 10 if isinstance(objective, Pairwise) else None
    examples = make_examples(*labelled(), objective, groups)
    validation = make_examples(*labelled(100, seed=1), Binomial(), pool=False)
    optimisation = Optimisation(num_epochs=total, batch_size=32, **settings)
    steps = epochs(seeded_module(Network, seed), examples, validation, objective, optimisation, seed=seed, start=start)
    last = None
    for last in steps:
        if last.progress.epochs_done == num_epochs:
            break
    return last


def same(a, b):
    return all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("objective", [SoftBCE(), Binomial(), Focal(), Pairwise()])
def test_a_training_is_a_function_of_its_seed(objective):
    first, again, other = (run(2, seed=seed, objective=objective) for seed in (0, 0, 1))
    assert same(first.weights, again.weights)
    assert first.progress.history == again.progress.history
    assert not same(first.weights, other.weights)


def test_resumed_is_uninterrupted_to_the_last_bit(tmp_path):
    """Four epochs are two, a checkpoint on disk, and two more."""
    whole = run(4)
    run(2).save(tmp_path)
    resumed = run(4, start=Checkpoint.load(tmp_path))
    assert same(whole.weights, resumed.weights)
    assert same(whole.best, resumed.best)
    assert whole.progress == resumed.progress


def test_a_finished_training_has_no_further_epochs():
    assert run(4, start=run(4)) is None


def test_validation_loss_falls_and_the_best_weights_are_those_of_the_best_epoch():
    done = run(30, total=30, learning_rate=0.02)
    history = [row["validation_loss"] for row in done.progress.history]
    assert history[-1] < history[0]
    assert done.progress.best_loss == min(history) == history[done.progress.best_epoch - 1]
    at_best = run(done.progress.best_epoch, total=30, learning_rate=0.02)
    assert same(done.best, at_best.weights)


def test_pooling_equal_rows_changes_no_gradient():
    inputs, successes, m = labelled()
    m = m + np.arange(300) % 7  # unequal M, so that binomial weights matter
    for objective in (SoftBCE(label_smoothing=0.1), Binomial()):
        gradients = []
        for pool in (True, False):
            examples = make_examples(inputs, successes, m, objective, pool=pool)
            module = seeded_module(Network, 0).eval()
            loss = objective.row_losses(module(**examples.inputs), examples.targets, None) * examples.weights
            loss.sum().backward()
            gradients.append(torch.cat([p.grad.ravel() for p in module.parameters()]))
            np.testing.assert_allclose(float(examples.weights.sum()), 300, rtol=1e-5)
        # Float32 sums of 300 terms in another order: relative to the largest gradient.
        torch.testing.assert_close(*gradients, rtol=0, atol=300 * 2**-24 * float(gradients[0].abs().max()))
    pooled = make_examples(inputs, successes, m, SoftBCE())
    assert len(pooled) == len(np.unique(inputs["x"], axis=0)) < 300


def test_rows_are_not_pooled_where_the_loss_is_not_linear():
    assert len(make_examples(*labelled(), Focal())) == 300


def test_shares_of_workers_add_up_to_the_gradient_of_one():
    """Each worker's loss is scaled by world / B, so the mean over workers is the sum over all rows / B."""
    objective = Binomial()
    examples = make_examples(*labelled(), objective, pool=False)

    def gradient(rank, world):
        module = seeded_module(Network, 0)
        for layer in module.modules():
            if isinstance(layer, torch.nn.Dropout):
                layer.p = 0.0
        kept = {}

        class Spy(torch.optim.SGD):
            def step(self, closure=None):
                kept.setdefault("first", torch.cat([p.grad.ravel().clone() for p in module.parameters()]))

        class Settings(Optimisation):
            def optimiser(self, parameters):
                return Spy(parameters, lr=0.0)

        settings = Settings(num_epochs=1, batch_size=31, max_grad_norm=1e9)
        next(epochs(module, examples, examples, objective, settings, seed=0, workers=Workers(rank, world)))
        return kept["first"]

    alone = gradient(0, 1)
    shared = torch.stack([gradient(rank, 3) for rank in range(3)]).mean(dim=0)
    torch.testing.assert_close(shared, alone, rtol=0, atol=31 * 2**-23 * float(alone.abs().max()))


def test_minibatches_visit_rows_once_and_depend_on_seed_and_epoch_alone():
    batches = list(minibatches(100, 32, seed=1, epoch=2))
    assert [len(b) for b in batches] == [32, 32, 32]
    assert len(np.unique(np.concatenate(batches))) == 96
    again = list(minibatches(100, 32, seed=1, epoch=2))
    assert all(np.array_equal(a, b) for a, b in zip(batches, again, strict=True))
    assert not np.array_equal(batches[0], next(minibatches(100, 32, seed=1, epoch=3)))
    assert [len(b) for b in minibatches(5, 32, seed=0, epoch=0)] == [5]


def test_minibatches_keep_groups_together():
    groups = np.arange(120) % 20  # twenty groups of six, interleaved
    for rows in minibatches(120, 24, seed=0, epoch=0, groups=groups):
        assert (np.bincount(groups[rows])[np.unique(groups[rows])] == 6).all()
        assert (np.diff(groups[rows]) != 0).sum() == 3  # four groups, each in one piece


def test_patience_ends_a_training_that_does_not_improve():
    """Steps far too large never improve on a good epoch for long, so training ends two epochs after its best one."""
    done = run(50, total=50, learning_rate=5.0, patience=2, weight_decay=0.0)
    assert done.progress.epochs_done < 50
    assert done.progress.epochs_done - done.progress.best_epoch == 2


def test_progress_keeps_the_first_of_equals():
    progress = Progress()
    assert [progress.note({"validation_loss": x}) for x in (3.0, 2.0, 2.0)] == [True, True, False]
    assert (progress.best_epoch, progress.epochs_done) == (2, 3)
    assert progress.out_of_patience(1)
    assert not progress.out_of_patience(0)


def test_learning_rate_rises_and_falls_as_a_cosine():
    settings = Optimisation(learning_rate=1.0, warmup_fraction=0.1, final_fraction=0.2)
    rates = np.array([settings.rate(step, 1000) for step in range(1000)])
    assert rates.argmax() == 100
    assert rates[100] == 1.0
    assert (np.diff(rates[:101]) > 0).all()
    assert (np.diff(rates[100:]) < 0).all()
    np.testing.assert_allclose(rates[550], 0.2 + 0.8 / 2)  # half of the way down
    np.testing.assert_allclose(rates[-1], 0.2, atol=1e-5)


def test_biases_are_not_decayed():
    groups = Optimisation(weight_decay=0.3).optimiser(Network().parameters()).param_groups
    assert [(g["weight_decay"], {p.ndim for p in g["params"]}) for g in groups] == [(0.3, {2}), (0.0, {1})]


def test_checkpoints_hold_no_code(tmp_path):
    """The optimiser's file is read by the reader that refuses anything but tensors and plain values."""
    run(1).save(tmp_path)
    assert torch.load(tmp_path / "training.pt", weights_only=True)["state"]
    (tmp_path / "best.safetensors").unlink()
    with pytest.raises(ValueError, match=r"best\.safetensors.*missing"):
        Checkpoint.load(tmp_path)


def test_a_checkpoint_is_not_changed_by_later_steps():
    module = Network()
    kept = plain(module.state_dict())
    before = kept["layers.0.bias"].clone()
    with torch.no_grad():
        module.layers[0].bias += 1
    assert torch.equal(kept["layers.0.bias"], before)


def test_bundles_stay_together_and_comparisons_come_first():
    """All bundles of a minibatch but the two that its ends cut are whole; groups of an objective have precedence."""
    inputs, successes, rollouts = labelled()
    bundles = np.arange(300) % 60
    examples = make_examples(inputs, successes, rollouts, SoftBCE(), bundles=bundles, pool=False)
    for rows in minibatches(300, 50, seed=0, epoch=0, groups=examples.together):
        _, sizes = np.unique(bundles[rows], return_counts=True)
        assert (sizes == 5).sum() >= len(sizes) - 2
        assert len(sizes) <= 11
    grouped = make_examples(inputs, successes, rollouts, Pairwise(), bundles // 2, bundles=bundles)
    assert np.array_equal(grouped.together, bundles // 2)


def test_pooled_rows_stay_in_the_bundle_of_the_first():
    inputs = {"x": np.array([[1.0], [2.0], [1.0]], np.float32)}
    examples = make_examples(inputs, np.ones(3), np.full(3, 2.0), SoftBCE(), bundles=np.array([7, 8, 9]))
    assert examples.together.tolist() == [7, 8]


def test_the_last_epoch_is_kept_where_the_validation_loss_does_not_judge():
    """At a rate that is much too high an early epoch is the best, and the last one is the last."""
    rates = {"learning_rate": 3.0, "warmup_fraction": 0.0, "final_fraction": 1.0}
    best, last = run(4, **rates), run(4, keep="last", **rates)
    assert last.progress.best_epoch == 4
    assert best.progress.best_epoch < 4
    assert same(last.best, last.weights)
    assert not same(best.best, best.weights)
    with pytest.raises(ValueError, match="patience"):
        Optimisation(keep="last", patience=2)
