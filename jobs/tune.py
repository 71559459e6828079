"""Sweep settings of the train job on small trainings and pick a winner by validation loss, on Ray Tune.

The same as `stepward tune`; --help says how it is used and what it makes.
"""

import _platform  # noqa: F401
from stepward.cli import job

if __name__ == "__main__":
    job("tune")
