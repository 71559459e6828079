"""What a label is: continuation counts; which rows get one, and how they are kept. No Ray in here."""

from stepward.label.continuations import count_successes
from stepward.label.mining import mine, read_problems
from stepward.label.quarantine import label_alone
from stepward.label.settings import SPLITS, ContinuationLabels, LabelSettings, label_settings
from stepward.label.stage import finish, plan
from stepward.label.task import LabelTask, reject, salvage
from stepward.label.work import LabelWork, cut

__all__ = [
    "SPLITS",
    "ContinuationLabels",
    "LabelSettings",
    "LabelTask",
    "LabelWork",
    "count_successes",
    "cut",
    "finish",
    "label_alone",
    "label_settings",
    "mine",
    "plan",
    "read_problems",
    "reject",
    "salvage",
]
