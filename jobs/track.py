"""Log finished artifacts to MLflow, for example after the tracking server was out of reach.

The same as `stepward track`; --help says how it is used and what it makes.
"""

import _platform  # noqa: F401
from stepward.cli import job

if __name__ == "__main__":
    job("track")
