"""Train an absorber on its own, from videos or pictures (stage 1 of Ren et al. 2024)."""

import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

from cavtool import video
from cavtool.core.adapters import lora
from cavtool.core.adapters.absorber import CROP_RATIO, STYLE_RATIO, crop_bank
from cavtool.core.adapters.heads import Heads, other_heads
from cavtool.core.adapters.lora import LoraState
from cavtool.core.devices import explain_oom
from cavtool.core.distributed import from_main, in_main
from cavtool.errors import InvalidInput, MediaError
from cavtool.events import Note, OnEvent, Stage, Step
from cavtool.models import Model, NativeClip
from cavtool.recipes import AbsorbRecipe
from cavtool.registry import Asset, Record
from cavtool.registry.record import WEIGHTS
from cavtool.schema import to_table
from cavtool.studio.learn.prepare import NUM_CROPS, open_for_training, temporal_heads
from cavtool.studio.learn.train import absorber_trainer, smooth
from cavtool.studio.own_stills import own_stills
from cavtool.studio.retry import retrying
from cavtool.studio.session import Session, warn_if_too_long
from cavtool.studio.weights import save_weights
from cavtool.workspace import Workspace


def absorb(
    name: str,
    sources: Sequence[Path],
    recipe: AbsorbRecipe,
    *,
    replace: bool = False,
    workspace: Workspace | None = None,
    on_event: OnEvent = lambda _: None,
) -> Asset:
    """Train an absorber on random crops of videos, pictures and folders of pictures, and keep it as `name`.

    Of each video, as many frames count as the model's clips have, evenly spaced. Raises Conflict for a taken name,
    MediaError for a bad source, both before any work, and TrainingError if the loss is not finite. Nothing is kept of a
    training that is interrupted.
    """
    on_event = in_main(on_event)
    workspace = workspace or Workspace(on_wait=lambda text: on_event(Note(text)))
    model = workspace.models.find(recipe.model)
    workspace.registry.check_free(name, "absorber", replace=replace)
    workspace.registry.check_writable()
    video.check_ffmpeg()
    frames, clip = _read_frames(sources, model.clip, on_event)
    with explain_oom():
        session = open_for_training(model, recipe)
        warn_if_too_long(session, {"the prompt": recipe.prompt}, on_event)
    _, (state, loss) = retrying(session, lambda session: _train(session, recipe, frames, clip, on_event), on_event)
    draft = _draft(name, recipe, model, state, loss, num_frames=len(frames))
    with TemporaryDirectory() as folder:
        weights, reference = Path(folder, WEIGHTS), Path(folder, "reference.mp4")
        save_weights(state, weights, draft)
        video.encode(_reference(frames, model.clip), reference, fps=model.clip.fps, scale=model.enlarge)
        files = {WEIGHTS: weights, reference.name: reference}
        return from_main(lambda: workspace.registry.put(draft, files, replace=replace))


def _read_frames(
    sources: Sequence[Path], clip: NativeClip, on_event: OnEvent
) -> tuple[list[video.Frames], video.Frames | None]:
    """The frames of all sources, each (H, W, 3) of its own size and the model's aspect; the first video (F, H, W, 3).

    Raises MediaError.
    """
    if not sources:
        raise InvalidInput("an absorber needs a video or a picture")
    read = [_frames_of(source, clip, on_event) for source in sources]
    frames = [frame for each in read for frame in each]
    if all(map(video.shows_nothing, frames)):
        message = "the sources show only one colour: there is nothing to learn"
        raise MediaError(message, hint="choose other videos or pictures")
    return frames, next((each for each in read if isinstance(each, np.ndarray)), None)


def _frames_of(source: Path, clip: NativeClip, on_event: OnEvent) -> list[video.Frames] | video.Frames:
    """A list of pictures, or the frames of a video as one array."""
    aspect = clip.width / clip.height
    if source.is_dir():
        return _pictures_in(source, aspect, on_event)
    if (still := video.read_still(source, aspect)) is not None:
        return [still]
    duration = video.probe(source).duration
    size = {"num_frames": clip.num_frames, "width": clip.width, "height": clip.height}
    return video.decode(source, start=0.0, duration=duration, moving=False, on_event=on_event, **size)


def _pictures_in(folder: Path, aspect: float, on_event: OnEvent) -> list[video.Frames]:
    """The pictures in a folder; others of its files are reported. Raises MediaError if there is none."""
    stills, others = [], []
    for file in sorted(path for path in folder.iterdir() if path.is_file() and path.name[0] != "."):
        still = video.read_still(file, aspect)
        if still is None:
            others.append(file.name)
        else:
            stills.append(still)
    if not stills:
        raise MediaError(f"no pictures in `{folder}`", hint="give a folder of pictures, or video files by their names")
    if others:
        named = ", ".join(f"`{name}`" for name in others[:3]) + (", …" if len(others) > 3 else "")
        on_event(Note(f"not used, because they are not pictures: {named}"))
    return stills


def _train(
    session: Session,
    recipe: AbsorbRecipe,
    frames: Sequence[video.Frames],
    clip_FHWC: video.Frames | None,
    on_event: OnEvent,
) -> tuple[LoraState, float]:
    """Stage 1 on the crops of these frames: the absorber and its last smoothed loss."""
    backbone, clip = session.backbone, session.model.clip
    ratios = STYLE_RATIO if recipe.for_style else CROP_RATIO
    size = (clip.height, clip.width)
    crops = backbone.encode_stills(crop_bank(frames, NUM_CROPS, recipe.seed, size=size, ratios=ratios))
    heads = _spatial_heads(session, clip_FHWC, recipe.prompt, on_event)
    backbone.release("vae")
    own = own_stills(session, recipe.seed, on_event) if recipe.for_style else []
    trainer, began, smoothed = absorber_trainer(session, recipe, crops, heads, own), time.monotonic(), 0.0
    count = 2 if own else 1
    on_event(Stage("absorber", count, count))
    for loss in trainer.run():
        smoothed = smooth(smoothed, loss)
        on_event(Step("absorber", trainer.step, trainer.num_steps, loss, round(time.monotonic() - began, 3)))
    return lora.extract(trainer.params), smoothed


def _spatial_heads(session: Session, clip_FHWC: video.Frames | None, prompt: str, on_event: OnEvent) -> Heads:
    """The heads that look within a frame, for models in which only some of a layer do; {} for all heads."""
    backbone = session.backbone
    if not {*backbone.spatial_targets()} & {*backbone.temporal_targets()}:
        return {}
    if clip_FHWC is None:
        on_event(Note("pictures do not show which attention heads attend across frames: all of them are trained"))
        return {}
    return other_heads(temporal_heads(session, backbone.encode_clip(clip_FHWC), prompt, on_event))


def _reference(frames: Sequence[video.Frames], clip: NativeClip) -> video.Frames:
    """Frames of the sources, evenly chosen, as a clip (F, H, W, 3) of the model."""
    chosen = np.linspace(0, len(frames) - 1, clip.num_frames).round().astype(int)
    images = (Image.fromarray(frames[index]).resize((clip.width, clip.height)) for index in chosen)
    return np.stack([np.asarray(image) for image in images])


def _draft(name: str, recipe: AbsorbRecipe, model: Model, state: LoraState, loss: float, *, num_frames: int) -> Record:
    table = {key: value for key, value in to_table(recipe).items() if key not in {"prompt", "model", "memory"}}
    return Record(
        name=name,
        kind="absorber",
        origin="learned",
        base_model=model.name,
        fingerprint=model.fingerprint,
        revision=model.revision,
        commit=model.commit or None,
        prompt=recipe.prompt,
        appearance=recipe.prompt,
        rank=recipe.rank if lora.targets(state) else 0,
        recipe=table | {"steps": recipe.num_steps, "num_frames": num_frames},
        metrics={"loss": loss},
    )
