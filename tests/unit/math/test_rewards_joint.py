"""Joint tasks of the text reward model: what they add to the loss, and that scores and costs stay as they are."""

import numpy as np
import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from stepward.core.seeding import Rng
from stepward.core.wing import Trainable
from stepward.domains.math.rewards.text import TextPRM
from stepward.domains.math.states import MathDomain, MathStates, roots
from stepward.train import Optimisation, SoftBCE, epochs, make_examples, seeded_module, state_arrays
from unit.math.small_models import small_model, small_proposer, small_tokenizer


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("llama")
    small_model().save_pretrained(folder)
    small_tokenizer().save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def states() -> MathStates:
    """Beginnings of solutions of two questions, some of them finished."""
    proposer, found = small_proposer(), []
    questions = np.array(["a+1", "b"], object)
    parents = roots(questions, questions).take(np.repeat([0, 1], 8))
    for depth in range(4):
        parents = proposer.propose(parents, num_candidates=1, rng=Rng.from_ids(depth, range(len(parents)), "test"))
        found.append(parents)
        parents = parents.take(MathDomain().status(parents) == 0)
    return MathStates.concat(found)


def module_and_inputs(learner: TextPRM, states: MathStates, shares: np.ndarray):
    module = seeded_module(learner.module, 0)
    arrays = learner.encode(states) | learner.beside(states, shares)
    return module, {name: torch.from_numpy(array) for name, array in arrays.items()}


def test_the_loss_beside_is_what_both_tasks_say_row_by_row(base: str, states: MathStates) -> None:
    shares = np.linspace(0, 1, len(states))
    learner = TextPRM(base=base, outcome_weight=0.5, next_step_weight=0.25)
    assert isinstance(learner, Trainable)
    module, inputs = module_and_inputs(learner, states, shares)
    logits, beside = module(**inputs)

    texts = [f"{q}\n{t}" for q, t in zip(states.question, states.text, strict=True)]
    complete = MathDomain().status(states) == 1
    outcomes, tokens, hosts = [], 0.0, 0
    for row, ids in enumerate(learner.tokens(states)):
        hidden = module.body(input_ids=torch.tensor([ids])).last_hidden_state[0]
        torch.testing.assert_close(logits[row], module.head(hidden[-1])[0], atol=1e-5, rtol=0)
        longer = [i for i, text in enumerate(texts) if text != texts[row] and text.startswith(texts[row])]
        whole = [i for i in (longer or [row]) if complete[i]]
        allowed = {float(shares[i]) for i in whole} or {-1.0}
        known = float(inputs["outcome"][row])
        assert any(abs(known - value) < 1e-6 for value in allowed | ({-1.0} if longer else set()))
        target = torch.tensor([max(known, 0.0)])
        loss = binary_cross_entropy_with_logits(module.outcome(hidden[-1]), target)
        outcomes.append(loss.detach() if known >= 0 else torch.zeros(()))
        if not longer and texts.index(texts[row]) == row:
            start = int(inputs["question"][row])
            assert ids[:start] == learner.tokens(states.take([row]).replace(text=np.array([""], object)))[0]
            said = hidden[start - 1 : -1] @ module.body.get_input_embeddings().weight.T
            tokens += float(cross_entropy(said, torch.tensor(ids[start:]), reduction="sum").detach())
            hosts += len(ids) - start
    assert {-1.0} < set(inputs["outcome"].tolist())  # both known and unknown outcomes occur
    expected = 0.5 * torch.stack(outcomes) + 0.25 * tokens / hosts
    torch.testing.assert_close(beside.detach(), expected, atol=1e-5, rtol=0)


def test_scores_and_costs_are_those_of_a_model_without_the_tasks(base: str, states: MathStates) -> None:
    plain, joint = TextPRM(base=base), TextPRM(base=base, outcome_weight=1.0, next_step_weight=0.1)
    module, inputs = module_and_inputs(joint, states, np.full(len(states), 0.5))
    weights = state_arrays(module.state_dict())
    alone = {name: array for name, array in weights.items() if not name.startswith("outcome")}
    expected = plain.reward(alone).score(states, states)
    np.testing.assert_allclose(joint.reward(weights).score(states, states), expected, atol=1e-6)
    assert joint.reward(weights).num_parameters == plain.reward(alone).num_parameters
    with torch.no_grad():
        np.testing.assert_allclose(module.eval()(**inputs).sigmoid(), expected, atol=1e-5)


def test_both_tasks_are_learned_with_the_score(base: str, states: MathStates) -> None:
    """Losses beside fall, and the body is moved by them though step targets are all one half."""
    learner = TextPRM(base=base, outcome_weight=1.0, next_step_weight=1.0)
    shares = (np.arange(len(states)) % 2).astype(float)
    module, inputs = module_and_inputs(learner, states, shares)
    arrays = {name: tensor.numpy() for name, tensor in inputs.items()}
    half, two = np.ones(len(states)), np.full(len(states), 2.0)
    examples = make_examples(arrays, half, two, SoftBCE(), bundles=learner.bundles(states))
    before = float(module(**inputs)[1].mean().detach())
    settings = Optimisation(num_epochs=30, batch_size=64, learning_rate=1e-2)
    history = [step.progress.history[-1] for step in epochs(module, examples, examples, SoftBCE(), settings, seed=0)]
    assert float(module.train()(**inputs)[1].mean().detach()) < 0.7 * before
    assert history[-1]["train_loss"] < history[0]["train_loss"]


def test_an_encoder_cannot_learn_to_go_on(tmp_path) -> None:
    from transformers import BertConfig, BertModel

    sizes = dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=24)
    BertModel(BertConfig(vocab_size=40, **sizes)).save_pretrained(tmp_path)
    small_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="expected a causal body"):
        TextPRM(base=str(tmp_path), next_step_weight=0.1).module()
    assert TextPRM(base=str(tmp_path), outcome_weight=0.1).module().outcome is not None
