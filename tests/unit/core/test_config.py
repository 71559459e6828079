from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field

from stepward.core.command_line import describe, load_config
from stepward.core.config import Config, parse_config, peek
from stepward.core.stage import StageSettings


class Small(Config):
    kind: Literal["small"] = "small"
    width: int = Field(3, ge=1, description="how wide, in nodes")


class Deep(Config):
    kind: Literal["deep"] = "deep"
    depth: int = Field(2, description="how deep")


class Labelled(Config):
    kind: Literal["labelled"] = "labelled"
    label: str = "x"


class Job(Config):
    rate: float = Field(0.5, gt=0, description="step size")
    sizes: tuple[int, ...] = Field((1, 2), description="some sizes")
    name: str | None = Field(None, description="a name")
    net: Annotated[Small | Deep, Field(discriminator="kind")] = Small()


def test_later_settings_win(tmp_path):
    file = tmp_path / "job.yaml"
    file.write_text("rate: 0.25\nnet: {kind: small, width: 7}\n")
    job = parse_config(Job, [str(file), "--rate", "1e-3", "sizes=[4, 5]", "--net.width=9"])
    assert (job.rate, job.sizes, job.net.width) == (1e-3, (4, 5), 9)


def test_another_kind_starts_afresh(tmp_path):
    file = tmp_path / "job.yaml"
    file.write_text("net: {kind: small, width: 7}\n")
    job = parse_config(Job, [str(file), "net={kind: deep, depth: 4}"])
    assert job.net == Deep(depth=4)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--rat", "1"], ["rat", "did you mean 'rate'"]),
        (["net.widht=4"], ["net", "widht", "no such setting"]),
        (["rate=-1"], ["rate", "greater than 0", "-1"]),
        (["rate=fast"], ["rate", "number", "fast"]),
        (["net.kind=wide"], ["net", "small", "deep"]),
        (["rate=1", "net.width=0"], ["width", "greater than or equal to 1"]),
        (["missing.yaml"], ["missing.yaml", "there is none"]),
        (["--rate"], ["rate", "expected a value"]),
        (["sizes=[1"], ["sizes", "YAML"]),
    ],
)
def test_errors_say_what_was_expected_and_what_came(arguments, words):
    with pytest.raises(ValueError) as error:
        parse_config(Job, arguments)
    for word in words:
        assert word in str(error.value)


def test_all_wrong_settings_are_named_at_once():
    with pytest.raises(ValueError) as error:
        parse_config(Job, ["rate=-1", "nmae=x"])
    assert "rate" in str(error.value) and "nmae" in str(error.value)


@pytest.mark.parametrize("content", ["- 1\n- 2\n", "rate: [1\n"])
def test_a_yaml_file_must_hold_a_mapping(tmp_path, content):
    file = tmp_path / "job.yaml"
    file.write_text(content)
    with pytest.raises(ValueError, match=r"job\.yaml"):
        parse_config(Job, [str(file)])


def test_help_lists_every_field_with_default_and_text():
    text = describe(Job, "Does a job.")
    for piece in (
        "Does a job.",
        "--rate",
        "step size",
        "default 0.5",
        "--net.width",
        "how wide, in nodes",
        "--net.depth",
    ):
        assert piece in text


def test_load_exits_with_help_or_with_a_message(capsys):
    with pytest.raises(SystemExit) as stop:
        load_config(Job, ["--help"])
    assert stop.value.code == 0 and "--rate" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stop:
        load_config(Job, ["rate=-1"])
    assert stop.value.code == 2 and "rate" in capsys.readouterr().err


def test_frozen():
    with pytest.raises(ValueError, match="frozen"):
        Job().rate = 2.0


def test_peek_reads_one_setting_without_judging_the_rest(tmp_path):
    file = tmp_path / "job.yaml"
    file.write_text("domain: math\nunknown: 1\n")
    assert peek([str(file)], "domain", "walk") == "math"
    assert peek([str(file), "--domain", "pde"], "domain", "walk") == "pde"
    assert peek(["--help"], "domain", "walk") == "walk"


def test_help_shows_blocks_by_name_and_types_as_people_write_them():
    class Left(Config):
        kind: Literal["left"] = "left"

    class Right(Config):
        kind: Literal["right"] = "right"

    side = Annotated[Left | Right, Field(discriminator="kind")]
    example = {"best": Left(), "other": Right()}

    class Sides(Config):
        sides: dict[str, side] = Field(example, description="where to go")
        sizes: tuple[int, ...] = Field((1, 2), description="how far")
        limits: dict[str, float] = Field({"steps": 2.5}, description="and no further")
        nets: dict[str, Job] = Field({}, description="with what")

    text = describe(Sides)
    for piece in (
        "where to go [dict[str, left|right]; default {best, other}]",
        "how far [tuple[int, ...]; default [1, 2]]",
        "and no further [dict[str, float]; default {steps: 2.5}]",
        "with what [dict[str, settings]; default {}]",
    ):
        assert piece in text


class Named(Config):
    """Texts at every depth, beside settings that are none."""

    name: str = "default"
    note: str | None = None
    tags: tuple[str, ...] = ()
    by_name: dict[str, str] = Field({})
    net: Annotated[Small | Labelled, Field(discriminator="kind")] = Small()


@pytest.mark.parametrize(
    "text",
    ["2024", "2024-05-01", "1e5", "007", "1.10", "yes", "null", "0x10", "1_000", "2024-13-40", "inf", "12:30:00"],
)
def test_a_text_is_what_was_typed(tmp_path, text):
    """YAML takes these for numbers, dates, times and truth values."""
    job = parse_config(
        Named, [f"name={text}", f"tags=[{text}, a]", f"by_name={{x: {text}}}", f"net={{kind: labelled, label: {text}}}"]
    )
    assert (job.name, job.tags, job.by_name, job.net.label) == (text, (text, "a"), {"x": text}, text)
    if text != "2024-13-40":  # in a file this is an error of YAML
        file = tmp_path / "job.yaml"
        file.write_text(f"name: {text}\nnet: {{kind: labelled, label: {text}}}\n")
        job = parse_config(Named, [str(file)])
        assert (job.name, job.net.label) == (text, text)
    assert peek([f"name={text}"], "name", "x") == text


def test_texts_as_typed_change_no_other_setting():
    job = parse_config(Named, ["name=5", "net.width=7", "note=null"])
    assert (job.name, job.net.width, job.note) == ("5", 7, None)
    with pytest.raises(ValueError, match=r"net\.width"):
        parse_config(Named, ["name=5", "net.width=x"])
    with pytest.raises(ValueError, match=r"name.*string"):
        parse_config(Named, ["name=[1]"])


@pytest.mark.parametrize("tag", ["!!python/object/apply:os.system ['touch made']", "!!python/name:os.system"])
def test_tags_in_a_file_of_settings_run_nothing(tag: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.yaml").write_text(f"name: {tag}\n")
    with pytest.raises(ValueError, match=r"a\.yaml: not valid YAML"):
        parse_config(StageSettings, ["a.yaml"])
    assert not (tmp_path / "made").exists()
