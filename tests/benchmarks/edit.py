"""How well `cav edit` keeps and changes what it should, on cav-mini: `python -m tests.benchmarks.edit [sweep]`.

Sources are rendered clips with subjects, colours, places and motions that cav-mini has words for; the judge reads the
edited clips. `sweep` compares settings on other sources than those of the report, to choose the defaults.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise, product

import numpy as np
from diffusers import DDIMInverseScheduler
from numpy.typing import NDArray

from cavtool import video
from cavtool.core.inversion import invert
from cavtool.core.metrics.channels import active_channels, fidelity
from cavtool.core.sampling import Predict, sample
from cavtool.core.windows import window_starts, windowed
from cavtool.mini import world
from cavtool.mini.judge import Judge, Reading, load_judge
from cavtool.recipes import EditRecipe, EditStart
from cavtool.studio.edit import edit_frames
from cavtool.studio.session import Session, open_session
from tests.benchmarks.common import (
    REPORT_PROMPTS,
    TUNE_PROMPTS,
    learned,
    reference_of,
)
from tests.benchmarks.tables import RESULTS, with_interval, write_table

SWAPS = {"cat": "robot", "robot": "cat", "car": "bird", "bird": "car", "star": "boat", "rocket": "car", "boat": "cat"}
MOTIONS, TUNE_MOTIONS = ("stands still", "moves right"), ("rises", "moves left")
ADDED = "figure eight"
USUAL = EditRecipe("a", steps=25, guidance=3.0)
INVERSION_STEPS = 50
LONG = 32  # frames
Rows = Sequence[tuple[str, ...]]


@dataclass(frozen=True)
class Source:
    """A rendered clip, and what it shows."""

    scene: world.Scene
    frames: video.Frames

    @property
    def new_subject(self) -> str:
        return SWAPS[self.scene.subject]

    @property
    def swapped_prompt(self) -> str:
        return self.scene.caption.replace(self.scene.subject, self.new_subject)


def source(look: tuple[str, str, str], motion: str, layout: int) -> Source:
    courses = world.OBJECT_MOTIONS[motion](np.linspace(0, 1, world.NUM_FRAMES), 1.0)
    scene = world.Scene(*look, layout, courses, world.caption(*look, motion))
    return Source(scene, world.render(scene))


def sources(looks: Sequence[tuple[str, str, str]], motions: Sequence[str] = MOTIONS) -> list[Source]:
    return [source(look, motion, 7 + i) for i, (look, motion) in enumerate(product(looks, motions))]


def long_source(num_frames: int) -> Source:
    """A cat that moves at an even pace, longer than the model's clip."""
    courses = {name: np.zeros(num_frames) for name in world.CHANNELS} | {"x": np.linspace(-0.3, 0.3, num_frames)}
    scene = world.Scene("cat", "red", "forest", 3, courses, world.caption("cat", "red", "forest"))
    return Source(scene, world.render(scene, num_frames))


def psnr(ours: video.Frames, theirs: video.Frames) -> float:
    """Peak signal-to-noise ratio in dB."""
    error = np.mean((ours.astype(float) - theirs.astype(float)) ** 2)
    return float(10 * np.log10(255**2 / max(error, 1e-9)))


# 1. Inversion and sampling with the same prompt


def reconstructions(session: Session, clips: Sequence[Source]) -> str:
    """PSNR against the autoencoder's own reconstruction, for several inversions."""
    backbone, rows = session.backbone, list[tuple[str, ...]]()
    inversions = {"`DDIMInverseScheduler` as it is": 0, "one iteration a step": 1, "as `cav edit` does": 5}
    for title, max_iterations in inversions.items():
        values = []
        for clip in clips:
            predict: Predict = partial(backbone.predict, conditioning=backbone.encode_text([clip.scene.caption]))
            scheduler = backbone.scheduler()
            scheduler.set_timesteps(INVERSION_STEPS)
            latents = backbone.encode_clip(clip.frames)
            if max_iterations:
                noise = invert(predict, scheduler, latents, max_iterations=max_iterations)
            else:
                inverse = DDIMInverseScheduler.from_config(scheduler.config)
                inverse.set_timesteps(INVERSION_STEPS)
                noise = sample(predict, inverse, latents)
            values.append(psnr(backbone.decode(sample(predict, scheduler, noise)), backbone.decode(latents)))
        rows.append((title, f"{np.mean(values):.1f}", f"{min(values):.1f}"))
    columns = ("inversion", "PSNR in dB against the autoencoder's reconstruction", "lowest")
    return section(f"Inversion and sampling with the same prompt, {INVERSION_STEPS} steps", columns, rows)


# 2. Another subject


@dataclass(frozen=True)
class Swap:
    """An edited clip against its source."""

    subject: float
    colour: float
    place: float
    backdrop: float  # change away from the subject, of 255
    moves: float  # fidelity to the source's motion, NaN if it stands still
    frames: video.Frames


def swapped(session: Session, judge: Judge, clip: Source, recipe: EditRecipe) -> Swap:
    before = clip.scene.caption if recipe.source_prompt else ""
    frames = edit_frames(session, clip.frames, replace(recipe, prompt=clip.swapped_prompt, source_prompt=before))
    read, truth = judge.read(frames), clip.scene.channels
    moves = fidelity(read.channels, truth) if active_channels(truth) else float("nan")
    return Swap(
        float(read.subject == clip.new_subject),
        float(read.colour == clip.scene.colour),
        float(read.place == clip.scene.place),
        backdrop_change(clip, frames),
        moves,
        frames,
    )


def backdrop_change(clip: Source, frames: video.Frames) -> float:
    """The mean absolute change of the pixels that are not near the source's subject, of 255."""
    channels = clip.scene.channels
    line = (np.arange(world.SIDE) + 0.5) / world.SIDE - 0.5
    x_F, y_F = (channels[name][:, None, None] for name in ("x", "y"))
    away_FHW = np.maximum(np.abs(line - x_F), np.abs(line[:, None] - y_F)) > 0.6 * world.SIZE
    return float(np.abs(frames.astype(float) - clip.frames).mean(-1)[away_FHW].mean())


def swap_row(title: str, made: Sequence[Swap]) -> tuple[str, ...]:
    moving = [swap.moves for swap in made if not np.isnan(swap.moves)]
    shares = [[getattr(swap, name) for swap in made] for name in ("subject", "colour", "place")]
    backdrop = sum(swap.backdrop for swap in made) / len(made)
    return (title, *map(with_interval, shares), f"{backdrop:.1f}", with_interval(moving))


def title_of(recipe: EditRecipe) -> str:
    described = "" if recipe.source_prompt else ", no source prompt"
    return f"{recipe.start}, strength {recipe.share:g}, guidance {recipe.guidance:g}, {recipe.steps} steps{described}"


MOTION_COLUMNS = ("setting", "subject kept", "place kept", f"fidelity to {ADDED}")
SWAP_COLUMNS = (
    "setting",
    "new subject",
    "colour kept",
    "place kept",
    "backdrop change, of 255",
    "motion kept (fidelity)",
)
DESCRIBED = replace(USUAL, source_prompt="given", seed=1)
SWEEP = (
    *(replace(DESCRIBED, strength=strength) for strength in (0.8, 0.9, 1.0)),
    replace(DESCRIBED, strength=0.9, guidance=6.0),
    replace(DESCRIBED, strength=0.9, source_prompt=""),
)


def sweep(session: Session, judge: Judge) -> None:
    """The settings on the tuning looks, one after another."""
    clips, rows = sources(TUNE_PROMPTS, TUNE_MOTIONS), []
    sheet = [(clip.scene.caption, clip.frames) for clip in clips]
    for recipe in SWEEP:
        made = [swapped(session, judge, clip, recipe) for clip in clips]
        rows.append(swap_row(title_of(recipe), made))
        print(*rows[-1], sep=" | ", flush=True)
        sheet += [
            (f"{clip.swapped_prompt}\n{title_of(recipe)}", swap.frames) for clip, swap in zip(clips, made, strict=True)
        ]
    write_table("edit-sweep", "cav edit: settings compared on another subject", SWAP_COLUMNS, rows)
    video.contact_sheet(sheet, RESULTS / "edit-sweep.png", scale=1)


def generated(session: Session, judge: Judge, clips: Sequence[Source]) -> tuple[str, ...]:
    """What the base shows under the new prompts alone: an edit can hardly show the new subject more often."""
    attributes = []
    for clip in clips:
        frames = session.generate(
            clip.swapped_prompt, DESCRIBED.seed or 0, [], steps=USUAL.steps, guidance=USUAL.guidance
        )
        read, scene = judge.read(frames), clip.scene
        attributes.append((read.subject == clip.new_subject, read.colour == scene.colour, read.place == scene.place))
    shares = [with_interval([float(right) for right in rights]) for rights in zip(*attributes, strict=True)]
    return ("generated without the source, for comparison", *shares, "-", "-")


def swaps(session: Session, judge: Judge, clips: Sequence[Source]) -> str:
    rows, sheet = [generated(session, judge, clips)], list[tuple[str, video.Frames]]()
    for recipe in (DESCRIBED, replace(DESCRIBED, start=EditStart.NOISE)):
        made = [swapped(session, judge, clip, recipe) for clip in clips]
        rows.append(swap_row(title_of(recipe), made))
        if recipe == DESCRIBED:
            for clip, swap in zip(clips, made, strict=True):
                sheet += [(f"{clip.scene.caption}\nsource", clip.frames), (clip.swapped_prompt, swap.frames)]
    encoded = [session.backbone.decode(session.backbone.encode_clip(clip.frames)) for clip in clips]
    lowest = np.mean([backdrop_change(clip, frames) for clip, frames in zip(clips, encoded, strict=True)])
    rows.append(("the autoencoder alone", "-", "-", "-", f"{lowest:.1f}", "-"))
    video.contact_sheet(sheet, RESULTS / "edit.png", scale=1)
    return section(f"Another subject, {len(clips)} clips", SWAP_COLUMNS, rows)


# 3. A learned motion added


def additions(session: Session, judge: Judge, clips: Sequence[Source]) -> str:
    """A held-out motion on subjects that stand still."""
    motion, truth = learned(ADDED), reference_of(ADDED).channels
    rows, sheet = [], [(f"{clip.scene.caption}\nsource", clip.frames) for clip in clips]
    strong = replace(DESCRIBED, strength=1.0)
    for recipe in (None, DESCRIBED, strong, replace(strong, start=EditStart.NOISE)):
        title, readings = title_of(recipe) if recipe else "generated with the motion, for comparison", list[Reading]()
        for clip in clips:
            scene = clip.scene
            caption = world.caption(scene.subject, scene.colour, scene.place)  # without "stands still"
            if recipe:
                same = replace(recipe, prompt=caption, source_prompt=scene.caption)
                frames = edit_frames(session, clip.frames, same, [motion])
            else:
                frames = session.generate(caption, 1, [motion], steps=USUAL.steps, guidance=USUAL.guidance)
            readings.append(judge.read(frames))
            if recipe == DESCRIBED:
                sheet.append((f"{caption}\n+ {ADDED}, {title}", frames))
        pairs = list(zip(readings, clips, strict=True))
        rows.append(
            (
                title,
                with_interval([float(read.subject == clip.scene.subject) for read, clip in pairs]),
                with_interval([float(read.place == clip.scene.place) for read, clip in pairs]),
                with_interval([fidelity(read.channels, truth) for read in readings]),
            )
        )
    video.contact_sheet(sheet, RESULTS / "edit-motion.png", scale=1)
    return section(f"A learned motion added, {len(clips)} clips", MOTION_COLUMNS, rows)


# 4. Longer than a clip


def seam_ratio(sequence_FX: NDArray[np.float64], seams: Sequence[int]) -> float:
    """The mean change between two frames at the seams, divided by the mean change elsewhere."""
    jumps = np.array([np.abs(b - a).mean() for a, b in pairwise(sequence_FX)])
    at = np.isin(np.arange(1, len(sequence_FX)), list(seams))
    return float(jumps[at].mean() / jumps[~at].mean())


def long_videos(session: Session) -> str:
    """Change at the seams in the inverted latents and in the edited frames, with and without overlapping windows."""
    clip, window = long_source(LONG), world.NUM_FRAMES
    starts = window_starts(LONG, window)
    seams = sorted({*starts[1:], *(start + window for start in starts[:-1])})
    recipe = replace(DESCRIBED, prompt=clip.swapped_prompt, source_prompt=clip.scene.caption)
    whole = edit_frames(session, clip.frames, recipe)
    pieces = [edit_frames(session, clip.frames[i : i + window], recipe) for i in range(0, LONG, window)]
    apart, cuts = np.concatenate(pieces), range(window, LONG, window)
    backbone, scheduler = session.backbone, session.backbone.scheduler()
    scheduler.set_timesteps(recipe.steps or 0)
    predict = windowed(partial(backbone.predict, conditioning=backbone.encode_text([clip.scene.caption])), window)
    latents = backbone.encode_clip(clip.frames)
    noise = invert(predict, scheduler, latents)
    again = backbone.decode(sample(predict, scheduler, noise))
    noise_FX = noise[0].movedim(1, 0).flatten(1).double().numpy()
    rows = [
        ("source", f"{seam_ratio(clip.frames.astype(float), seams):.2f}"),
        ("inverted latents, overlapping windows", f"{seam_ratio(noise_FX, seams):.2f}"),
        ("edited, overlapping windows", f"{seam_ratio(whole.astype(float), seams):.2f}"),
        ("edited, windows one after another", f"{seam_ratio(apart.astype(float), cuts):.2f}"),
    ]
    returns = f"{psnr(again, backbone.decode(latents)):.1f}"
    sheet = [
        (f"{clip.scene.caption}\nsource, {LONG} frames", clip.frames),
        (f"{clip.swapped_prompt}\noverlapping windows", whole),
        (f"{clip.swapped_prompt}\none after another", apart),
    ]
    video.contact_sheet(sheet, RESULTS / "edit-long.png", columns=LONG, scale=1)
    title = f"Longer than a clip ({LONG} frames): change at the seams divided by change elsewhere"
    table = section(title, ("clip", "ratio"), rows)
    return f"{table}\n\nWith the same prompt, overlapping windows return the long clip to {returns} dB."


def main() -> None:
    session, judge = open_session("cav-mini"), load_judge()
    if sys.argv[1:] == ["sweep"]:
        sweep(session, judge)
        return
    report(session, judge)


def report(session: Session, judge: Judge) -> None:
    """Every part on the report looks; the file is complete up to the part at work."""
    clips = sources(REPORT_PROMPTS)
    standing = [source(look, "stands still", layout) for look in REPORT_PROMPTS for layout in (7, 9)]
    parts: list[Callable[[], str]] = [
        partial(reconstructions, session, clips[:2]),
        partial(swaps, session, judge, clips),
        partial(long_videos, session),
        partial(additions, session, judge, standing),
    ]
    sections = ["# cav edit, on cav-mini", "`python -m tests.benchmarks.edit`"]
    for part in parts:
        sections.append(part())
        print(sections[-1], flush=True)
        (RESULTS / "edit.md").write_text("\n\n".join(sections) + "\n")


def section(title: str, columns: Sequence[str], rows: Rows) -> str:
    """A table with a title."""
    lines = [f"| {' | '.join(row)} |" for row in (columns, *rows)]
    return "\n".join([f"## {title}", "", lines[0], "|---" * len(columns) + "|", *lines[1:]])


if __name__ == "__main__":
    main()
