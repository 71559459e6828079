"""The math domain: a state is a question and the solution lines written so far, a step is one more line."""

from __future__ import annotations

from stepward.core.capabilities import Answers, Budgets, Drawing, Written
from stepward.core.config import with_defaults
from stepward.core.wing import Defaults, Wing
from stepward.domains.math.answers import stated_answers
from stepward.domains.math.benchmarks import BENCHMARKS
from stepward.domains.math.data import MathProblems
from stepward.domains.math.defaults import BASELINES, EVALUATION, OPTIMISATION, ROLLOUTS
from stepward.domains.math.given import GivenLabels
from stepward.domains.math.judged import ConsensusLabels, JudgedLabels
from stepward.domains.math.mining import MathMining
from stepward.domains.math.pretraining import LanguagePretraining
from stepward.domains.math.problems import ModelSolution, Problem, RatedSolution
from stepward.domains.math.rewards.hidden import HiddenPRM
from stepward.domains.math.rewards.hmm import MathHMM
from stepward.domains.math.rewards.log_p import LogP
from stepward.domains.math.rewards.outcome import OutcomeModel
from stepward.domains.math.rewards.published import PublishedPRM
from stepward.domains.math.rewards.rivals import LengthAndLikelihood, WordPairs
from stepward.domains.math.rewards.simple import LengthReward, LikelihoodReward, RandomReward
from stepward.domains.math.rewards.step_transformer import StepTransformer
from stepward.domains.math.rewards.text import TextPRM
from stepward.domains.math.rewards.words import StepWords
from stepward.domains.math.server.settings import ServerSettings
from stepward.domains.math.settings import LanguageModelSettings
from stepward.domains.math.states import Ending, MathDomain, MathStates, math_states, short_texts
from stepward.domains.math.verifier import AnswerVerifier
from stepward.domains.math.written import FunctionProposer, steps_of, written_states
from stepward.label import ContinuationLabels

__all__ = [
    "AnswerVerifier",
    "Ending",
    "LanguageModelSettings",
    "MathDomain",
    "MathMining",
    "MathProblems",
    "MathStates",
    "ModelSolution",
    "Problem",
    "RatedSolution",
    "ServerSettings",
    "wing",
]

wing = Wing(
    name="math",
    domain=MathDomain(),
    states=math_states,
    problems=MathProblems,
    mining=MathMining,
    proposers={"lm": LanguageModelSettings, "server": ServerSettings},
    rewards={
        "likelihood": LikelihoodReward,
        "length": LengthReward,
        "random": RandomReward,
        "published": PublishedPRM,
        "log_p": LogP,
    },
    learners={
        "text": TextPRM,
        "hidden": HiddenPRM,
        "outcome": OutcomeModel,
        "step_transformer": StepTransformer,
        "hmm": MathHMM,
        "words": StepWords,
    },
    verifier=AnswerVerifier,
    budgets=Budgets(lambda states: -states.num_steps),  # one limit of lines holds for all
    drawing=Drawing(texts=short_texts),
    answers=Answers(stated_answers),
    written=Written(written_states, steps_of, FunctionProposer),
    labels={
        "continuations": with_defaults(ContinuationLabels, ROLLOUTS),
        "given": GivenLabels,
        "judged": JudgedLabels,
        "consensus": ConsensusLabels,
    },
    benchmarks=BENCHMARKS,
    pretraining=LanguagePretraining(),
    rivals={"word_pairs": WordPairs, "length_and_p": LengthAndLikelihood, "likelihood": LikelihoodReward},
    about="A question is answered in written steps; solved is a problem whose final answer is right.",
    defaults=Defaults(
        objective="hard_bce",
        optimisation=OPTIMISATION,
        trained={"hmm": "hmm", "orm": "outcome"},
        baselines=BASELINES,
        evaluation=EVALUATION,
    ),
)
