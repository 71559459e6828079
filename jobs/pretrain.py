"""Train what a domain needs before it can label: the proposer of math, the surrogate of pde; on Ray Train.

The same as `stepward pretrain`; --help says how it is used and what it makes.
"""

import _platform  # noqa: F401
from stepward.cli import job

if __name__ == "__main__":
    job("pretrain")
