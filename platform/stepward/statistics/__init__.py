"""Statistics of an evaluation: arrays in, numbers and small frozen records out. `stepward.evaluate` names them all."""
