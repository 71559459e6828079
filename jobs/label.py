"""Label partial solutions, on Ray Data: by Monte-Carlo continuation, or by ranking candidates.

The same as `stepward label`; --help says how it is used and what it makes.
"""

import _platform  # noqa: F401
from stepward.cli import job

if __name__ == "__main__":
    job("label")
