"""How well a video shows its prompt: cav-mini's judge for videos of cav-mini, CLIP for others."""

from functools import cache
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING

from cavtool import video
from cavtool.core.metrics.text import attribute_alignment, clip_alignment, clip_truncated
from cavtool.events import OnEvent, Warn

if TYPE_CHECKING:
    from cavtool.mini.judge import Judge

MINI = "cav-mini"


def align(
    path: Path, media: video.Media, prompt: str, model: str, on_event: OnEvent = lambda _: None
) -> tuple[float | None, str | None]:
    """The alignment of a video with its prompt, and who measured it; None without a prompt.

    For videos of cav-mini (`model`), the share of the prompt's subject, colour and place that its judge sees; for
    others CLIPScore, with a warning if CLIP reads only the beginning of the prompt. Raises RequirementError if CLIP is
    not on this machine.
    """
    if not prompt:
        return None, None
    if model == MINI:
        return _judged(path, media, prompt), "judge of cav-mini"
    frames = _frames(path, media, 8, 224, 224)
    score = clip_alignment(frames, prompt)
    if rest := clip_truncated(prompt):
        beginning = shorten(rest, 60, placeholder=" …")
        on_event(Warn(f"the prompt of `{path.name}` is too long: CLIP ignores it from `{beginning}` on"))
    return score, "CLIP ViT-L/14"


def _judged(path: Path, media: video.Media, prompt: str) -> float | None:
    from cavtool.mini import world
    from cavtool.mini.places import HELD_OUT_PLACES, PLACES
    from cavtool.mini.sprites import COLOURS, HELD_OUT_COLOURS, HELD_OUT_SUBJECTS, SUBJECTS

    words = prompt.lower().replace(",", " ").split()
    known = {
        "subject": {*SUBJECTS, *HELD_OUT_SUBJECTS},
        "colour": {*COLOURS, *HELD_OUT_COLOURS},
        "place": {*PLACES, *HELD_OUT_PLACES},
    }
    requested = {name: next((word for word in words if word in among), "") for name, among in known.items()}
    seen = _judge().read(_frames(path, media, world.NUM_FRAMES, world.SIDE, world.SIDE))
    return attribute_alignment(requested, {name: getattr(seen, name) for name in requested})


@cache
def _judge() -> "Judge":
    from cavtool.mini.judge import load_judge

    return load_judge()


def _frames(path: Path, media: video.Media, num_frames: int, width: int, height: int) -> video.Frames:
    return video.decode(path, start=0, duration=media.duration, num_frames=num_frames, width=width, height=height)
