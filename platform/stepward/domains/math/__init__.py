"""The math domain: a state is a question and the solution lines written so far, a step is one more line."""

from stepward.domains.math.problems import ModelSolution, Problem, RatedSolution, Rejected

__all__ = ["ModelSolution", "Problem", "RatedSolution", "Rejected"]
