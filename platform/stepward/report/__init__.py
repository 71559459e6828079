"""The report: figures and one self-contained HTML page, from finished artifacts only."""

from stepward.report.build import build_page
from stepward.report.page import Page, render
from stepward.report.sources import Source, Sources, read_source, read_sources
from stepward.report.tree_table import MAX_NODES, tree_table

__all__ = [
    "MAX_NODES",
    "Page",
    "Source",
    "Sources",
    "build_page",
    "read_source",
    "read_sources",
    "render",
    "tree_table",
]
