"""Surrogates by name and on storage: ``surrogate.json`` says how to build one, ``weights.safetensors`` fills it.

An exported program is kept beside them, as ``program.pt2``; a ``.pt2`` file alone is a surrogate, too.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from stepward.core.config import Config, validate
from stepward.core.registry import lookup, plugins
from stepward.core.storage import Folder
from stepward.domains.pde.surrogates.base import Surrogate, Wrapped
from stepward.domains.pde.surrogates.corrected import CorrectedSettings
from stepward.domains.pde.surrogates.exported import ExportedSettings, is_program
from stepward.domains.pde.surrogates.fno import FNOSettings
from stepward.domains.pde.surrogates.latent import LatentSettings
from stepward.domains.pde.surrogates.unet import UNetSettings
from stepward.domains.pde.surrogates.vit import ViTSettings

DESCRIPTION, WEIGHTS, PROGRAM = "surrogate.json", "weights.safetensors", "program.pt2"
SURROGATES: dict[str, type[Config]] = {
    "unet": UNetSettings,
    "vit": ViTSettings,
    "latent": LatentSettings,
    "corrected": CorrectedSettings,
    "fno": FNOSettings,
    "exported": ExportedSettings,
}


def surrogate_kinds() -> dict[str, type[Config]]:
    """Settings classes by kind, those of installed packages (entry points ``stepward.surrogates``) included."""
    return SURROGATES | plugins("surrogates")


def build_surrogate(settings: Any) -> Surrogate:
    """A fresh surrogate from its settings. A plain torch module is wrapped; `num_channels`, `multiple`, `periodic` and
    `frames` are read from the settings, where they have them.
    """
    module = settings.build()
    if isinstance(module, Surrogate):
        return module
    known = {name: getattr(settings, name) for name in ("multiple", "periodic", "frames") if hasattr(settings, name)}
    return Wrapped(module, getattr(settings, "num_channels", 4), **known)


def save_surrogate(folder: Folder, surrogate: Surrogate, settings: Any) -> None:
    """Write weights, scales and settings, and the program of an exported one."""
    if isinstance(settings, ExportedSettings):
        folder.write_bytes(PROGRAM, settings.read())
        settings = settings.model_copy(update={"path": PROGRAM})
    weights = {name: tensor.detach().cpu().numpy() for name, tensor in surrogate.state_dict().items()}
    folder.write_weights(WEIGHTS, weights)
    folder.write_json(DESCRIPTION, {"kind": settings.kind, "settings": settings.model_dump(mode="json")})


def load_surrogate(url: str, device: str | torch.device | None = None) -> Surrogate:
    """A trained surrogate (its folder, or a file of torch.export), in evaluation mode, without gradients; by default on
    the GPU if there is one.

    Raises:
        ValueError: there is none, its kind is not installed, or weights and settings are of different networks.
    """
    where = device or ("cuda" if torch.cuda.is_available() else "cpu")
    if is_program(url):
        return build_surrogate(ExportedSettings(path=url)).to(where).eval().requires_grad_(False)
    folder = Folder(url)
    for name in (DESCRIPTION, WEIGHTS):
        if not folder.exists(name):
            raise ValueError(
                f"{url}: expected a trained surrogate, but there is no {name}. Train one (jobs/pretrain.py), or give "
                "the folder of another."
            )
    described = folder.read_json(DESCRIPTION)
    settings_class = lookup(surrogate_kinds(), described["kind"], kind="surrogate")
    settings: Any = validate(settings_class, described["settings"])
    if isinstance(settings, ExportedSettings):
        settings = settings.model_copy(update={"path": f"{folder.url}/{settings.path}"})
    surrogate = build_surrogate(settings)
    fill(surrogate, folder.read_weights(WEIGHTS), f"{url}/{WEIGHTS}")
    return surrogate.to(where).eval().requires_grad_(False)


def fill(module: torch.nn.Module, weights: dict[str, np.ndarray], source: str) -> None:
    """Put weights into a module.

    Raises:
        ValueError: names or shapes are not those of the module; says which.
    """
    expected = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    got = {name: tuple(array.shape) for name, array in weights.items()}
    if expected != got:
        wrong = sorted(name for name in {*expected, *got} if expected.get(name) != got.get(name))
        shown = "; ".join(f"{n}: expected {expected.get(n, 'none')}, got {got.get(n, 'none')}" for n in wrong[:3])
        raise ValueError(
            f"{source}: weights of another architecture than {type(module).__name__}, {len(wrong)} differ: {shown}. "
            "Use the settings the weights were trained with."
        )
    module.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in weights.items()})
