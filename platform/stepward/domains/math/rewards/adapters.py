"""Low-rank adapters by peft, and what was trained in the formats of peft and transformers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from safetensors.torch import save_file
from transformers import PreTrainedModel

from stepward.domains.math.rewards.body import tokenizer_of
from stepward.domains.math.rewards.low_rank import LowRank
from stepward.domains.math.rewards.weights import fill

__all__ = ["add_adapters", "write_trained"]

NAME = "default"


@runtime_checkable
class TrainedText(Protocol):
    """Settings of a text model as far as writing it needs them."""

    @property
    def base(self) -> str:
        """The model that was begun with."""
        ...

    @property
    def lora(self) -> LowRank | None:
        """Adapters; none: all was trained."""
        ...

    def network(self, *, pretrained: bool) -> Any:
        """Body and head, the body with the weights of the base or with random ones."""
        ...


def add_adapters(body: PreTrainedModel, settings: LowRank, *, base: str) -> None:
    """Put adapters beside linear layers, in float32; nothing else of the body is trained any more.

    Raises:
        ValueError: peft is not installed, or no layer has one of the names.
    """
    peft = _peft()
    body.requires_grad_(False)
    peft.inject_adapter_in_model(_config(peft, settings, base), body, adapter_name=NAME)
    for name, weight in body.named_parameters():
        if "lora_" in name:
            weight.data = weight.data.float()
            weight.requires_grad_(True)


def write_trained(settings: TrainedText, weights: Mapping[str, np.ndarray], folder: Path) -> None:
    """`folder` as `AutoModel.from_pretrained` reads it, or `PeftModel.from_pretrained` with the base.

    The head is beside it, in head.safetensors: ``0.weight``, ``0.bias``, ``2.weight`` and ``2.bias`` of
    ``Linear, SiLU, Linear`` on the last hidden state at the end of each step.
    """
    module = settings.network(pretrained=False)
    fill(module, weights)
    folder.mkdir(parents=True, exist_ok=True)
    body = module.body.to("cpu")
    if settings.lora is None:
        body.save_pretrained(folder)
        tokenizer_of(settings.base).save_pretrained(folder)
    else:
        peft = _peft()
        adapters = peft.get_peft_model_state_dict(body, adapter_name=NAME, save_embedding_layers=False)
        plain = {f"base_model.model.{name}": weight.contiguous() for name, weight in adapters.items()}
        save_file(plain, folder / "adapter_model.safetensors", metadata={"format": "pt"})
        _config(peft, settings.lora, settings.base, inference=True).save_pretrained(folder)
    head = {name: weight.cpu().contiguous() for name, weight in module.head.state_dict().items()}
    save_file(head, folder / "head.safetensors", metadata={"format": "pt"})


def _config(peft: Any, settings: LowRank, base: str, *, inference: bool = False) -> Any:
    return peft.LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=list(settings.layers) or "all-linear",
        task_type="FEATURE_EXTRACTION",
        base_model_name_or_path=base,
        inference_mode=inference,
    )


def _peft() -> Any:
    try:
        import peft
    except ImportError as error:
        raise ValueError(
            "lora: expected the package peft, which is not installed: pip install 'stepward[peft]'"
        ) from error
    return peft
