"""Settings of later stages that suit the embedded proposer: what was chosen on its validation problems."""

from __future__ import annotations

from typing import Any

__all__ = ["BASELINES", "EVALUATION", "OPTIMISATION"]

# A batch holds about 28 solutions with their beginnings. The model learns late, and sooner from "any success" labels
# than from success shares (docs/log.md). The likelihood of validation rollouts does not judge these: the last epoch is
# kept.
OPTIMISATION: dict[str, Any] = {"num_epochs": 12, "batch_size": 128, "learning_rate": 1e-3, "keep": "last"}

# The outcome model has one row a solution: as many solutions a step and in all as the process model.
BASELINES: dict[str, Any] = {"outcome": {"batch_size": 28}}

_PRODUCT = {"aggregation": "product"}
EVALUATION: dict[str, Any] = {
    "guides": {
        "likelihood_prm": {"kind": "composite", "parts": {"likelihood": {"weight": 0.1}, "prm": {"transform": "log"}}},
    },
    "searches": {
        "best_first_4": {
            "search": {"kind": "best_first", "num_candidates": 4},
            "budget": 12,
            "guides": ("prm",),
        },
        "beam_4x4": {
            "search": {"kind": "beam", "width": 4, "num_candidates": 4, "num_solutions": 4, "scoring": _PRODUCT},
            "budget": 64,
            "guides": ("prm",),
        },
        "dvts_4x4": {
            "search": {"kind": "dvts", "num_trees": 4, "num_candidates": 4, "scoring": _PRODUCT},
            "budget": 64,
            "guides": ("prm",),
        },
        "particles_8": {
            "search": {"kind": "particles", "num_particles": 8},
            "budget": 64,
            "guides": ("prm",),
        },
        "log_p_beam_4x4": {
            "search": {"kind": "beam", "width": 4, "num_candidates": 4, "num_solutions": 4},
            "budget": 64,
            "guides": ("likelihood_prm",),
        },
    },
    "values": {"max_states": 4000, "max_parents": 300, "num_children": 4, "min_spread": 0.1, "sibling_rollouts": 64},
    "dividend": {"num_parents": 300},
}
