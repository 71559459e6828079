"""What every surrogate is: a network that maps the fields now to the fields one step later."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from stepward.domains.pde.surrogates.draws import Draws

TINY = 1e-6


class Surrogate(nn.Module, ABC):
    """Fields now -> fields one step later. Its three scales are buffers, set by `fit_scales`, stored with the weights.

    Args:
        num_channels: C.
        multiple: height and width of a grid must be multiples of it.

    Attributes:
        stochastic: kinds of chance it knows: among "dropout", "latent", "tau", "code", "output", "guess".
        frames: how many of the last frames it reads, stacked along the channels, oldest first.
        constants: values of a constant that it can be told, increasing; none where it is told nothing.
        periodic: takes both axes for periodic, and is trained on windows moved along them.
    """

    stochastic: frozenset[str] = frozenset()
    periodic: bool = True
    frames: int = 1
    constants: tuple[float, ...] = ()
    mean: Tensor
    scale: Tensor
    step_scale: Tensor

    def __init__(self, num_channels: int, multiple: int = 1) -> None:
        super().__init__()
        self.num_channels, self.multiple = num_channels, multiple
        for name, value in (("mean", 0.0), ("scale", 1.0), ("step_scale", 1.0)):
            self.register_buffer(name, torch.full((num_channels, 1, 1), value))

    @abstractmethod
    def forward(self, fields: Float[Tensor, "n fc h w"], draws: Draws | None = None) -> Float[Tensor, "n c h w"]:
        """Fields one step later; without `draws` a function of `fields` alone (in evaluation mode).

        Args:
            fields: the last frames along the channels, [n, frames · C, H, W].

        Raises:
            ValueError: another number of channels, or a grid that does not divide into patches.
        """

    def check(self, fields: Tensor) -> None:
        """Raise ValueError for fields of another shape than the network's."""
        _, channels, height, width = fields.shape
        self._check_channels(channels, self.frames)
        if height % self.multiple or width % self.multiple:
            raise ValueError(
                f"{type(self).__name__}: expected fields [n, {self.num_channels}, H, W] with H and W multiples of "
                f"{self.multiple}, got {tuple(fields.shape)}. Crop or resample the grid, or choose another patch size."
            )

    def _check_channels(self, channels: int, frames: int = 1) -> None:
        if channels != frames * self.num_channels:
            times = f"{frames} frames of " if frames > 1 else ""
            raise ValueError(
                f"{type(self).__name__}: expected fields of {times}{self.num_channels} channels, got {channels}. Train "
                f"one with surrogate.num_channels={channels}, or convert the data with other channels."
            )

    def check_data(self, trajectories: Float[np.ndarray, "n frames c h w"]) -> None:
        """Raise ValueError for another number of channels, or numbers that are not finite, in which trajectory."""
        self._check_channels(trajectories.shape[2])
        bad = np.flatnonzero(~np.isfinite(trajectories).reshape(len(trajectories), -1).all(axis=1))
        if len(bad):
            raise ValueError(f"Trajectories: expected finite numbers, got others in {bad[:5].tolist()}. Drop them.")

    def fit_scales(self, trajectories: Float[np.ndarray, "n frames c h w"]) -> None:
        """Set mean, scale and step_scale to those of the data, a channel. Raises what `check_data` raises."""
        self.check_data(trajectories)
        over = (0, 1, 3, 4)
        steps = np.diff(trajectories, axis=1)
        for buffer, values in (
            (self.mean, trajectories.mean(axis=over)),
            (self.scale, trajectories.std(axis=over) + TINY),
            (self.step_scale, np.sqrt((steps**2).mean(axis=over)) + TINY),
        ):
            buffer.copy_(torch.from_numpy(np.asarray(values, np.float32))[:, None, None])

    def nothing(self, shape: tuple[int, ...]) -> Float[Tensor, "1 fc h w"]:
        """One row of zeros as it is read, of fields [C, H, W]: to measure what a pass costs."""
        return torch.zeros(1, self.frames * shape[0], *shape[1:], device=self.device)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.mean.device

    @property
    def num_parameters(self) -> int:
        """Weights, trained or kept."""
        return sum(parameter.numel() for parameter in self.parameters())

    def ready(self) -> None:
        """Raise ValueError if the network must not be used for rollouts yet. Most have nothing to object."""


class NormalisedSurrogate(Surrogate):
    """next = fields + step_scale · change((fields − mean) / scale): networks see and give numbers of order 1."""

    def forward(self, fields: Float[Tensor, "n fc h w"], draws: Draws | None = None) -> Float[Tensor, "n c h w"]:
        """Physical fields now -> physical fields one step later."""
        self.check(fields)
        frames = fields.unflatten(1, (self.frames, self.num_channels))
        return frames[:, -1] + self.step_scale * self.change(((frames - self.mean) / self.scale).flatten(1, 2), draws)

    @abstractmethod
    def change(self, fields: Float[Tensor, "n fc h w"], draws: Draws | None) -> Float[Tensor, "n c h w"]:
        """Normalised frames -> change in one step, in units of `step_scale`."""


class Wrapped(Surrogate):
    """A user's own module, called with physical fields [n, frames · C, H, W] and giving those one step later."""

    def __init__(
        self, module: nn.Module, num_channels: int, multiple: int = 1, *, periodic: bool = True, frames: int = 1
    ) -> None:
        super().__init__(num_channels, multiple)
        self.module, self.periodic, self.frames = module, periodic, frames

    def forward(self, fields: Float[Tensor, "n fc h w"], draws: Draws | None = None) -> Float[Tensor, "n c h w"]:
        """The module's answer; it has no chance, so `draws` change nothing."""
        self.check(fields)
        following = self.module(fields)
        expected = (len(fields), self.num_channels, *fields.shape[2:])
        if following.shape != expected:
            raise ValueError(
                f"{type(self.module).__name__}: expected fields like its input, {expected}, got "
                f"{tuple(following.shape)}. A surrogate maps the fields now to the fields one step later."
            )
        return following


def as_tensor(fields: np.ndarray | Tensor, device: torch.device) -> Float[Tensor, n * rest]:
    """Fields of a batch of states on a device."""
    tensor = torch.from_numpy(np.require(fields, requirements=["C", "W"])) if isinstance(fields, np.ndarray) else fields
    return tensor.to(device=device, dtype=torch.float32)


def as_given(tensor: Tensor, like: np.ndarray | Tensor) -> np.ndarray | Tensor:
    """A result in the form of `like`: a numpy array for numpy fields, else a tensor on the same device."""
    return tensor.cpu().numpy() if isinstance(like, np.ndarray) else tensor.to(like.device)
