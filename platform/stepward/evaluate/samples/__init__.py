"""Choosing among sampled solutions: what N samples, a vote or a reward model's choice solve, and at what cost.

`settings` what is asked · `drawing` the samples and what scoring them costs · `voting` rules · `siblings` rollouts of
the children of held-out states · `study` from samples to tables.
"""
