"""`cav list`, `cav show`, `cav rm`."""

import json
import tomllib
from pathlib import Path

import ffmpeg
import pytest

from cavtool.video import ffmpeg_exe
from tests.cli.assets import put_motion
from tests.cli.conftest import Cav, OnTerminal


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mp4"
    source = ffmpeg.input("testsrc=size=64x64:rate=8:duration=2", format="lavfi")
    source.output(str(path), pix_fmt="yuv420p").run(cmd=ffmpeg_exe(), quiet=True)
    return path


def test_list_prints_plain_columns(cav: Cav, home: Path) -> None:
    put_motion(home, "twirl")
    put_motion(home, "twirl-look", kind="absorber")
    done = cav("list")
    header, *rows = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (0, "")
    assert header.split() == ["NAME", "KIND", "BASE", "RANK", "SIZE", "CREATED"]
    assert [row.split()[:6] for row in rows] == [
        ["twirl", "motion", "cav-mini", "4", "0.1", "kB"],
        ["twirl-look", "absorber", "cav-mini", "4", "0.1", "kB"],
    ]
    assert {row.index("cav-mini") for row in rows} == {header.index("BASE")}


def test_list_of_nothing(cav: Cav) -> None:
    assert cav("list").stdout == "NAME  KIND  BASE  RANK  SIZE  CREATED\n"
    assert json.loads(cav("list", "--json").stdout) == []


def test_list_chooses_a_kind_and_speaks_json(cav: Cav, home: Path) -> None:
    motion = put_motion(home, "twirl")
    put_motion(home, "twirl-look", kind="absorber")
    (listed,) = json.loads(cav("list", "--motions", "--json").stdout)
    assert listed["name"] == "twirl"
    assert listed["content_id"] == motion.record.content_id
    assert listed["size"] == motion.size
    assert listed["recipe"]["lr"] == 1.5e-3


def test_list_chooses_by_tag_and_model_and_sorts(cav: Cav, home: Path, video: Path) -> None:
    put_motion(home, "small")
    put_motion(home, "large", videos={"reference.mp4": video})
    cav("tag", "small", "slow")

    def names(*options: str) -> list[str]:
        return [asset["name"] for asset in json.loads(cav("list", "--json", *options).stdout)]

    assert names() == ["large", "small"] == names("--sort", "size")
    assert names("--tag", "slow") == ["small"]
    assert names("--tag", "fast") == []
    assert names("--model", "cav-mini") == ["large", "small"]
    assert names("--model", "zeroscope") == []
    assert "did you mean `size`?" in cav("list", "--sort", "sizes").stderr


def test_list_sees_what_changed_since_the_last(cav: Cav, home: Path) -> None:
    record = put_motion(home, "twirl").folder / "record.toml"
    put_motion(home, "zoom")
    cav("list")
    record.write_text(record.read_text().replace("rank = 4", "rank = 64"))
    assert [asset["rank"] for asset in json.loads(cav("list", "--json").stdout)] == [64, 4]
    record.unlink()
    record.parent.rename(home / "elsewhere")
    assert cav("list").stdout.count("\n") == 2


def test_list_warns_of_what_it_cannot_read_and_goes_on(cav: Cav, home: Path) -> None:
    put_motion(home, "twirl")
    (put_motion(home, "broken").folder / "record.toml").write_text("schema = [")
    done = cav("list")
    assert done.returncode == 0
    assert done.stdout.count("\n") == 2
    assert done.stderr.startswith("warning: `broken`: the record is not TOML")


def test_show_prints_the_whole_record(cav: Cav, home: Path) -> None:
    asset = put_motion(home, "twirl")
    done = cav("show", "twirl")
    assert tomllib.loads(done.stdout) == tomllib.loads((asset.folder / "record.toml").read_text())
    assert cav("show", "twirl", "--path").stdout == f"{asset.folder}\n"
    answer = json.loads(cav("show", "twirl", "--json").stdout)
    assert (answer["ok"], answer["command"], answer["error"]) == (True, "show", None)
    assert answer["data"]["path"] == str(asset.folder)
    assert answer["data"]["clip"] is None


def test_list_of_nothing_says_how_to_begin(cav: Cav, home: Path) -> None:
    assert cav("list").stderr == "hint: `cav learn NAME VIDEO` learns a motion, `cav demo` shows how\n"
    assert (cav("list", "--quiet").stderr, cav("list", "--json").stderr) == ("", "")
    put_motion(home, "twirl")
    assert cav("list", "--tag", "none").stderr == ""


def test_show_offers_the_closest_name(cav: Cav, home: Path) -> None:
    put_motion(home, "twirl")
    done = cav("show", "twril")
    assert (done.returncode, done.stdout) == (3, "")
    assert "`twril`" in done.stderr
    assert "hint: did you mean `twirl`?" in done.stderr


def test_show_draws_pictures_on_a_terminal_only(
    cav: Cav, cav_on_a_terminal: OnTerminal, home: Path, video: Path
) -> None:
    put_motion(home, "twirl", videos={"reference.mp4": video, "preview.mp4": video})
    assert "▀" not in cav("show", "twirl").stdout
    screen, code = cav_on_a_terminal("show", "twirl", env={"COLORTERM": "truecolor"})
    assert code == 0
    # 5 frames of 18 pixels fit into 100 columns; 18 rows of pixels are 9 lines; two videos.
    assert screen.count("▀") == 5 * 18 * 9 * 2
    assert "\x1b[38;2;" in screen
    assert screen.index("reference") < screen.index("preview")
    plain, _ = cav_on_a_terminal("show", "twirl", env={"NO_COLOR": "1"})
    assert "▀" not in plain
    assert "\x1b" not in plain


def test_show_draws_without_a_picture_it_cannot_read(cav_on_a_terminal: OnTerminal, home: Path, tmp_path: Path) -> None:
    (bad := tmp_path / "bad.mp4").write_bytes(b"no video")
    put_motion(home, "twirl", videos={"reference.mp4": bad})
    screen, code = cav_on_a_terminal("show", "twirl")
    assert code == 0
    assert "no picture of the reference" in screen


def test_rm_asks_on_a_terminal(cav_on_a_terminal: OnTerminal, home: Path) -> None:
    folder = put_motion(home, "twirl").folder
    screen, code = cav_on_a_terminal("rm", "twirl", typed="n")
    assert "Move twirl to the trash? [y/N]" in screen
    assert "nothing was removed" in screen
    assert (code, folder.exists()) == (1, True)
    assert cav_on_a_terminal("rm", "twirl", typed="y")[1] == 0
    assert not folder.exists()


def test_rm_does_not_ask_where_nobody_can_answer(cav: Cav, home: Path) -> None:
    folder = put_motion(home, "twirl").folder
    done = cav("rm", "twirl")
    assert done.returncode == 2
    assert "hint: add `--yes`" in done.stderr
    assert folder.exists()


def test_rm_goes_on_and_then_fails(cav: Cav, home: Path) -> None:
    put_motion(home, "twirl")
    put_motion(home, "zoom")
    done = cav("rm", "twirl", "twril", "zoom", "--yes")
    assert done.returncode == 3
    assert done.stdout == "twirl\nzoom\n"
    assert "`twril`" in done.stderr
    assert done.stderr.endswith("error: 2 removed, 1 not\n")
    assert json.loads(cav("list", "--json").stdout) == []


def test_rm_tells_scripts_what_it_did(cav: Cav, home: Path) -> None:
    put_motion(home, "twirl")
    done = cav("rm", "twirl", "nothing", "--yes", "--json")
    answer = json.loads(done.stdout)
    assert done.returncode == 3
    assert (answer["ok"], answer["data"]["removed"], answer["error"]["code"]) == (False, ["twirl"], "not-found")


def test_rm_can_be_tried_first(cav: Cav, home: Path) -> None:
    folder = put_motion(home, "twirl").folder
    (put_motion(home, "broken").folder / "record.toml").write_text("schema = [")
    assert cav("rm", "twirl", "broken", "--dry-run").stdout == "twirl\nbroken\n"
    assert cav("rm", "twril", "--dry-run").returncode == 3
    assert folder.exists()
