"""Generate videos from a prompt with the motions of the registry."""

import re
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any, TypeVar

from cavtool import video
from cavtool._version import __version__
from cavtool.core.adapters.existing import DREAMBOOTH
from cavtool.core.adapters.lora import LoraState
from cavtool.core.devices import explain_oom
from cavtool.errors import InvalidInput, RequirementError
from cavtool.events import Note, OnEvent, Stage, Step, Warn
from cavtool.models import Model
from cavtool.recipes import Blend, EditRecipe, SampleRecipe
from cavtool.registry import Asset, Registry
from cavtool.registry.absorbers import find_absorber
from cavtool.registry.record import Record
from cavtool.schema import to_table
from cavtool.studio.appearance import Appearance, load_absorbers
from cavtool.studio.retry import retrying
from cavtool.studio.session import Motion, Session, check_model, motion_of, open_session, warn_if_too_long
from cavtool.system.files import check_output, output_file
from cavtool.workspace import Workspace

AnyRecipe = TypeVar("AnyRecipe", SampleRecipe, EditRecipe)
_MAX_SIDE = 16384  # pixels
_MAX_BYTES = 4e9  # of the frames of a video
_MAX_NAMES = 120  # characters of a file name
# Left out of a video's metadata: what belongs to this machine, and the styles, which are written apart.
_LEFT_OUT = {"device", "dtype", "memory", "num_videos", "styles"}


def generate(
    recipe: SampleRecipe,
    *,
    output: Path | None = None,
    metadata: bool = True,
    overwrite: bool = False,
    workspace: Workspace | None = None,
    session: Session | None = None,
    on_event: OnEvent = lambda _: None,
) -> list[Path]:
    """Generate the recipe's videos and write them; returns one file for each seed.

    `output` is a file, whose suffix decides the format, or a folder. Motions, names and files are checked first: raises
    NotFound, Incompatible, Conflict, InvalidInput, RequirementError.
    """
    recipe = recipe if recipe.seed is not None else replace(recipe, seed=secrets.randbelow(2**31))
    workspace = workspace or Workspace()
    model = workspace.models.find(recipe.model)
    recipe = resolved(recipe, model)
    motions = [load_motion(workspace.registry, blend, model, on_event) for blend in recipe.motions]
    for style in recipe.styles:  # before the model is loaded
        find_absorber(workspace.registry, style)
    enlarge = recipe.scale or model.enlarge
    _check_scale(enlarge, model)
    files = [file_for(recipe, seed, output) for seed in recipe.seeds]
    check_files(files, overwrite=overwrite)
    with explain_oom():
        session = session or open_session(model, device=recipe.device, dtype=recipe.dtype, memory=recipe.memory)
    styles = load_styles(recipe, session, workspace, on_event)
    used, states = [motion for _, motion in motions], [style.state for style in styles]
    warn_about(recipe, session, on_event)
    if enlarge > 1:
        size = f"{model.clip.width}x{model.clip.height}"
        on_event(Note(f"`{model.name}` makes {size}; written {enlarge} times as large"))
    records, written = [record for record, _ in motions], list[Path]()
    try:
        for index, (seed, file) in enumerate(zip(recipe.seeds, files, strict=True), 1):
            on_event(Stage("sampling", index, len(files)))
            session, frames = retrying(session, partial(_sample, recipe, seed, used, states, on_event), on_event)
            warn_if_blank(frames, f"the video of seed {seed}", on_event)
            made = metadata_of(replace(recipe, seed=seed, num_videos=1), model, records, styles)
            video.encode(frames, file, fps=model.clip.fps, scale=enlarge, recipe=made if metadata else None)
            written.append(file)
    finally:  # also those before an interruption
        if written:
            done = replace(recipe, num_videos=len(written))
            with history_warnings(on_event):
                workspace.history.add(reproducible(done, model, records, styles), written)
    return files


def _check_scale(enlarge: int, model: Model) -> None:
    """Raise InvalidInput for an enlargement that is too large for the encoder or the memory."""
    width, height = enlarge * model.clip.width, enlarge * model.clip.height
    size = 3 * width * height * model.clip.num_frames
    if max(width, height) > _MAX_SIDE or size > _MAX_BYTES:
        hint = f"at most {_MAX_SIDE} pixels a side and {_MAX_BYTES / 1e9:g} GB are possible"
        raise InvalidInput(
            f"`--scale {enlarge}` is too large: {width}x{height}, {size / 1e9:.1f} GB of frames", hint=hint
        )


def warn_if_blank(frames: video.Frames, what: str, on_event: OnEvent) -> None:
    """Warn if all pixels of a video have about one colour: the weights or the guidance were too large."""
    if video.shows_nothing(frames):
        on_event(Warn(f"{what} shows only one colour: use smaller weights or a lower `--guidance`"))


def resolved(recipe: AnyRecipe, model: Model) -> AnyRecipe:
    """The recipe with the model's own values in place of None."""
    guidance = model.native.guidance if recipe.guidance is None else recipe.guidance
    return replace(recipe, steps=recipe.steps or model.native.steps, guidance=guidance)


@contextmanager
def history_warnings(on_event: OnEvent) -> Iterator[None]:
    """Warns if the history cannot be written: the videos are there all the same."""
    try:
        yield
    except RequirementError as refused:
        on_event(Warn(f"cannot add to the history: {refused.message}"))


def reproducible(recipe: AnyRecipe, model: Model, records: Sequence[Record], styles: Sequence[Appearance]) -> AnyRecipe:
    """The recipe with the ids of the exact motions, styles and model weights that were used, and absolute paths."""
    blends = [replace(blend, content_id=each.content_id) for blend, each in zip(recipe.motions, records, strict=True)]
    used = [
        replace(style.used, name=str(Path(asked.name).resolve())) if asked.is_file else style.used
        for asked, style in zip(recipe.styles, styles, strict=True)
    ]
    return replace(recipe, motions=tuple(blends), styles=tuple(used), model=model.address, revision=model.revision)


def _sample(
    recipe: SampleRecipe,
    seed: int,
    motions: Sequence[Motion],
    styles: Sequence[LoraState],
    on_event: OnEvent,
    session: Session,
) -> video.Frames:
    began, num_steps = time.monotonic(), recipe.steps or session.model.native.steps

    def on_step(step: int) -> None:
        on_event(Step("sampling", step, num_steps, None, time.monotonic() - began))

    return session.generate(
        recipe.prompt,
        seed,
        motions,
        turns=recipe.turns,
        styles=styles,
        negative=recipe.negative,
        steps=recipe.steps,
        guidance=recipe.guidance,
        on_step=on_step,
    )


def load_motion(registry: Registry, blend: Blend, model: Model, on_event: OnEvent) -> tuple[Record, Motion]:
    """The motion's record and weights. Raises NotFound, IntegrityFailure, Incompatible if it does not fit the model."""

    def use(asset: Asset) -> tuple[Asset, Motion]:
        return asset, motion_of(asset, blend.weight, blend.window)

    asset, motion = registry.read(blend.name, use, "motion")
    if blend.content_id not in {"", asset.record.content_id}:
        on_event(Warn(f"`{blend.name}` has been replaced since that video was made: this one will differ"))
    check_model(asset, model, on_event)
    return asset.record, motion


def load_styles(recipe: AnyRecipe, session: Session, workspace: Workspace, on_event: OnEvent) -> list[Appearance]:
    """The styles, fitted to the model. Raises what `load_absorbers` raises, and InvalidInput for a whole UNet."""
    styles = load_absorbers(recipe.styles, session, workspace, on_event)
    for style in styles:
        if style.used.kind == DREAMBOOTH:
            hint = "make it the `unet` of a model folder, and generate with `--model FOLDER`"
            raise InvalidInput(f"`{style.used.name}` is a whole UNet and cannot be a style", hint=hint)
    return styles


def file_for(recipe: SampleRecipe, seed: int, output: Path | None) -> Path:
    """The path of a seed's video. Raises InvalidInput for an unknown suffix."""
    default = "-".join(part for part in (slug(recipe.prompt), names_in(recipe), str(seed)) if part) + ".mp4"
    file = output_file(output, default, video.SUFFIXES)
    return file if recipe.num_videos == 1 or file.name == default else file.with_stem(f"{file.stem}-{seed}")


def names_in(recipe: SampleRecipe | EditRecipe) -> str:
    """The names of a recipe's motions and styles, with weights other than 1, as a part of a file name."""
    styles = [str(replace(style, name=slug(Path(style.name).stem))) for style in recipe.styles]
    return "-".join([*map(str, recipe.motions), *styles]).replace(":", "-")[:_MAX_NAMES].rstrip("-")


def slug(text: str) -> str:
    """A text as a part of a file name."""
    return re.sub(r"[^\w]+", "-", text.lower()).strip("-")[:60].rstrip("-") or "video"


def check_files(files: Sequence[Path], *, overwrite: bool) -> None:
    """Check that videos can be written there, and create their folders. Raises what `check_output` raises."""
    video.check_ffmpeg()
    for file in files:
        check_output(file, overwrite=overwrite)


def warn_about(recipe: AnyRecipe, session: Session, on_event: OnEvent) -> None:
    """Warn of everything in the recipe that will not have the expected effect."""
    model = session.model
    if words := model.unknown_words(f"{recipe.prompt} {recipe.negative}"):
        listed = ", ".join(f"`{word}`" for word in words)
        on_event(
            Warn(f"`{model.name}` was not trained on {listed}; a larger model (`--model FOLDER`) knows more words")
        )
    warn_if_too_long(session, {"the prompt": recipe.prompt, "the negative prompt": recipe.negative}, on_event)
    if recipe.negative and recipe.guidance == 1:
        on_event(Warn("`--negative` does nothing at `--guidance 1`"))
    if recipe.turns and len(recipe.motions) < 2:
        on_event(Warn("`--turns` does nothing with fewer than two motions"))
    if not recipe.turns and any(_overlap(*pair) for pair in combinations(recipe.motions, 2)):
        on_event(Note("added motions disturb each other; try `--turns`"))
    if recipe.revision not in {"", model.revision}:
        on_event(Warn(f"that video was made with different weights of `{model.name}`: this one will differ"))


def _overlap(a: Blend, b: Blend) -> bool:
    """Whether two motions share sampling steps; without a window, a motion is taken to be active at all of them."""
    (start_a, end_a), (start_b, end_b) = (blend.window or (0.0, 1.0) for blend in (a, b))
    return start_a < end_b and start_b < end_a


def metadata_of(
    recipe: AnyRecipe, model: Model, records: Sequence[Record], styles: Sequence[Appearance]
) -> dict[str, Any]:
    """Everything needed to make the video again, without paths."""
    motions = [
        to_table(replace(blend, content_id=record.content_id))
        for blend, record in zip(recipe.motions, records, strict=True)
    ]
    kept = {key: value for key, value in to_table(recipe).items() if key not in _LEFT_OUT}
    made = {"model": model.name, "fingerprint": model.fingerprint, "revision": model.revision, "cav": __version__}
    made |= {"commit": model.commit} if model.commit else {}
    used = {"styles": [to_table(style.used) for style in styles]} if styles else {}
    return kept | {"motions": motions} | used | made
