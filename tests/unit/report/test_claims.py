"""Published claims are recomputed from stored trials, and a figure that they do not give is said to be broken."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from stepward.report.claims import Holds, check_claims

FILE = Path(__file__).parents[3] / "docs" / "claims" / "claims.yaml"


def test_every_published_claim_holds_and_a_changed_one_does_not():
    checked = check_claims(str(FILE))
    assert checked and not [wrong for _, _, wrong in checked if wrong]
    claim, row, _ = checked[0]
    assert row.num_pairs == 1000
    wrong = Holds(mean=0.9, low_above=0, p_above=0.5).broken(row)
    assert [words.split(" ")[0] for words in wrong] == ["mean:", "low_above", "p_above"]
    with pytest.raises(ValueError, match=r"expected trials of one of .*'prm'.*, got 'nobody'"):
        claim.model_copy(update={"arm": "nobody"}).recomputed(pq.read_table(FILE.parent / "walk.parquet"))
