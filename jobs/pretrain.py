"""Train the embedded proposer of the math domain from nothing, on Ray Train and accelerate.

    python jobs/pretrain.py                                    the shipped recipe: about 20 minutes on one core
    python jobs/pretrain.py recipe.ambiguous_error=.3 name=calmer     other planted error rates
    python jobs/label.py domain=math proposer.model=artifacts/math/pretrain/calmer/model     use it

Makes <store>/math/pretrain/<name>: model/ (config.json, model.safetensors, the tokenizer), metrics.json with solve
rates on validation problems, history.parquet, manifest.json. After a kill, the same command goes on from the last
finished stage. docs/embedded_proposer.md tells what is accepted, and what came out.
"""

import _platform  # noqa: F401
from stepward.core.config import load_config
from stepward.runtime.outcome import report
from stepward.runtime.pretraining import PretrainJob, run_pretrain

if __name__ == "__main__":
    report(run_pretrain, load_config(PretrainJob, doc=__doc__))
