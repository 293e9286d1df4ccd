"""`cav path`."""

from pathlib import Path

from tests.cli.assets import put_motion
from tests.cli.conftest import Cav


def test_the_registry_and_one_asset(cav: Cav, home: Path) -> None:
    folder = put_motion(home, "twirl").folder
    assert cav("path").stdout == f"{home / 'data' / 'assets'}\n"
    assert cav("path", "twirl").stdout == f"{folder}\n"
    assert cav("path", "twril").returncode == 3
