"""Incremental scoring equals scoring the whole text, whatever was evicted."""

import numpy as np
import pytest
import torch

from stepward.domains.math.engine import IncrementalScorer


def grow_tree(rng, levels=5, width=4):
    """A tree of ragged steps: ids, parents, tokens by level, and the whole text of each node."""
    texts, level, tree = {}, [None], []
    for depth in range(levels):
        ids = [f"{depth}.{i}" for i in range(width)]
        parents = [level[int(rng.integers(len(level)))] for _ in ids]
        steps = [rng.integers(6, 61, size=rng.integers(1, 9)).tolist() for _ in ids]
        for node, parent, step in zip(ids, parents, steps, strict=True):
            texts[node] = texts.get(parent, []) + step
        tree.append((ids, parents, steps))
        level = ids
    return tree, texts


@pytest.mark.parametrize("max_bytes", [2**30, 6000, 0], ids=["all kept", "some evicted", "nothing kept"])
def test_equals_scoring_the_whole_text(model, max_bytes):
    tree, texts = grow_tree(np.random.default_rng(0))
    scorer = IncrementalScorer(model.base_model, max_bytes=max_bytes)
    for ids, parents, steps in tree:
        states = scorer.hidden(ids, parents, steps)
        assert scorer.bytes <= max_bytes
        for node, state in zip(ids, states, strict=True):
            with torch.inference_mode():
                whole = model.base_model(input_ids=torch.tensor([texts[node]])).last_hidden_state[0, -1]
            torch.testing.assert_close(state, whole, atol=1e-5, rtol=1e-5)


def test_only_new_tokens_are_run_unless_evicted(llama):
    tree, _ = grow_tree(np.random.default_rng(1))
    new = sum(len(step) for _, _, steps in tree for step in steps)
    kept, lost = IncrementalScorer(llama.base_model), IncrementalScorer(llama.base_model, max_bytes=0)
    for level in tree:
        kept.hidden(*level)
        lost.hidden(*level)
    assert kept.tokens_run == new
    assert lost.tokens_run > new


def test_refuses_what_it_cannot_score(llama):
    scorer = IncrementalScorer(llama.base_model)
    scorer.hidden(["a"], [None], [[7, 8]])
    with pytest.raises(ValueError, match="unknown parent 'b'"):
        scorer.hidden(["c"], ["b"], [[9]])
    with pytest.raises(ValueError, match="at least one new token"):
        scorer.hidden(["c"], ["a"], [[]])
    with pytest.raises(ValueError, match="other text"):
        scorer.hidden(["a"], [None], [[7, 9]])
    with pytest.raises(ValueError, match="at most 64 tokens"):
        scorer.hidden(["d"], ["a"], [[9] * 63])
