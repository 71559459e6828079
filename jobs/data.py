"""Make a file of trajectories for a domain, on Ray Data: simulated, or converted from a published data set.

    python jobs/data.py                                      320 flows of a gas on 32 x 32 cells, about a minute
    python jobs/data.py source.kind=burgers name=burgers
    python jobs/data.py source.kind=pdegym source.path=CE-RP.nc name=ce-rp
    python jobs/label.py domain=pde problems.path=artifacts/pde/data/default/trajectories.parquet      use it

Makes <store>/<domain>/data/<name>: trajectories.parquet (tensors with their grid), README.md (its card) and
manifest.json. After a kill, the same command goes on. Without it, jobs/label.py simulates what it needs.
"""

import _platform  # noqa: F401
from stepward.console.outcome import report
from stepward.core.stage import load_job
from stepward.runtime.data_stage import data_job, run_data

if __name__ == "__main__":
    report(run_data, load_job(data_job, __doc__, domain="pde"))
