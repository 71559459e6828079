"""The recipe of the embedded proposer and the loop that follows it."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stepward.domains.math.acceptance import accepted, error_rates, majority
from stepward.domains.math.data import problem_table
from stepward.domains.math.language_model import LanguageStage, batches, mean_loss, pad_rows, token_losses, train_stages
from stepward.domains.math.recipe import CurriculumStage, ProposerRecipe, encode_documents, prompt_lengths
from stepward.domains.math.states import math_states
from stepward.domains.math.synthetic import WordProblemFamily, is_ambiguous, training_documents
from stepward.domains.math.tokenizer import train_tokenizer
from stepward.train import Optimisation
from unit.math.small_models import small_model

TOKENIZER = train_tokenizer(training_documents(0, 300), 448)
CYCLE = [np.array([(start + i) % 9 for i in range(length)]) for start in range(9) for length in (5, 8, 13)]


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@given(st.text())
def test_any_text_survives_the_tokenizer(text: str) -> None:
    assert TOKENIZER.decode(TOKENIZER(text)["input_ids"]) == text


def test_a_digit_is_a_token_and_lines_are_tokenized_alone() -> None:
    """Steps are encoded as they were sampled only if no token spans a line break."""
    text = next(WordProblemFamily().problems(0, "test", 1)).solution
    assert TOKENIZER.convert_ids_to_tokens(TOKENIZER("2048")["input_ids"]) == list("2048")
    lines = [TOKENIZER(line)["input_ids"] for line in text.splitlines(keepends=True)]
    assert [token for line in lines for token in line] == TOKENIZER(text)["input_ids"]


def test_a_vocabulary_without_room_for_the_bytes_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 258"):
        train_tokenizer(["a"], 200)


def test_stages_share_no_document_and_end_with_the_end_token() -> None:
    recipe = ProposerRecipe(stages=[CurriculumStage(num_documents=40, drill_share=0)] * 2, num_validation=40)
    parts = [*recipe.documents(0, 7)], [*recipe.documents(1, 7)], [*recipe.validation_documents(7)]
    assert [len(part) for part in parts] == [40] * 3
    assert len({text for part in parts for text in part}) == 120
    rows = encode_documents(TOKENIZER, iter(parts[0]))
    assert all(row[-1] == TOKENIZER.eos_token_id and TOKENIZER.eos_token_id not in row[:-1] for row in rows)
    assert TOKENIZER.decode(rows[0][:-1]) == parts[0][0]


def test_the_default_recipe_has_the_size_it_says() -> None:
    recipe = ProposerRecipe()
    d, f, layers, vocabulary = 128, 352, 4, len(TOKENIZER)
    expected = vocabulary * d + layers * (4 * d * d + 3 * d * f + 2 * d) + d
    assert sum(weight.numel() for weight in recipe.model(TOKENIZER).parameters()) == expected
    assert 4 * (expected + (recipe.vocab_size - vocabulary) * d) < 4 * 10**6  # bytes in float32, at most


def test_every_document_is_in_one_batch_of_its_length() -> None:
    rng = np.random.default_rng(0)
    documents = [np.zeros(length, np.int64) for length in rng.integers(1, 200, 500)]
    plan = batches(documents, 16, seed=3)
    assert sorted(np.concatenate(plan).tolist()) == list(range(500))
    padded = sum(len(rows) * max(len(documents[i]) for i in rows) for rows in plan)
    assert padded < 1.05 * sum(map(len, documents))
    assert [p.tolist() for p in batches(documents, 16, seed=3)] == [p.tolist() for p in plan]


def test_token_losses_are_minus_log_probabilities_without_padding() -> None:
    model, documents = small_model(), [np.array([1, 2, 3, 4]), np.array([5, 6])]
    tokens, labels = pad_rows(documents, 0)
    losses = token_losses(model, tokens, labels).detach()
    for row, document in zip(losses, documents, strict=True):
        ids = torch.from_numpy(document)
        log_p = model(input_ids=ids[None]).logits[0].log_softmax(-1).detach()
        expected = [-float(log_p[t, ids[t + 1]]) for t in range(len(ids) - 1)]
        assert row[: len(expected)].tolist() == pytest.approx(expected, abs=1e-5)
        assert not row[len(expected) :].any()
    assert mean_loss(model, documents, 0) == pytest.approx(float(losses.sum()) / 4, abs=1e-5)


def stages(num: int) -> list[LanguageStage]:
    settings = Optimisation(num_epochs=6, batch_size=8, learning_rate=0.02)
    return [LanguageStage(CYCLE, settings)] * num


def test_a_cycle_is_learned() -> None:
    """Every next token follows from the last, so the loss goes to 0 from log 9 = 2.2."""
    *_, last = train_stages(small_model(), stages(3), CYCLE, pad_token=0, seed=0)
    assert last.progress.history[-1]["validation_loss"] < 0.05
    assert last.progress.history[-1]["tokens"] == 6 * sum(len(document) - 1 for document in CYCLE)


def test_training_goes_on_from_a_checkpoint_as_if_it_had_not_stopped() -> None:
    whole = [c.weights for c in train_stages(small_model(), stages(2), CYCLE, pad_token=0, seed=0)]
    first = next(iter(train_stages(small_model(), stages(2), CYCLE, pad_token=0, seed=0)))
    (second,) = train_stages(small_model(), stages(2), CYCLE, pad_token=0, seed=0, start=first)
    for name, weights in whole[-1].items():
        assert torch.equal(second.weights[name], weights), name


def test_a_stage_without_documents_is_refused() -> None:
    with pytest.raises(ValueError, match="stage 1: expected at least one document"):
        next(train_stages(small_model(), [*stages(1), LanguageStage([], Optimisation())], CYCLE, pad_token=0, seed=0))


def test_majority() -> None:
    answers = np.array([["1", "2", "2"], ["1", "2", "3"], ["", "", "3"], ["", "", ""]], object)
    assert majority(answers).tolist() == [1, 0, 2, 0]


@pytest.mark.parametrize(
    ("single", "vote", "any_right", "verdict"),
    [(0.5, 0.6, 0.8, True), (0.7, 0.7, 0.9, False), (0.5, 0.7, 0.9, False), (0.5, 0.55, 0.7, False)],
)
def test_acceptance(single: float, vote: float, any_right: float, verdict: bool) -> None:
    assert accepted({"single": single, "majority": vote, "pass": any_right}) == verdict


def test_error_rates_count_first_errors_by_kind() -> None:
    """Right solutions have no errors; empty ones are wrong at their first line, and later lines are not judged."""
    family = WordProblemFamily()
    problems = list(family.problems(0, "validation", 50))
    states = math_states(problem_table(problems))
    right = states.replace(text=np.array([p.solution for p in problems], object))
    rates = error_rates(problems, right)
    sentences = [line for p in problems for line in p.solution.split("\n")[:-1]]
    assert (rates["ambiguous_error"], rates["other_error"]) == (0, 0)
    assert rates["lines_ambiguous"] == sum(map(is_ambiguous, sentences))
    assert rates["lines_ambiguous"] + rates["lines_other"] == len(sentences)
    empty = error_rates(problems, states)
    assert (empty["ambiguous_error"], empty["other_error"]) == (1, 1)
    assert empty["lines_ambiguous"] + empty["lines_other"] == 50  # only first lines are reached


def test_prompts_have_no_loss() -> None:
    """Documents that differ in what comes before the answer alone cost the same per token of the answer."""
    documents = [np.array([1, 2, 3, 4, 5]), np.array([6, 7])]
    _, labels = pad_rows(documents, 0, [3, 0])
    assert labels.tolist() == [[-100, -100, -100, 4, 5], [6, 7, -100, -100, -100]]
    half = LanguageStage(CYCLE, Optimisation(num_epochs=1, batch_size=8, learning_rate=0.02), [3] * len(CYCLE))
    *_, last = train_stages(small_model(), [half], CYCLE, pad_token=0, seed=0)
    assert last.progress.history[-1]["tokens"] == sum(len(document) - 3 for document in CYCLE)


def test_prompt_lengths_are_those_of_questions() -> None:
    documents = [*training_documents(1, 40, drill_share=0.5)]
    rows = encode_documents(TOKENIZER, iter(documents))
    for text, row, length in zip(documents, rows, prompt_lengths(TOKENIZER, rows), strict=True):
        question, mark, _ = text.partition("?\n")
        assert TOKENIZER.decode(row[:length]) == (question + mark if mark else "")
