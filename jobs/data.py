"""Make a file of trajectories for a domain, on Ray Data: simulated, or converted from a published data set.

The same as `stepward data`; --help says how it is used and what it makes.
"""

import _platform  # noqa: F401
from stepward.cli import job

if __name__ == "__main__":
    job("data")
