"""The engine against transformers' own generate, against itself in other batches, and at its limits."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from stepward.domains.math.engine import (
    ContinuationEngine,
    FinishReason,
    SamplingConfig,
    sequence_keys,
    splitmix_uniforms,
)
from stepward.domains.math.engine.drawing import draw_tokens
from stepward.domains.math.engine.prefixes import group_nested

VOCAB, CONTEXT, EOS = 61, 64, 5
ENDLESS = (EOS,)


def ragged_prefixes(num_texts: int, seed: int = 0) -> list[list[int]]:
    """Prefixes of many lengths, half of them nested in others, one of them twice."""
    rng = np.random.default_rng(seed)
    texts = [rng.integers(6, VOCAB, size=rng.integers(1, 30)).tolist() for _ in range(num_texts)]
    return texts + [text[: (len(text) + 1) // 2] for text in texts] + texts[:1]


def sample(engine, prefixes, each, *, seed=0, **config):
    counts = np.full(len(prefixes), each)
    return engine.sample(prefixes, counts, keys=sequence_keys(seed, int(counts.sum())), config=SamplingConfig(**config))


@pytest.mark.parametrize("backend", ["auto", "shared", "generic"])
def test_greedy_tokens_and_likelihoods_are_those_of_generate(model, backend):
    engine = ContinuationEngine(model, rows=6, backend=backend)
    prefixes = ragged_prefixes(5)
    result = sample(engine, prefixes, 2, temperature=0, max_new_tokens=12)
    for i, tokens in enumerate(result.token_lists()):
        prefix = prefixes[result.prefix[i]]
        text = torch.tensor([prefix])
        expected = model.generate(
            text, attention_mask=torch.ones_like(text), do_sample=False, max_new_tokens=12, pad_token_id=0
        )[0]
        assert expected[len(prefix) :].tolist() == tokens
        with torch.inference_mode():
            logits = model(input_ids=expected[None]).logits[0, len(prefix) - 1 : -1]
        log_probs = torch.log_softmax(logits, -1)[torch.arange(len(tokens)), torch.tensor(tokens)]
        np.testing.assert_allclose(result.log_probs[i, : len(tokens)], log_probs, atol=1e-4)


@pytest.mark.parametrize("kind", ["auto", "shared", "generic"])
def test_first_two_tokens_have_the_distribution_of_the_model(llama, kind):
    """Chi-square over the pairs expected at least five times, the others pooled, at a level of one in a thousand."""
    prefix, temperature, top_p, draws = [7, 9, 30, 8], 0.7, 0.95, 4000
    engine = ContinuationEngine(llama, rows=64, backend=kind)
    result = sample(engine, [prefix], draws, max_new_tokens=2, temperature=temperature, top_p=top_p, eos_token_ids=())

    def truncated(texts):
        with torch.no_grad():
            probs = torch.softmax(llama(input_ids=torch.tensor(texts)).logits[:, -1].double() / temperature, -1)
        for row in probs:
            order = row.argsort(descending=True)
            keep = int((row[order].cumsum(0) < top_p).sum()) + 1
            row[order[keep:]] = 0
        return (probs / probs.sum(-1, keepdim=True)).numpy()

    joint = truncated([prefix])[0][:, None] * truncated([[*prefix, token] for token in range(VOCAB)])
    seen = np.zeros_like(joint)
    np.add.at(seen, (result.tokens[:, 0], result.tokens[:, 1]), 1)
    assert seen[joint == 0].sum() == 0
    common = joint * draws >= 5
    expected = np.append(joint[common], joint[~common].sum()) * draws
    observed = np.append(seen[common], seen[~common].sum())
    statistic, freedom = ((observed - expected) ** 2 / expected).sum(), len(expected) - 1
    # Wilson-Hilferty: (X / k)^(1/3) is normal with mean 1 - 2 / 9k and variance 2 / 9k; 3.09 is its .999 quantile.
    limit = freedom * (1 - 2 / (9 * freedom) + 3.09 * np.sqrt(2 / (9 * freedom))) ** 3
    assert statistic < limit


def test_a_continuation_depends_on_its_key_and_prefix_alone(model):
    """Alone, in a crowd, on any backend, with any number of rows: the same text, through refills and packing."""
    prefixes = ragged_prefixes(6, seed=1)
    options = dict(temperature=1.0, max_new_tokens=15, top_p=0.99)
    crowd = sample(ContinuationEngine(model, rows=16), prefixes, 5, **options)
    for rows, backend in ((5, "auto"), (40, "shared"), (32, "generic")):
        other = sample(ContinuationEngine(model, rows=rows, backend=backend), prefixes, 5, **options)
        assert other.token_lists() == crowd.token_lists()
        np.testing.assert_array_equal(other.reasons, crowd.reasons)
        np.testing.assert_allclose(other.log_probs, crowd.log_probs, atol=1e-4)
    keys, engine = sequence_keys(0, len(crowd)), ContinuationEngine(model, rows=16)
    for i in (17,):
        alone = engine.sample(
            [prefixes[crowd.prefix[i]]], np.array([1]), keys=keys[i : i + 1], config=SamplingConfig(**options)
        )
        assert alone.token_lists()[0] == crowd.token_lists()[i]


@pytest.mark.parametrize("backend", ["auto", "shared", "generic"])
def test_states_are_those_that_the_last_tokens_were_drawn_from(model, backend):
    """One-token continuations end in the state of their prefix, empty ones have none."""
    prefixes = [*ragged_prefixes(4), [7] * CONTEXT]
    engine = ContinuationEngine(model, rows=6, backend=backend)
    for longest in (1, 9):
        result = sample(engine, prefixes, 3, temperature=1.0, max_new_tokens=longest, state_layers=(1,))
        for i, tokens in enumerate(result.token_lists()[:-3]):
            text = torch.tensor([[*prefixes[result.prefix[i]], *tokens[:-1]]])
            with torch.inference_mode():
                expected = model(input_ids=text, output_hidden_states=True).hidden_states[1][0, -1]
            np.testing.assert_allclose(result.states[i, 0], expected, atol=1e-4)
        assert not result.states[-3:].any()
    assert sample(engine, prefixes, 1).states is None
    with pytest.raises(ValueError, match=r"state_layers in 1\.\.1, got \(2,\)"):
        sample(engine, prefixes, 1, state_layers=(2,))


@pytest.mark.parametrize("vocabulary", [1, 7, 61, 5000])
def test_draws_invert_the_distribution_function(vocabulary):
    """Against one cumulative sum in double precision, with most tokens impossible, those at both ends too."""
    torch.manual_seed(vocabulary)
    logits = 3 * torch.randn(3, vocabulary)
    logits[:, torch.rand(vocabulary) < 0.8] = -200.0
    logits[:, vocabulary // 2] = 0.0
    source = torch.tensor([2, 0, 1]).repeat(100)
    uniforms = torch.cat([torch.rand(297, dtype=torch.float64), torch.tensor([0, 1 - 2**-53, 0.5]).double()])
    tokens, log_probs = draw_tokens(logits, source, uniforms, temperature=0.7, top_p=1.0)
    probs = torch.softmax(torch.log_softmax(logits, -1) / 0.7, -1)[source].double().numpy()
    cdf = probs.cumsum(1)
    for i, token in enumerate(tokens):
        wanted = float(uniforms[i]) * cdf[i, -1]
        assert probs[i, token] > 0
        assert (cdf[i, token - 1] if token else 0.0) <= wanted + 1e-12 and wanted <= cdf[i, token] + 1e-12
    expected = torch.log_softmax(logits.double(), -1)[source, torch.from_numpy(tokens)]
    np.testing.assert_allclose(log_probs, expected, atol=1e-5)
    with pytest.raises(ValueError, match=r"finite logits.*bfloat16"):
        draw_tokens(logits * torch.nan, source, uniforms, temperature=1.0, top_p=1.0)


def test_accounts_and_keeps_the_batch_full(llama):
    prefixes = ragged_prefixes(30, seed=2)
    result = sample(
        ContinuationEngine(llama, rows=16), prefixes, 8, temperature=1.5, max_new_tokens=20, eos_token_ids=(5, 6)
    )
    stats = result.stats
    assert stats.generated_tokens == result.lengths.sum()
    assert stats.decoded_tokens <= stats.generated_tokens - len(result)  # a last token is never run
    assert stats.prefix_tokens == sum(map(len, prefixes))
    assert stats.prefill_tokens < 0.8 * stats.prefix_tokens
    assert stats.occupancy >= 0.9


@pytest.mark.parametrize("backend", ["auto", "shared", "generic"])
def test_what_prefixes_begin_with_is_read_once_and_changes_nothing(model, backend):
    """Prefixes that begin with it, one that is it, and others; then a call of another beginning; then the first."""
    engine = ContinuationEngine(model, rows=8, backend=backend)
    common = ragged_prefixes(1, seed=3)[0] + [9] * 10
    prefixes = [common + tail for tail in ragged_prefixes(4, seed=4)] + [common, [7, 8], common[:-1]]
    counts, options = np.full(len(prefixes), 3), SamplingConfig(temperature=1.0, max_new_tokens=8, state_layers=(1,))
    keys = sequence_keys(0, int(counts.sum()))
    expected = engine.sample(prefixes, counts, keys=keys, config=options)
    reads = []
    for beginning in (common, common, common[:3], common):
        result = engine.sample(prefixes, counts, keys=keys, config=options, common=beginning)
        assert result.token_lists() == expected.token_lists()
        np.testing.assert_allclose(result.log_probs, expected.log_probs, atol=1e-4)
        np.testing.assert_allclose(result.states, expected.states, atol=1e-4)
        reads.append(result.stats.prefill_tokens)
    assert reads[0] - reads[1] == (0 if backend == "generic" else len(common)), "kept from call to call, or not"
    assert reads[3] == reads[0] < expected.stats.prefill_tokens


def test_identical_continuations_are_decoded_once(llama):
    result = sample(ContinuationEngine(llama), [[7, 8, 9]], 16, temperature=0, max_new_tokens=10, eos_token_ids=())
    assert (result.tokens == result.tokens[0]).all()
    assert result.stats.decoded_tokens == 9


def test_context_overflow_is_recorded(model):
    prefixes = [[7] * (CONTEXT - 3), [8] * CONTEXT, [9] * (CONTEXT + 5), [7, 8]]
    for backend in ("auto", "generic"):
        engine = ContinuationEngine(model, rows=4, backend=backend)
        result = sample(engine, prefixes, 2, temperature=1.0, max_new_tokens=6, eos_token_ids=())
        assert result.lengths.tolist() == [3, 3, 0, 0, 0, 0, 6, 6]
        assert result.reasons.tolist() == [FinishReason.CONTEXT] * 6 + [FinishReason.LENGTH] * 2


def test_a_prefix_may_ask_for_none_or_for_more_than_the_batch(llama):
    engine = ContinuationEngine(llama, rows=4)
    counts = np.array([0, 50, 0])
    result = engine.sample(
        [[7], [8, 9], [8]], counts, keys=sequence_keys(0, 50), config=SamplingConfig(max_new_tokens=5)
    )
    assert (result.prefix == 1).all() and len(result) == 50 and (result.lengths > 0).all()
    nothing = engine.sample([], np.array([], dtype=int), keys=sequence_keys(0, 0), config=SamplingConfig())
    assert len(nothing) == 0


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Sixty-one words, two of which hold a newline; no pad token."""
    words = {f"w{i}": i for i in range(VOCAB - 2)} | {"\n": VOCAB - 2, "x\n": VOCAB - 1}
    raw = Tokenizer(models.WordLevel(words, unk_token="w0"))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="w5")


def test_stop_rules(llama):
    tokenizer = make_tokenizer()
    assert tokenizer.pad_token is None
    engine = ContinuationEngine(llama, tokenizer=tokenizer, rows=32)
    prefixes, newline = ragged_prefixes(6), {VOCAB - 2, VOCAB - 1}
    options = dict(temperature=1.5, max_new_tokens=30, eos_token_ids=())

    steps = sample(engine, prefixes, 4, stop_text=lambda row, text: True, **options)
    free = sample(engine, prefixes, 4, **options)
    heard: list[tuple[int, str]] = []

    def stop(row: int, text: str) -> bool:
        heard.append((row, text))
        return "w1" in text

    wanted = sample(engine, prefixes, 4, stop_text=stop, **options)
    first = sample(engine, prefixes, 4, stop_text=lambda row, text: bool(row % 2), stop_at="tokens", **options)
    pair = sample(engine, prefixes, 4, stop_token_sequences=(tuple(free.tokens[0, 2:4].tolist()),), **options)
    for i, tokens in enumerate(free.token_lists()):
        ends = [at for at, token in enumerate(tokens) if token in newline]
        assert steps.token_lists()[i] == (tokens[: ends[0] + 1] if ends else tokens)
        cut = next((end for end in ends if "w1" in tokenizer.decode(tokens[: end + 1])), None)
        assert wanted.token_lists()[i] == (tokens if cut is None else tokens[: cut + 1])
        assert (wanted.reasons[i] == FinishReason.STOP) == (cut is not None)
        assert first.lengths[i] == (1 if i % 2 else len(tokens))
    said = [tokenizer.decode(tokens, skip_special_tokens=True) for tokens in free.token_lists()]
    assert heard and all(said[row].startswith(text.rstrip()) for row, text in heard)
    assert pair.lengths[0] <= 4 and pair.reasons[0] == FinishReason.STOP
    with pytest.raises(ValueError, match="pass a tokenizer"):
        sample(ContinuationEngine(llama), [[7]], 1, stop_text=lambda row, text: True)


@pytest.mark.parametrize(
    ("prefixes", "counts", "message"),
    [
        ([[]], [1], "at least one token"),
        ([[VOCAB]], [1], "0..60"),
        ([[7]], [1, 1], "one a prefix"),
        ([[7]], [2], "1 keys|2 keys"),
    ],
)
def test_bad_requests_are_refused(llama, prefixes, counts, message):
    with pytest.raises(ValueError, match=message):
        ContinuationEngine(llama).sample(prefixes, np.array(counts), keys=sequence_keys(0, 1), config=SamplingConfig())


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=5), max_size=12),
    st.integers(1, 6),
    st.integers(1, 4),
)
def test_families_cover_every_sequence_once(prefixes, limit, each):
    counts = np.full(len(prefixes), each)
    families = group_nested(prefixes, counts, usable=np.ones(len(prefixes), dtype=bool), max_sequences=limit)
    prefix_of = np.repeat(np.arange(len(prefixes)), counts)
    seen = [int(s) for family in families for s in family.sequences]
    assert sorted(seen) == list(range(len(prefix_of)))
    for family in families:
        assert len(family.sequences) <= limit
        for sequence, cut in zip(family.sequences, family.cut_of, strict=True):
            assert list(family.tokens[: family.cuts[cut]]) == prefixes[prefix_of[sequence]]


def test_streams_are_uniform_and_apart():
    keys = np.repeat(sequence_keys(3, 200), 500)
    draws = splitmix_uniforms(keys, np.tile(np.arange(500), 200)).reshape(200, 500)
    deviation = 1 / np.sqrt(12 * draws.size)
    assert abs(draws.mean() - 0.5) < 4 * deviation
    assert abs((draws[1:] * draws[:-1]).mean() - 0.25) < 4 * np.sqrt(7 / 144 / draws.size)
    assert len(np.unique(draws)) == draws.size
