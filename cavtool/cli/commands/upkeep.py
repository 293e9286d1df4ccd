"""Keeping the registry in order: `cav verify`, `cav prune`, `cav path`."""

from datetime import timedelta
from typing import Annotated

import typer

from cavtool.cli.commands.assets import size_text
from cavtool.cli.completion.offers import asset_names
from cavtool.cli.many import expand
from cavtool.cli.output import Output
from cavtool.cli.params import Json, Quiet
from cavtool.errors import CavError, IntegrityFailure
from cavtool.workspace import Workspace

app = typer.Typer(rich_markup_mode=None)


@app.command()
def verify(
    names: Annotated[
        list[str] | None, typer.Argument(help="All, if none is given.", autocompletion=asset_names)
    ] = None,
    *,
    repair: Annotated[bool, typer.Option("--repair", help="Move what is damaged, or lies about, aside.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compare every file of motions and absorbers with the checksum of when it was written.

    `--repair` moves what fails to a quarantine folder beside the registry; nothing is deleted.

    Examples: `cav verify`, `cav verify 'test-*' --repair`
    """
    from cavtool.registry.verify import check, set_aside, strays

    with Output("verify", json=as_json, quiet=quiet) as out:
        registry = Workspace(on_wait=out.note).registry
        chosen = expand(names, registry.names()) if names else registry.own_names()
        findings = [*check(registry, chosen), *([] if names else strays(registry))]
        for finding in findings:
            out.warning(finding.problem)
        bad = {finding.name for finding in findings if not finding.usable}
        moved: dict[str, str] = {}
        for name in sorted(bad) if repair else ():
            try:
                if to := set_aside(registry, name):
                    moved[name] = str(to)
                else:
                    bad.remove(name)
            except CavError as error:  # the next may be moved all the same
                out.error(error)
        whole = len(set(chosen) & set(registry.names()) - bad)  # what was removed meanwhile is neither
        told = [{"name": f.name, "problem": f.problem, "usable": f.usable} for f in findings]
        failure = None
        if bad - moved.keys():
            hint = None if repair else "`cav verify --repair` moves them aside"
            failure = IntegrityFailure(f"{len(bad)} damaged, {whole} whole", hint=hint)
        else:
            out.note(f"{whole} whole" + (f", {len(moved)} moved aside" if moved else ""))
        out.result({"checked": chosen, "findings": told, "moved": moved}, moved.values(), failure=failure)


@app.command()
def path(
    name: Annotated[str | None, typer.Argument(help="A motion or an absorber.", autocompletion=asset_names)] = None,
    *,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Print the folder the registry lies in, or that of one motion or absorber.

    Example: `cav path twirl`
    """
    with Output("path", json=as_json, quiet=quiet) as out:
        registry = Workspace().registry
        folder = registry.get(name).folder if name else registry.root
        out.result({"path": str(folder)}, [folder])


@app.command()
def prune(
    *,
    days: Annotated[float, typer.Option(min=0, max=36_500, help="Runs untouched for so many days are stale.")] = 30,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do it.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Find what can go: stale runs, half-written files, absorbers whose motion is gone.

    Without `--yes` it only says so. Absorbers go to the trash; all else is deleted.

    Example: `cav prune --days 7 --yes`
    """
    from cavtool.prune import find, remove

    with Output("prune", json=as_json, quiet=quiet) as out:
        workspace = Workspace(on_wait=out.note)
        found = find(timedelta(days=days), workspace)
        if yes:
            remove(found, workspace)
        size = size_text(sum(each.size for each in found))
        out.table(
            ("WHAT", "NAME", "SIZE"),
            [(each.what, each.name, size_text(each.size)) for each in found],
            [{"what": each.what, "name": each.name, "size": each.size, "removed": yes} for each in found],
        )
        told = f"{size} freed" if yes else f"{size} to be freed: add `--yes`"
        out.note(told if found else "nothing can go")
