"""What a label is: continuation counts; which rows get one, and how they are kept. No Ray in here."""

from stepward.label.continuations import count_successes
from stepward.label.counts import ContinuationLabels
from stepward.label.here import make_labels
from stepward.label.mining import MineTask, MiningWork, mine, mines_in_workers, read_problems
from stepward.label.quarantine import label_alone
from stepward.label.settings import SPLITS, LabelSettings, comes_with_data, label_kinds, label_settings
from stepward.label.stage import finish, plan, plan_mined, plan_mining
from stepward.label.summary import count_summary
from stepward.label.task import CountTask, reject, salvage
from stepward.label.work import LabelWork, cut

__all__ = [
    "SPLITS",
    "ContinuationLabels",
    "CountTask",
    "LabelSettings",
    "LabelWork",
    "MineTask",
    "MiningWork",
    "comes_with_data",
    "count_successes",
    "count_summary",
    "cut",
    "finish",
    "label_alone",
    "label_kinds",
    "label_settings",
    "make_labels",
    "mine",
    "mines_in_workers",
    "plan",
    "plan_mined",
    "plan_mining",
    "read_problems",
    "reject",
    "salvage",
]
