"""The public names of the package, and the example in `tests/api.py`."""

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

import cavtool
from cavtool import video
from tests import api


def test_the_public_names_exist_and_no_others() -> None:
    for name in cavtool.__all__:
        assert getattr(cavtool, name).__name__ == name
    with pytest.raises(AttributeError, match="nonsense"):
        _ = cavtool.nonsense


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = "import sys, cavtool; print(*sorted(m for m in ('torch', 'numpy', 'diffusers', 'rich') if m in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == ""


@pytest.mark.slow
@pytest.mark.usefixtures("quick_preview")
def test_the_example_of_the_api_runs(circle: Path, tmp_path: Path) -> None:
    (file,) = api.learn_mix_and_generate(circle, tmp_path / "home")
    (tmp_path / "pictures").mkdir()
    Image.linear_gradient("L").save(tmp_path / "pictures" / "one.png")
    (styled,) = api.absorb_and_reuse(tmp_path / "pictures", tmp_path / "other")
    assert styled.name == "ironman-lantern-0.5-1.mp4"
    assert video.probe(file).width == 256
    assert api.measure(circle, circle) > 0.9
    edited = api.change_subject(circle, tmp_path / "home")
    assert video.probe(edited).width == video.probe(circle).width
    workspace = cavtool.Workspace(tmp_path / "home")
    assert api.look_up(workspace, "twirl").startswith("a white lantern twirls")
    assert "did you mean" in api.look_up(workspace, "twril")
