"""The shipped proposer: its size, its recipe, and that it is fit to be verified."""

import json
from importlib.resources import files

import pytest
import torch

from stepward.core.seeding import Rng
from stepward.domains.math import AnswerVerifier, LanguageModelSettings, MathDomain
from stepward.domains.math.acceptance import error_rates, sampling_metrics
from stepward.domains.math.data import problem_table
from stepward.domains.math.proposer import LanguageModelProposer
from stepward.domains.math.recipe import ProposerRecipe
from stepward.domains.math.states import math_states
from stepward.domains.math.synthetic import WordProblemFamily, training_documents
from stepward.testing import check_proposer

EMBEDDED = files("stepward.domains.math") / "embedded"


@pytest.fixture(scope="module")
def proposer() -> LanguageModelProposer:
    torch.set_num_threads(1)
    return LanguageModelSettings().build()


def test_the_weights_are_small_and_the_recipe_beside_them_is_the_default() -> None:
    assert len((EMBEDDED / "model.safetensors").read_bytes()) <= 4 * 10**6
    recipe = json.loads((EMBEDDED / "recipe.json").read_text())
    assert ProposerRecipe.model_validate(recipe["recipe"]) == ProposerRecipe()


def test_the_tokenizer_spends_a_token_a_word(proposer: LanguageModelProposer) -> None:
    texts = [*training_documents(5, 50, drill_share=0.0)]
    num_tokens = sum(map(len, proposer.engine.tokenizer(texts)["input_ids"]))
    words = sum(len(text.replace(":", " :").split()) for text in texts)
    digits = sum(c.isdigit() for text in texts for c in text)
    assert num_tokens < words + 2.5 * digits


def test_contract(proposer: LanguageModelProposer) -> None:
    problems = problem_table(WordProblemFamily().problems(0, "validation", 4))
    check_proposer(proposer, MathDomain(), math_states(problems), num_candidates=2)


def test_it_is_fit_to_be_verified(proposer: LanguageModelProposer) -> None:
    """The bounds of acceptance, within 3 standard errors of 80 problems; ambiguous lines err, others hardly do."""
    problems = list(WordProblemFamily().problems(1, "validation", 80))
    rng = Rng.from_ids(0, [problem.id for problem in problems], "fit")
    states = math_states(problem_table(problems))
    metrics, samples = sampling_metrics(proposer, AnswerVerifier(), states, num_samples=8, rng=rng)
    assert 0.35 - 3 * metrics["single_se"] <= metrics["single"] <= 0.65 + 3 * metrics["single_se"]
    assert metrics["pass"] >= 0.75 - 3 * metrics["pass_se"]
    assert metrics["majority"] <= metrics["single"] + 0.15 + 3 * metrics["majority_se"]
    rates = error_rates(problems, samples)
    assert rates["ambiguous_error"] > 5 * rates["other_error"]
    assert metrics["answered"] > 0.99
