"""Train what a domain needs before it can label: the proposer of math, or the surrogate of pde; on Ray Train.

    python jobs/pretrain.py                                    math: the shipped recipe, about 20 minutes on one core
    python jobs/pretrain.py recipe.ambiguous_error=.3 name=calmer     other planted error rates
    python jobs/label.py domain=math proposer.model=artifacts/math/pretrain/calmer/model     use it

    python jobs/pretrain.py domain=pde                         a U-Net on generated Euler flows, a few minutes
    python jobs/pretrain.py domain=pde name=corrected surrogate.kind=corrected base=artifacts/pde/pretrain/default

Makes <store>/<domain>/pretrain/<name>. math: model/ (config.json, model.safetensors, the tokenizer) and metrics.json
with solve rates on validation problems; docs/embedded_proposer.md tells what is accepted. pde: surrogate.json,
weights.safetensors and metrics.json with errors on validation trajectories. Both: history.parquet, manifest.json. After
a kill, the same command goes on from the last finished stage or epoch.
"""

import _platform  # noqa: F401
from stepward.console.outcome import report
from stepward.core.stage import load_job
from stepward.runtime.pretraining import pretrain_job, run_pretrain

if __name__ == "__main__":
    report(run_pretrain, load_job(pretrain_job, __doc__, domain="math"))
