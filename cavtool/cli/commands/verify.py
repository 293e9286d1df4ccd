"""`cav verify`."""

from typing import TYPE_CHECKING, Annotated

import typer

from cavtool.cli.batch import expand
from cavtool.cli.command import command, new_app
from cavtool.cli.completion.offers import asset_names
from cavtool.cli.output import Output
from cavtool.errors import IntegrityFailure
from cavtool.workspace import Workspace

if TYPE_CHECKING:
    from cavtool.registry.verify import Report

app = new_app()


@command(app, "verify")
def verify(
    out: Output,
    workspace: Workspace,
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Names of motions and absorbers, or globs (default: all).", autocompletion=asset_names),
    ] = None,
    *,
    repair: Annotated[
        bool, typer.Option("--repair", help="Move damaged and unexpected entries to the quarantine.")
    ] = False,
) -> None:
    """Compare the files of motions and absorbers with their checksums.

    `--repair` moves damaged entries to the quarantine, a folder next to the registry; nothing is deleted.

    Examples: `cav verify`, `cav verify 'test-*' --repair`
    """
    from cavtool.registry.verify import verify_assets

    chosen = expand(names, workspace.registry.names()) if names else None
    report = verify_assets(workspace.registry, chosen, repair=repair)
    for finding in report.findings:
        out.warning(finding.problem)
    for error in report.errors:
        out.error(error)
    failure = _failure(report, repair=repair)
    if not failure:
        moved = f", {len(report.moved)} moved to the quarantine" if report.moved else ""
        out.note(f"{report.intact} intact{moved}")
    findings = [{"name": each.name, "problem": each.problem, "usable": each.usable} for each in report.findings]
    data = {"checked": report.checked, "findings": findings, "moved": report.moved}
    out.result(data, report.moved.values(), failure=failure)


def _failure(report: "Report", *, repair: bool) -> IntegrityFailure | None:
    if not report.remaining:
        return None
    hint = None if repair else "`cav verify --repair` moves the damaged ones to a quarantine"
    return IntegrityFailure(f"{len(report.damaged)} damaged, {report.intact} intact", hint=hint)
