"""The default evaluation: every rule that can choose, in one table, with what needs no choice and what knows the truth.

All arms that choose do so among the same K candidates of every step. Searches beyond the choice of a step (beam,
lookahead, particles) spend more, and the table says what.
"""

from __future__ import annotations

from typing import Any

__all__ = ["EVALUATION", "PRETRAINED"]


def _weighted(**weights: float) -> dict[str, object]:
    """Guides standardised among siblings, so that weights mean what they say."""
    return {"kind": "composite", "parts": {n: {"weight": w, "transform": "siblings"} for n, w in weights.items()}}


GUIDES: dict[str, dict[str, Any]] = {
    "prm": {"kind": "trained", "artifact": "prm"},
    "critic": {"kind": "trained", "artifact": "critic"},
    "arm": {"kind": "arm"},
    "physics": {"kind": "physics"},
    "near_deterministic": {"kind": "near_deterministic"},
    "random": {"kind": "random"},
    "oracle": {"kind": "oracle"},
    "arm_prm": _weighted(arm=1.0, prm=1.0),
    # all weights of .5, 1 and 2: of standardised scores only the ratio matters, so five are all there are
    "arm_quarter_prm": _weighted(arm=0.5, prm=2.0),
    "arm_half_prm": _weighted(arm=0.5, prm=1.0),
    "arm_prm_half": _weighted(arm=1.0, prm=0.5),
    "arm_prm_quarter": _weighted(arm=2.0, prm=0.5),
    "prm_ahead": {"kind": "lookahead", "guide": "prm", "depth": 1, "discount": 0.9, "reading": "sum"},
}

BEAM = {
    "kind": "beam", "width": 4, "num_candidates": 4, "scoring": {"aggregation": "sum", "normalise_siblings": True},
}  # fmt: skip
PARTICLES = {"kind": "particles", "num_particles": 16, "potential": "exponential", "temperature": 0.5}

ARMS: dict[str, dict[str, Any]] = {
    "deterministic": {"proposer": {"kind": "deterministic"}},
    "corrected": {"proposer": {"kind": "deterministic", "surrogate": "artifacts/pde/pretrain/corrected"}},
    "solver": {"proposer": {"kind": "solver", "coarsen_by": 2}},
    "random": {"guide": "random"},
    "mean_of_k": {"search": {"kind": "mean_of_k"}},
    "near_deterministic": {"guide": "near_deterministic"},
    "arm": {"guide": "arm"},
    "prm": {"guide": "prm"},
    "arm_prm": {"guide": "arm_prm"},
    "arm_quarter_prm": {"guide": "arm_quarter_prm"},
    "arm_half_prm": {"guide": "arm_half_prm"},
    "arm_prm_half": {"guide": "arm_prm_half"},
    "arm_prm_quarter": {"guide": "arm_prm_quarter"},
    "prm_mean": {"guide": "prm", "search": {"kind": "weighted_mean"}},
    "patchwork": {"guide": "prm", "search": {"kind": "patchwork", "temperature": 0.5}},
    "critic": {"guide": "critic"},
    "physics": {"guide": "physics"},
    "prm_beam": {"guide": "prm", "search": BEAM},
    "prm_ahead": {"guide": "prm_ahead"},
    "prm_particles": {"guide": "prm", "search": PARTICLES},
    "oracle": {"guide": "oracle"},
}

EVALUATION: dict[str, Any] = {
    "guides": GUIDES,
    "arms": ARMS,
    "references": ("deterministic", "random", "mean_of_k", "arm"),
    "oracle": "oracle",
    "blow_up": 10.0,
    "rankings": {"reference": "near_deterministic"},
    "pictures": {"arm": "prm"},
    "num_logged": 2,
}

# Blocks of an experiment that pretrain: what differs from the defaults of jobs/pretrain.py.
PRETRAINED: dict[str, dict[str, Any]] = {
    "pretrain": {},
    "corrector": {
        "name": "corrected",
        "surrogate": {"kind": "corrected", "width": 32, "depth": 6},
        "base": "artifacts/pde/pretrain/default",
        "fit": {"epochs": 4},
    },
}
