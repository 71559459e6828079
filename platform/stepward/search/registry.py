"""All searches by name; installed packages add theirs under the entry-point group ``stepward.searches``."""

from __future__ import annotations

from stepward.core.config import Config, Plain, validate
from stepward.core.interfaces import Search
from stepward.core.registry import lookup, plugins
from stepward.search.beam import Beam
from stepward.search.best_first import BestFirst
from stepward.search.composing import MeanOfK, Patchwork, WeightedMean
from stepward.search.dvts import DVTS, BestOfN
from stepward.search.particles import Particles

SEARCHES: dict[str, type[Config]] = {
    "best_first": BestFirst,
    "beam": Beam,
    "best_of_n": BestOfN,
    "dvts": DVTS,
    "particles": Particles,
    "mean_of_k": MeanOfK,
    "weighted_mean": WeightedMean,
    "patchwork": Patchwork,
}


def build_search(settings: Plain) -> Search:
    """A search from plain settings, of which ``kind`` names the search and the rest are its own fields."""
    if "kind" not in settings:
        raise ValueError(f"search.kind: expected one of {sorted(SEARCHES)}, got nothing.")
    return validate(lookup(SEARCHES | plugins("searches"), settings["kind"], kind="search"), settings)
