"""Run a whole experiment: label, train, tune, evaluate, report. This is what `make demo` runs.

The same as `stepward experiment`; --help says how it is used and what it makes.
"""

import _platform  # noqa: F401
from stepward.cli import job

if __name__ == "__main__":
    job("experiment")
