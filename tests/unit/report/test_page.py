"""The page: self-contained, escaped, readable; sentences that say no more than the numbers."""

import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest

from stepward.report.page import Branch, Explorer, Gap, Grid, Page, Picture, Prose, Section, Verbatim, render
from stepward.report.text import count, difference, duration, interval, p_value, rate, signed, with_interval
from stepward.report.wording import comparison_sentence, question, verdict
from stepward.statistics.rivals import nearest_budget

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
HOSTILE = """<script>alert(1)</script>"' onerror="x" {{ 7 * 7 }}"""


class Reader(HTMLParser):
    """Tags with their attributes, in order, and the text."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data


def page(name="prm"):
    blocks = [
        Prose(f"About {name}."),
        Picture("frontier", PNG, f"curves of {name}", f"How to read {name}"),
        Grid(["guide", name], [[name, "0.952\n[0.94, 0.96]"]], caption=name),
        Grid([], [[name]], words=True, folded=f"Settings of {name}"),
        Verbatim(f"python jobs/train.py name={name}"),
        Gap(f"no {name}", f"python jobs/train.py name={name}"),
    ]
    return Page(
        title=f"What of {name}?", kicker=name, answer=[f"{name} differs."], sections=[Section(f"On {name}", blocks)]
    )


def test_the_page_needs_nothing_but_itself():
    html = render(page())
    tags = Reader(html).tags
    assert not {"link", "iframe", "object", "video", "base", "form"} & {tag for tag, _ in tags}
    assert [attributes for tag, attributes in tags if tag == "script"] == [{}]  # inline, the one that sorts tables
    sources = [value for _, attributes in tags for key, value in attributes.items() if key in ("src", "srcset", "data")]
    assert len(sources) == 1
    assert base64.b64decode(sources[0].removeprefix("data:image/png;base64,")) == PNG
    links = [attributes["href"] for tag, attributes in tags if tag == "a"]
    anchors = {attributes["id"] for _, attributes in tags if "id" in attributes}
    files = [link for link in links if link.startswith("data:text/csv;base64,")]
    places = [link for link in links if link not in files]
    assert places and files and all(link.startswith("#") and link[1:] in anchors for link in places)
    assert not re.search(r"https?://|@import|url\(", html)


def test_the_browser_is_told_to_load_nothing():
    policies = [
        a["content"] for t, a in Reader(render(page())).tags if a.get("http-equiv") == "Content-Security-Policy"
    ]
    script = re.search(r"<script>(.*?)</script>", render(page()), re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    rule = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    assert policies == [rule]  # no other script runs, whatever its text


def test_hostile_names_stay_text():
    html = render(page(HOSTILE))
    read = Reader(html)
    assert [tag for tag, _ in read.tags].count("script") == 1
    assert not [attributes for _, attributes in read.tags if "onerror" in attributes]
    # title, heading, kicker, answer, navigation, section; prose, caption; five of tables; commands; two of the gap
    assert read.text.count(HOSTILE) == 16
    assert [a["alt"] for tag, a in read.tags if tag == "img"] == [f"curves of {HOSTILE}"]
    assert "49" not in read.text


def test_the_page_is_made_for_small_screens_and_for_the_dark():
    html = render(page())
    assert ("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}) in Reader(html).tags
    assert "prefers-color-scheme: dark" in html
    assert all(a.get("alt") for tag, a in Reader(html).tags if tag == "img")


def test_a_gap_gives_its_reason_and_its_command():
    missing = Page("t", "k", [], [Section("Tuning", [Gap("There is no sweep.", "python jobs/tune.py name=default")])])
    text = Reader(render(missing)).text
    assert "Missing." in text and "There is no sweep." in text and "python jobs/tune.py name=default" in text
    assert missing.num_missing == 1 and page().num_missing == 1 and Page("t", "k", [], []).num_missing == 0


def test_tables_are_files_too_and_no_name_is_a_formula():
    grid = Grid(["guide", "rate"], [["prm", "+0.952"], ["=1+1", "a,b"]])
    lines = base64.b64decode(grid.csv).decode().splitlines()
    assert lines == ["guide,rate", "prm,+0.952", '\'=1+1,"a,b"']


def test_a_search_unfolds_and_the_way_to_its_solution_is_open():
    leaf = Branch("#### 7", "score 0.9 · right", True, [])
    root = Branch(
        "(the question)", "", True, [Branch("3+4=7", "score 0.8", True, [leaf]), Branch(HOSTILE, "", False, [])]
    )
    read = Reader(render(Page("t", "k", [], [Section("One", [Explorer("Problem p", root)])])))
    opened = [attributes for tag, attributes in read.tags if tag == "details"]
    assert opened == [{"open": None, "class": "chosen"}] * 2
    assert HOSTILE in read.text and "score 0.9 · right" in read.text


def row(difference=0.1, low=0.05, high=0.15, p=0.001):
    return {
        "arm": "prm", "reference": "distance", "budget": 20.0, "num_pairs": 1000, "mean": 0.952,
        "reference_mean": 0.852,
        "difference": difference, "low": low, "high": high, "test": "mcnemar", "p_value": p, "holm_p_value": p,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "more"),
        ({"difference": -0.1, "low": -0.15, "high": -0.05}, "fewer"),
        ({"p": 0.06}, "no difference shown"),  # the interval excludes 0, the adjusted test does not reject
        ({"low": -0.01}, "no difference shown"),  # the other way round
        ({"p": 0.05}, "more"),
    ],
)
def test_a_difference_is_claimed_only_where_interval_and_test_agree(changes, expected):
    assert verdict(row(**changes)) == expected


def test_sentences_give_rates_interval_test_and_number_of_problems():
    said = comparison_sentence(row(), "best-first")
    assert said == (
        "At 20 expansions a problem, best-first search guided by prm solves more problems than distance: 0.952 against "
        "0.852 of 1,000 problems (paired difference +0.100, 95 % interval +0.050 to +0.150; exact McNemar, "
        "Holm-adjusted p = 0.001)."
    )
    unsure = comparison_sentence(row(p=0.3), "best-first")
    assert "no difference to distance is shown" in unsure and "more" not in unsure and "p = 0.300" in unsure


def test_the_question_asks_nobody_to_beat_the_truth():
    asked = question("prm", ["distance", "exact"], ["exact"])
    assert asked == "Does prm guide search better than distance, and how near does it come to exact?"
    assert question("prm", [], []) == "How well does prm guide search?"


def test_the_headline_budget_is_the_nearest_by_ratio():
    assert nearest_budget([10, 50, 1000], 20) == 10
    assert nearest_budget([10, 20, 50], 20) == 20
    assert nearest_budget([1, 100], 11) == 100


def test_numbers_read_well():
    assert (rate(0.9525), rate(None), rate(float("nan")), rate(-0.5)) == ("0.953", "–", "–", "−0.500")
    assert (signed(0.1), signed(-0.1), signed(-0.0001), signed(None)) == ("+0.100", "−0.100", "0.000", "–")
    assert (interval(0.1, 0.2), interval(None, 0.2), interval(float("nan"), 1.0)) == ("[0.100,\xa00.200]", "", "")
    assert with_interval(0.5, None, None) == "0.500" and with_interval(0.5, 0.4, 0.6) == "0.500\n[0.400,\xa00.600]"
    assert difference(0.1, 0.0, 0.2) == "+0.100\n0.000\xa0to\xa0+0.200"
    assert (p_value(0.0004), p_value(0.049)) == ("< 0.001", "0.049")
    assert [count(x) for x in (1000, 12.345, 6_214_758.2, 1.35e9, float("inf"))] == [
        "1,000", "12.35", "6,214,758", "1.35e9", "∞",
    ]  # fmt: skip
    assert [duration(x).replace("\xa0", " ") for x in (2e-5, 0.029, 36.7, 600)] == [
        "20 µs",
        "29.0 ms",
        "36.7 s",
        "10.0 min",
    ]
