"""What a notebook shows of an object: a title, where it is, tables and pictures."""

from __future__ import annotations

import base64
from html import escape

import pandas as pd

WIDE = 90  # characters of a text in a table


def boxed(title: str, place: str, *parts: str) -> str:
    """A piece of a page: what it is, where it lies, and its parts."""
    return f"<div><b>{escape(title)}</b><br><code>{escape(place)}</code>{''.join(parts)}</div>"


def frame_html(frame: pd.DataFrame) -> str:
    """A table; long texts are cut, numbers have four digits, and what a model wrote is escaped."""
    return str(frame.map(_short).to_html(index=False, escape=True, float_format=lambda number: f"{number:.4g}"))


def picture_html(png: bytes, words: str) -> str:
    """A picture within the page."""
    data = base64.b64encode(png).decode()
    return f'<img alt="{escape(words)}" style="max-width:100%" src="data:image/png;base64,{data}">'


def _short(value: object) -> object:
    return value[: WIDE - 1] + "…" if isinstance(value, str) and len(value) > WIDE else value
