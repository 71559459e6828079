"""Decodes many continuations of many prefixes with a full batch.

A *row* of the batch is a text; every sequence which has produced that text so far rides on it. When the sequences of a
row draw different tokens it branches, when its last sequence ends it leaves, and the rows stay packed at the front of
the batch. Rows that leave make room for the next sequences.
"""

import time
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from stepward.domains.math.engine.attention import length_class, plan_step
from stepward.domains.math.engine.cache import KVStore
from stepward.domains.math.engine.config import EngineStats, FinishReason
from stepward.domains.math.engine.decoder import Decoder
from stepward.domains.math.engine.ledger import Ledger, branch
from stepward.domains.math.engine.prefixes import Family

__all__ = ["PackedSampler"]

_HEADROOM = 1.25  # a batch may be planned for this multiple of the target, since rows leave every few steps
_SEQUENCES_A_ROW = 32  # in flight at most, however many ride on one row: should all branch, so many rows are needed
_MEMORY = 0.7  # weight of the past in the running estimate of rows a sequence


@dataclass(frozen=True)
class _Unit:
    """Sequences to start together: those of one prefix, or some of them."""

    slot: int
    cut: int  # tokens of its prefix behind the trunk
    logits: Float[Tensor, " v"]
    states: Float[Tensor, "l c"] | None
    sequences: Int64[np.ndarray, " s"]


class PackedSampler:
    """One call of the engine over a `Decoder`.

    Args:
        decoder: the model.
        store: room for `store.num_families` families; rows are added as needed.
        target_rows: rows to keep busy.
    """

    def __init__(self, decoder: Decoder, store: KVStore, ledger: Ledger, *, target_rows: int) -> None:
        self.decoder, self.store, self.ledger, self.target_rows = decoder, store, ledger, target_rows
        self.layers = ledger.config.state_layers
        self.trunk = 0  # tokens before every prefix in flight, which the store's trunk has
        none = np.zeros(0, dtype=np.int64)
        self.riders, self.row_of = none, none  # sequences in flight, ordered by row, and the row of each
        self.family, self.prefix_length, self.suffix_length, self.next_token = none, none, none, none  # by row
        self.units: list[_Unit] = []  # prefilled and not started, next one last
        self.rows_a_rider = 1.0
        self.decoded = self.prefilled = self.steps = 0
        self.used = 0.0

        self.start = time.perf_counter()

    @torch.inference_mode()
    def run(self, families: list[Family], trunk: tuple[int, ...] = ()) -> None:
        """Sample every sequence of `families`, whose prefixes all begin with `trunk`."""
        self.trunk = len(trunk)
        if families and trunk not in ((), self.store.trunk_tokens):
            self._grow_trunk(trunk)
        waiting = families[::-1]
        while waiting or self.units or len(self.family):
            self._admit(waiting)
            if len(self.family):
                self._step()

    def stats(self) -> EngineStats:
        """What it took so far."""
        return EngineStats(
            generated_tokens=int(self.ledger.lengths.sum()),
            decoded_tokens=self.decoded,
            prefill_tokens=self.prefilled,
            prefix_tokens=0,
            steps=self.steps,
            occupancy=self.used / max(1, self.steps),
            seconds=time.perf_counter() - self.start,
        )

    def _grow_trunk(self, tokens: tuple[int, ...]) -> None:
        """Read what all prefixes begin with. Always by itself, so that it is the same whatever was sampled before."""
        device = self.store.device
        self.store.clear_trunk(tokens)
        zero = torch.zeros(1, dtype=torch.int64, device=device)
        self.decoder.prefill(self.store, None, 0, torch.tensor([tokens], device=device), (zero, zero), ())
        self.prefilled += len(tokens)

    def _has_room(self, sequences: int) -> bool:
        """Whether so many more sequences are expected to fit; always true for an empty batch."""
        riders = len(self.riders) + sequences
        expected = self.rows_a_rider * riders
        limit = _SEQUENCES_A_ROW * self.target_rows
        return len(self.riders) == 0 or (riders <= limit and expected <= _HEADROOM * self.target_rows)

    def _admit(self, waiting: list[Family]) -> None:
        """Start as many units as the batch is expected to have room for, prefilling families when units run out."""
        taken: list[_Unit] = []
        coming = 0
        while len(self.family) < self.target_rows and (waiting or self.units):
            if not self.units:
                self._prefill(waiting, {unit.slot for unit in taken})
            if not self.units or not self._has_room(coming + len(self.units[-1].sequences)):
                break
            taken.append(self.units.pop())
            coming += len(taken[-1].sequences)
            if not len(self.riders) and coming >= self.target_rows:
                break
        if taken:
            self._start(taken)

    def _prefill(self, waiting: list[Family], starting: set[int]) -> None:
        """Run the next families through the model, as many as may be needed next."""
        busy = set(self.family.tolist()) | starting  # no units are left, or this would not be called
        free = [slot for slot in range(self.store.num_families) if slot not in busy]
        families: list[Family] = []
        wanted, coming = self.target_rows / 4 / self.rows_a_rider, 0
        size = max(1, int(self.target_rows / 8 / self.rows_a_rider))
        while waiting and len(families) < len(free) and coming < wanted:
            families.append(waiting.pop())
            coming += len(families[-1].sequences)
        if not families:
            return
        device, slots = self.store.device, np.array(free[: len(families)], dtype=np.int64)
        longest = max(len(family.tokens) for family in families) - self.trunk
        tokens = np.zeros((len(families), longest), dtype=np.int64)
        for row, family in zip(tokens, families, strict=True):
            row[: len(family.tokens) - self.trunk] = family.tokens[self.trunk :]
        which = np.repeat(np.arange(len(families)), [len(family.cuts) for family in families])
        cuts = np.concatenate([family.cuts for family in families]) - self.trunk
        self.store.reserve(prefix=longest)
        ends = (torch.from_numpy(which).to(device), torch.from_numpy(cuts - 1).to(device))
        logits, states = self.decoder.prefill(
            self.store,
            torch.from_numpy(slots).to(device),
            self.trunk,
            torch.from_numpy(tokens).to(device),
            ends,
            self.layers,
        )
        self.prefilled += sum(len(family.tokens) - self.trunk for family in families)
        for at, (number, cut) in enumerate(zip(which, cuts, strict=True)):
            mine = families[number]
            sequences = mine.sequences[mine.cuts[mine.cut_of] == cut + self.trunk]
            kept = None if states is None else states[at]
            for first in range(0, len(sequences), size):
                part = sequences[first : first + size]
                self.units.append(_Unit(int(slots[number]), int(cut), logits[at], kept, part))
        self.units.reverse()

    def _start(self, units: list[_Unit]) -> None:
        """Draw the first token of new sequences; their rows go behind those in use."""
        sequences = np.concatenate([unit.sequences for unit in units])
        source = np.repeat(np.arange(len(units)), [len(unit.sequences) for unit in units])
        states = [unit.states for unit in units if unit.states is not None]
        parent, token, row_of, riders = self._draw(
            sequences, source, torch.stack([unit.logits for unit in units]), torch.stack(states) if states else None
        )
        rows = len(self.family)
        self.riders = np.concatenate([self.riders, riders])
        self.row_of = np.concatenate([self.row_of, rows + row_of])
        self.family = np.concatenate([self.family, np.array([unit.slot for unit in units])[parent]])
        self.prefix_length = np.concatenate([self.prefix_length, np.array([unit.cut for unit in units])[parent]])
        self.suffix_length = np.concatenate([self.suffix_length, np.zeros_like(parent)])
        self.next_token = np.concatenate([self.next_token, token])

    def _draw(
        self,
        sequences: Int64[np.ndarray, " s"],
        source: Int64[np.ndarray, " s"],
        logits: Tensor,
        states: Tensor | None,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        tokens = self.ledger.draw(sequences, source, logits, states)
        alive = self.ledger.reasons[sequences] == FinishReason.RUNNING
        parent, token, row_of = branch(source[alive], tokens[alive])
        order = np.argsort(row_of, kind="stable")
        return parent, token, row_of[order], sequences[alive][order]

    def _step(self) -> None:
        """Run every row by one token, then branch, drop and pack."""
        device, rows = self.store.device, len(self.family)
        self.store.reserve(suffix=int(self.suffix_length.max()) + 1, rows=rows)
        plan = plan_step(self.store, self.family, self.prefix_length, self.suffix_length, self.trunk)
        logits, states = self.decoder.decode(
            self.store,
            plan,
            torch.from_numpy(self.next_token).to(device),
            torch.from_numpy(self.trunk + self.prefix_length + self.suffix_length).to(device),
            self.layers,
        )
        self.steps += 1
        self.decoded += rows
        self.used += min(1.0, rows / self.target_rows)
        self.rows_a_rider = _MEMORY * self.rows_a_rider + (1 - _MEMORY) * rows / len(self.riders)
        parent, token, row_of, self.riders = self._draw(self.riders, self.row_of, logits, states)
        self._pack(parent, token, row_of)

    def _pack(
        self, parent: Int64[np.ndarray, " r"], token: Int64[np.ndarray, " r"], row_of: Int64[np.ndarray, " s"]
    ) -> None:
        """Give the new rows the places 0..r-1, longest class first; a row's first child stays where it is if it can."""
        length = self.suffix_length[parent] + 1
        kind = length_class(length)
        kind_of_place = np.sort(kind)[::-1]
        stays = (np.diff(parent, prepend=-1) != 0) & (parent < len(parent))
        stays[stays] = kind_of_place[parent[stays]] == kind[stays]
        moving = np.flatnonzero(~stays)
        moving = moving[np.argsort(-kind[moving], kind="stable")]
        place = np.empty_like(parent)
        place[stays] = parent[stays]
        place[moving] = np.setdiff1d(np.arange(len(parent)), parent[stays], assume_unique=True)
        self.store.reserve(rows=len(parent))
        if not stays.all():
            self.store.copy_rows(parent[~stays], place[~stays], int(length[~stays].max()))
        order = np.argsort(place)
        self.family = self.family[parent][order]
        self.prefix_length = self.prefix_length[parent][order]
        self.suffix_length = length[order]
        self.next_token = token[order]
        by_row = np.argsort(place[row_of], kind="stable")
        self.riders, self.row_of = self.riders[by_row], place[row_of][by_row]
