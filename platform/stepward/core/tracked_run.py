"""What of an artifact becomes a run: parameters, metrics, histories, tables, files and data inputs. No MLflow here.

An artifact, or a folder ``runs/<name>/`` within one, becomes one run; the latter are its child runs, for example one a
guide of an evaluation. Both hold the same files: `params.json`, `metrics.json`, `history.parquet`, `tables/*.parquet`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

import pyarrow as pa

from stepward.core.artifacts import MANIFEST, Artifact, Manifest
from stepward.core.config import Plain
from stepward.core.storage import Folder

MAX_TABLE_ROWS = 2_000  # shown as a table in the tracking UI; larger ones are kept as Parquet files only
MAX_FILE_BYTES = 20 * 2**20  # larger files stay in the artifact, whose URL is a tag of the run
HEADLINES = "headlines.json"  # figures that a run shows in place of all of `metrics.json`
MAX_TEXT = 6_000  # characters of a parameter
BULK = re.compile(r"^(labels|shards|checkpoints|runs)/")  # data rather than results: never copied to the tracking store


@dataclass(frozen=True)
class RunContent:
    """One run to be.

    Attributes:
        name: shown in the list of runs.
        params: what was set.
        metrics: what came out.
        history: (step, metric -> value) of every row of a history.
        tables: name -> table, small enough to show.
        files: paths of files to copy, relative to the artifact.
        tags: anything else that runs are searched by.
        children: runs below this one.
    """

    name: str
    params: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    history: list[tuple[int, dict[str, float]]] = field(default_factory=list)
    tables: dict[str, pa.Table] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)
    children: list[RunContent] = field(default_factory=list)


def run_content(artifact: Artifact, manifest: Manifest, usual: Plain | None = None) -> RunContent:
    """Everything of a finished artifact that is worth tracking.

    Args:
        usual: settings of the stage's job without arguments: parameters are those that differ from it, and the seed.
    """
    folder, names = artifact.folder, list(manifest.files)
    small = [name for name in names if manifest.files[name]["bytes"] <= MAX_FILE_BYTES and not BULK.match(name)]
    counts = {f"rows/{table}": float(rows) for table, rows in manifest.rows.items()}
    spent = {f"cost/{kind}": amount for kind, amount in manifest.cost.items()}
    figures, tables = _json_numbers(folder, "metrics.json", names), _tables(folder, "tables/", names)
    shown = _json_numbers(folder, HEADLINES, names)
    if shown:  # a few beside one another; all of them as a table
        tables["metrics"] = pa.table({"name": list(figures), "value": [float(v) for v in figures.values()]})
    return RunContent(
        name=f"{artifact.stage}/{artifact.name}",
        params=_differing(manifest, usual or {}),
        metrics=finite(shown or counts | spent | figures),
        history=read_history(folder, "history.parquet", names),
        tables=tables,
        files=[*small, MANIFEST],
        tags=_tags(artifact, manifest),
        children=[*_nested(folder, names, artifact.stage), *_trials(folder, names)],
    )


def flatten(settings: Mapping[str, object], prefix: str = "") -> dict[str, str]:
    """Nested settings as dotted names and texts; lists as JSON."""
    flat: dict[str, str] = {}
    for key, value in settings.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{name}.")
        else:
            flat[name] = (value if isinstance(value, str) else json.dumps(value, default=str))[:MAX_TEXT]
    return flat


def _differing(manifest: Manifest, usual: Plain) -> dict[str, str]:
    """The parameters that a person set, or that are not what the stage has by default."""
    ordinary = flatten(usual)
    own = {name: value for name, value in flatten(manifest.identity).items() if ordinary.get(name) != value}
    return own | {"seed": str(manifest.seed)}


def metric_name(name: str) -> str:
    """`name` with what trackers do not allow in a metric's name replaced: ``solve_rate@20`` -> ``solve_rate_at_20``."""
    return re.sub(r"[^A-Za-z0-9_\-. /:]", "_", name.replace("@", "_at_"))


def finite(values: Mapping[str, object]) -> dict[str, float]:
    """The numbers among `values` that can be drawn, under allowed names."""
    numbers = {k: v for k, v in values.items() if isinstance(v, bool | int | float) and math.isfinite(v)}
    return {metric_name(key): float(value) for key, value in numbers.items()}


def read_history(
    folder: Folder, name: str, names: Iterable[str], trial: str | None = None
) -> list[tuple[int, dict[str, float]]]:
    """Rows of a history table; its column `step` counts, or else the position of the row.

    Rows with a column `trial` belong to that trial of a sweep alone, and not to the sweep.
    """
    if name not in names:
        return []
    rows = [row for row in folder.read_table(name).to_pylist() if row.pop("trial", None) == trial]
    return [(int(row.pop("step", position)), finite(row)) for position, row in enumerate(rows)]


def _nested(folder: Folder, names: list[str], stage: str) -> list[RunContent]:
    parts = [PurePosixPath(name).parts for name in names if name.startswith("runs/")]
    return [_nested_run(folder, run, names, stage) for run in sorted({part[1] for part in parts if len(part) > 2})]


def _nested_run(folder: Folder, run: str, names: list[str], stage: str) -> RunContent:
    here = f"runs/{run}/"
    params = folder.read_json(f"{here}params.json") if f"{here}params.json" in names else {}
    return RunContent(
        name=run,
        params=flatten(params),
        metrics=finite(_json_numbers(folder, f"{here}metrics.json", names)),
        history=read_history(folder, f"{here}history.parquet", names),
        tables=_tables(folder, f"{here}tables/", names),
        tags={"stepward.stage": stage, "stepward.run": run} | _texts(folder, f"{here}tags.json", names),
    )


def _trials(folder: Folder, names: list[str]) -> list[RunContent]:
    """One run a row of a sweep's `trials.parquet`: ``config/…`` columns are parameters, other numbers are metrics."""
    if "trials.parquet" not in names:
        return []
    runs = []
    for position, row in enumerate(folder.read_table("trials.parquet").to_pylist()):
        config = {key.split("/", 1)[1]: row.pop(key) for key in list(row) if key.startswith("config/")}
        texts = {f"stepward.{key}": value for key, value in row.items() if isinstance(value, str) and value}
        name = str(row.get("trial") or row.get("trial_id") or row.get("id") or f"{position:04d}")
        tags = texts | {"stepward.stage": "tune", "stepward.run": name}
        history = read_history(folder, "history.parquet", names, trial=name)
        runs.append(
            RunContent(name=f"trial/{name}", params=flatten(config), metrics=finite(row), history=history, tags=tags)
        )
    return runs


def _tables(folder: Folder, prefix: str, names: list[str]) -> dict[str, pa.Table]:
    wanted = [name for name in names if name.startswith(prefix) and name.endswith(".parquet")]
    tables = {PurePosixPath(name).stem: folder.read_table(name) for name in wanted}
    return {name: table for name, table in tables.items() if 0 < len(table) <= MAX_TABLE_ROWS}


def _texts(folder: Folder, name: str, names: Iterable[str]) -> dict[str, str]:
    return {key: str(value) for key, value in _json_numbers(folder, name, names).items()}


def _json_numbers(folder: Folder, name: str, names: Iterable[str]) -> Plain:
    return dict(folder.read_json(name)) if name in names else {}


def _tags(artifact: Artifact, manifest: Manifest) -> dict[str, str]:
    tags = {
        "stepward.stage": artifact.stage,
        "stepward.artifact": artifact.url,
        "stepward.fingerprint": manifest.fingerprint,
        "mlflow.source.name": f"jobs/{artifact.stage}.py",
        "mlflow.source.type": "JOB",
    }
    return tags | ({"mlflow.source.git.commit": manifest.git_commit} if manifest.git_commit else {})
