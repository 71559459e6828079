"""Evaluate guides: solve rate or error against cost, ranking, calibration, robustness; on Ray Data.

The same as `stepward evaluate`; --help says how it is used and what it makes.
"""

import _platform  # noqa: F401
from stepward.cli import job

if __name__ == "__main__":
    job("evaluate")
