"""Write labels in the form that another library trains on: TRL, OpenRLHF, PRM800K, rows of steps, HF datasets.

The same as `stepward export`; --help says how it is used and what it makes.
"""

import _platform  # noqa: F401
from stepward.cli import job

if __name__ == "__main__":
    job("export")
