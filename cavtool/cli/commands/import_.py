"""`cav import`."""

from pathlib import Path
from typing import Annotated

import typer

from cavtool.cli.batch import for_each
from cavtool.cli.command import command, new_app
from cavtool.cli.completion.offers import bundle_files, model_names
from cavtool.cli.format import describe
from cavtool.cli.output import Output
from cavtool.cli.params import Replace
from cavtool.errors import InvalidInput
from cavtool.recipes.absorb import WEIGHT_FILES
from cavtool.registry import Asset
from cavtool.workspace import Workspace

app = new_app()


@command(app, "import")
def import_(
    out: Output,
    workspace: Workspace,
    files: Annotated[
        list[Path],
        typer.Argument(help="Files to import: .cav, or LoRAs of other tools.", autocompletion=bundle_files),
    ],
    *,
    to: Annotated[
        str | None,
        typer.Option("--as", help="Name to import it under (default: that in a .cav, or a LoRA's file name)."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="Base model that a LoRA was made for (default: that of `learn`).", autocompletion=model_names
        ),
    ] = None,
    replace: Replace = False,
) -> None:
    """Import motions and absorbers that `cav export` wrote, or LoRAs of other tools.

    Nothing of a .cav is imported unless everything in it matches its checksum. A LoRA becomes a motion.

    Examples: `cav import *.cav`, `cav import v2_lora_ZoomIn.ckpt --as zoom-in --model animatediff`
    """
    if to is not None and len(files) > 1:
        raise InvalidInput(f"`--as` takes one file, not {len(files)}", hint="import them one by one")
    assets: list[Asset] = []

    def import_one(name: str) -> None:
        file = Path(name)
        if file.suffix.lower() in WEIGHT_FILES:
            assets.append(_import_lora(out, workspace, file, to, model, replace=replace))
        else:
            assets.extend(_import_bundle(workspace, file, to, model, replace=replace))

    _, failed, failure = for_each(out, "imported", map(str, files), import_one)
    data = {"assets": [describe(asset) for asset in assets], "failed": failed}
    out.result(data, [asset.record.name for asset in assets], failure=failure)


def _import_lora(
    out: Output, workspace: Workspace, file: Path, to: str | None, model: str | None, *, replace: bool
) -> Asset:
    """Import a LoRA of another tool as a motion of a base model."""
    found = workspace.models.find(str(workspace.settings.get("model").value) if model is None else model)
    with out.progress() as on_event:
        from cavtool.studio.transfer import import_lora

        return import_lora(file, found, name=to, replace=replace, workspace=workspace, on_event=on_event)


def _import_bundle(
    workspace: Workspace, file: Path, to: str | None, model: str | None, *, replace: bool
) -> list[Asset]:
    """Import all motions and absorbers in a .cav file. Raises InvalidInput if `model` is given."""
    from cavtool.registry.bundle import unpack

    if model is not None:
        hint = "leave `--model` out"
        raise InvalidInput(f"`--model` is for LoRAs of other tools; `{file.name}` states its base model", hint=hint)
    return unpack(workspace.registry, file, to=to, replace_it=replace)
