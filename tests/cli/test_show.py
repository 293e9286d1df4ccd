"""`cav show`."""

import json
import tomllib
from pathlib import Path

import ffmpeg

from cavtool.video import ffmpeg_exe
from tests.cli.assets import put_motion
from tests.cli.conftest import Cav, OnTerminal


def test_a_summary(cav: Cav, home: Path) -> None:
    asset = put_motion(home, "twirl")
    cav("tag", "twirl", "slow")
    lines = dict(line.split(maxsplit=1) for line in cav("show", "twirl").stdout.splitlines())
    assert (lines["name"], lines["kind"], lines["tags"]) == ("twirl", "motion, learned", "slow")
    assert (lines["prompt"], lines["training"]) == (asset.record.prompt, "steps 250, lr 0.0015, seed 0")
    assert (lines["id"], lines["folder"]) == (asset.record.short_id, str(asset.folder))


def test_the_whole_record(cav: Cav, home: Path) -> None:
    asset = put_motion(home, "twirl")
    done = cav("show", "twirl", "--toml")
    assert tomllib.loads(done.stdout) == tomllib.loads((asset.folder / "record.toml").read_text())
    assert cav("show", "twirl", "--path").stdout == f"{asset.folder}\n"
    answer = json.loads(cav("show", "twirl", "--json").stdout)
    assert (answer["ok"], answer["command"], answer["error"]) == (True, "show", None)
    assert answer["data"]["path"] == str(asset.folder)
    assert answer["data"]["clip"] is None


def test_an_unknown_name_has_a_suggestion(cav: Cav, home: Path) -> None:
    put_motion(home, "twirl")
    done = cav("show", "twril")
    assert (done.returncode, done.stdout) == (3, "")
    assert "`twril`" in done.stderr
    assert "hint: did you mean `twirl`?" in done.stderr


def test_pictures_are_for_terminals_only(cav: Cav, cav_on_terminal: OnTerminal, home: Path, video: Path) -> None:
    put_motion(home, "twirl", videos={"reference.mp4": video, "preview.mp4": video})
    assert "▀" not in cav("show", "twirl").stdout
    screen, code = cav_on_terminal("show", "twirl", env={"COLORTERM": "truecolor"})
    assert code == 0
    # 5 frames of 18 pixels fit into 100 columns; 18 rows of pixels are 9 lines; two videos.
    assert screen.count("▀") == 5 * 18 * 9 * 2
    assert "\x1b[38;2;" in screen
    assert screen.index("reference") < screen.index("preview")
    quiet, _ = cav_on_terminal("show", "twirl", "-q", env={"COLORTERM": "truecolor"})
    assert "▀" not in quiet
    dumb, _ = cav_on_terminal("show", "twirl", env={"TERM": "dumb"})
    assert "\x1b" not in dumb
    plain, _ = cav_on_terminal("show", "twirl", env={"NO_COLOR": "1"})
    assert "▀" not in plain
    assert "\x1b" not in plain


def test_a_picture_of_an_odd_shape_is_left_out_at_once(cav_on_terminal: OnTerminal, home: Path, tmp_path: Path) -> None:
    tall = tmp_path / "tall.mp4"
    source = ffmpeg.input("testsrc=size=2x4000:rate=8:duration=1", format="lavfi")
    source.output(str(tall), pix_fmt="yuv420p").run(cmd=ffmpeg_exe(), quiet=True)
    put_motion(home, "twirl", videos={"reference.mp4": tall})
    screen, code = cav_on_terminal("show", "twirl", env={"COLORTERM": "truecolor"})
    assert (code, "▀" in screen) == (0, False)
    assert "cannot show the reference: frames of 2x4000 are too large for a picture" in screen


def test_an_unreadable_picture_is_left_out(cav_on_terminal: OnTerminal, home: Path, tmp_path: Path) -> None:
    (bad := tmp_path / "bad.mp4").write_bytes(b"no video")
    put_motion(home, "twirl", videos={"reference.mp4": bad})
    screen, code = cav_on_terminal("show", "twirl")
    assert code == 0
    assert "cannot show the reference" in screen
