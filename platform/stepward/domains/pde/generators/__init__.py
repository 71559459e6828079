"""Candidate generators: proposers over a surrogate."""

from stepward.core.config import Config
from stepward.domains.pde.generators.base import (
    DeterministicGenerator,
    Generator,
    GeneratorSettings,
    SampledGenerator,
    candidate_streams,
)
from stepward.domains.pde.generators.direct import (
    DeterministicSettings,
    NoiseGenerator,
    NoiseSettings,
    StructuredGenerator,
    StructuredSettings,
)
from stepward.domains.pde.generators.guessing import GuessGenerator, GuessSettings
from stepward.domains.pde.generators.headroom import Headroom, NoHeadroomError, measure_headroom
from stepward.domains.pde.generators.members import MembersGenerator, MembersSettings
from stepward.domains.pde.generators.sampled import (
    CodeGenerator,
    CodeSettings,
    DropoutGenerator,
    DropoutSettings,
    LatentGenerator,
    LatentSettings,
    TauGenerator,
    TauSettings,
)
from stepward.domains.pde.generators.solver import SolverProposer, SolverSettings

GENERATORS: dict[str, type[Config]] = {
    "structured": StructuredSettings,
    "deterministic": DeterministicSettings,
    "noise": NoiseSettings,
    "dropout": DropoutSettings,
    "tau": TauSettings,
    "latent": LatentSettings,
    "code": CodeSettings,
    "guess": GuessSettings,
    "members": MembersSettings,
    "solver": SolverSettings,
}

__all__ = [
    "GENERATORS",
    "CodeGenerator",
    "CodeSettings",
    "DeterministicGenerator",
    "DeterministicSettings",
    "DropoutGenerator",
    "DropoutSettings",
    "Generator",
    "GeneratorSettings",
    "GuessGenerator",
    "GuessSettings",
    "Headroom",
    "LatentGenerator",
    "LatentSettings",
    "MembersGenerator",
    "MembersSettings",
    "NoHeadroomError",
    "NoiseGenerator",
    "NoiseSettings",
    "SampledGenerator",
    "SolverProposer",
    "SolverSettings",
    "StructuredGenerator",
    "StructuredSettings",
    "TauGenerator",
    "TauSettings",
    "candidate_streams",
    "measure_headroom",
]
