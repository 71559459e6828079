"""Loading causal language models: the embedded one, a folder, or an id of the Hugging Face hub.

Weights are read from safetensors files only, and no code that comes with a model is run: a pickle or a remote module
could do anything.
"""

from __future__ import annotations

import json
import logging
import struct
import time
from functools import lru_cache
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.utils import logging as transformers_logging

from stepward.core.config import Plain
from stepward.core.weights import weights_digest
from stepward.domains.math.defaults import EMBEDDED

__all__ = [
    "UNREADABLE",
    "choose_dtype",
    "load_language_model",
    "load_once",
    "load_tokenizer",
    "read_weights",
    "refuse_pickles",
    "skeleton",
]

_LOG = logging.getLogger(__name__)
# No model, another one's weights, half a file; the readers of GGUF files raise the last ones.
UNREADABLE: tuple[type[Exception], ...] = (OSError, ValueError, RuntimeError, SafetensorError)
UNREADABLE += (KeyError, IndexError, TypeError, AttributeError, struct.error)
GAIN = 1.2  # from which on bfloat16 is worth its rounding

PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")


def load_language_model(
    name: str,
    *,
    dtype: torch.dtype | None = torch.float32,
    spread: bool = False,
    attention: str | None = None,
) -> PreTrainedModel:
    """A causal LM in eval mode, on a GPU where there is one.

    Args:
        name: "embedded", a folder as `save_pretrained` writes it, a GGUF file, or a hub id such as
            ``Qwen/Qwen2.5-0.5B``.
        dtype: precision of weights and arithmetic; none: see `choose_dtype`.
        spread: put the layers on all GPUs in turn, for a model that one cannot hold.
        attention: implementation in transformers; none: its choice.

    Raises:
        ValueError: there is no such model, its weights are damaged, lack tensors, or are pickled; the message says
            which, and how to convert them.
    """
    transformers_logging.disable_progress_bar()  # of reading weights, beside the one of the job
    with as_file(files("stepward.domains.math") / "embedded") as embedded:
        source = str(embedded) if name == EMBEDDED else name
        refuse_pickles(source)
        try:
            if dtype is None:
                dtype = torch.float32 if name == EMBEDDED else choose_dtype(source)
            options: dict[str, Any] = {"attn_implementation": attention} if attention else {}
            options |= {"device_map": "auto"} if spread else {}
            model = read_weights(AutoModelForCausalLM, source, dtype, **options)
        except UNREADABLE as error:
            raise ValueError(_explain(name, error)) from error
    if spread:
        return model.eval()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return model.to(device).eval()


_LOADED: WeakValueDictionary[tuple[Any, ...], PreTrainedModel] = WeakValueDictionary()


def load_once(name: str, dtype: str | None, spread: bool, attention: str | None) -> PreTrainedModel:
    """See `load_language_model`; a model that somebody in this process has is not loaded again."""
    key = name, weights_digest(name), dtype, spread, attention
    found = _LOADED.get(key)
    if found is None:
        wanted = None if dtype is None else getattr(torch, dtype)
        _LOADED[key] = found = load_language_model(name, dtype=wanted, spread=spread, attention=attention)
    return found


@lru_cache(maxsize=8)
def skeleton(name: str) -> PreTrainedModel:
    """A causal LM without its weights: its configuration, modules and sizes.

    Raises:
        ValueError: there is no such model.
    """
    with as_file(files("stepward.domains.math") / "embedded") as embedded:
        try:
            folder, place = _place(str(embedded) if name == EMBEDDED else name)
            config = AutoConfig.from_pretrained(folder, trust_remote_code=False, **place)
            with torch.device("meta"):
                return AutoModelForCausalLM.from_config(config)
        except UNREADABLE as error:
            raise ValueError(_explain(name, error)) from error


def choose_dtype(source: str) -> torch.dtype:
    """bfloat16 on GPUs, and on processors where a layer of this model is faster in it: that is measured, and said.

    Processors that multiply it natively are more than twice as fast in it, others several times slower.
    """
    if torch.cuda.is_available():
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    folder, options = _place(source)
    width = AutoConfig.from_pretrained(folder, trust_remote_code=False, **options).get_text_config().hidden_size
    times = {dtype: _product_seconds(width, dtype) for dtype in (torch.float32, torch.bfloat16)}
    gain = times[torch.float32] / times[torch.bfloat16]
    chosen = torch.bfloat16 if gain >= GAIN else torch.float32
    _LOG.warning("%s: %s; bfloat16 is %.1f x as fast as float32 on this processor", source, chosen, gain)
    return chosen


def _product_seconds(width: int, dtype: torch.dtype) -> float:
    """Seconds of a product of 32 rows with a layer's weights; the least of five."""
    rows, weights = torch.ones(32, width, dtype=dtype), torch.ones(width, 4 * width, dtype=dtype)
    best = float("inf")
    for _ in range(6):  # the first one warms up
        start = time.perf_counter()
        torch.mm(rows, weights)
        best = min(best, time.perf_counter() - start)
    return best


def _place(source: str) -> tuple[str, Plain]:
    """Where transformers looks, and how a GGUF file is named there."""
    path = Path(source)
    if path.suffix.lower() != ".gguf":
        _refuse_code(path / "config.json")
        return source, {}
    if not path.is_file():
        raise ValueError(f"there is no file {source}")
    try:
        import gguf  # noqa: F401
    except ImportError as error:
        raise ValueError("a GGUF file needs the package gguf: pip install 'stepward[gguf]'") from error
    return str(path.parent), {"gguf_file": path.name}


def read_weights(
    kind: Any, source: str, dtype: torch.dtype, new: tuple[str, ...] = (), **options: Any
) -> PreTrainedModel:
    """A model of a folder or hub id, all of whose weights are there: transformers would draw the others at random.

    Args:
        kind: one of transformers' Auto classes.
        new: beginnings of the names of tensors that are meant to be new.
        options: of `from_pretrained`.

    Raises:
        ValueError: tensors are missing; it names them.
        Exception: one of `UNREADABLE`.
    """
    folder, place = _place(source)
    options |= place or {"use_safetensors": True}
    model, found = kind.from_pretrained(
        folder, dtype=dtype, trust_remote_code=False, output_loading_info=True, **options
    )
    if place and hasattr(model.config, "quantization_config"):
        del model.config.quantization_config  # it tells of the file: the weights are plain numbers now
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
            folder, place = _place(str(embedded) if name == EMBEDDED else name)
            return AutoTokenizer.from_pretrained(folder, use_fast=True, trust_remote_code=False, **place)
        except UNREADABLE as error:
            raise ValueError(
                f"model {name!r}: expected a tokenizer beside the weights (tokenizer.json and tokenizer_config.json), "
                f"and could read none: {_first_line(error)}\nCopy the tokenizer's files of the model it was made from."
            ) from error


def _refuse_code(path: Path) -> None:
    """Raise ValueError where a configuration asks for code that comes with the model, which is never run."""
    if not path.is_file():
        return
    config = json.loads(path.read_text(encoding="utf-8"))
    if config.get("auto_map") and config.get("model_type") not in CONFIG_MAPPING:
        raise ValueError(
            f"it needs code of its own ({', '.join(sorted(map(str, config['auto_map'].values())))}), which is not run: "
            "it could do anything. Take a model of a type that transformers knows, or convert it to one."
        )


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


def _first_line(error: Exception) -> str:
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _explain(name: str, error: Exception) -> str:
    if name.lower().endswith(".gguf"):
        return (
            f"model {name!r}: expected a whole GGUF file of a type that transformers reads, got: {_first_line(error)}. "
            "Compare its size with that of the original: a download may have been cut short."
        )
    return (
        f"model {name!r}: expected 'embedded', a folder with config.json, *.safetensors and a tokenizer, a GGUF file, "
        f"or a hub id that has them (use_safetensors=True, no remote code): {_first_line(error)}"
    )
