"""The training loop itself: divergence, accumulation, shares of workers, and what it says of itself."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from stepward.train import Checkpoint, Descent, DivergedError, Minibatch, Part, Task, Tick, Workers, training


class Line(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.slope = torch.nn.Parameter(torch.tensor([3.0]))


class LineTask(Task[Minibatch]):
    """Least squares y = a x without noise; `spoilt` steps have a loss that is no number."""

    def __init__(self, *, spoilt=(), num_epochs=3, size=4, data=None, **descent):
        self.module, self.descent, self.num_epochs, self.seed = Line(), Descent(**descent), num_epochs, 0
        self.x = torch.linspace(-1, 1, 20) if data is None else data
        self.spoilt, self.size, self.modes = spoilt, size, []

    def num_steps(self, epoch):
        return len(self.x) // self.size

    def minibatches(self, epoch):
        order = np.random.default_rng(epoch).permutation(len(self.x))
        return [Minibatch(order[i * self.size : (i + 1) * self.size]) for i in range(self.num_steps(epoch))]

    def part(self, batch, rows, step):
        self.modes.append(self.module.training)
        x = self.x[torch.from_numpy(rows)]
        loss = ((self.module.slope - 0.5) * x).pow(2).sum()
        return Part(loss * torch.nan if step in self.spoilt else loss, len(rows), len(batch.rows))

    def validate(self):
        assert not self.module.training
        return {"validation_loss": float((self.module.slope.detach() - 0.5).abs())}


def run(task, **options):
    return list(training(task, **options))


def test_it_descends_in_training_mode_and_judges_in_evaluation_mode():
    task = LineTask(num_epochs=30, learning_rate=0.1)
    history = run(task)[-1].progress.history
    assert history[-1]["validation_loss"] < 0.3 < 2 < history[0]["validation_loss"]
    assert all(task.modes) and len(task.modes) == 30 * 5
    assert history[0]["epoch"] == 1 and {"train_loss", "learning_rate"} < history[0].keys()


def test_a_loss_that_is_no_number_ends_the_training_and_says_where_and_what_to_change():
    with pytest.raises(
        DivergedError, match=r"nan at step 3 of 5 of epoch 2.*first step.*optimisation\.learning_rate, now 0\.01"
    ):
        run(LineTask(spoilt=[7], learning_rate=0.01))


def test_before_anything_was_learned_the_learning_rate_is_not_to_blame():
    with pytest.raises(DivergedError, match=r"not the learning rate.*inputs or labels"):
        run(LineTask(spoilt=[0]))


def test_a_loss_that_explodes_is_a_divergence_too():
    """SGD beyond twice the inverse curvature grows without end; 10^3 times the first loss is where it is stopped."""

    class Plain(Descent):
        def optimiser(self, parameters):
            return torch.optim.SGD(parameters, lr=self.learning_rate)

        def rate(self, step, num_steps):
            return self.learning_rate

    task = LineTask(num_epochs=50)
    task.descent = Plain(learning_rate=30.0)
    losses = []
    with pytest.raises(DivergedError, match="diverged"):
        run(task, watch=lambda tick: losses.append(tick.loss))
    assert 10 < max(losses) <= 1e3 * losses[0], "seen at the first step that is beyond"


def test_a_validation_loss_that_is_no_number_is_a_divergence():
    task = LineTask()
    task.validate = lambda: {"validation_loss": float("inf")}
    with pytest.raises(DivergedError, match="validation loss is inf after epoch 1"):
        run(task)


@pytest.mark.parametrize("pieces", [2, 3, 9])
def test_accumulated_pieces_make_the_same_step(pieces):
    whole, cut = run(LineTask(size=5)), run(LineTask(size=5, accumulate=pieces))
    torch.testing.assert_close(cut[-1].weights["slope"], whole[-1].weights["slope"])
    assert cut[-1].progress.history[-1]["train_loss"] == pytest.approx(whole[-1].progress.history[-1]["train_loss"])


def test_clipping_bounds_a_step():
    """The norm that the optimiser meets is that of the limit where gradients are larger."""
    seen = []

    class Spy(torch.optim.SGD):
        def step(self, closure=None):
            seen.append(float(self.param_groups[0]["params"][0].grad.norm()))

    class Spied(Descent):
        def optimiser(self, parameters):
            return Spy(parameters, lr=0.1)

    for limit in (None, 0.01):
        task = LineTask(num_epochs=1)
        task.descent = Spied(max_grad_norm=limit)
        run(task)
    assert min(seen[:5]) > 0.02
    np.testing.assert_allclose(seen[5:], 0.01, rtol=1e-3)


def test_a_worker_without_rows_takes_part_with_no_weight():
    """Of two rows a third worker has none: its gradient is 0, and its loss does not count."""

    class Third(Workers):
        def average(self, parameters):
            gradients.append([float(parameter.grad) for parameter in parameters])

        def sum(self, numbers):
            return numbers + torch.tensor([8.0, 2.0])  # of the two others

    gradients = []
    (done,) = run(LineTask(size=2, num_epochs=1), workers=Third(2, 3))
    assert gradients == [[0.0]] * 10
    assert done.progress.history[0]["train_loss"] == 4.0


def test_ticks_tell_every_step():
    ticks: list[Tick] = []
    run(LineTask(num_epochs=2), watch=ticks.append)
    assert [(tick.epoch, tick.step) for tick in ticks] == [(e, s) for e in (1, 2) for s in range(1, 6)]
    assert {(tick.num_epochs, tick.num_steps) for tick in ticks} == {(2, 5)}
    assert ticks[0].loss > ticks[-1].loss and ticks[0].rate > ticks[-1].rate


def test_losses_that_are_read_some_steps_later_say_the_same(monkeypatch):
    """On a GPU losses are fetched for several steps at once; what diverged is still the step that did."""
    plain = run(LineTask(num_epochs=2))[-1]
    monkeypatch.setattr("stepward.train.trainer.steps_between_looks", lambda device: 4)
    ticks = []
    later = run(LineTask(num_epochs=2), watch=ticks.append)[-1]
    assert [tick.step for tick in ticks] == [4, 5, 4, 5]
    assert later.progress.history == plain.progress.history
    with pytest.raises(DivergedError, match="nan at step 2 of 5 of epoch 1"):
        run(LineTask(spoilt=[1]))


def test_a_new_stage_goes_on_with_the_progress_and_a_new_optimiser():
    first = run(LineTask(num_epochs=2, learning_rate=0.1))[-1]
    before = first.progress.first_loss
    task = LineTask(num_epochs=3)
    task.first_epoch = 2
    second = run(task, start=replace(first, optimiser={}))[-1]
    assert [row["epoch"] for row in second.progress.history] == [1, 2, 3, 4, 5]
    assert second.progress.first_loss < before, "measured anew"


def test_resumed_after_any_epoch_it_ends_the_same(tmp_path):
    whole = run(LineTask(num_epochs=4, learning_rate=0.1))[-1]
    for stopped in range(1, 4):
        task = LineTask(num_epochs=4, learning_rate=0.1)
        loop = training(task)
        for _ in range(stopped):
            checkpoint = next(loop)
        checkpoint.save(tmp_path)
        again = run(LineTask(num_epochs=4, learning_rate=0.1), start=Checkpoint.load(tmp_path))[-1]
        assert torch.equal(again.weights["slope"], whole.weights["slope"]) and again.progress == whole.progress
