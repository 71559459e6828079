"""The nouns every other room shares: batches of states, interfaces, cost, randomness, configuration, artifacts.

Import each noun from the module that defines it, for example ``from stepward.core.cost import Cost``.
"""
