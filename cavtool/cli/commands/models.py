"""`cav models`: base models."""

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cavtool.cli.batch import for_each
from cavtool.cli.command import command, new_app
from cavtool.cli.completion.offers import hub_model_names, listed_model_names, model_names
from cavtool.cli.output import Output
from cavtool.cli.params import DryRun, Yes
from cavtool.errors import CavError, InvalidInput, NotFound, closest
from cavtool.models import CATALOGUE, NativeClip
from cavtool.models.family import FAMILIES
from cavtool.workspace import Workspace

if TYPE_CHECKING:
    from cavtool.models.catalogue import Entry
    from cavtool.models.store import Pointer

app = new_app("List, download, add or remove base models.")

Name = Annotated[str, typer.Argument(help="Model, as `cav models list` shows it.", autocompletion=listed_model_names)]
Base = Annotated[
    str,
    typer.Option(help="Image model for AnimateDiff: a Stable Diffusion 1.5 folder or .safetensors file."),
]


@command(app, "models list")
def list_(out: Output, workspace: Workspace) -> None:
    """List base models: those that `cav` knows, and those that were added or pulled.

    Example: `cav models list`
    """
    data = list(_all(workspace))
    rows = [(each["name"], each["family"] or "?", each["state"], _clip_text(each), each["licence"]) for each in data]
    out.table(("NAME", "FAMILY", "STATE", "CLIP", "LICENCE"), rows, data)


@command(app, "models show")
def show(
    out: Output,
    workspace: Workspace,
    name: Name,
    *,
    path: Annotated[bool, typer.Option("--path", help="Print only the folder.")] = False,
) -> None:
    """Show where a base model is, its licence, and what it needs.

    Memory and download are estimates.

    Example: `cav models show zeroscope`
    """
    if path:
        folder = workspace.models.find(name).folder
        out.result({"path": str(folder)}, [folder])
        return
    data = _find(workspace, name)
    out.result(data, [f"{key:<12} {text}" for key, text in _lines(data)])


@command(app, "models add")
def add(
    out: Output,
    workspace: Workspace,
    name: Annotated[str, typer.Argument(help="Name for the model.")],
    source: Annotated[
        str,
        typer.Argument(
            metavar="FOLDER_OR_HUB_ID",
            help="Folder of a diffusers pipeline, or OWNER/NAME on the Hub; with --base, a motion adapter.",
            autocompletion=model_names,
        ),
    ],
    *,
    base: Base = "",
    frames: Annotated[int, typer.Option(help="Frames per clip (default: the model's).", min=0, show_default=False)] = 0,
    size: Annotated[str, typer.Option(metavar="WIDTHxHEIGHT", help="Clip size in pixels (default: the model's).")] = "",
) -> None:
    """Give a model a name for `--model`, and optionally other clips.

    Downloads and copies nothing; only pickled weights (.bin) are converted into the cache. Smaller clips need less
    memory.

    Examples: `cav models add dance ./my-zeroscope`,
    `cav models add wan-small Wan-AI/Wan2.1-T2V-1.3B-Diffusers --size 480x272`,
    `cav models add toon guoyww/animatediff-motion-adapter-v1-5-3 --base toonyou.safetensors`
    """
    with out.progress() as on_event:
        from cavtool.studio import models as studio

        chosen = _chosen(frames, size)
        pointer = studio.add(name, source, base=base, chosen=chosen, workspace=workspace, on_event=on_event)
    out.result(_describe(workspace, pointer.name, pointer), [pointer.name])
    if not pointer.is_pulled or (base and not pointer.prepared):
        out.hint(f"`cav models pull {pointer.name}` downloads the rest")


@command(app, "models pull")
def pull(
    out: Output,
    workspace: Workspace,
    name: Annotated[
        str,
        typer.Argument(help="Model of `cav models list`, or OWNER/NAME on the Hub.", autocompletion=hub_model_names),
    ],
    *,
    base: Base = "",
    revision: Annotated[str, typer.Option(help="Commit, tag or branch (default: the pinned or the newest).")] = "",
) -> None:
    """Download a base model into the Hub's cache.

    Only the files that are needed. Files that are complete are not downloaded again.

    Examples: `cav models pull zeroscope`, `cav models pull animatediff --base toonyou.safetensors`
    """
    with out.progress() as on_event:
        from cavtool.studio import models as studio

        pointer = studio.pull(name, base=base, revision=revision, workspace=workspace, on_event=on_event)
    out.result(_describe(workspace, pointer.name, pointer), [workspace.models.folder(pointer)])


@command(app, "models use")
def use(out: Output, workspace: Workspace, name: Name) -> None:
    """Make a model the default of all commands.

    `cav config get model` shows it.

    Example: `cav models use zeroscope`
    """
    model = workspace.models.find(name)
    workspace.settings.put("model", model.address)
    if workspace.settings.get("model").source == "environment":
        out.warning("`CAV_MODEL` in the environment takes precedence")
    out.result({"model": model.address}, [model.address])


@command(app, "models rm")
def rm(
    out: Output,
    workspace: Workspace,
    names: Annotated[
        list[str],
        typer.Argument(help="Models, as `cav models list` shows them.", autocompletion=listed_model_names),
    ],
    *,
    yes: Yes = False,
    dry_run: DryRun = False,
) -> None:
    """Forget added models, and delete downloaded ones from the Hub's cache.

    Folders of your own are never deleted.

    Example: `cav models rm zeroscope`
    """
    from cavtool.studio import models as studio

    there = [name for name in dict.fromkeys(names) if workspace.models.pointer(name)]
    if there and not (yes or dry_run):
        question = f"Forget {', '.join(there)}, and delete their downloads from the Hub's cache?"
        out.confirm(question, if_declined="nothing was removed")

    def remove(name: str) -> None:
        pointer = _pointer(workspace, name)
        if not dry_run:
            studio.remove(pointer, workspace)

    done = "would be removed" if dry_run else "removed"
    removed, failed, failure = for_each(out, done, dict.fromkeys(names), remove)
    if not dry_run and (default := workspace.settings.get("model")).value in removed and default.source == "file":
        workspace.settings.drop("model")
        out.note(f"the default model is `{workspace.settings.get('model').value}` again")
    out.result({"removed": removed, "failed": failed, "dry_run": dry_run}, removed, failure=failure)


def _all(workspace: Workspace) -> Iterator[dict[str, Any]]:
    """The models of the catalogue, then the others."""
    models = workspace.models
    for name in [*CATALOGUE, *(name for name in models.names() if name not in CATALOGUE)]:
        yield _describe(workspace, name, models.pointer(name))


def _find(workspace: Workspace, name: str) -> dict[str, Any]:
    pointer = workspace.models.pointer(name)
    if pointer or name in CATALOGUE:
        return _describe(workspace, name, pointer)
    raise _no_model(workspace, name)


def _pointer(workspace: Workspace, name: str) -> "Pointer":
    """The pointer of a model that can be removed."""
    if pointer := workspace.models.pointer(name):
        return pointer
    if name in CATALOGUE and CATALOGUE[name].folder:
        raise InvalidInput(f"`{name}` comes with `cav` and cannot be removed")
    if name in CATALOGUE:
        raise NotFound(f"`{name}` is not on this machine")
    raise _no_model(workspace, name)


def _no_model(workspace: Workspace, name: str) -> CavError:
    known = [*CATALOGUE, *workspace.models.names()]
    return NotFound(f"no model `{name}`", hint=closest(name, known, "see `cav models list`"))


def _describe(workspace: Workspace, name: str, pointer: "Pointer | None") -> dict[str, Any]:
    """All that is known of a model without opening it."""
    models = workspace.models
    entry = models.entry(pointer) if pointer else CATALOGUE[name]
    folder = models.folder(pointer) if pointer else entry.folder if entry else None
    family = pointer.family if pointer else entry.family if entry else ""
    return {
        "name": name,
        "family": family,
        "state": _state(pointer, entry, folder),
        "licence": entry.licence if entry else "",
        "commercial_use": entry.commercial if entry else None,
        "source": pointer.source if pointer else entry.source if entry else "",
        "adapter": pointer.adapter if pointer else entry.adapter if entry else "",
        "commit": pointer.commit if pointer else "",
        "path": str(folder) if folder and folder.exists() else None,
        "native": _native(name, folder, entry, pointer),
        "max_frames": entry.max_frames if entry else None,
        "needs_gb": asdict(entry.needs) if entry else None,
        "caveat": FAMILIES[family].caveat if family in FAMILIES else "",
    }


def _native(name: str, folder: Path | None, entry: "Entry | None", pointer: "Pointer | None") -> dict[str, Any] | None:
    """How the model is used, by its folder or else the catalogue, with the clips that the user chose."""
    from cavtool.models import Model

    chosen = pointer.chosen if pointer else {}
    if folder and folder.exists():
        with suppress(CavError):
            return asdict(Model(name, folder, entry=entry, chosen=chosen).native)
    return asdict(replace(entry.usual, clip=replace(entry.usual.clip, **chosen))) if entry else None


def _chosen(frames: int, size: str) -> dict[str, int]:
    """The fields of NativeClip that the user chose. Raises InvalidInput for an invalid size."""
    chosen = {"num_frames": frames} if frames else {}
    if not size:
        return chosen
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", size)
    if match is None or not all(map(int, match.groups())):
        raise InvalidInput(f"`{size}` is not a size", hint="write `--size 480x272`")
    return chosen | {"width": int(match[1]), "height": int(match[2])}


def _state(pointer: "Pointer | None", entry: "Entry | None", folder: Path | None) -> str:
    if pointer is None:
        return "built in" if entry and entry.folder else "not pulled"
    if not pointer.is_pulled or (pointer.commit and folder and not folder.exists()):
        return "not pulled"
    if folder is None or not folder.exists():
        return "missing"
    return "pulled" if pointer.commit else "added"


def _clip_text(data: dict[str, Any]) -> str:
    """The native clip: 24 frames of 576x320, 8 fps."""
    if not data["native"]:
        return ""
    clip, most = data["native"]["clip"], data["max_frames"]
    frames = f"{clip['num_frames']} to {most}" if most else f"{clip['num_frames']}"
    return f"{frames} frames of {clip['width']}x{clip['height']}, {clip['fps']:g} fps"


def _accepted_text(data: dict[str, Any]) -> str:
    """The clips that the model can make: 4n + 1 frames, sides in steps of 16 pixels."""
    clip = data["native"]["clip"]
    family = FAMILIES[data["family"]]
    frames = "any number of frames" if clip["frame_step"] == 1 else f"{clip['frame_step']}n + 1 frames"
    if family.most_frames:
        frames = f"{family.most_frames} frames or fewer"
    step = family.side_step(NativeClip(**clip))
    return f"{frames}, sides in steps of {step} pixels (`cav models add --frames --size`)"


def _lines(data: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The lines of `cav models show`."""
    yield "name", data["name"]
    yield "family", data["family"] or "unknown"
    yield "state", data["state"]
    for key in ("source", "adapter", "commit", "path"):
        if data[key]:
            yield key, data[key]
    if data["licence"]:
        yield "licence", f"{data['licence']}{'' if data['commercial_use'] else ' (not for commercial use)'}"
    if data["native"]:
        native = data["native"]
        yield "clip", _clip_text(data)
        yield "accepts", _accepted_text(data)
        yield "sampling", f"{native['steps']} steps, guidance {native['guidance']:g}"
    if data["needs_gb"]:
        needs = data["needs_gb"]
        yield "download", f"about {needs['download']:g} GB" if needs["download"] else "none"
        learn = f"{needs['learn_least']:g} to {needs['learn']:g} GB to learn"
        yield "memory", f"about {learn}, {needs['generate']:g} GB to generate (estimates)"
    if data["caveat"]:
        yield "note", data["caveat"]
