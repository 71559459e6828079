"""The number walk with a proposer that is slow, raises, or kills its process: a plug-in found on the path."""

import os
import re
import signal
import time
from dataclasses import replace
from typing import Literal

import numpy as np
from pydantic import Field

from stepward.core.config import Config
from stepward.domains.walk import wing as walk
from stepward.domains.walk.proposer import SoftmaxWalker


class FaultySettings(Config):
    """The softmax walker with faults at rollouts of certain start numbers."""

    kind: Literal["faulty"] = "faulty"
    seconds: float = Field(0.0, ge=0, description="how long every call takes longer, for time to kill in")
    raise_at: int = Field(1000, description="starts for which a call raises")
    hang_at: int = Field(1000, description="starts for which a call never ends, and holds the interpreter")
    die_at: int = Field(1000, description="starts for which a call kills the process")
    unbuildable: bool = Field(False, description="the proposer cannot even be built")

    def build(self) -> "FaultyWalker":
        if self.unbuildable:
            raise FileNotFoundError("no weights here")
        return FaultyWalker(self)


class FaultyWalker(SoftmaxWalker):
    def __init__(self, settings: FaultySettings) -> None:
        super().__init__()
        self.settings = settings

    def propose(self, states, *, num_candidates, rng):
        time.sleep(self.settings.seconds)
        if np.any(states.start == self.settings.die_at):
            os.kill(os.getpid(), signal.SIGKILL)
        if np.any(states.start == self.settings.hang_at):
            re.match("(a+)+$", "a" * 64 + "b")
        if np.any(states.start == self.settings.raise_at):
            raise ArithmeticError(f"start {self.settings.raise_at}")
        return super().propose(states, num_candidates=num_candidates, rng=rng)


wing = replace(walk, name="faulty", proposers={"faulty": FaultySettings})
