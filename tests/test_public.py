import subprocess
import sys

import pytest

import cavtool


def test_every_public_name_is_there_and_no_other_is_promised() -> None:
    for name in cavtool.__all__:
        assert getattr(cavtool, name).__name__ == name
    with pytest.raises(AttributeError, match="nonsense"):
        _ = cavtool.nonsense


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = "import sys, cavtool; print(*sorted(m for m in ('torch', 'numpy', 'diffusers', 'rich') if m in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == ""
