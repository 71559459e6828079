"""The convolutional network that scores a step, at every place and as a whole."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, pixel_unshuffle

TINY = 1e-6
Inputs = Literal["anchored", "raw"]
Padding = Literal["circular", "zeros", "replicate"]


def check_channels(fields: Float[Tensor, "n c h w"], expected: int) -> None:
    """Raise ValueError for fields of another number of channels than a reward model was made for."""
    if fields.shape[1] != expected:
        raise ValueError(
            f"Reward model: expected fields of {expected} channels, got {fields.shape[1]}. Train one with "
            f"learner.num_channels={fields.shape[1]}, or convert the data with other channels."
        )


class StepCNN(nn.Module):
    """Convolutions, pooling over places, a linear head. The head is linear, so it can be read before the pooling:

        score = mean over places of map,   map = head(trunk(x))

    and so one network has a global score and a score map. With `num_scales` > 1 further trunks look at the input
    averaged over 2 x 2, 4 x 4, … cells, and maps add up.

    Inputs "anchored": (state, deterministic − state, candidate − deterministic), each in its own unit. What the
    candidate changed is small beside the state: a network that is given (state, candidate), "raw", has to find the
    difference.

    With `frames` > 1 it reads the steps between earlier frames, too: what they tell, a candidate can be checked by.

    Args:
        num_channels: C.
        frames: last frames of `state` that are read; more may be given.
        width, depth: channels and layers of a trunk.
        patch: cells of a patch along an axis, put into channels first; the map has one value a patch.
        padding: "circular" for periodic data, or "zeros" (the source's); "replicate" for walls and outflow.

    Attributes:
        periodic: takes both axes for periodic, and is trained on steps moved along them.
    """

    mean: Tensor
    scale: Tensor
    step_scale: Tensor
    change_scale: Tensor

    def __init__(
        self,
        num_channels: int,
        width: int,
        depth: int,
        *,
        inputs: Inputs = "anchored",
        patch: int = 2,
        padding: Padding = "circular",
        num_scales: int = 1,
        frames: int = 1,
    ) -> None:
        super().__init__()
        self.inputs, self.patch, self.periodic, self.frames = inputs, patch, padding != "replicate", frames
        fan_in = num_channels * patch**2 * (frames + (2 if inputs == "anchored" else 1))
        self.trunks = nn.ModuleList(_trunk(fan_in, width, depth, padding) for _ in range(num_scales))
        self.heads = nn.ModuleList(nn.Conv2d(width, 1, 1) for _ in range(num_scales))
        for name, value in (("mean", 0.0), ("scale", 1.0), ("step_scale", 1.0), ("change_scale", 1.0)):
            self.register_buffer(name, torch.full((num_channels, 1, 1), value))

    def forward(
        self,
        state: Float[Tensor, "n fc h w"],
        deterministic: Float[Tensor, "n c h w"],
        candidate: Float[Tensor, "n c h w"],
    ) -> Float[Tensor, " n"]:
        """One score a step."""
        return self.score_map(state, deterministic, candidate).mean(dim=(1, 2))

    def score_map(
        self,
        state: Float[Tensor, "n fc h w"],
        deterministic: Float[Tensor, "n c h w"],
        candidate: Float[Tensor, "n c h w"],
    ) -> Float[Tensor, "n p q"]:
        """A score a patch; its mean is the score of the step.

        Raises:
            ValueError: another number of channels, or a grid that does not divide into patches at every scale.
        """
        multiple = self.patch * 2 ** (len(self.trunks) - 1)
        state = self._read(state, candidate)
        if state.shape[2] % multiple or state.shape[3] % multiple:
            raise ValueError(
                f"Reward model: expected height and width multiples of {multiple} (patch x scales), got "
                f"{tuple(state.shape[2:])}. Choose another patch size or fewer scales."
            )
        x = pixel_unshuffle(self._input(state, deterministic, candidate), self.patch)
        total = self.heads[0](self.trunks[0](x))
        for level, (trunk, head) in enumerate(zip(self.trunks, self.heads, strict=True)):
            if level:
                coarse = head(trunk(avg_pool2d(x, 2**level)))
                total = total + interpolate(coarse, scale_factor=2**level, mode="nearest")
        return total[:, 0]

    @torch.no_grad()
    def fit_scales(
        self,
        state: Float[Tensor, "n fc h w"],
        deterministic: Float[Tensor, "n c h w"],
        candidate: Float[Tensor, "n c h w"],
    ) -> None:
        """Set the units to those of the data, a channel."""
        over, state = (0, 2, 3), self._read(state, candidate)[:, -len(self.mean) :]
        for name, values in (
            ("mean", state.mean(dim=over)),
            ("scale", state.std(dim=over) + TINY),
            ("step_scale", (deterministic - state).pow(2).mean(dim=over).sqrt() + TINY),
            ("change_scale", (candidate - deterministic).pow(2).mean(dim=over).sqrt() + TINY),
        ):
            getattr(self, name).copy_(values[:, None, None])

    def _read(self, state: Tensor, candidate: Tensor) -> Tensor:
        """The last frames, as many as are read."""
        check_channels(candidate, len(self.mean))
        needed = self.frames * len(self.mean)
        if state.shape[1] < needed:
            raise ValueError(
                f"Reward model: expected {self.frames} frames of {len(self.mean)} channels, got {state.shape[1]} "
                f"channels. Set problems.context={self.frames}, or learner.frames to what the problems hold."
            )
        return state[:, -needed:]

    def _input(self, state: Tensor, deterministic: Tensor, candidate: Tensor) -> Tensor:
        frames = state.unflatten(1, (self.frames, len(self.mean)))
        fields = frames[:, -1]
        now, steps = (fields - self.mean) / self.scale, frames.diff(dim=1)
        if self.inputs == "raw":
            earlier = ((frames[:, :-1] - self.mean) / self.scale).flatten(1, 2)
            return torch.cat([now, (candidate - self.mean) / self.scale, earlier], dim=1)
        step, change = (deterministic - fields) / self.step_scale, (candidate - deterministic) / self.change_scale
        return torch.cat([now, step, change, (steps / self.step_scale).flatten(1, 2)], dim=1)


def _trunk(fan_in: int, width: int, depth: int, padding: Padding) -> nn.Sequential:
    layers: list[nn.Module] = []
    for layer in range(depth):
        channels = fan_in if layer == 0 else width
        layers += [nn.Conv2d(channels, width, 3, padding=1, padding_mode=padding), nn.GELU()]
    return nn.Sequential(*layers)
