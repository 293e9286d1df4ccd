"""`cav config`: the user's settings."""

import os
import shlex
import subprocess
from typing import TYPE_CHECKING, Annotated

import typer

from cavtool.cli.command import command, new_app
from cavtool.cli.completion.offers import setting_keys
from cavtool.cli.output import Output
from cavtool.errors import InvalidInput, RequirementError
from cavtool.workspace import Workspace

if TYPE_CHECKING:
    from cavtool.settings import Settings

app = new_app("Show and change settings.")

Key = Annotated[str, typer.Argument(help="Setting, as `cav config list` shows it.", autocompletion=setting_keys)]


@command(app, "config list")
def list_(out: Output, workspace: Workspace) -> None:
    """List all settings and their sources.

    The source of a value is the environment, the file or the default.

    Example: `cav config list`
    """
    from cavtool.settings import SETTINGS

    settings, found, problems = workspace.settings, {}, dict[str, None]()
    for key in SETTINGS:
        try:
            found[key] = settings.get(key)
        except InvalidInput as error:
            problems[error.message] = None  # a file that cannot be read is one problem, not one of each setting
    for problem in problems:
        out.warning(problem)
    if found:
        for unknown in settings.unknown_keys():
            out.warning(f"unknown setting `{unknown}` in `{settings.file}`")
    rows = [(key, _text(each.value), each.source, SETTINGS[key].about) for key, each in found.items()]
    data = [{"key": key, "value": each.value, "source": each.source} for key, each in found.items()]
    out.table(("KEY", "VALUE", "SOURCE", "DESCRIPTION"), rows, data)


@command(app, "config get")
def get(out: Output, workspace: Workspace, key: Key) -> None:
    """Print the value of a setting.

    Example: `cav config get generate.steps`
    """
    _print_value(out, workspace.settings, key)


@command(app, "config set")
def set_(
    out: Output,
    workspace: Workspace,
    key: Key,
    value: Annotated[str, typer.Argument(help="New value; several folders are separated as in PATH.")],
) -> None:
    """Set a setting in the file; its comments are kept.

    Example: `cav config set generate.steps 40`
    """
    from cavtool.settings import find

    settings = workspace.settings
    if key == "model":
        workspace.models.find(value)
    settings.put(key, value)
    if settings.get(key).source == "environment":
        out.warning(f"`{find(key).variable}` in the environment takes precedence")
    _print_value(out, settings, key)


@command(app, "config unset")
def unset(out: Output, workspace: Workspace, key: Key) -> None:
    """Remove a setting from the file, which restores the default.

    Example: `cav config unset generate.steps`
    """
    if not workspace.settings.drop(key):
        out.note(f"`{key}` was not set")
    _print_value(out, workspace.settings, key)


@command(app, "config path")
def path(out: Output, workspace: Workspace) -> None:
    """Print the path of the settings file.

    Example: `cav config path`
    """
    file = workspace.settings.file
    out.result({"path": str(file)}, [file])


@command(app, "config edit")
def edit(out: Output, workspace: Workspace) -> None:
    """Open the settings file in $VISUAL or $EDITOR.

    Example: `cav config edit`
    """
    from cavtool.settings import SETTINGS
    from cavtool.system.files import destination, writing_to

    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR")
    if not editor:
        raise RequirementError("no editor is set", hint="set EDITOR, or use `cav config set`")
    file = workspace.settings.file
    with writing_to(file.parent):
        file.parent.mkdir(parents=True, exist_ok=True)
        destination(file).touch()
    try:
        code = subprocess.run([*shlex.split(editor, posix=os.name != "nt"), str(file)], check=False).returncode
    except (OSError, ValueError) as error:
        hint = "set EDITOR to a program, or use `cav config set`"
        raise RequirementError(f"cannot run the editor `{editor}`: {error}", hint=hint) from error
    if code:
        raise RequirementError(
            f"the editor `{editor}` ended with code {code}", hint="`cav config list` shows whether the file is valid"
        )
    for key in SETTINGS:
        workspace.settings.get(key)  # raises for an invalid value
    out.result({"path": str(file)}, [])


def _print_value(out: Output, settings: "Settings", key: str) -> None:
    found = settings.get(key)
    out.result({"key": key, "value": found.value, "source": found.source}, [_text(found.value)])


def _text(value: object) -> str:
    if value is None:
        return "the model's"
    return os.pathsep.join(value) if isinstance(value, tuple) else str(value)
