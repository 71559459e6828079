"""Evaluation where a verifier gives the error of every step: rollouts of each rule, and rankings of candidates.

`settings` what is asked · `trial` one rollout with settings of its own (for sweeps) · `arms` the rules · `work` items
that a pool does · `study` an item · `ranking` candidates of held-out states · `tables`, `stage` from items to tables.
"""
