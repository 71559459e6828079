"""Judge reward models by labelled steps: PRMBench, ProcessBench, or rated solutions of your own; on Ray Data.

The same as `stepward benchmark`; --help says how it is used and what it makes.
"""

import _platform  # noqa: F401
from stepward.cli import job

if __name__ == "__main__":
    job("benchmark")
