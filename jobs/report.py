"""Make the report of an experiment: one HTML page that needs nothing else, and its figures.

    python jobs/report.py                       of the evaluation `default` and what it was made from
    python jobs/report.py evaluate=ablation name=ablation

Makes <store>/<domain>/report/<name>: report.html, figures/*.png and manifest.json. What is missing is named in the
report, with the command that makes it. When an artifact has changed, the same command makes the report anew.
"""

import _platform  # noqa: F401
from stepward.console.outcome import report
from stepward.core.stage import load_job
from stepward.runtime.reporting import report_job, run_report

if __name__ == "__main__":
    report(run_report, load_job(report_job, __doc__))
