"""`cav show`."""

import json
import tomllib
from pathlib import Path

from tests.cli.assets import put_motion
from tests.cli.conftest import Cav, OnTerminal


def test_the_whole_record(cav: Cav, home: Path) -> None:
    asset = put_motion(home, "twirl")
    done = cav("show", "twirl")
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
    plain, _ = cav_on_terminal("show", "twirl", env={"NO_COLOR": "1"})
    assert "▀" not in plain
    assert "\x1b" not in plain


def test_an_unreadable_picture_is_left_out(cav_on_terminal: OnTerminal, home: Path, tmp_path: Path) -> None:
    (bad := tmp_path / "bad.mp4").write_bytes(b"no video")
    put_motion(home, "twirl", videos={"reference.mp4": bad})
    screen, code = cav_on_terminal("show", "twirl")
    assert code == 0
    assert "cannot show the reference" in screen
