"""Readers of published data sets: each returns its records and the rows it had to reject."""

from stepward.domains.math.readers.arithmetic import read_mawps, read_svamp
from stepward.domains.math.readers.exchange import read_openrlhf, read_trl
from stepward.domains.math.readers.gsm8k import GSM8K_ID, read_gsm8k, read_gsm8k_model_solutions, strip_calculator
from stepward.domains.math.readers.math import MATH_ID, read_math
from stepward.domains.math.readers.math_shepherd import MATH_SHEPHERD_ID, read_math_shepherd
from stepward.domains.math.readers.prm800k import PRM800KScore, read_prm800k, score_prm800k
from stepward.domains.math.readers.prmbench import read_prmbench
from stepward.domains.math.readers.processbench import (
    PROCESSBENCH_ID,
    ProcessBenchScore,
    predict_first_error,
    read_processbench,
    score_processbench,
)

__all__ = [
    "GSM8K_ID",
    "MATH_ID",
    "MATH_SHEPHERD_ID",
    "PROCESSBENCH_ID",
    "PRM800KScore",
    "ProcessBenchScore",
    "predict_first_error",
    "read_gsm8k",
    "read_gsm8k_model_solutions",
    "read_math",
    "read_math_shepherd",
    "read_mawps",
    "read_openrlhf",
    "read_prm800k",
    "read_prmbench",
    "read_processbench",
    "read_svamp",
    "read_trl",
    "score_prm800k",
    "score_processbench",
    "strip_calculator",
]
