"""Train a reward model on the labels of stepward label, on Ray Train.

The same as `stepward train`; --help says how it is used and what it makes.
"""

import _platform  # noqa: F401
from stepward.cli import job

if __name__ == "__main__":
    job("train")
