"""The default evaluation of the walk: searches over all six actions, and others at equal numbers of expansions."""

from __future__ import annotations

from typing import Any

__all__ = ["EVALUATION"]


def _best_first(budget: int, **changes: object) -> dict[str, object]:
    return {"search": {"kind": "best_first"}, "budget": budget} | changes


SEARCHES: dict[str, dict[str, Any]] = {
    "best_first": _best_first(1000),
    "best_first_3": _best_first(100, search={"kind": "best_first", "num_candidates": 3}),
    "best_first_steps_x0.5": _best_first(100, step_factor=0.5),
    "best_first_steps_x2": _best_first(100, step_factor=2.0),
}
for size, budget in ((2, 20), (5, 50), (10, 100)):
    # Ten steps of `size` states a step: whole solutions fit into the budget.
    prm = {"budget": budget, "guides": ("prm",)}
    sampled = prm | {"proposer": "softmax"}
    SEARCHES |= {
        f"beam_{budget}": {"search": {"kind": "beam", "width": size, "num_candidates": 6}} | prm,
        f"dvts_{budget}": {"search": {"kind": "dvts", "num_trees": size, "num_candidates": 4}} | sampled,
        f"best_of_n_{budget}": {"search": {"kind": "best_of_n", "num_samples": size}} | sampled,
        f"particles_{budget}": {"search": {"kind": "particles", "num_particles": size}} | sampled,
    }

EVALUATION: dict[str, Any] = {
    "proposer": "enumerate",  # every action is a candidate
    "references": ("distance", "optimal"),
    "searches": SEARCHES,
}
