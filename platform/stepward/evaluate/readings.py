"""How often the test split of a label artifact was read, by which command, and under how many different settings.

What was chosen on validation may be read once on test. A second reading under other settings is no error, but it is a
second chance, and so it is counted where nobody can overwrite it: beside the artifacts, a file a label artifact.
"""

from __future__ import annotations

import hashlib
import json
import shlex
import sys
from pathlib import Path

from stepward.core.artifacts import Artifact
from stepward.core.storage import Folder
from stepward.evaluate.settings import EvaluateSettings
from stepward.evaluate.tables import Row


def note_reading(settings: EvaluateSettings, labels: Artifact) -> list[Row]:
    """Every reading of the test split of these labels, this one the last: name, command and a digest of the settings.

    The same settings again are no other reading. Nothing is noted of another split: an empty list.
    """
    if settings.split != "test":
        return []
    plain = json.dumps(settings.identity(), sort_keys=True, default=str)
    command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
    now = {"name": settings.name, "command": command, "settings": hashlib.sha256(plain.encode()).hexdigest()[:16]}
    folder = Folder(settings.artifact("evaluate").folder.url.rsplit("/", 1)[0])
    file = f".readings/{labels.manifest().fingerprint}.json"
    known = folder.read_json(file) if folder.exists(file) else []
    if now["settings"] not in {reading["settings"] for reading in known}:
        known = [*known, now]
        folder.write_json(file, known)
    return list(known)
