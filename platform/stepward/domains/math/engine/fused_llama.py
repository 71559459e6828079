"""A hand-written forward pass for small Llama-type decoders (Llama, Qwen2), where modules cost more than arithmetic.

Against the transformers modules: query, key and value are one matrix product, gate and up another; the gains of the RMS
norms are folded into the weights that follow; the residual is added inside the matrix product; rotary embedding is one
complex product, for which the two halves of each head are interleaved in the weights (the order of coordinates within
a head does not change a dot product). Weights are copied from the model at load: later changes are not seen.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Complex64, Float, Int64
from torch import Tensor
from transformers import PreTrainedModel

from stepward.domains.math.engine.attention import StepPlan, attend_prefixes, attend_rows
from stepward.domains.math.engine.cache import DecoderShape, KVStore
from stepward.domains.math.engine.decoder import Decoded

__all__ = ["FusedLlama", "fits_fused"]

_STATIC_ROPE = {"default", "linear", "llama3", "yarn"}  # angles that do not depend on the length of the input


def fits_fused(model: PreTrainedModel) -> bool:
    """Whether `FusedLlama` computes what `model` computes."""
    config = model.config
    rope = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    return (
        config.model_type in {"llama", "qwen2"}
        and config.hidden_act == "silu"
        and rope.get("rope_type", "default") in _STATIC_ROPE
        and set(getattr(config, "layer_types", None) or ["full_attention"]) == {"full_attention"}
        and type(model).__name__ in {"LlamaForCausalLM", "Qwen2ForCausalLM"}
    )


@dataclass(frozen=True)
class _Layer:
    qkv: Tensor
    qkv_bias: Tensor | None
    out: Tensor
    out_bias: Tensor | None
    gate_up: Tensor
    gate_up_bias: Tensor | None
    down: Tensor
    down_bias: Tensor | None


class FusedLlama:
    """A `Decoder` with weights taken from a Llama or Qwen2 model.

    Raises:
        ValueError: a model for which `fits_fused` is false.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        if not fits_fused(model):
            raise ValueError(
                f"expected a plain Llama or Qwen2 decoder, got {type(model).__name__}; use backend='shared'"
            )
        config = model.config
        self.num_heads = config.num_key_value_heads
        self.query_heads = config.num_attention_heads
        self.head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        self.shape = DecoderShape(config.num_hidden_layers, self.num_heads, self.head_dim)
        self.scale = self.head_dim**-0.5
        self.eps = config.rms_norm_eps
        self.embedding = model.get_input_embeddings().weight.detach()
        self.head = (model.get_output_embeddings().weight * model.model.norm.weight).detach().t().contiguous()
        self.layers = [self._fuse(layer) for layer in model.model.layers]
        positions = torch.arange(config.max_position_embeddings, device=self.embedding.device)[None]
        cos, sin = model.model.rotary_emb(torch.zeros(1, device=self.embedding.device), positions)
        half = self.head_dim // 2
        self.angles: Complex64[Tensor, "p h"] = torch.complex(cos[0, :, :half].float(), sin[0, :, :half].float())

    def _interleave(self, weight: Tensor) -> Tensor:
        """Rows (i, i + D/2) of every head become neighbours."""
        return weight.view(-1, 2, self.head_dim // 2, *weight.shape[1:]).transpose(1, 2).reshape(weight.shape)

    def _fuse(self, layer: Any) -> _Layer:
        attention, mlp = layer.self_attn, layer.mlp
        q, k, v = attention.q_proj, attention.k_proj, attention.v_proj
        qkv = torch.cat([self._interleave(q.weight), self._interleave(k.weight), v.weight])
        bias = None if q.bias is None else torch.cat([self._interleave(q.bias), self._interleave(k.bias), v.bias])
        gate_up = torch.cat([mlp.gate_proj.weight, mlp.up_proj.weight])
        mlp_bias = None if mlp.gate_proj.bias is None else torch.cat([mlp.gate_proj.bias, mlp.up_proj.bias])

        def ready(weight: Any) -> Any:
            return None if weight is None else weight.detach().t().contiguous()

        return _Layer(
            qkv=ready(qkv * layer.input_layernorm.weight),
            qkv_bias=ready(bias),
            out=ready(attention.o_proj.weight),
            out_bias=ready(attention.o_proj.bias),
            gate_up=ready(gate_up * layer.post_attention_layernorm.weight),
            gate_up_bias=ready(mlp_bias),
            down=ready(mlp.down_proj.weight),
            down_bias=ready(mlp.down_proj.bias),
        )

    def _norm(self, x: Float[Tensor, "n c"]) -> Float[Tensor, "n c"]:
        if x.is_cuda:  # one kernel there
            return F.rms_norm(x, x.shape[-1:], eps=self.eps)
        wide = x.float()
        length = torch.linalg.vector_norm(wide, dim=-1, keepdim=True)
        return (wide * length.square_().div_(x.shape[-1]).add_(self.eps).rsqrt_()).to(x.dtype)

    def _forward(
        self,
        x: Float[Tensor, "n c"],
        positions: Int64[Tensor, " n"],
        attend: Callable[..., Tensor],
        kept: tuple[int, ...],
    ) -> tuple[Float[Tensor, "n c"], list[Float[Tensor, "n c"]]]:
        """Normalised last states, and those after the blocks `kept`."""
        states = dict[int, Tensor]()
        angles = self.angles[positions][:, None]
        dim, rotated = self.head_dim, self.query_heads + self.num_heads
        for index, layer in enumerate(self.layers):
            qkv = _affine(self._norm(x), layer.qkv, layer.qkv_bias)
            pairs = qkv[:, : rotated * dim].view(len(x), rotated, dim // 2, 2)
            qk = torch.view_as_real(torch.view_as_complex(pairs.float()) * angles).flatten(-2).to(x.dtype)
            v = qkv[:, rotated * dim :].view(len(x), self.num_heads, dim)
            mixed = attend(index, qk[:, : self.query_heads], qk[:, self.query_heads :], v)
            x = _affine(mixed.reshape(len(x), -1), layer.out, layer.out_bias, onto=x)
            gate, up = _affine(self._norm(x), layer.gate_up, layer.gate_up_bias).chunk(2, dim=-1)
            x = _affine(F.silu(gate).mul_(up), layer.down, layer.down_bias, onto=x)
            if index + 1 in kept:
                states[index + 1] = x
        return self._norm(x), [states[layer] for layer in kept]

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
        batch, length = tokens.shape

        def attend(index: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            q, k, v = (t.reshape(batch, length, -1, self.head_dim).transpose(1, 2) for t in (q, k, v))
            return attend_prefixes(store, slots, start, index, q, k, v, self.scale)

        positions = torch.arange(start, start + length, device=tokens.device).repeat(batch)
        hidden, states = self._forward(self.embedding[tokens.reshape(-1)], positions, attend, layers)
        place = ends[0] * length + ends[1]
        return Decoded(hidden[place] @ self.head, torch.stack([s[place] for s in states], 1) if states else None)

    def decode(
        self,
        store: KVStore,
        plan: StepPlan,
        tokens: Int64[Tensor, " n"],
        positions: Int64[Tensor, " n"],
        layers: tuple[int, ...],
    ) -> Decoded:
        """See `Decoder`."""

        def attend(index: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            store.append(index, plan.place, k, v)
            return attend_rows(store, plan, index, q, self.scale)

        hidden, states = self._forward(self.embedding[tokens], positions, attend, layers)
        return Decoded(hidden @ self.head, torch.stack(states, 1) if states else None)


def _affine(x: Tensor, weight: Tensor, bias: Tensor | None, *, onto: Tensor | None = None) -> Tensor:
    """`onto + x @ weight + bias`, with the sum inside the matrix product where there is one."""
    if onto is None:
        return x @ weight if bias is None else torch.addmm(bias, x, weight)
    out = torch.addmm(onto, x, weight)
    return out if bias is None else out.add_(bias)
