"""`cav doctor`."""

from dataclasses import asdict

from cavtool.cli.command import command, new_app
from cavtool.cli.output import Output
from cavtool.errors import CavError
from cavtool.workspace import Workspace

app = new_app()


@command(app, "doctor")
def doctor(out: Output, workspace: Workspace) -> None:
    """Check this machine: ffmpeg, torch, memory, models.

    Also checks the libraries, settings, disks, registry and runs, and says how to fix problems. The exit code is 1 if
    anything is broken.

    Example: `cav doctor`
    """
    from cavtool.doctor import examine

    findings = list(examine(workspace))
    if not out.json:
        out.table(("CHECK", "STATE", "FOUND"), [(each.what, each.state, each.found) for each in findings], ())
    remedies = [f"{each.what}: {each.remedy}" for each in findings if each.remedy]
    broken = [each.what for each in findings if each.state == "broken"]
    failure = CavError(f"broken: {', '.join(broken)}") if broken else None
    out.result({"findings": list(map(asdict, findings))}, remedies, failure=failure)
