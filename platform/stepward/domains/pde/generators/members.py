"""Candidates of several surrogates: seeds, sizes or training stages, each with an answer of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from stepward.core.config import Config
from stepward.domains.pde.generators.base import DeterministicGenerator, Generator
from stepward.domains.pde.states import PDEStates
from stepward.domains.pde.surrogates import RowNoise, Surrogate, load_surrogate


class MembersSettings(Config):
    """Candidate k of K is the answer of the k-th surrogate; the deterministic output is that of the first."""

    kind: Literal["members"] = "members"
    surrogates: tuple[str, ...] = Field(
        ("artifacts/pde/pretrain/default", "artifacts/pde/pretrain/second"),
        min_length=2,
        description="folders or URLs of trained surrogates; as many candidates a step as there are",
    )

    def build(self) -> MembersGenerator:
        """The generator, with its surrogates loaded."""
        return MembersGenerator([load_surrogate(folder) for folder in self.surrogates])


class MembersGenerator(Generator):
    """One pass of every surrogate. The first goes on alone where a lookahead rolls forward.

    Raises:
        ValueError: fewer than two surrogates, or they differ in the frames they read or in their channels.
    """

    def __init__(self, surrogates: Sequence[Surrogate]) -> None:
        if len(surrogates) < 2:
            raise ValueError(f"surrogates: expected two or more to choose among, got {len(surrogates)}.")
        kinds = {(one.frames, one.num_channels, one.periodic) for one in surrogates}
        if len(kinds) > 1:
            raise ValueError(f"surrogates: expected equal frames, channels and boundary, got {sorted(kinds)}.")
        super().__init__(surrogates[0])
        self.members = [DeterministicGenerator(one) for one in surrogates]

    def candidates(
        self,
        fields: Float[Tensor, "n fc h w"],
        plain: Float[Tensor, "n c h w"],
        states: PDEStates,
        noise: RowNoise,
        k: int,
    ) -> Float[Tensor, "m c h w"]:
        """Every surrogate's answer.

        Raises:
            ValueError: another number of candidates than of surrogates.
        """
        if k != len(self.members):
            raise ValueError(
                f"num_candidates: expected {len(self.members)}, one of each surrogate of the proposer, got {k}."
            )
        answers = [plain, *(member.deterministic(fields) for member in self.members[1:])]
        return torch.stack(answers, dim=1).flatten(0, 1)

    def charged_passes(self, num_candidates: int) -> float:
        """One pass a candidate; the deterministic output is one of them."""
        return 1.0

    def charged_tokens(self, children: PDEStates) -> Float[np.ndarray, " n"]:
        """Positions of the mean member, in units of the weights of the first: members may differ in size."""
        spent = np.sum([member.num_parameters * member.charged_tokens(children) for member in self.members], axis=0)
        return np.asarray(spent / (len(self.members) * self.num_parameters))
