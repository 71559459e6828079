"""For plug-in authors and for our own tests: fakes that obey the contracts, and the contracts as checks."""

from stepward.testing.contracts import check_domain, check_proposer, check_reward, check_search
from stepward.testing.trees import ReadScore, Tables, TableTree, TreeProposer, TreeStates

__all__ = [
    "ReadScore",
    "TableTree",
    "Tables",
    "TreeProposer",
    "TreeStates",
    "check_domain",
    "check_proposer",
    "check_reward",
    "check_search",
]
