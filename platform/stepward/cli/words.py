"""What each command says of itself: one line, how it is used, what it makes; commands by their names in a shell."""

EXPERIMENT = """Run a whole experiment: label, train, tune, evaluate, report. This is what `make demo` runs.

    stepward experiment                               the embedded default, a few minutes on two cores
    stepward experiment name=small label.problems.num_train=1000
    stepward experiment domain=pde                    surrogate, rankings, reward models, ablation of rollouts
    stepward experiment experiment.yaml

Makes one artifact a stage in <store>/<domain>/, logs each to MLflow, and ends with the paths of the report and of the
MLflow store. Stages that are finished are passed over; after a kill, the same command goes on where it stopped.
"""

DATA = """Make a file of trajectories for a domain, on Ray Data: simulated, or converted from a published data set.

    stepward data                                      320 flows of a gas on 32 x 32 cells, about a minute
    stepward data source.kind=burgers name=burgers
    stepward data source.kind=pdegym source.path=CE-RP.nc name=ce-rp
    stepward label domain=pde problems.path=artifacts/pde/data/default/trajectories.parquet      use it

Makes <store>/<domain>/data/<name>: trajectories.parquet (tensors with their grid), README.md (its card) and
manifest.json. After a kill, the same command goes on. Without it, stepward label simulates what it needs.
"""

PRETRAIN = """Train what a domain needs before it can label: the proposer of math, the surrogate of pde; on Ray Train.

    stepward pretrain                                    math: the shipped recipe, about 20 minutes on one core
    stepward pretrain recipe.ambiguous_error=.3 name=calmer     other planted error rates
    stepward label domain=math proposer.model=artifacts/math/pretrain/calmer/model     use it

    stepward pretrain domain=pde                         a U-Net on generated Euler flows, a few minutes
    stepward pretrain domain=pde name=corrected surrogate.kind=corrected base=artifacts/pde/pretrain/default

Makes <store>/<domain>/pretrain/<name>. math: model/ (config.json, model.safetensors, the tokenizer) and metrics.json
with solve rates on validation problems; docs/embedded_proposer.md tells what is accepted. pde: surrogate.json,
weights.safetensors and metrics.json with errors on validation trajectories. Both: history.parquet, manifest.json. After
a kill, the same command goes on from the last finished stage or epoch.
"""

LABEL = """Label partial solutions, on Ray Data: by Monte-Carlo continuation, or by ranking candidates.

    stepward label                               the embedded default: 260,000 partial number walks
    stepward label problems.path=mine.jsonl      your own problems (.jsonl, .csv, .parquet)
    stepward label domain=pde                    100 candidates of every fourth state of 256 flows, ranked
    stepward label settings.yaml --pool.num_actors 4

Makes <store>/<domain>/label/<name>: labels/*.parquet (id, the partial solution, and its label: successes and
num_rollouts, or the errors and ranking of candidates with the fields of some), problems.parquet, dead_letters.parquet,
metrics.json, manifest.json. After a kill, the same command goes on where it stopped.
"""

TRAIN = """Train a reward model on the labels of stepward label, on Ray Train.

    stepward train                                            the embedded default: an MLP for number walks
    stepward train learner.kind=hmm name=hmm                  the hidden-Markov baseline
    stepward train domain=math given.path=rated.jsonl         step labels of a file: no labelling run is needed
    stepward train domain=pde                                 a CNN that orders candidates of a surrogate
    stepward train domain=pde learner.kind=feature_critic name=critic
    stepward train settings.yaml --pool.num_workers 4

Makes <store>/<domain>/train/<name>: weights.safetensors, reward.json, calibration.json (probabilities), metrics.json,
history.parquet, tables/*.parquet, manifest.json. After a kill, the same command goes on from the last finished epoch.
"""

TUNE = """Sweep settings of the train job on small trainings and pick a winner by validation loss, on Ray Tune.

    stepward tune                                       the embedded default: tune_spaces/walk_prm.yaml, with ASHA
    stepward tune space=tune_spaces/mine.yaml name=mine search.num_samples=32
    stepward tune search.kind=optuna scheduler.kind=none
    stepward tune domain=pde                            margin × depth × width: tune_spaces/pde_prm.yaml
    stepward tune domain=math of=searches space=tune_spaces/math_search.yaml name=search
                                                              nothing is trained: trials search validation problems
    stepward tune domain=pde of=searches space=tune_spaces/pde_weights.yaml name=weights
                                                              the same with rollouts of a surrogate

Needs <store>/<domain>/label/default. Makes <store>/<domain>/tune/<name>: trials.parquet, history.parquet, metrics.json,
best.yaml (settings of the winner: `stepward train best.yaml`) and manifest.json. After a kill, the same command
goes on; trials that ended are not run again.
"""

EVALUATE = """Evaluate guides: solve rate or error against cost, ranking, calibration, robustness; on Ray Data.

    stepward evaluate                                   PRM, HMM, exact values, distance and random order on walk
    stepward evaluate --split validation --name tuning  to choose something; the test split is for the report
    stepward evaluate domain=pde                        the ablation of rollouts: error of every step, cost, gains
    stepward evaluate my_evaluation.yaml

Needs <store>/<domain>/label/default and the train artifacts of the guides. Makes <store>/<domain>/evaluate/<name>:
tables/*.parquet (trials, and what the studies make of them: docs/architecture.md, "One evaluation"), metrics.json,
runs/<guide or arm>/ and manifest.json. After a kill, the same command goes on.
"""

EXPORT = """Write labels in the form that another library trains on, solutions in steps with a label a step.

    stepward export                                          TRL's stepwise supervision: prompt, completions, labels
    stepward export form.kind=openrlhf form.reward_tokens=null name=soft    placeholders, and soft values
    stepward export form.kind=prm800k name=prm800k           one completion a step, rated 1, -1 or null
    stepward export form.kind=datasets name=hf               a folder for datasets.load_from_disk, counts and all

Needs <store>/<domain>/label/<label>. Makes <store>/<domain>/export/<name>: <split>.jsonl or the folder's files,
dead_letters.parquet (solutions that the form cannot say) and manifest.json. What is written is read back by
stepward label labels.kind=given labels.format=trl (openrlhf, prm800k, steps).
"""

BENCHMARK = """Judge reward models by labelled steps: PRMBench, ProcessBench, rated solutions of your own; on Ray Data.

    stepward benchmark benchmark.kind=prmbench benchmark.path=prmbench/       trivial rivals, without a model
    stepward benchmark benchmark.kind=processbench benchmark.path=gsm8k.json guides.q.kind=published guides.q.path=DIR
    stepward benchmark my_benchmark.yaml              guides: trained, published, composite: what a search takes

Makes <store>/<domain>/benchmark/<name>: tables/benchmark.parquet (figures by judge, threshold and category, with
intervals over problems), tables/scores.parquet, tables/references.parquet (published figures), metrics.json,
dead_letters.parquet and manifest.json. After a kill, the same command goes on.
"""

SERVE = """Serve scores of steps over HTTP, from any reward model; FastAPI, on this machine alone by default.

    stepward serve path=artifacts/math/train/prm             what stepward train made
    stepward serve path=Qwen/Qwen2.5-Math-PRM-7B port=8401   a published one
    curl -s localhost:8400/score -H 'content-type: application/json' -d '{"question": "1+1?", "steps": ["1+1=2"]}'

Offers POST /score, POST /score/batch ({"solutions": [{"question": ..., "steps": [...]}]}), GET /health and /docs. What
cannot be scored is refused with status 422 and a sentence.
"""

REPORT = """Make the report of an experiment: one HTML page that needs nothing else, and its figures.

    stepward report                       of the evaluation `default` and what it was made from
    stepward report evaluate=ablation name=ablation

Makes <store>/<domain>/report/<name>: report.html, figures/*.png and manifest.json. What is missing is named in the
report, with the command that makes it. When an artifact has changed, the same command makes the report anew.
"""

TRACK = """Log finished artifacts to MLflow, for example after the tracking server was out of reach.

    stepward track                                              every artifact of the store
    stepward track --artifact artifacts/walk/evaluate/default   one of them

Artifacts that are logged already are left alone, so this can always be repeated.
"""

DOCTOR = """Look at this machine and say what is missing: packages, processors, memory, storage, MLflow, Ray, a model.

    stepward doctor
    stepward doctor store=s3://bucket/stepward tracking.uri=http://tracking:5000
    stepward doctor domain=math proposer.model=my-model       can this model propose, and how fast?
    stepward doctor ray=true                                  is there a cluster, or can one be started here?

Every line is ok, a warning, or what is wrong and what to do about it; exit code 1 where something is wrong.
"""
