"""The picture of one search."""

from __future__ import annotations

import pyarrow as pa

from stepward.report.figures import png, search_tree
from stepward.report.page import Picture, Section
from stepward.report.sections.setting import setting
from stepward.report.sources import MissingError, Sources


def tree_section(sources: Sources, tree: pa.Table | None) -> Section:
    """One problem's search tree, from a table made by `stepward.report.tree_table`."""
    about = setting(sources)
    if tree is None:
        raise MissingError(
            f"No problem was solved by {about.primary} in 3 to 8 expansions, or the states of this domain have no "
            f"texts."
        )
    expanded = sum(order >= 0 for order in tree["expanded"].to_pylist())
    caption = (
        f"How to read it: {tree['problem_id'][0].as_py()}, the first problem (by id) that {about.primary} solved in "
        f"3 to 8 expansions, chosen for its size and not for its looks. Every box is a state that was proposed, "
        f"coloured by its score; small numbers give the order in which states were expanded ({expanded} of "
        f"{len(tree)}), and the thick line is the solution found. {about.search_words(about.main)}; n = 1 problem, "
        f"seed {about.seed}."
    )
    alt = f"Search tree with {len(tree)} states, {expanded} of them expanded."
    picture = Picture("search_tree", png(search_tree(tree, f"score by {about.primary}")), alt, caption)
    return Section("One search, drawn", [picture])
