"""What an epoch visits: balanced weights, curricula on length, hard negatives, and that resuming stays exact."""

import numpy as np
import pytest
import torch

from stepward.train import Checkpoint, Examples, Optimisation, Sampling, SoftBCE, epochs, make_examples, seeded_module

LENGTHS = np.repeat([1, 2, 5], [50, 30, 20])


def rows(seed: int = 0) -> Examples:
    """100 rows of three lengths; longer ones are rarely positive."""
    generator = np.random.default_rng(seed)
    successes = generator.binomial(8, np.repeat([0.8, 0.5, 0.35], [50, 30, 20])).astype(float)
    inputs = {"x": np.stack([LENGTHS, generator.normal(size=100)], axis=1).astype(np.float32)}
    return make_examples(inputs, successes, np.full(100, 8.0), SoftBCE(), lengths=LENGTHS, pool=False)


class Network(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)[:, 0]


def sums(weights: torch.Tensor, kinds: np.ndarray) -> np.ndarray:
    return np.bincount(kinds, weights.double().numpy())


def test_balances_make_kinds_weigh_alike_and_keep_the_sum() -> None:
    examples = rows()
    positive = (examples.targets > 0.5).long().numpy()
    length = np.unique(LENGTHS, return_inverse=True)[1]

    by_label = Sampling(balance="labels").weights(examples)
    np.testing.assert_allclose(sums(by_label, positive), [50, 50], rtol=1e-5)

    by_length = Sampling(balance="lengths").weights(examples)
    np.testing.assert_allclose(sums(by_length, length), [100 / 3] * 3, rtol=1e-5)

    within = sums(Sampling(balance="labels_within_lengths").weights(examples), 2 * length + positive).reshape(3, 2)
    np.testing.assert_allclose(within.sum(1), [50, 30, 20], rtol=1e-5)  # lengths keep what they weigh
    np.testing.assert_allclose(within[:, 0], within[:, 1], rtol=1e-5)  # and tell nothing about labels
    assert torch.equal(Sampling().weights(examples), examples.weights)


def test_a_length_with_one_label_only_keeps_its_weight() -> None:
    examples = make_examples(
        {"x": np.eye(4, dtype=np.float32)}, np.array([8.0, 8, 0, 8]), np.full(4, 8.0), SoftBCE(),
        lengths=np.array([1, 1, 2, 2]), pool=False,
    )  # fmt: skip
    np.testing.assert_allclose(Sampling(balance="labels_within_lengths").weights(examples), [1, 1, 1, 1])


def test_a_curriculum_grows_from_the_shortest_rows_to_all() -> None:
    visited = [Sampling(curriculum=0.5).visited(rows(), epoch, 8) for epoch in range(8)]
    assert [sorted(set(LENGTHS[chosen])) for chosen in visited] == [[1, 2], [1, 2], [1, 2], *([[1, 2, 5]] * 5)]
    assert len(visited[-1]) == 100
    assert len(Sampling(curriculum=0.9).visited(rows(), 0, 100)) == 50


def test_hard_negatives_are_what_the_model_is_wrongly_sure_of() -> None:
    examples = rows()
    scores = torch.linspace(0, 1, 100)
    sampling = Sampling(hard_above=0.7, hard_weight=3)
    weights = sampling.emphasised(examples, 1, lambda: scores)
    hard = (examples.targets <= 0.5) & (scores > 0.7)
    assert 0 < hard.sum() < 100
    np.testing.assert_allclose(weights[hard] / weights[~hard].mean(), np.full(int(hard.sum()), 3.0), rtol=1e-5)
    np.testing.assert_allclose(float(weights.sum()), 100, rtol=1e-5)

    def never() -> torch.Tensor:
        raise AssertionError("an untrained model has no hard negatives")

    assert torch.equal(sampling.emphasised(examples, 0, never), examples.weights)


@pytest.mark.parametrize(
    "sampling",
    [Sampling(balance="labels_within_lengths"), Sampling(curriculum=0.6), Sampling(hard_above=0.2, hard_weight=8)],
)
def test_each_changes_what_is_learned_and_resumes_to_the_last_bit(sampling: Sampling, tmp_path) -> None:
    def run(num_epochs: int, chosen: Sampling, start: Checkpoint | None = None) -> Checkpoint:
        settings = Optimisation(num_epochs=6, batch_size=20, learning_rate=0.05, sampling=chosen)
        steps = epochs(seeded_module(Network, 0), rows(), rows(1), SoftBCE(), settings, seed=0, start=start)
        return next(step for step in steps if step.progress.epochs_done == num_epochs)

    whole = run(6, sampling)
    run(2, sampling).save(tmp_path)
    resumed = run(6, sampling, Checkpoint.load(tmp_path))
    plain = run(6, Sampling())
    assert all(torch.equal(whole.weights[name], resumed.weights[name]) for name in whole.weights)
    assert not all(torch.equal(whole.weights[name], plain.weights[name]) for name in whole.weights)


def test_a_curriculum_keeps_the_learning_rate_of_every_step_within_one_cosine() -> None:
    """Epochs have 2, 4, 4, 5, 5 and 5 steps: the rate falls to its end just at the last of them."""
    sampling = Sampling(curriculum=0.6)
    settings = Optimisation(num_epochs=6, batch_size=20, warmup_fraction=0.0, sampling=sampling)
    steps = [len(sampling.visited(rows(), epoch, 6)) // 20 for epoch in range(6)]
    done = list(epochs(seeded_module(Network, 0), rows(), rows(1), SoftBCE(), settings, seed=0))
    rates = [row["learning_rate"] for row in done[-1].progress.history]
    wanted = [settings.rate(sum(steps[: epoch + 1]) - 1, sum(steps)) for epoch in range(6)]
    np.testing.assert_allclose(rates, wanted)


def test_settings_without_effect_are_refused() -> None:
    with pytest.raises(ValueError, match="hard_above"):
        Sampling(hard_weight=2)
    with pytest.raises(ValueError, match="no effect without a balance of lengths"):
        Sampling(length="depth")
