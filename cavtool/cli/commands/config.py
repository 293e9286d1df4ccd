"""`cav config`: what the user has set."""

import os
import subprocess
from typing import Annotated

import typer

from cavtool.cli.completion.offers import setting_keys
from cavtool.cli.output import Output
from cavtool.cli.params import Json, Quiet
from cavtool.workspace import Workspace

app = typer.Typer(rich_markup_mode=None)
config = typer.Typer(rich_markup_mode=None)
app.add_typer(config, name="config", help="Show and change settings.")

Key = Annotated[str, typer.Argument(help="As `cav config list` shows it.", autocompletion=setting_keys)]


@config.command("list")
def list_(*, as_json: Json = False, quiet: Quiet = False) -> None:
    """List every setting, what it is, and who says so: the environment, the file, or nobody.

    Example: `cav config list`
    """
    from cavtool.settings import SETTINGS

    with Output("config list", json=as_json, quiet=quiet) as out:
        settings = Workspace().settings
        found = {key: settings.get(key) for key in SETTINGS}
        for unknown in settings.unknown_keys():
            out.warning(f"`{unknown}` in `{settings.file}` is not a setting")
        rows = [(key, _text(each.value), each.source, SETTINGS[key].about) for key, each in found.items()]
        data = [{"key": key, "value": each.value, "source": each.source} for key, each in found.items()]
        out.table(("KEY", "VALUE", "FROM", "WHAT"), rows, data)


@config.command()
def get(key: Key, *, as_json: Json = False, quiet: Quiet = False) -> None:
    """Print one setting.

    Example: `cav config get generate.steps`
    """
    with Output("config get", json=as_json, quiet=quiet) as out:
        found = Workspace().settings.get(key)
        out.result({"key": key, "value": found.value, "source": found.source}, [_text(found.value)])


@config.command("set")
def set_(
    key: Key,
    value: Annotated[str, typer.Argument(help="Folders are separated as in PATH.")],
    *,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Set a setting in the file; its comments are kept.

    Example: `cav config set generate.steps 40`
    """
    from cavtool.settings import find

    with Output("config set", json=as_json, quiet=quiet) as out:
        settings = Workspace().settings
        settings.put(key, value)
        if (found := settings.get(key)).source == "environment":
            out.warning(f"`{find(key).variable}` in the environment goes before it")
        out.result({"key": key, "value": found.value, "source": found.source}, [_text(found.value)])


@config.command()
def unset(key: Key, *, as_json: Json = False, quiet: Quiet = False) -> None:
    """Take a setting out of the file, so that its default holds.

    Example: `cav config unset generate.steps`
    """
    with Output("config unset", json=as_json, quiet=quiet) as out:
        settings = Workspace().settings
        if not settings.drop(key):
            out.note(f"`{key}` was not set")
        found = settings.get(key)
        out.result({"key": key, "value": found.value, "source": found.source}, [_text(found.value)])


@config.command()
def path(*, as_json: Json = False, quiet: Quiet = False) -> None:
    """Print where settings are kept.

    Example: `cav config path`
    """
    with Output("config path", json=as_json, quiet=quiet) as out:
        file = Workspace().settings.file
        out.result({"path": str(file)}, [file])


@config.command()
def edit(*, as_json: Json = False, quiet: Quiet = False) -> None:
    """Open the file in $VISUAL or $EDITOR.

    Example: `cav config edit`
    """
    from cavtool.errors import RequirementError
    from cavtool.settings import SETTINGS
    from cavtool.system.files import writing_to

    with Output("config edit", json=as_json, quiet=quiet) as out:
        editor = os.environ.get("VISUAL") or os.environ.get("EDITOR")
        if not editor:
            raise RequirementError("no editor is set", hint="set EDITOR, or use `cav config set`")
        settings = Workspace().settings
        file = settings.file
        with writing_to(file.parent):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
        subprocess.run(f'{editor} "{file}"', shell=True, check=False)  # noqa: S602 an editor may come with options
        for key in SETTINGS:
            settings.get(key)  # says what is wrong now, if anything
        out.result({"path": str(file)}, [])


def _text(value: object) -> str:
    return os.pathsep.join(value) if isinstance(value, tuple) else str(value)
