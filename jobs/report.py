"""Make the report of an experiment: one HTML page that needs nothing else, and its figures.

The same as `stepward report`; --help says how it is used and what it makes.
"""

import _platform  # noqa: F401
from stepward.cli import job

if __name__ == "__main__":
    job("report")
