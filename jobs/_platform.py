"""Puts the copy of `stepward` beside this folder before an installed one; each job imports this first.

`ray job submit --working-dir . -- python jobs/label.py` uploads the whole project, but Python on the cluster would
still find the package installed there. With this line the driver runs what was uploaded, and hands it to its workers.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "platform"))
