"""Log finished artifacts to MLflow, for example after the tracking server was out of reach.

    python jobs/track.py                                              every artifact of the store
    python jobs/track.py --artifact artifacts/walk/evaluate/default   one of them

Artifacts that are logged already are left alone, so this can always be repeated.
"""

import sys

import _platform  # noqa: F401
from stepward.core.config import load_config
from stepward.runtime.tracking import tracking_errors
from stepward.runtime.tracking_job import TrackSettings, run_track
from stepward.runtime.tracking_store import without_secrets

settings = load_config(TrackSettings, doc=__doc__)
try:
    print(run_track(settings))
except (ValueError, *tracking_errors()) as error:
    sys.exit(f"Not tracked: {without_secrets(str(error))}")
