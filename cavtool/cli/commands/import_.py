"""`cav import`."""

from pathlib import Path
from typing import Annotated

import typer

from cavtool.cli.command import command, new_app
from cavtool.cli.completion.offers import WEIGHT_FILES, bundle_files, model_names
from cavtool.cli.format import describe
from cavtool.cli.output import Output
from cavtool.cli.params import Replace
from cavtool.errors import InvalidInput
from cavtool.workspace import Workspace

app = new_app()


@command(app, "import")
def import_(
    out: Output,
    workspace: Workspace,
    file: Annotated[
        Path,
        typer.Argument(
            help="File to import: .cav, or a LoRA of another tool.", dir_okay=False, autocompletion=bundle_files
        ),
    ],
    *,
    to: Annotated[
        str | None, typer.Option("--as", help="Name to import it under (default: the one in the file).")
    ] = None,
    model: Annotated[
        str,
        typer.Option(
            help="Base model that the LoRA was made for (default: that of `learn`).", autocompletion=model_names
        ),
    ] = "",
    replace: Replace = False,
) -> None:
    """Import motions and absorbers that `cav export` wrote, or a LoRA of another tool.

    Nothing is imported unless every file of a .cav matches its checksum. A LoRA becomes a motion.

    Examples: `cav import twirl.cav --as spin`, `cav import v2_lora_ZoomIn.ckpt --as zoom-in --model animatediff`
    """
    if file.suffix.lower() in WEIGHT_FILES:
        found = workspace.models.find(model or str(workspace.settings.get("model").value))
        with out.progress() as on_event:
            from cavtool.studio.transfer import import_lora

            asset = import_lora(file, found, name=to or "", replace=replace, workspace=workspace, on_event=on_event)
        out.result({"assets": [describe(asset)]}, [asset.record.name])
        return
    from cavtool.registry.bundle import unpack

    if model:
        raise InvalidInput(f"`--model` is for LoRAs of other tools; `{file.name}` says itself which one it is for")
    assets = unpack(workspace.registry, file, to=to, replace_it=replace)
    out.result({"assets": [describe(asset) for asset in assets]}, [asset.record.name for asset in assets])
