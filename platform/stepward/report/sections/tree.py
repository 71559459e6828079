"""One search as a picture, and as a tree to explore; and one that failed."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from stepward.core.config import Plain
from stepward.report.figures import png, search_tree
from stepward.report.page import Block, Branch, Explorer, Picture, Section
from stepward.report.sections.setting import setting
from stepward.report.sources import MissingError, Sources
from stepward.report.tables import by


def tree_section(sources: Sources, tree: pa.Table | None) -> Section:
    """One problem's search tree, from a table made by `stepward.report.tree_table`."""
    about = setting(sources)
    if tree is None:
        raise MissingError(
            f"No problem was solved by {about.primary} in 3 to 8 expansions, or the states of this domain have no "
            f"texts."
        )
    drawn = next(iter(by(tree, "problem_id").values()))
    expanded = sum(order >= 0 for order in drawn["expanded"].to_pylist())
    caption = (
        f"How to read it: {drawn['problem_id'][0].as_py()}, the first problem (by id) that {about.primary} solved in "
        f"3 to 8 expansions, chosen for its size and not for its looks. Every box is a state that was proposed, "
        f"coloured by its score; small numbers give the order in which states were expanded ({expanded} of "
        f"{len(drawn)}), and the thick line is the solution found. {about.search_words(about.main)}; n = 1 problem, "
        f"seed {about.seed}."
    )
    alt = f"Search tree with {len(drawn)} states, {expanded} of them expanded."
    blocks: list[Block] = [Picture("search_tree", png(search_tree(drawn, f"score by {about.primary}")), alt, caption)]
    blocks += [explorer(problem, nodes, about.primary) for problem, nodes in by(tree, "problem_id").items()]
    return Section("One search, drawn", blocks)


def explorer(problem: str, nodes: pa.Table, guide: str) -> Explorer:
    """The tree of one problem as branches, children in the order of their scores."""
    rows = nodes.to_pylist()
    children: dict[int, list[dict[str, Any]]] = {}
    for row in sorted(rows, key=lambda row: -row["score"]):
        children.setdefault(row["parent"], []).append(row)

    def branch(row: Plain) -> Branch:
        below = [branch(child) for child in children.get(row["node"], [])]
        return Branch(row["words"] or row["text"], _note(row), row["solution"], below)

    [root] = children[-1]
    end = "and found what the verifier calls right" if _right(rows) else "and did not find a right solution"
    title = f"Problem {problem}, which {guide} searched {end}. Click on a state to see what was proposed from it."
    return Explorer(title, branch(root))


def _note(row: Plain) -> str:
    words = [] if row["parent"] < 0 else [f"score {row['score']:.3g}"]
    if row["expanded"] >= 0:
        words.append(f"expanded as number {row['expanded'] + 1}")
    if row["outcome"] is not None:
        words.append("right" if row["outcome"] > 0 else "wrong")
    return " · ".join(words)


def _right(rows: list[Plain]) -> bool:
    return any(row["solution"] and (row["outcome"] or 0) > 0 for row in rows)
