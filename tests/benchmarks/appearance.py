"""What tells that a reference's appearance has leaked: colours and layout, or the base model's own features?

    python -m tests.benchmarks.appearance

Renders, so that what leaks is known: a clip of what was asked for, and the same with something of the reference's look,
moving as the reference does. Each likeness to the reference counts beyond that of another clip of what was asked for,
as in `cav learn`. Writes results/appearance.md.
"""

import numpy as np

from cavtool import video
from cavtool.core.metrics.appearance import leakage
from cavtool.core.metrics.features import features, likeness
from cavtool.mini import world
from cavtool.studio.session import open_session
from tests.benchmarks.tables import RESULTS

NUM_REFERENCES = 100
SUBJECTS = ("cat", "robot", "lantern", "fish", "house", "rocket", "teapot", "car", "bird", "box")
COLOURS = ("red", "blue", "white", "pink", "green", "purple", "grey", "orange")
PLACES = ("forest", "desert", "moon", "ocean", "night", "snow", "city")
LEAKS = {
    "everything": ("subject", "colour", "place"),
    "subject and colour": ("subject", "colour"),
    "subject": ("subject",),
    "colour": ("colour",),
    "place": ("place",),
}


def drawn(rng: np.random.Generator) -> tuple[video.Frames, dict[str, video.Frames]]:
    """A reference and clips with its motion: `usual` and `none`, as asked for, and one of each leak."""
    drawn_from = {"subject": SUBJECTS, "colour": COLOURS, "place": PLACES}
    names = {part: [str(name) for name in rng.choice(of, 2, replace=False)] for part, of in drawn_from.items()}
    motion = str(rng.choice([*world.HELD_OUT_MOTIONS]))

    def render(*of_reference: str) -> video.Frames:
        look = {part: both[0] if part in of_reference else both[1] for part, both in names.items()}
        return world.render(world.reference(motion, **look, layout=int(rng.integers(5))))

    return render(*drawn_from), {"usual": render(), "none": render(), **{n: render(*of) for n, of in LEAKS.items()}}


def main() -> None:
    backbone, rng = open_session("cav-mini").backbone, np.random.default_rng(0)
    found: dict[str, list[dict[str, float]]] = {"colours and layout": [], "features of the base": []}
    for _ in range(NUM_REFERENCES):
        reference, clips = drawn(rng)
        found["colours and layout"].append({name: leakage(clip, reference) for name, clip in clips.items()})
        theirs = features(backbone, reference)
        alike = {name: likeness(features(backbone, clip), theirs) for name, clip in clips.items()}
        found["features of the base"].append(alike)
    introduction = (
        f"`python -m tests.benchmarks.appearance`: {NUM_REFERENCES} references; AUC of clips into which something of "
        "the reference has leaked, against clips of what was asked for."
    )
    lines = [
        "# Which likeness tells that a reference's appearance has leaked",
        "",
        introduction,
        "",
        f"| likeness | {' | '.join(LEAKS)} |",
        "|---" * (len(LEAKS) + 1) + "|",
    ]
    for name, rows in found.items():
        beyond = {key: np.array([row[key] - row["usual"] for row in rows]) for key in ("none", *LEAKS)}
        areas = [np.mean(beyond[leak][:, None] > beyond["none"]) for leak in LEAKS]
        lines.append(f"| {name} | {' | '.join(f'{area:.2f}' for area in areas)} |")
    text = "\n".join(lines)
    print(text)
    (RESULTS / "appearance.md").write_text(text + "\n")


if __name__ == "__main__":
    main()
