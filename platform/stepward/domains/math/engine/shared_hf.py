"""Any transformers decoder, through the attention interface: the model's own modules, our cache and our attention."""

import contextlib
import logging
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import torch
from jaxtyping import Int64
from torch import Tensor
from transformers import AttentionInterface, PreTrainedModel
from transformers.cache_utils import Cache, DynamicLayer

from stepward.domains.math.engine.attention import StepPlan, attend_prefixes, attend_rows, plan_step
from stepward.domains.math.engine.cache import DecoderShape, KVStore
from stepward.domains.math.engine.decoder import Decoded

__all__ = ["SharedDecoder", "supports_shared"]

_LOG = logging.getLogger(__name__)
_NAME = "stepward_shared_prefix"
_ATTEND: ContextVar[Callable[..., Tensor]] = ContextVar("attend")


class CannotShareError(Exception):
    """The attention of a model is not one that prefixes can be shared in; the generic backend serves it."""


def _attention(
    module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **kwargs: object
) -> tuple[Tensor, None]:
    """What the modules call: [b, h, t, d] in, [b, t, h, d] out. The cache has the keys; no mask is ever made for us."""
    unknown = [name for name in ("softcap", "s_aux", "position_bias") if kwargs.get(name) is not None]
    if unknown:
        raise CannotShareError(f"attention options {unknown} of {type(module).__name__}; use backend='generic'")
    scale = kwargs.get("scaling") or query.shape[-1] ** -0.5
    return _ATTEND.get()(module.layer_idx, query, key, value, scale), None


AttentionInterface.register(_NAME, _attention)


class _PassThrough(Cache):
    """A cache that stores nothing: our attention puts keys and values where they belong."""

    def __init__(self) -> None:
        super().__init__(layer_class_to_replicate=DynamicLayer)

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *args: object, **kwargs: object
    ) -> tuple[Tensor, Tensor]:
        return key_states, value_states


class SharedDecoder:
    """A `Decoder` over any `AutoModelForCausalLM` whose attention is plain softmax attention.

    `probe` finds the number of layers and the shape of the keys by running one token, so that no configuration
    field has to be guessed.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model
        self.shape = self._probe()

    def _probe(self) -> DecoderShape:
        keys: dict[int, torch.Size] = {}

        def attend(layer: int, q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
            if k.shape != v.shape:
                raise CannotShareError(f"keys {tuple(k.shape)} and values {tuple(v.shape)} of different shape")
            keys[layer] = k.shape
            return q.transpose(1, 2)

        token = torch.zeros(1, 1, dtype=torch.int64, device=self.model.device)
        self._run(token, token, attend, ())
        if len(set(keys.values())) != 1:
            raise CannotShareError(f"attention layers of {type(self.model).__name__} not seen, or of unequal shape")
        return DecoderShape(len(keys), keys[0][1], keys[0][3])

    @contextlib.contextmanager
    def _installed(self, attend: Callable[..., Tensor]) -> Iterator[None]:
        before = self.model.config._attn_implementation
        active = _ATTEND.set(attend)
        self.model.config._attn_implementation = _NAME
        try:
            yield
        finally:
            self.model.config._attn_implementation = before
            _ATTEND.reset(active)

    def _run(
        self, tokens: Tensor, positions: Tensor, attend: Callable[..., Tensor], layers: tuple[int, ...], **more: object
    ) -> tuple[Tensor, list[Tensor]]:
        """Logits, and the hidden states of some layers."""
        with self._installed(attend):
            output: Any = self.model(
                input_ids=tokens,
                position_ids=positions,
                past_key_values=_PassThrough(),
                use_cache=True,
                output_hidden_states=bool(layers),
                **more,
            )
        return output.logits, [output.hidden_states[layer] for layer in layers]

    def prefill(
        self,
        store: KVStore,
        slots: Int64[Tensor, " b"] | None,
        start: int,
        tokens: Int64[Tensor, "b t"],
        ends: tuple[Int64[Tensor, " e"], Int64[Tensor, " e"]],
        layers: tuple[int, ...],
    ) -> Decoded:
        """See `Decoder`."""

        def attend(index: int, q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
            return attend_prefixes(store, slots, start, index, q, k, v, scale)

        positions = torch.arange(start, start + tokens.shape[1], device=tokens.device).expand_as(tokens)
        kept, which = ends[1].unique(return_inverse=True)
        logits, states = self._run(tokens, positions, attend, layers, logits_to_keep=kept)
        return Decoded(logits[ends[0], which], torch.stack([s[ends] for s in states], 1) if states else None)

    def decode(
        self,
        store: KVStore,
        plan: StepPlan,
        tokens: Int64[Tensor, " n"],
        positions: Int64[Tensor, " n"],
        layers: tuple[int, ...],
    ) -> Decoded:
        """See `Decoder`."""

        def attend(index: int, q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
            store.append(index, plan.place, k[:, :, 0], v[:, :, 0])
            return attend_rows(store, plan, index, q[:, :, 0], scale)[:, None]

        logits, states = self._run(tokens[:, None], positions[:, None], attend, layers)
        return Decoded(logits[:, -1], torch.cat(states, 1) if states else None)


@torch.inference_mode()
def supports_shared(model: PreTrainedModel, *, context: int) -> bool:
    """Try it: five tokens, the last two decoded by two rows on a shared prefix, against the model's own forward pass.

    Sliding windows shorter than `context` are refused outright: a probe of five tokens would not see them.
    """
    text = model.config.get_text_config()
    sliding = set(getattr(text, "layer_types", None) or []) - {"full_attention"}
    window = getattr(text, "sliding_window", None) if sliding or text.model_type in {"mistral", "starcoder2"} else None
    if (window is not None and window < context) or sliding - {"sliding_attention"}:
        return False
    tokens = torch.arange(1, 6, device=model.device)[None] % text.vocab_size
    expected = model(input_ids=tokens, use_cache=False).logits[0, 2:]
    try:
        decoder = SharedDecoder(model)
        store = KVStore(decoder.shape, families=1, rows=2, device=model.device, dtype=model.dtype)
        zero, two = torch.zeros(1, dtype=torch.int64, device=model.device), torch.full((1,), 2, device=model.device)
        got = [decoder.prefill(store, zero, 0, tokens[:, :3], (zero, two), ()).logits]
        for done in range(2):
            rows = torch.full((2,), 3 + done, device=model.device)
            length, same = rows.new_zeros(2).cpu().numpy(), rows.cpu().numpy()
            plan = plan_step(store, length, 0 * same + 3, 0 * same + done)
            got.append(decoder.decode(store, plan, tokens[0, rows], rows, ()).logits[1:])
    except torch.OutOfMemoryError:
        raise
    except (CannotShareError, AttributeError, TypeError, RuntimeError, ValueError) as error:
        _LOG.warning("%s cannot share prefixes and takes the slower path: %s", type(model).__name__, error)
        return False
    tolerance = 1e-3 if model.dtype == torch.float32 else 0.1
    return bool((torch.cat(got) - expected).abs().max() <= tolerance * (1 + expected.abs().max()))
