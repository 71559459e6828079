"""Every published claim from its stored trials: prints each with its figures, and fails where one no longer holds."""

import sys
from pathlib import Path

from stepward.report.claims import check_claims

FILE = Path(__file__).parents[1] / "docs" / "claims" / "claims.yaml"

if __name__ == "__main__":
    checked = check_claims(str(FILE))
    for claim, row, wrong in checked:
        print(f"{'BROKEN' if wrong else 'holds '}  {claim.says}")
        print(f"        {row.mean:.3f} against {row.reference_mean:.3f}: {row.difference:+.3f} "
              f"[{row.low:+.3f}, {row.high:+.3f}], p {row.p_value:.2g}")  # fmt: skip
        for words in wrong:
            print(f"        {words}")
    sys.exit(any(wrong for _, _, wrong in checked))
