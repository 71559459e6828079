"""Look at this machine and say what is missing: packages, processors, memory, storage, MLflow, Ray, a model.

The same as `stepward doctor`; --help says how it is used and what it makes.
"""

import _platform  # noqa: F401
from stepward.cli import job

if __name__ == "__main__":
    job("doctor")
