"""`cav rm`."""

from cavtool.cli.batch import expand, for_each
from cavtool.cli.command import command, new_app
from cavtool.cli.output import Output
from cavtool.cli.params import DryRun, Names, Yes
from cavtool.workspace import Workspace

app = new_app()


@command(app, "rm")
def rm(out: Output, workspace: Workspace, names: Names, *, yes: Yes = False, dry_run: DryRun = False) -> None:
    """Move motions and absorbers to the trash.

    `cav trash restore NAME` brings one back.

    Examples: `cav rm twirl`, `cav rm 'test-*' --yes`
    """
    registry = workspace.registry
    chosen = expand(names, registry.own_names())
    if not (yes or dry_run):
        out.confirm(f"Move {', '.join(chosen)} to the trash?", if_declined="nothing was removed")
    removed, failure = for_each(out, "removed", chosen, registry.check_there if dry_run else registry.remove)
    out.result({"removed": removed, "dry_run": dry_run}, removed, failure=failure)
