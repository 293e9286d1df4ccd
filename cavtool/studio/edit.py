"""Change what a video shows, with a prompt and the motions of the registry."""

import hashlib
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from cavtool.core.adapters.existing import token_of
from cavtool.core.adapters.lora import LoraState
from cavtool.core.devices import explain_oom
from cavtool.core.inversion import invert
from cavtool.core.noise import seeded_noise
from cavtool.core.windows import window_starts, windowed
from cavtool.errors import InvalidInput, MediaError
from cavtool.events import Note, OnEvent, Stage, Step, Warn
from cavtool.models import Model
from cavtool.recipes import EditRecipe, EditStart
from cavtool.registry.absorbers import find_absorber
from cavtool.studio.generate import (
    check_files,
    history_warnings,
    load_motion,
    load_styles,
    metadata_of,
    names_in,
    reproducible,
    resolved,
    slug,
    warn_about,
    warn_if_blank,
)
from cavtool.studio.retry import retrying
from cavtool.studio.session import Motion, Session, open_session, warn_if_too_long
from cavtool.system.files import output_file
from cavtool.video import Frames, Media, decode_whole, encode_like, probe, shows_nothing
from cavtool.workspace import Workspace

MIN_FRAMES = 4
_MAX_STEM = 60  # characters of the name of the video in that of the edited one


def edit(
    video: Path,
    recipe: EditRecipe,
    *,
    output: Path | None = None,
    metadata: bool = True,
    overwrite: bool = False,
    workspace: Workspace | None = None,
    session: Session | None = None,
    on_event: OnEvent = lambda _: None,
) -> Path:
    """Edit the whole of a video and write it as an .mp4 of the same size, frame rate, length and sound.

    The model edits the whole frame, at its own frame rate and at a size of about its own area and of about the video's
    aspect ratio; a video longer than the model's clip is edited in overlapping windows (`core/windows.py`). `output` is
    a file or a folder. Video, motions, names and files are checked first: raises MediaError, NotFound, Incompatible,
    Conflict, InvalidInput.
    """
    if recipe.start is EditStart.NOISE and recipe.seed is None:
        recipe = replace(recipe, seed=secrets.randbelow(2**31))
    recipe = replace(recipe, strength=recipe.share)
    workspace = workspace or Workspace()
    model = workspace.models.find(recipe.model)
    recipe = resolved(recipe, model)
    media = _probe(video)
    motions = [load_motion(workspace.registry, blend, model, on_event) for blend in recipe.motions]
    records = [record for record, _ in motions]
    for style in recipe.styles:  # before the model is loaded
        find_absorber(workspace.registry, style)
    file = _file_for(video, recipe, output)
    _check_file(video, file, overwrite=overwrite)
    frames = _read_frames(video, media, model, on_event)
    with explain_oom():
        session = session or open_session(model, device=recipe.device, dtype=recipe.dtype, memory=recipe.memory)
    _warn(recipe, session, [motion for _, motion in motions], on_event)
    styles = load_styles(recipe, session, workspace, on_event)
    states = [style.state for style in styles]
    used = [motion for _, motion in motions]
    _, edited = retrying(session, lambda each: edit_frames(each, frames, recipe, used, states, on_event), on_event)
    warn_if_blank(edited, "the edited video", on_event)
    made = (
        {"edit": metadata_of(recipe, model, records, styles) | {"video_sha256": _sha256(video)}} if metadata else None
    )
    encode_like(video, edited, file, recipe=made)
    with history_warnings(on_event):
        workspace.history.add(reproducible(recipe, model, records, styles), [file], video=video)
    return file


def edit_frames(
    session: Session,
    frames: Frames,
    recipe: EditRecipe,
    motions: Sequence[Motion] = (),
    styles: Sequence[LoraState] = (),
    on_event: OnEvent = lambda _: None,
) -> Frames:
    """Edit frames (F, H, W, 3) of a size and rate that the model can make, as many as `num_frames_for` gives or more.

    Sampling takes the steps that the inversion undid: first-order ones, for models that `generate` samples otherwise.
    """
    backbone, native = session.backbone, session.model.native
    window = native.clip.num_latents(native.clip.num_frames)
    num_steps, guidance = recipe.steps or native.steps, native.guidance if recipe.guidance is None else recipe.guidance
    start = recipe.first_step(num_steps)
    scheduler = backbone.scheduler(invertible=recipe.start is EditStart.DDIM)
    scheduler.set_timesteps(num_steps)
    latents = backbone.encode_clip(frames)
    num_stages = 2 if recipe.start is EditStart.DDIM else 1
    if recipe.start is EditStart.DDIM:
        described = partial(backbone.predict, conditioning=backbone.encode_text([recipe.source_prompt]))
        session.make_room()
        on_step = _reporter("inverting", 1, num_stages, num_steps - start, on_event)
        predict = windowed(described, window)
        latents = invert(predict, scheduler, latents, start=start, on_step=on_step)
    elif start < num_steps:
        noise = seeded_noise(tuple(latents.shape), recipe.seed or 0, backbone.device)
        latents = backbone.add_noise(latents, noise, scheduler.timesteps[start : start + 1].to(backbone.device))
    texts = {
        "positive": backbone.encode_text([recipe.prompt], token_of(styles, backbone)),
        "negative": backbone.encode_text([recipe.negative]),
    }
    predict = windowed(partial(backbone.predict_guided, **texts, guidance_scale=guidance), window)
    on_step = _reporter("sampling", num_stages, num_stages, num_steps - start, on_event)
    latents = session.denoise(
        predict,
        scheduler,
        latents,
        motions,
        turns=recipe.turns,
        styles=styles,
        start=start,
        on_step=lambda step: on_step(step - start),
    )
    return session.decode(latents)


def _reporter(name: str, index: int, num_stages: int, num_steps: int, on_event: OnEvent) -> Callable[[int], None]:
    """Begin a stage, and return what reports its steps."""
    began = time.monotonic()
    on_event(Stage(name, index, num_stages))
    return lambda step: on_event(Step(name, step, num_steps, None, time.monotonic() - began))


def _probe(video: Path) -> Media:
    """The properties of the video. Raises MediaError if it is too short to edit."""
    media = probe(video)
    if media.num_frames < MIN_FRAMES:
        hint = f"an edit needs a video of {MIN_FRAMES} frames or more"
        raise MediaError(f"`{video}` has only {media.num_frames} frames", hint=hint)
    return media


def _read_frames(video: Path, media: Media, model: Model, on_event: OnEvent) -> Frames:
    """The whole video as the model takes it. Raises MediaError if it shows nothing."""
    native = model.clip
    num_frames = native.num_frames_for(media.duration)
    width, height = native.size_like(media.width, media.height)
    frames = decode_whole(video, num_frames=num_frames, width=width, height=height, on_event=on_event)
    if shows_nothing(frames):
        raise MediaError(f"`{video}` shows only one colour", hint="choose another video")
    num_windows = len(window_starts(native.num_latents(num_frames), native.num_latents(native.num_frames)))
    written = media.even_size
    windows = f" in {num_windows} overlapping windows" if num_windows > 1 else ""
    on_event(
        Note(
            f"`{model.name}` edits {num_frames} frames of {width}x{height}{windows}; "
            f"written as {written[0]}x{written[1]} at {media.fps:g} frames per second"
        )
    )
    return frames


def _file_for(video: Path, recipe: EditRecipe, output: Path | None) -> Path:
    """The path of the edited video."""
    seed = "" if recipe.seed is None else str(recipe.seed)
    stem = video.stem[:_MAX_STEM]
    name = "-".join(part for part in (stem, slug(recipe.prompt), names_in(recipe), seed) if part) + ".mp4"
    return output_file(output, name, (".mp4",))


def _check_file(video: Path, file: Path, *, overwrite: bool) -> None:
    """Raises InvalidInput for the video itself, Conflict if the file exists."""
    if file.exists() and file.samefile(video):
        raise InvalidInput(f"cannot write `{file}`: it is the video to edit", hint="name another file with `-o`")
    check_files([file], overwrite=overwrite)


def _warn(recipe: EditRecipe, session: Session, motions: Sequence[Motion], on_event: OnEvent) -> None:
    """Warn of everything in the recipe that will not have the expected effect."""
    warn_about(recipe, session, on_event)
    warn_if_too_long(session, {"the source prompt": recipe.source_prompt}, on_event)
    if recipe.start is EditStart.DDIM and not recipe.source_prompt:
        on_event(Note("no `--source-prompt`: a description of the video as it is works better"))
    if recipe.start is EditStart.DDIM and recipe.seed is not None:
        on_event(Warn("`--seed` does nothing with `--start ddim`"))
    if recipe.start is EditStart.NOISE and recipe.source_prompt:
        on_event(Warn("`--source-prompt` does nothing with `--start noise`"))
    num_steps = recipe.steps or session.model.native.steps
    start = recipe.first_step(num_steps)
    if start == num_steps:
        on_event(Warn(f"`--strength {recipe.share:g}` changes nothing: it runs none of the {num_steps} steps"))
    scheduler = session.backbone.scheduler()
    scheduler.set_timesteps(num_steps)
    for blend, motion in zip(recipe.motions, motions, strict=True):
        if start >= session.span_of(motion, scheduler)[1]:
            on_event(Warn(f"`{blend.name}` does nothing at `--strength {recipe.share:g}`, which skips its steps"))


def _sha256(video: Path) -> str:
    with video.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
