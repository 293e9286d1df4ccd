"""`cav list`."""

import json
from pathlib import Path

from tests.cli.assets import put_motion
from tests.cli.conftest import Cav


def test_plain_columns(cav: Cav, home: Path) -> None:
    put_motion(home, "twirl")
    put_motion(home, "twirl-look", kind="absorber")
    done = cav("list")
    header, *rows = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (0, "")
    assert header.split() == ["NAME", "KIND", "BASE", "RANK", "SIZE", "CREATED"]
    assert [row.split()[:6] for row in rows] == [
        ["twirl", "motion", "cav-mini", "4", "0.2", "kB"],
        ["twirl-look", "absorber", "cav-mini", "4", "0.2", "kB"],
    ]
    assert {row.index("cav-mini") for row in rows} == {header.index("BASE")}


def test_an_empty_registry(cav: Cav) -> None:
    assert cav("list").stdout == "NAME  KIND  BASE  RANK  SIZE  CREATED\n"
    assert json.loads(cav("list", "--json").stdout) == []


def test_an_empty_registry_has_a_hint(cav: Cav, home: Path) -> None:
    assert cav("list").stderr == "hint: `cav learn NAME VIDEO` learns a motion, `cav demo` shows how\n"
    assert (cav("list", "--quiet").stderr, cav("list", "--json").stderr) == ("", "")
    put_motion(home, "twirl")
    assert cav("list", "--tag", "none").stderr == ""


def test_one_kind_as_json(cav: Cav, home: Path) -> None:
    motion = put_motion(home, "twirl")
    put_motion(home, "twirl-look", kind="absorber")
    (listed,) = json.loads(cav("list", "--motions", "--json").stdout)
    assert listed["name"] == "twirl"
    assert listed["content_id"] == motion.record.content_id
    assert listed["size"] == motion.size
    assert listed["recipe"]["lr"] == 1.5e-3


def test_filters_and_orders(cav: Cav, home: Path, video: Path) -> None:
    put_motion(home, "small")
    put_motion(home, "large", videos={"reference.mp4": video})
    cav("tag", "small", "slow")

    def names(*options: str) -> list[str]:
        return [asset["name"] for asset in json.loads(cav("list", "--json", *options).stdout)]

    assert names() == ["large", "small"] == names("--sort", "size")
    assert names("--tag", "slow") == ["small"]
    assert names("--tag", "fast") == [] == names("--tag", "")
    assert names("--model", "cav-mini") == ["large", "small"]
    assert names("--model", "zeroscope") == []
    assert "did you mean `size`?" in cav("list", "--sort", "sizes").stderr


def test_changes_since_the_last_list(cav: Cav, home: Path) -> None:
    record = put_motion(home, "twirl").folder / "record.toml"
    put_motion(home, "zoom")
    cav("list")
    record.write_text(record.read_text().replace("rank = 4", "rank = 8"))  # of the same size
    assert [asset["rank"] for asset in json.loads(cav("list", "--json").stdout)] == [8, 4]
    record.unlink()
    record.parent.rename(home / "elsewhere")
    assert cav("list").stdout.count("\n") == 2


def test_a_damaged_record_is_a_warning(cav: Cav, home: Path) -> None:
    put_motion(home, "twirl")
    (put_motion(home, "broken").folder / "record.toml").write_text("schema = [")
    done = cav("list")
    assert done.returncode == 0
    assert done.stdout.count("\n") == 2
    assert done.stderr.startswith("warning: `broken`: the record is not TOML")


def test_an_impossible_date_is_shown_unchanged(cav: Cav, home: Path) -> None:
    record = put_motion(home, "twirl").folder / "record.toml"
    text = record.read_text()
    start = text.index('created = "') + len('created = "')
    record.write_text(text[:start] + "0001-01-01T00:00:00+14:00" + text[text.index('"', start) :])
    assert "0001-01-01T00:00:00+14:00" in cav("list").stdout


def test_quiet_prints_bare_names_and_long_prompts(cav: Cav, home: Path) -> None:
    put_motion(home, "twirl")
    put_motion(home, "zoom")
    cav("tag", "twirl", "slow", "dance")
    assert cav("list", "-q").stdout == "twirl\nzoom\n"
    header, first, _ = cav("list", "--long").stdout.splitlines()
    assert header.split()[-2:] == ["TAGS", "PROMPT"]
    assert first.endswith("dance slow  a white lantern twirls on the moon")
