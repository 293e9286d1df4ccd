"""`cav rm`."""

from typing import Annotated

import typer

from cavtool.cli.batch import expand, for_each
from cavtool.cli.command import command, new_app
from cavtool.cli.output import Output
from cavtool.cli.params import DryRun, Names, Yes
from cavtool.errors import CavError
from cavtool.names import absorber_name
from cavtool.registry import Registry
from cavtool.workspace import Workspace

app = new_app()


@command(app, "rm")
def rm(
    out: Output,
    workspace: Workspace,
    names: Names,
    *,
    with_absorber: Annotated[
        bool, typer.Option("--with-absorber", help="Remove the absorbers NAME-look of motions too.")
    ] = False,
    yes: Yes = False,
    dry_run: DryRun = False,
) -> None:
    """Move motions and absorbers to the trash.

    `cav trash restore NAME` brings one back.

    Examples: `cav rm twirl`, `cav rm 'test-*' --yes`
    """
    registry = workspace.registry
    chosen = expand(names, registry.own_names())
    remaining = [absorber for name in chosen if (absorber := own_absorber(registry, name)) and absorber not in chosen]
    if with_absorber:
        chosen, remaining = [*chosen, *remaining], []
    there = [name for name in chosen if _is_there(registry, name)]
    if there and not (yes or dry_run):
        out.confirm(f"Move {', '.join(there)} to the trash?", if_declined="nothing was removed")
    done = "would be removed" if dry_run else "removed"
    removed, failed, failure = for_each(out, done, chosen, registry.check_there if dry_run else registry.remove)
    if remaining and removed:
        named = ", ".join(f"`{absorber}`" for absorber in remaining)
        what, which = ("the absorber stays", "it") if len(remaining) == 1 else ("the absorbers stay", "them")
        out.note(f"{what}: {named}; `--with-absorber` removes {which} too")
    out.result({"removed": removed, "failed": failed, "dry_run": dry_run}, removed, failure=failure)


def own_absorber(registry: Registry, name: str) -> str | None:
    """The name of the absorber that was learned with a motion; None if it has none in the user's own registry."""
    try:
        if registry.get(name).record.kind != "motion":
            return None
        absorber = absorber_name(name)
        found = registry.get(absorber, "absorber") if absorber in registry.own_names() else None
    except CavError:  # damaged, or not there
        return None
    return absorber if found else None


def _is_there(registry: Registry, name: str) -> bool:
    try:
        registry.check_there(name)
    except CavError:
        return False
    return True
