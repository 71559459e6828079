"""Loading causal language models: the embedded one, a folder, or an id of the Hugging Face hub.

Weights are read from safetensors files only, and no code that comes with a model is run: a pickle or a remote module
could do anything.
"""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from stepward.domains.math.settings import EMBEDDED

__all__ = ["UNREADABLE", "load_language_model", "load_tokenizer", "read_weights", "refuse_pickles"]

UNREADABLE = (OSError, ValueError, RuntimeError, SafetensorError)  # no model, another one's weights, half a file

PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")


def load_language_model(name: str, *, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    """A causal LM in eval mode, on a GPU where there is one.

    Args:
        name: "embedded", a folder as `save_pretrained` writes it, or a hub id such as ``Qwen/Qwen2.5-0.5B``.
        dtype: precision of weights and arithmetic.

    Raises:
        ValueError: there is no such model, its weights are damaged, lack tensors, or are pickled; the message says
            which, and how to convert them.
    """
    transformers_logging.disable_progress_bar()  # of reading weights, beside the one of the job
    with as_file(files("stepward.domains.math") / "embedded") as embedded:
        source = str(embedded) if name == EMBEDDED else name
        refuse_pickles(source)
        try:
            model = read_weights(AutoModelForCausalLM, source, dtype)
        except UNREADABLE as error:
            raise ValueError(_explain(name, error)) from error
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return model.to(device).eval()


def read_weights(kind: Any, source: str, dtype: torch.dtype, new: tuple[str, ...] = ()) -> PreTrainedModel:
    """A model of a folder or hub id, all of whose weights are there: transformers would draw the others at random.

    Args:
        kind: one of transformers' Auto classes.
        new: beginnings of the names of tensors that are meant to be new.

    Raises:
        ValueError: tensors are missing; it names them.
        Exception: one of `UNREADABLE`.
    """
    model, found = kind.from_pretrained(
        source, dtype=dtype, use_safetensors=True, trust_remote_code=False, output_loading_info=True
    )
    missing = sorted(name for name in found["missing_keys"] if not name.startswith(new))
    if missing:
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        raise ValueError(f"its weights lack {', '.join(missing[:5])}{more}; a part of the model would be random")
    whole: PreTrainedModel = model
    return whole


def load_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """The tokenizer of a model; it may lack a pad token.

    Raises:
        ValueError: there is none.
    """
    with as_file(files("stepward.domains.math") / "embedded") as embedded:
        try:
            return AutoTokenizer.from_pretrained(
                str(embedded) if name == EMBEDDED else name, use_fast=True, trust_remote_code=False
            )
        except (OSError, ValueError) as error:
            raise ValueError(_explain(name, error)) from error


def refuse_pickles(source: str) -> None:
    """Raise ValueError for a folder whose only weights are pickled, with the remedy."""
    folder = Path(source)
    if not folder.is_dir() or any(folder.glob("*.safetensors")):
        return
    pickled = sorted(path.name for pattern in PICKLED for path in folder.glob(pattern))
    if pickled:
        raise ValueError(
            f"{source}: expected weights as *.safetensors, got only {pickled}. A pickle can run any code when it is "
            "read, so it is refused. If you trust the file, convert it once, elsewhere:\n"
            f"  model = AutoModelForCausalLM.from_pretrained({source!r}, use_safetensors=False)\n"
            "  model.save_pretrained(<new folder>, safe_serialization=True)"
        )


def _explain(name: str, error: Exception) -> str:
    first = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return (
        f"model {name!r}: expected 'embedded', a folder with config.json, *.safetensors and a tokenizer, or a hub id "
        f"that has them (use_safetensors=True, no remote code): {first}"
    )
