"""Measure videos: how they move, against a reference, and how they look."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import numpy as np

from cavtool import video
from cavtool.core.metrics.appearance import diversity, leakage
from cavtool.core.metrics.camera import camera_curve, camera_fidelity, object_curve
from cavtool.core.metrics.dynamic import dynamic_degree
from cavtool.core.metrics.flow import find_flows
from cavtool.core.metrics.pattern import Pattern, pattern_fidelity, read_pattern
from cavtool.core.metrics.temporal import consistency, flicker
from cavtool.core.metrics.tracks import Motion, fidelity, object_fidelity, read_motion
from cavtool.errors import InvalidInput, MediaError, NotFound, RequirementError, closest
from cavtool.events import Event, OnEvent, Warn
from cavtool.names import is_name
from cavtool.registry import Asset, Registry
from cavtool.studio.alignment import align
from cavtool.studio.report import Row, draw_report
from cavtool.system.files import check_output, write_atomic, writing_to
from cavtool.workspace import Workspace

_SIDE = 256  # pixels of the shorter side at which videos are decoded
_RATE = 8.0  # frames per second: VBench thins videos to as many
_FEWEST, _USUAL, _MOST = 4, 16, 48  # frames to compare
_SLOWEST = 4.0  # frames per second below which fast movement is missed

Kind = Literal["video", "ceiling", "floor"]


@dataclass(frozen=True)
class Evaluation:
    """The scores of a video, or of a control made from its reference; None for what cannot be measured.

    `motion`, `objects` and `camera` compare the motion with the reference's, from 0 to 1: everything, what moves
    relative to the background, the camera (`core.metrics.tracks`, `core.metrics.camera`). `pattern` does so for
    motions in the same place, also where tracks break off (`core.metrics.pattern`). `leakage` is the likeness to
    the reference's frames, `text` the alignment with the prompt according to `text_by`. `consistency` and `flicker`
    are 1 for a still; `is_dynamic` and `flow` (shorter sides per 1/8 s) are VBench's dynamic degree; `diversity` is 0
    for copies.
    `curves["object"]` and `curves["camera"]` have x, y, log_scale and roll (degrees) for each frame compared.
    """

    name: str
    kind: Kind
    reference: str | None
    prompt: str
    motion: float | None
    pattern: float | None
    objects: float | None
    camera: float | None
    leakage: float | None
    text: float | None
    text_by: str | None
    consistency: float
    flicker: float
    is_dynamic: bool
    flow: float
    diversity: float | None
    curves: dict[str, dict[str, list[float]]]


@dataclass(frozen=True)
class _Clip:
    """The frames (F, H, W, 3) of a video, and how they move."""

    frames: video.Frames
    motion: Motion
    pattern: Pattern


@dataclass(frozen=True)
class _Measured:
    """A clip and its scores."""

    clip: _Clip
    scores: Evaluation


@dataclass(frozen=True)
class _Source:
    """A video file and the name to show for it."""

    name: str
    path: Path
    media: video.Media


@dataclass(frozen=True)
class _Target(_Source):
    """A video to measure, what to compare it with, and the prompt and base model it was made with, if known."""

    reference: _Source | None
    prompt: str
    model: str


def evaluate(
    targets: Sequence[str | Path],
    *,
    reference: str | Path | None = None,
    prompt: str = "",
    report: Path | None = None,
    overwrite: bool = False,
    workspace: Workspace | None = None,
    on_event: OnEvent = lambda _: None,
) -> list[Evaluation]:
    """Measure videos of any size, rate and length.

    A target is a video file, or the name of a motion, which stands for its preview. So is the reference; by default it
    is the clip that a motion was learned from, and for files the one of the only motion among the targets. The videos
    of each reference are followed by its controls: re-encoded (the ceiling), reversed, and one frame repeated (the
    floors). Without `prompt`, the alignment uses the prompt in a video's metadata.

    `report` is a .png to write, with the tracks and the motion curves of all videos. Raises NotFound for an unknown
    name, MediaError for a video that cannot be measured, InvalidInput and Conflict for the report.
    """
    registry = (workspace or Workspace()).registry
    asked = _resolve(targets, reference, prompt.strip(), registry)
    if report is not None:
        _check_report(report, asked, overwrite=overwrite)
    warned: set[Event] = set()

    def once(event: Event) -> None:
        if event not in warned:
            warned.add(event)
            on_event(event)

    measured = [each for group in _groups(asked) for each in _measure_group(group, group[0].reference, once)]
    measured = _with_diversity(measured)
    if report is not None:
        picture = draw_report(_rows(measured))
        with writing_to(report):
            write_atomic(report, picture.save)
    return [each.scores for each in measured]


def _resolve(
    targets: Sequence[str | Path], reference: str | Path | None, prompt: str, registry: Registry
) -> list[_Target]:
    """The targets with their references, prompts and models. Raises NotFound, MediaError."""
    if not targets:
        raise InvalidInput("nothing to evaluate", hint="name a motion or a video file: `cav eval twirl`")
    found = [_find(each, registry) for each in targets]
    previews = {each.record.name: _kept(each, "preview") for each in found if isinstance(each, Asset)}
    given = _reference(_find(reference, registry)) if reference is not None else None
    own = {each.record.name: given or _reference(each) for each in found if isinstance(each, Asset)}
    default = given or (next(iter(own.values())) if len(own) == 1 else None)
    resolved = []
    for each in found:
        if isinstance(each, Asset):
            name, words, model = each.record.name, prompt or each.record.prompt, each.record.base_model
            resolved.append(_Target(name, previews[name].path, previews[name].media, own[name], words, model))
        else:
            recipe = video.read_recipe(each.path) or {}
            recipe = recipe.get("edit", recipe)
            words, model = prompt or str(recipe.get("prompt", "")), str(recipe.get("model", ""))
            resolved.append(_Target(each.name, each.path, each.media, default, words, model))
    return resolved


def _find(target: str | Path, registry: Registry) -> Asset | _Source:
    """The motion of that name, or else the video file. Raises NotFound, MediaError."""
    name, path = str(target), Path(target)
    if not name.strip():
        raise InvalidInput("the name of a motion or video is empty", hint="name a motion or a video file")
    if is_name(name) and name in registry.names():
        return registry.get(name, "motion")
    if is_name(name) and not path.exists():
        hint = closest(name, registry.names(), "`cav list` shows the motions there are")
        raise NotFound(f"no motion and no file named `{name}`", hint=hint)
    if not path.exists() and name != "-" and "://" not in name:  # `probe` has a message for these
        raise NotFound(f"no such file: `{path}`", hint="name a motion or a video file")
    return _source(path.name, path)


def _source(name: str, path: Path) -> _Source:
    media = video.probe(path)
    if (num_frames := _num_frames_in(media)) < _FEWEST:
        raise MediaError(f"`{path}` has {num_frames} frames", hint=f"a motion needs at least {_FEWEST}")
    return _Source(name, path, media)


def _reference(found: Asset | _Source) -> _Source:
    return _kept(found, "reference") if isinstance(found, Asset) else found


def _kept(motion: Asset, what: Literal["reference", "preview"]) -> _Source:
    """The clip of a motion. Raises NotFound if it was not kept."""
    name, path = motion.record.name, motion.reference if what == "reference" else motion.preview
    if path.exists():
        return _source(f"reference of {name}" if what == "reference" else name, path)
    hint = "pass `--reference VIDEO`"
    if what == "preview":
        reference = name if motion.reference.exists() else "VIDEO"
        hint = f"generate a video with it, then `cav eval FILE --reference {reference}`"
    raise NotFound(f"`{name}` has no {what}", hint=hint)


def _check_report(report: Path, asked: Sequence[_Target], *, overwrite: bool) -> None:
    if report.suffix.lower() != ".png":
        raise InvalidInput(f"cannot write `{report.name}`: the report is a picture", hint="name a .png file with `-o`")
    check_output(report, overwrite=overwrite)
    if len({each.reference for each in asked}) > 1:
        raise InvalidInput("a report compares with one reference", hint="evaluate one motion, or pass `--reference`")


def _groups(asked: Sequence[_Target]) -> list[list[_Target]]:
    """The targets of each reference together, those without one alone."""
    alone = [[each] for each in asked if each.reference is None]
    references = dict.fromkeys(each.reference for each in asked if each.reference)
    return [*([each for each in asked if each.reference == source] for source in references), *alone]


def _measure_group(group: Sequence[_Target], reference: _Source | None, on_event: OnEvent) -> list[_Measured]:
    """Measure the videos of one reference, then its controls."""
    compared_with = reference or group[0]
    num_frames = _num_frames(compared_with, group)
    for each in dict.fromkeys((*group, compared_with)):
        _warn_of_length(each, compared_with, num_frames, on_event)
    theirs = _read(reference, num_frames, on_event) if reference else None
    if theirs and len(theirs.motion.tracks) and not theirs.motion.moves.any():
        raise MediaError(f"nothing moves in the reference `{compared_with.name}`", hint="choose another reference")
    measured = []
    for each in group:
        clip = _read(each, num_frames, on_event)
        scores = _measure(each.name, "video", clip, reference, theirs, num_frames / each.media.duration)
        text, text_by = _alignment(each, on_event)
        measured.append(_Measured(clip, replace(scores, prompt=each.prompt, text=text, text_by=text_by)))
    for name, kind, frames in _controls(theirs.frames) if theirs else ():
        clip, fps = _clip(frames), num_frames / compared_with.media.duration
        measured.append(_Measured(clip, _measure(name, kind, clip, reference, theirs, fps)))
    return measured


def _alignment(target: _Target, on_event: OnEvent) -> tuple[float | None, str | None]:
    try:
        return align(target.path, target.media, target.prompt, target.model, on_event)
    except RequirementError as error:
        on_event(Warn(f"text alignment is not measured: {error.message}; {error.hint} downloads it"))
        return None, None


def _measure(
    name: str,
    kind: Kind,
    clip: _Clip,
    reference: _Source | None,
    theirs: _Clip | None,
    fps: float,
) -> Evaluation:
    flows = find_flows(clip.frames)
    dynamic = dynamic_degree(flows, fps)
    tracked = theirs.motion if theirs and len(clip.motion.tracks) and len(theirs.motion.tracks) else None
    return Evaluation(
        name=name,
        kind=kind,
        reference=reference.name if reference else None,
        prompt="",
        motion=fidelity(clip.motion, tracked) if tracked else None,
        pattern=pattern_fidelity(clip.pattern, theirs.pattern) if theirs else None,
        objects=object_fidelity(clip.motion, tracked) if tracked else None,
        camera=camera_fidelity(clip.motion, tracked) if tracked else None,
        leakage=leakage(clip.frames, theirs.frames) if theirs else None,
        text=None,
        text_by=None,
        consistency=consistency(flows),
        flicker=flicker(clip.frames),
        is_dynamic=dynamic.is_dynamic,
        flow=dynamic.flow,
        diversity=None,
        curves={
            "object": {channel: values.tolist() for channel, values in object_curve(clip.motion).items()},
            "camera": {channel: values.tolist() for channel, values in camera_curve(clip.motion).items()},
        },
    )


def _read(source: _Source, num_frames: int, on_event: OnEvent) -> _Clip:
    """Frames of a whole video, evenly spaced. Raises MediaError."""
    media = source.media
    scale = _SIDE / min(media.width, media.height)
    width, height = round(media.width * scale), round(media.height * scale)
    frames = video.decode(
        source.path,
        start=0,
        duration=media.duration,
        num_frames=num_frames,
        width=width,
        height=height,
        on_event=on_event,
    )
    if video.shows_nothing(frames):
        raise MediaError(f"`{source.name}` shows only one colour", hint="choose another video")
    return _clip(frames)


def _clip(frames: video.Frames) -> _Clip:
    return _Clip(frames, read_motion(frames), read_pattern(frames))


def _controls(frames: video.Frames) -> Iterator[tuple[str, Kind, video.Frames]]:
    num_frames, height, width, _ = frames.shape
    with TemporaryDirectory() as folder:
        file = Path(folder, "again.mp4")
        video.encode(frames, file, fps=_RATE)
        seconds = num_frames / _RATE
        again = video.decode(file, start=0, duration=seconds, num_frames=num_frames, width=width, height=height)
    yield "(re-encoded)", "ceiling", again
    yield "(reversed)", "floor", np.ascontiguousarray(frames[::-1])
    yield "(first frame)", "floor", frames[:1].repeat(num_frames, axis=0)


def _num_frames_in(media: video.Media) -> int:
    return round(media.duration * media.fps)


def _num_frames(reference: _Source, group: Sequence[_Source]) -> int:
    """How many frames to compare: 8 per second of the reference, but none twice in any video."""
    wanted = min(max(round(_RATE * reference.media.duration), _USUAL), _MOST)
    return min(wanted, *(_num_frames_in(each.media) for each in (reference, *group)))


def _warn_of_length(source: _Source, reference: _Source, num_frames: int, on_event: OnEvent) -> None:
    ours, theirs = source.media.duration, reference.media.duration
    if num_frames / ours < _SLOWEST:
        on_event(
            Warn(
                f"`{source.name}` lasts {ours:.1f} s, of which {num_frames} frames are compared, so fast movement is "
                "missed; cut it to the part with the motion"
            )
        )
    if not 0.8 < ours / theirs < 1.25:
        lengths = f"`{source.name}` lasts {ours:.1f} s and the reference {theirs:.1f} s"
        on_event(Warn(f"{lengths}: each is compared from start to end"))


def _with_diversity(measured: Sequence[_Measured]) -> list[_Measured]:
    """With the diversity of the videos that share a prompt with another one."""
    prompts = Counter(each.scores.prompt for each in measured if each.scores.prompt)
    spread: dict[int, float] = {}
    for prompt in (prompt for prompt, count in prompts.items() if count > 1):
        alike = [index for index, each in enumerate(measured) if each.scores.prompt == prompt]
        spread |= dict(zip(alike, diversity([measured[index].clip.frames for index in alike]), strict=True))
    return [
        replace(each, scores=replace(each.scores, diversity=spread.get(index))) for index, each in enumerate(measured)
    ]


def _rows(measured: Sequence[_Measured]) -> list[Row]:
    """The rows of the report: the reference, as re-encoded, then the videos."""
    shown = [each for each in measured if each.scores.kind == "ceiling"]
    shown += [each for each in measured if each.scores.kind == "video"]
    return [_row(each) for each in shown]


def _row(measured: _Measured) -> Row:
    scores = measured.scores
    is_reference = scores.kind == "ceiling"
    named = ("motion", "pattern", "objects", "camera", "leakage")
    values: dict[str, float | None] = {name: getattr(scores, name) for name in named}
    lines = [f"{name} {value:.2f}" for name, value in values.items() if value is not None and not is_reference]
    name = scores.reference if is_reference and scores.reference else scores.name
    return Row(name, lines, measured.clip.frames, measured.clip.motion, scores.curves)
