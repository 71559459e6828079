"""Serve scores of steps over HTTP, from any reward model.

The same as `stepward serve`; --help says how it is used and what it offers.
"""

import _platform  # noqa: F401
from stepward.cli import job

if __name__ == "__main__":
    job("serve")
