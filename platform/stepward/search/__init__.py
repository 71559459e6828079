"""Search guided by reward models: one lockstep loop, and selection rules that make it best-of-N, beam and the rest.

Many problems advance together, so every proposal and every score is one large batch. Nothing in this package can see
a verifier: a search knows what a state looks like, not whether its answer is right.
"""

from stepward.search.beam import Beam
from stepward.search.best_first import BestFirst
from stepward.search.dvts import DVTS, BestOfN
from stepward.search.loop import SearchResult, run_search
from stepward.search.particles import Particles
from stepward.search.registry import SEARCHES, build_search
from stepward.search.scoring import Scoring

__all__ = [
    "DVTS",
    "SEARCHES",
    "Beam",
    "BestFirst",
    "BestOfN",
    "Particles",
    "Scoring",
    "SearchResult",
    "build_search",
    "run_search",
]
