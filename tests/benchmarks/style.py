"""A look learned from eight pictures, moving with a motion of another video: `python -m tests.benchmarks.style`.

`cav absorb` learns a lantern from pictures of it in two places; cav-mini knows neither the subject nor its colour nor
the places. Then `generate --style` puts "a white lantern" in four places that the base knows, with a learned figure
eight. Rows: the words alone, which mean nothing to the base; an absorber that was trained to keep the lantern out of
motions; and each kind trained `--for-style`. The judge reads the videos. Intervals are over prompts and seeds.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image
from safetensors.torch import load

from cavtool import video
from cavtool.core.adapters.lora import LoraState
from cavtool.core.metrics.channels import fidelity
from cavtool.mini import world
from cavtool.mini.judge import load_judge
from cavtool.recipes import AbsorberKind, AbsorbRecipe
from cavtool.studio.absorb import absorb
from cavtool.studio.session import open_session
from cavtool.workspace import Workspace
from tests.benchmarks.common import learned, reference_of
from tests.benchmarks.tables import RESULTS, with_interval, write_table

SUBJECT, COLOUR = "lantern", "white"
LOOK = world.noun(SUBJECT, COLOUR)
PLACES = ("forest", "desert", "city", "snow")
SEEDS = (401, 402)
MOTION = "figure eight"
KINDS = ("textinv", "s-lora", "dual")
PLAIN = "none"
ROWS: dict[str, AbsorbRecipe | None] = {
    PLAIN: None,
    "dual, trained for `learn`": AbsorbRecipe(LOOK, AbsorberKind.DUAL),
    **{f"{kind}, for style": AbsorbRecipe(LOOK, AbsorberKind(kind), for_style=True) for kind in KINDS},
}


def pictures() -> list[video.Frames]:
    """Eight pictures of the subject (64, 64, 3): two places, several poses and sizes."""
    made = []
    for i in range(8):
        pose = {"x": 0.1 * (i % 3 - 1), "log_scale": 0.15 * (i % 4 - 1), "roll": 10.0 * (i % 3 - 1)}
        course = {name: np.full(world.NUM_FRAMES, value) for name, value in pose.items()}
        made.append(world.render(world.Scene(SUBJECT, COLOUR, ("kitchen", "moon")[i % 2], i, course), 1)[0])
    return made


def learned_look(recipe: AbsorbRecipe) -> LoraState:
    """What `cav absorb` makes of the pictures."""
    with TemporaryDirectory() as folder:
        home, sources = Path(folder, "home"), Path(folder, "pictures")
        sources.mkdir()
        for i, picture in enumerate(pictures()):
            Image.fromarray(picture).save(sources / f"{i}.png")
        return load(absorb("look", [sources], recipe, workspace=Workspace(home)).read_weights())


def main() -> None:
    session, judge = open_session("cav-mini"), load_judge()
    motion, truth = learned(MOTION), reference_of(MOTION).channels
    sheet = [("two of the pictures", np.repeat(pictures()[:2], world.NUM_FRAMES // 2, axis=0))]
    rows = []
    for title, recipe in ROWS.items():
        style = learned_look(recipe) if recipe else {}
        subject, right_place, followed = [], [], []
        for place in PLACES:
            for seed in SEEDS:
                prompt = f"{LOOK} {world.where(place)}"
                frames = session.generate(prompt, seed, [motion], styles=[style] if style else [])
                reading = judge.read(frames)
                subject.append(float(reading.subject == SUBJECT))
                right_place.append(float(reading.place == place))
                followed.append(fidelity(reading.channels, truth))
                if (place, seed) == (PLACES[0], SEEDS[0]):
                    sheet.append((f"{prompt}\nstyle: {title}", frames))
        rows.append((title, *map(with_interval, (subject, right_place, followed))))
        print(rows[-1], flush=True)
    columns = ("style", "shows the lantern", "place right", f"fidelity to {MOTION}")
    write_table("style", "A look learned from eight pictures, with a motion of another video", columns, rows)
    video.contact_sheet(sheet, RESULTS / "style.png", scale=1)


if __name__ == "__main__":
    main()
