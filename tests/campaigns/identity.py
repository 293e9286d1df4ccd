"""Whether a refactoring changes results: `python -m tests.campaigns.identity`.

Prints hashes of the weights that a short training learns and of frames generated with them, for cav-mini and a small
model of the ModelScope family. Run it before and after the refactoring, on the same machine, and compare.
"""

import hashlib
import json
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch


def _video(file: Path) -> None:
    """A white disc that circles once on a blue background."""
    from cavtool import video

    rows, columns = np.mgrid[0:128, 0:160]
    frames = np.zeros((20, 128, 160, 3), np.uint8)
    for f, angle in enumerate(np.linspace(0, 2 * np.pi, 20)):
        inside = (columns - 80 - 40 * np.cos(angle)) ** 2 + (rows - 64 - 30 * np.sin(angle)) ** 2 < 400
        frames[f] = np.where(inside[..., None], 240, np.array([30, 60, 160]))
    video.encode(frames, file, fps=10)


def main() -> None:
    torch.set_num_threads(1)
    found: dict[str, str] = {}
    with TemporaryDirectory() as folder:
        import cavtool
        from cavtool import video
        from tests.small_models import save_modelscope

        workspace = cavtool.Workspace(Path(folder, "home"))
        file = Path(folder, "ref.mp4")
        _video(file)
        models = {
            "cav-mini": "cav-mini",
            "modelscope": str(save_modelscope(Path(folder, "modelscope"), sample_size=32)),
        }
        for name, model in models.items():
            recipe = cavtool.LearnRecipe(
                prompt="a red cat moves", appearance="a red cat", steps=4, absorber_steps=3, rank=4, model=model
            )
            asset = cavtool.learn(f"{name}-m", file, recipe, workspace=workspace)
            found[f"{name}: motion"] = asset.record.content_id
            sample = cavtool.SampleRecipe(
                "a blue car", motions=(cavtool.Blend(f"{name}-m", 0.7),), seed=5, steps=4, model=model
            )
            (made,) = cavtool.generate(sample, output=Path(folder, f"{name}.gif"), workspace=workspace)
            frames = video.decode(made, start=0, duration=2, num_frames=16, width=64, height=64)
            found[f"{name}: frames"] = hashlib.sha256(frames.tobytes()).hexdigest()
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
