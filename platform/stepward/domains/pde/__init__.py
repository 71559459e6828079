"""Partial differential equations: solvers, readers, surrogates, candidate generators and their reward models."""

from stepward.core.capabilities import Drawing
from stepward.core.config import with_defaults
from stepward.core.wing import Defaults, Wing
from stepward.domains.pde.ablation import EVALUATION, PRETRAINED
from stepward.domains.pde.data import PDEMining, PDEProblems, pde_states
from stepward.domains.pde.defaults import BASELINES, LABELS, MINING, OPTIMISATION
from stepward.domains.pde.generators import GENERATORS
from stepward.domains.pde.generators.steady import BestConstant, ReadOffState
from stepward.domains.pde.learning import RankingLearning
from stepward.domains.pde.pictures import pictures
from stepward.domains.pde.pretraining import SurrogatePretraining
from stepward.domains.pde.proposer import POLICIES
from stepward.domains.pde.ranking_labels import RankingLabels
from stepward.domains.pde.rewards import LEARNERS, REWARDS, NearDeterministicSettings, TrainedSettings
from stepward.domains.pde.sources import SOURCES
from stepward.domains.pde.states import PDE, PDEStates
from stepward.domains.pde.steps import pde_steps
from stepward.domains.pde.verifier import ReferenceVerifier

__all__ = ["PDE", "PDEMining", "PDEProblems", "PDEStates", "ReferenceVerifier", "wing"]

wing = Wing(
    name="pde",
    domain=PDE(),
    states=pde_states,
    problems=PDEProblems,
    mining=with_defaults(PDEMining, MINING),
    proposers=GENERATORS | POLICIES,
    rewards=REWARDS | {"saved": TrainedSettings},
    learners=LEARNERS,
    verifier=ReferenceVerifier,
    labels={"rankings": with_defaults(RankingLabels, LABELS)},
    drawing=Drawing(pictures=pictures),
    sources=SOURCES,
    pretraining=SurrogatePretraining(),
    learning=RankingLearning(),
    steps=pde_steps,
    rivals={
        "constant": BestConstant,
        "read_off_state": ReadOffState,
        "near_deterministic": NearDeterministicSettings,
    },
    about="Fields are carried forward in time by a neural surrogate that gives several candidates a step; judged is "
    "the error against a solver's trajectory.",
    defaults=Defaults(
        optimisation=OPTIMISATION,
        trained={"critic": "feature_critic"},
        baselines=BASELINES,
        evaluation=EVALUATION,
        pretrained=PRETRAINED,
    ),
)
