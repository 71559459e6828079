"""Scores the nodes of a search tree by running new tokens only.

Every node keeps the keys and values of its own tokens; the past of a node is put together from its ancestors. What was
evicted is computed again from the tokens, which are always kept: a lost cache costs time, never correctness.
"""

import functools
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel
from transformers.cache_utils import Cache, DynamicLayer

__all__ = ["IncrementalScorer"]


@dataclass(frozen=True)
class _Node:
    parent: str | None
    tokens: tuple[int, ...]
    depth: int
    length: int  # tokens from the root to the end of this node


class _Block(Cache):
    """One block of keys and values for all layers, the past in place and room for the new tokens behind it.

    Nothing is ever concatenated: layers write what is new where it belongs and read the block.
    """

    def __init__(self, block: Float[Tensor, "l 2 n h t d"], past: int) -> None:
        super().__init__(layer_class_to_replicate=DynamicLayer)
        self.block, self.past = block, past

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *args: object, **kwargs: object
    ) -> tuple[Tensor, Tensor]:
        self.block[layer_idx, 0, :, :, self.past :] = key_states
        self.block[layer_idx, 1, :, :, self.past :] = value_states
        return self.block[layer_idx, 0], self.block[layer_idx, 1]

    def get_seq_length(self, layer_idx: int = 0) -> int:
        return self.past

    def get_mask_sizes(self, query_length: int, layer_idx: int) -> tuple[int, int]:
        return self.block.shape[4], 0


class IncrementalScorer:
    """Hidden states at step ends, with the past re-used.

    Args:
        model: a decoder without head (`AutoModel`) or any module of transformers whose output has `last_hidden_state`;
            it must accept `past_key_values`, a padded `attention_mask` and `position_ids`.
        max_bytes: keys and values to keep; the least recently used go first.

    Call `forget` when a search is done; until then the tokens of every node are kept (8 bytes each).
    """

    def __init__(self, model: PreTrainedModel, *, max_bytes: int = 2**30) -> None:
        if max_bytes < 0:
            raise ValueError(f"expected max_bytes >= 0, got {max_bytes}")
        self.model = model.eval()
        self.max_bytes = max_bytes
        self.bytes = 0
        self.tokens_run = 0
        self._nodes: dict[str, _Node] = {}
        self._blocks: OrderedDict[str, Float[Tensor, "l 2 h t d"]] = OrderedDict()

    def forget(self) -> None:
        """Drop every node."""
        self._nodes.clear()
        self._blocks.clear()
        self.bytes = 0

    @functools.cached_property
    def _shape(self) -> tuple[int, int, int]:
        """Layers, key/value heads and their size, found by running a token: configurations name them differently."""
        token = torch.zeros(1, 1, dtype=torch.int64, device=self.model.device)
        layers = self.model(input_ids=token, use_cache=True).past_key_values.layers
        return len(layers), layers[0].keys.shape[1], layers[0].keys.shape[3]

    @torch.inference_mode()
    def hidden(
        self, ids: Sequence[str], parents: Sequence[str | None], new_tokens: Sequence[Sequence[int]]
    ) -> Float[Tensor, "n c"]:
        """Hidden state at the last of the `new_tokens` of each node; `parents[i] is None` starts a text.

        Parents come from earlier calls. A node may be asked for again, with the same parent and tokens.

        Raises:
            ValueError: an unknown parent, no new tokens, the same id for other text, an id twice in one call, a text
                longer than the context.
        """
        if len(set(ids)) != len(ids):
            raise ValueError("expected distinct ids in one call, got some twice; score each state once")
        for node, parent, tokens in zip(ids, parents, new_tokens, strict=True):
            self._enter(node, parent, tuple(int(token) for token in tokens))
        self._restore([parent for parent in parents if parent is not None])
        states = self._run(ids) if len(ids) else torch.zeros(0, self.model.config.hidden_size)
        self._evict()
        return states

    def _enter(self, node: str, parent: str | None, tokens: tuple[int, ...]) -> None:
        if not tokens:
            raise ValueError(f"expected at least one new token, got none for state {node!r}")
        if parent is not None and parent not in self._nodes:
            raise ValueError(f"unknown parent {parent!r} of {node!r}: score it first, or give the whole text as a root")
        known = self._nodes.get(node)
        if known is not None and (known.parent, known.tokens) != (parent, tokens):
            raise ValueError(f"state {node!r} was scored with other text; ids must be unique within a search")
        above = self._nodes[parent] if parent is not None else None
        length = len(tokens) + (above.length if above else 0)
        limit = getattr(self.model.config.get_text_config(), "max_position_embeddings", None) or 2**31
        if length > limit:
            raise ValueError(f"expected at most {limit} tokens, the context, got {length} in state {node!r}")
        self._nodes[node] = _Node(parent, tokens, above.depth + 1 if above else 0, length)

    def _path(self, node: str | None) -> list[str]:
        path = []
        while node is not None:
            path.append(node)
            node = self._nodes[node].parent
        return path[::-1]

    def _restore(self, nodes: Sequence[str]) -> None:
        """Recompute what was evicted among `nodes` and their ancestors, by depth, and mark all of it as used."""
        needed = dict.fromkeys(node for leaf in dict.fromkeys(nodes) for node in self._path(leaf))
        missing: dict[int, list[str]] = {}
        for node in needed:
            if node in self._blocks:
                self._blocks.move_to_end(node)
            else:
                missing.setdefault(self._nodes[node].depth, []).append(node)
        for depth in sorted(missing):
            self._run(missing[depth])

    def _past(self, paths: list[list[str]], width: int, new: int) -> _Block:
        """Keys and values of the ancestors, padded on the left to `width` tokens, and room for `new` ones."""
        layers, heads, dim = self._shape
        block = torch.empty(
            layers, 2, len(paths), heads, width + new, dim, device=self.model.device, dtype=self.model.dtype
        )
        for row, path in enumerate(paths):
            at = width
            for node in reversed(path):
                part = self._blocks[node]
                block[:, :, row, :, at - part.shape[3] : at] = part
                at -= part.shape[3]
            block[:, :, row, :, :at] = 0  # never attended to, but it must be finite
        return _Block(block, width)

    def _run(self, ids: Sequence[str]) -> Float[Tensor, "n c"]:
        """Run the tokens of nodes whose ancestors are all in the cache, and keep their keys and values."""
        nodes = [self._nodes[node] for node in ids]
        own = [len(node.tokens) for node in nodes]
        past = [node.length - length for node, length in zip(nodes, own, strict=True)]
        before, width = max(past), max(own)
        tokens = torch.tensor([list(node.tokens) + [0] * (width - len(node.tokens)) for node in nodes])
        place = torch.arange(before + width)[None]
        first, end = before - torch.tensor(past)[:, None], before + torch.tensor(own)[:, None]
        mask = (place >= first) & (place < end)
        positions = (place[:, before:] - first).minimum(end - first - 1)
        device = self.model.device
        cache = self._past([self._path(node.parent) for node in nodes], before, width)
        output = self.model(
            input_ids=tokens.to(device),
            attention_mask=mask.long().to(device),
            position_ids=positions.to(device),
            past_key_values=cache,
            use_cache=True,
        )
        for row, (node, length) in enumerate(zip(ids, own, strict=True)):
            self._keep(node, cache.block[:, :, row, :, before : before + length].clone())
        self.tokens_run += sum(own)
        rows = torch.arange(len(nodes), device=device)
        return output.last_hidden_state[rows, torch.tensor(own, device=device) - 1]

    def _keep(self, node: str, block: Float[Tensor, "l 2 h t d"]) -> None:
        self.bytes += block.nbytes - (self._blocks[node].nbytes if node in self._blocks else 0)
        self._blocks[node] = block
        self._blocks.move_to_end(node)

    def _evict(self) -> None:
        while self.bytes > self.max_bytes:
            self.bytes -= self._blocks.popitem(last=False)[1].nbytes
