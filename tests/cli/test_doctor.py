"""`cav doctor`."""

import json
from pathlib import Path

from tests.cli.assets import put_motion
from tests.cli.conftest import Cav
from tests.small_models import save_wan


def test_a_machine_with_everything(cav_process: Cav, home: Path) -> None:
    put_motion(home, "twirl")
    done = cav_process("doctor")
    assert done.returncode == 0, done.stdout + done.stderr
    lines = {line.split()[0]: line for line in done.stdout.splitlines()[1:]}
    assert {"cav", "libraries", "settings", "data", "state", "registry", "model", "ffmpeg", "device"} <= lines.keys()
    assert "1 assets at" in lines["registry"]
    assert "cav-mini, revision" in lines["model"]


def test_broken_parts_have_a_remedy(cav: Cav, home: Path) -> None:
    (put_motion(home, "twirl").folder / "record.toml").write_text("")
    (home / "config").mkdir()
    (home / "config" / "config.toml").write_text("model = 3\n")
    done = cav("doctor", "--json")
    answer = json.loads(done.stdout)
    assert (done.returncode, answer["ok"]) == (1, False)
    broken = {each["what"]: each for each in answer["data"]["findings"] if each["state"] == "broken"}
    assert broken["settings"]["found"].startswith("`model` is text, not `3` (in `")
    assert "`twirl`" in broken["registry"]["found"]
    assert broken["registry"]["remedy"] == "`cav verify --repair`"
    plain = cav("doctor", "--quiet")
    assert "registry: `cav verify --repair`" in plain.stdout.splitlines()


def test_the_plan_of_wan_has_the_motion_too(cav: Cav, tmp_path: Path) -> None:
    planned = cav("doctor", "--plan", "learn", "--model", str(save_wan(tmp_path / "wan"))).stdout
    assert "T-LoRA and optimizer" in planned


def test_a_plan_says_what_each_option_saves_and_which_a_card_needs(cav: Cav, modelscope: Path) -> None:
    done = cav("doctor", "--plan", "learn", "--model", str(modelscope), "--json")
    totals = [row["bf16_gb"] for row in json.loads(done.stdout) if row["part"].startswith("total (estimate)")]
    assert len(totals) == 4
    assert totals == sorted(totals, reverse=True)
    assert len(set(totals)) == 4, "each option saves something"
    assert "T-LoRA and optimizer" in done.stdout
    shown = cav("doctor", "--plan", "learn", "--model", "zeroscope").stderr
    assert "8 GB perhaps --offload, 12 GB --gradient-checkpointing" in shown
