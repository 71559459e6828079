"""The walk's MLP, slow enough to be killed in the middle, and with a log of who was begun: a plug-in on the path."""

import os
import signal
import time
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from stepward.domains.walk.rewards.mlp import WalkMLP


class SlowMLP(WalkMLP):
    """A multilayer perceptron that takes its time."""

    kind: Literal["slow"] = "slow"
    seconds: float = Field(0.0, ge=0, description="how long every forward pass takes longer")
    log: str = Field("begun.log", description="file that gets a line whenever a module is made")

    dies: str = Field("", description="file that is made by the first pass of all; its process dies of that")

    def module(self) -> Any:
        with Path(self.log).open("a") as log:
            log.write(f"{self.hidden_width}\n")
        network = super().module()
        network.register_forward_pre_hook(lambda *_: time.sleep(self.seconds))
        if self.dies:
            network.register_forward_pre_hook(lambda *_: self._die_once())
        return network

    def _die_once(self) -> None:
        if not Path(self.dies).exists():
            Path(self.dies).touch()
            os.kill(os.getpid(), signal.SIGKILL)
