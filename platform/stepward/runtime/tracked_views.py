"""Links to the pages of `mlflow ui` that show runs side by side; an MLflow experiment carries them in its description.

MLflow folds child runs below their parents as long as runs are sorted by date. Sorted by name, and searched for one
kind of run, the guides of an evaluation or the trials of a sweep stand beside one another with a chart a metric.
"""

from __future__ import annotations

from urllib.parse import urlencode

VIEWS = {"guides": "evaluate", "trials": "tune"}  # what stands side by side -> stage of the runs
ORDER = {"evaluate": "tags.`stepward.rank`"}  # the page shows the first ten: the best arms


def description_tags(experiment: str) -> dict[str, str]:
    """Tags of an MLflow experiment (id) that make its page open on runs, with links that compare them."""
    links = " · ".join(f"[Compare {name}]({comparison(experiment, stage)})" for name, stage in VIEWS.items())
    return {"mlflow.experimentKind": "custom_model_development", "mlflow.note.content": links}


def comparison(experiment: str, stage: str) -> str:
    """Path in the page of `mlflow ui` with the child runs of a stage side by side, as charts."""
    query = {
        "workflowType": "machine_learning",
        "searchFilter": f"tags.`stepward.stage` = '{stage}' and tags.`stepward.run` != ''",
        "orderByKey": ORDER.get(stage, "tags.`mlflow.runName`"),
        "orderByAsc": "true",
        "compareRunsMode": "CHART",
    }
    return f"#/experiments/{experiment}/runs?{urlencode(query)}"
