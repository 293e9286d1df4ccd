"""`cav mv`."""

from typing import Annotated

import typer

from cavtool.cli.command import command, new_app
from cavtool.cli.commands.rm import own_absorber
from cavtool.cli.format import describe
from cavtool.cli.output import Output
from cavtool.cli.params import Name, Replace
from cavtool.names import absorber_name, check_learned
from cavtool.workspace import Workspace

app = new_app()


@command(app, "mv")
def mv(
    out: Output,
    workspace: Workspace,
    name: Name,
    to: Annotated[str, typer.Argument(help="New name.")],
    *,
    with_absorber: Annotated[
        bool, typer.Option("--with-absorber", help="Rename the absorber NAME-look of a motion too.")
    ] = False,
    replace: Replace = False,
) -> None:
    """Rename a motion or absorber.

    Example: `cav mv twirl pirouette`
    """
    registry = workspace.registry
    absorber = own_absorber(registry, name)
    names = [to]
    if absorber and with_absorber:
        check_learned(to)
        registry.check_free(to, "motion", replace=replace)
        registry.check_free(absorber_name(to), "absorber", replace=replace)
    asset = registry.rename(name, to, replace=replace)
    if absorber and with_absorber:
        registry.rename(absorber, absorber_name(to), replace=replace)
        names.append(absorber_name(to))
    elif absorber:
        out.note(f"the absorber is still `{absorber}`; `cav mv {absorber} {absorber_name(to)}` renames it too")
    out.result({**describe(asset), "renamed": names}, names)
