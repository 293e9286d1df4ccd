"""`cav prune`."""

import json
from pathlib import Path

from tests.cli.assets import put_motion
from tests.cli.conftest import Cav
from tests.cli.files import set_age
from tests.registry.samples import CLIP
from tests.runs.samples import begin


def test_it_lists_leftovers_and_deletes_them_with_yes(cav: Cav, home: Path) -> None:
    put_motion(home, "twirl")
    put_motion(home, "twirl-look", kind="absorber")
    put_motion(home, "gone-look", kind="absorber", clip=CLIP)
    put_motion(home, "sketchy", kind="absorber")  # made by `cav absorb`
    (put_motion(home, "torn").folder / "record.toml").write_text("")
    put_motion(home, "torn-look", kind="absorber")
    old, new = (begin(home / "state" / "runs", name) for name in ("old", "new"))
    set_age(old.folder, days=31)
    partial = home / "data" / "assets" / "twirl" / ".part-record.toml"
    partial.write_text("half")
    set_age(partial, days=1)
    assert cav("prune").returncode == 2
    assert old.folder.exists()
    done = cav("prune", "--dry-run")
    assert [line.split("  ")[0] for line in done.stdout.splitlines()[1:]] == ["run", "partial file", "absorber"]
    assert "would be freed" in done.stderr
    assert cav("prune", "--dry-run", "-q").stdout.split("\n")[0] == old.id
    assert old.folder.exists()
    listed = json.loads(cav("prune", "--yes", "--json").stdout)
    assert [each["name"] for each in listed] == [old.id, "twirl/.part-record.toml", "gone-look"]
    assert not old.folder.exists()
    assert not partial.exists()
    assert new.folder.exists()
    assert cav("trash", "list").stdout.count("gone-look") == 2
    assert json.loads(cav("prune", "--json").stdout) == []
    assert cav("prune").stderr == "note: nothing to prune\n"
