"""Settings of later stages that suit the embedded proposer: what was chosen on its validation problems."""

from __future__ import annotations

from typing import Any

EMBEDDED = "embedded"  # names the shipped model wherever a model is named
__all__ = ["BASELINES", "EMBEDDED", "EVALUATION", "OPTIMISATION", "ROLLOUTS"]

ROLLOUTS: dict[str, Any] = {"num_rollouts_train": 8, "num_rollouts_validation": 64, "num_rollouts_test": 16}

# A batch holds about 28 solutions with their beginnings. The model learns late, and sooner from "any success" labels
# than from success shares (docs/log.md). The likelihood of validation rollouts does not judge these: the last epoch is
# kept.
OPTIMISATION: dict[str, Any] = {"num_epochs": 8, "batch_size": 128, "learning_rate": 1e-3, "keep": "last"}

# The outcome model has one row a solution: as many solutions a step and in all as the process model.
BASELINES: dict[str, Any] = {"outcome": {"batch_size": 28}}

_PRODUCT, _SUM = {"aggregation": "product"}, {"aggregation": "sum"}
# log PRM + α log p of every step. The proposer knows its rare slips and not its wrong readings, the reward model the
# other way round; α from .05 to 1 made no difference on validation problems, where all choices below were made too.
_AND_P = {"log_scale": True, "parts": {"step_likelihood": {"weight": 0.2}, "prm": {"transform": "log"}}}


def _best_first(num_candidates: int, guide: str) -> dict[str, object]:
    """Best-first search that ends at its first solution: more candidates cost more and choose better."""
    search = {"kind": "best_first", "num_candidates": num_candidates}
    return {"search": search, "budget": 12, "guides": (guide,)}


EVALUATION: dict[str, Any] = {
    "references": (),  # choices among samples are compared at equal computation instead
    "guides": {
        "prm": {"kind": "trained", "artifact": "prm"},
        "hmm": {"kind": "trained", "artifact": "hmm"},
        "orm": {"kind": "trained", "artifact": "orm"},
        "likelihood": {"kind": "likelihood"},
        "length": {"kind": "length"},
        "random": {"kind": "random"},
        "step_likelihood": {"kind": "likelihood", "of": "step"},
        "prm_and_p": {"kind": "composite", **_AND_P},
    },
    "samples": {
        "champions": ("prm_and_p", "prm"),
        "rivals": ("majority", "likelihood", "orm", "hmm"),
        "choices": {
            "prm": {"rule": "vote", "aggregation": "min"},
            "prm_and_p": {"rule": "vote", "aggregation": "sum"},
            "hmm": {"rule": "vote", "aggregation": "mean"},
            "orm": {"rule": "vote", "aggregation": "last"},
            "likelihood": {"rule": "best", "aggregation": "last"},
        },
    },
    "searches": {
        "best_first_4": _best_first(4, "prm"),
        **{f"best_first_{k}_and_p": _best_first(k, "prm_and_p") for k in (2, 3, 4, 5, 6, 8)},
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
        "beam_4x4_and_p": {
            "search": {"kind": "beam", "width": 4, "num_candidates": 4, "num_solutions": 4, "scoring": _SUM},
            "budget": 64,
            "guides": ("prm_and_p",),
        },
    },
    "values": {"max_states": 4000, "max_parents": 300, "num_children": 4, "min_spread": 0.25, "sibling_rollouts": 64},
    "dividend": {"num_parents": 300},
}
