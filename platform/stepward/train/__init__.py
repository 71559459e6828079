"""Training of reward models: losses, objectives, the epoch loop and its checkpoints. Nothing here knows of Ray."""

from stepward.train.checkpoints import Checkpoint, Progress
from stepward.train.counts import CountLearning, problem_losses
from stepward.train.examples import Examples, make_examples, minibatches
from stepward.train.labels import LabelledStates, read_labels
from stepward.train.learned import Layers, LearnedNetwork
from stepward.train.loop import ExampleTask, epochs, predict_logits, seeded_module, state_arrays
from stepward.train.objectives import OBJECTIVES, Binomial, Focal, HardBCE, Objective, Pairwise, SoftBCE
from stepward.train.optimisation import Descent, Optimisation
from stepward.train.sampling import Sampling
from stepward.train.settings import TrainSettings, train_settings
from stepward.train.subset import LabelSubset, thin
from stepward.train.targets import TargetLearning
from stepward.train.task import Minibatch, Part, Task
from stepward.train.trainer import DivergedError, Tick, training
from stepward.train.workers import ALONE, Workers

__all__ = [
    "TrainSettings",
    "train_settings",
    "Descent",
    "Optimisation",
    "Objective",
    "OBJECTIVES",
    "SoftBCE",
    "Binomial",
    "HardBCE",
    "Focal",
    "Pairwise",
    "Sampling",
    "LabelSubset",
    "thin",
    "LabelledStates",
    "Layers",
    "LearnedNetwork",
    "read_labels",
    "Examples",
    "make_examples",
    "minibatches",
    "epochs",
    "seeded_module",
    "predict_logits",
    "state_arrays",
    "ALONE",
    "DivergedError",
    "ExampleTask",
    "Minibatch",
    "Part",
    "TargetLearning",
    "Task",
    "Tick",
    "Workers",
    "training",
    "Checkpoint",
    "CountLearning",
    "problem_losses",
    "Progress",
]
