"""`cav doctor`: whether this machine has what `cav` needs."""

import typer

from cavtool.cli.output import Output
from cavtool.cli.params import Json, Quiet
from cavtool.errors import CavError
from cavtool.workspace import Workspace

app = typer.Typer(rich_markup_mode=None)


@app.command()
def doctor(*, as_json: Json = False, quiet: Quiet = False) -> None:
    """Look whether this machine has what `cav` needs, and say what would mend what it lacks.

    Exits with 1 where something is broken.

    Example: `cav doctor`
    """
    from cavtool.doctor import examine

    with Output("doctor", json=as_json, quiet=quiet) as out:
        findings = list(examine(Workspace()))
        rows = [(each.what, each.state, each.found) for each in findings]
        if not as_json:
            out.table(("WHAT", "STATE", "FOUND"), rows, ())
        remedies = [f"{each.what}: {each.remedy}" for each in findings if each.remedy]
        broken = [each.what for each in findings if each.state == "broken"]
        failure = CavError(f"broken: {', '.join(broken)}") if broken else None
        data = [{"what": e.what, "state": e.state, "found": e.found, "remedy": e.remedy} for e in findings]
        out.result({"findings": data}, remedies, failure=failure)
