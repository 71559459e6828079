"""A user's own network from a file of `torch.export`: no package, no source code, and further training where wanted.

n, h, w = (torch.export.Dim(name, min=1, max=4096) for name in "nhw")
program = torch.export.export(network.eval(), (torch.rand(2, 4, 32, 32),), dynamic_shapes=({0: n, 2: h, 3: w},))
torch.export.save(program, "model.pt2")
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Literal

from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from stepward.core.config import Config
from stepward.core.storage import Folder
from stepward.domains.pde.surrogates.archive import open_program
from stepward.domains.pde.surrogates.base import Wrapped

__all__ = ["ExportedSettings"]


class ExportedSettings(Config):
    """Your own network from a file of torch.export: physical fields [n, C, H, W] -> those one step later."""

    kind: Literal["exported"] = "exported"
    path: str = Field(description="the .pt2 file, exported in evaluation mode with a dynamic first dimension")
    periodic: bool = Field(True, description="takes both axes for periodic; false for data with walls or outflow")

    def read(self) -> bytes:
        """The file.

        Raises:
            ValueError: there is none.
        """
        folder, _, name = self.path.rpartition("/")
        if not name or not Folder(folder or ".").exists(name):
            raise ValueError(f"surrogate.path: expected a file of torch.export.save, but there is no {self.path}.")
        return Folder(folder or ".").read_bytes(name)

    def build(self) -> Wrapped:
        """The network with the weights of the file."""
        program = _Program(self.read(), PurePosixPath(self.path).name)
        return Wrapped(program, program.num_channels, periodic=self.periodic)


class _Program(nn.Module):
    """An exported program as a module that can be trained and moved; what depends on training was fixed at export."""

    def __init__(self, content: bytes, source: str) -> None:
        super().__init__()
        program = open_program(content, source)
        inputs = [node for node in program.graph.nodes if node.name in program.graph_signature.user_inputs]
        shape = tuple(inputs[0].meta["val"].shape) if len(inputs) == 1 else ()
        if len(shape) != 4 or isinstance(shape[0], int) or not isinstance(shape[1], int):
            raise ValueError(
                f"{source}: expected one input [n, C, H, W] with a fixed C and any n, got {[str(s) for s in shape]}. "
                "Export with dynamic_shapes=({0: torch.export.Dim('n', min=1, max=4096)},)."
            )
        self.num_channels, self._grid = shape[1], shape[2:]
        self._source = source
        self.graph = program.module(check_guards=False)  # guards are code that torch would compile

    def forward(self, fields: Float[Tensor, "n c h w"]) -> Tensor:
        for size, known in zip(fields.shape[2:], self._grid, strict=True):
            if isinstance(known, int) and size != known:
                raise ValueError(
                    f"{self._source}: exported for a grid {tuple(str(s) for s in self._grid)}, got fields "
                    f"{tuple(fields.shape)}. Export with dynamic height and width, or use data on its grid."
                )
        following: Tensor = self.graph(fields)
        return following

    def train(self, mode: bool = True) -> _Program:
        """Notes the mode; the graph has none."""
        self.training = mode
        return self


def is_program(path: str) -> bool:
    """Whether a path names a file of torch.export and not the folder of a surrogate."""
    return path.endswith(".pt2")
