"""How a command is declared: the `command` decorator, and the command and group classes that start fast."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

import typer
from typer.core import TyperCommand, TyperGroup

from cavtool.cli.output import Output
from cavtool.errors import InvalidInput
from cavtool.workspace import Workspace

Body = TypeVar("Body", bound=Callable[..., None])

# Parameters of a command that are not on the command line, by their annotation.
_PROVIDED: dict[Any, Callable[[Output], object]] = {
    Output: lambda out: out,
    Workspace: lambda out: Workspace(on_wait=out.note, on_warning=out.warning),
}
_ADDED = [
    inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=annotation)
    for name, annotation in {
        "as_json": Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")],
        "quiet": Annotated[bool, typer.Option("--quiet", "-q", help="Show only results, warnings and errors.")],
    }.items()
]


def command(app: typer.Typer, name: str) -> Callable[[Body], Body]:
    """Make a function the command `name` of `app`; the name includes that of a group, as in "runs list".

    The parameters of the function are the arguments and options of the command, and its docstring is the help. A
    parameter annotated with `Output` or `Workspace` receives the output or the workspace of this call instead.
    `--json`, `--quiet` and the handling of errors are added.
    """

    def register(body: Body) -> Body:
        parameters = inspect.signature(body).parameters.values()
        provided = {each.name: _PROVIDED[each.annotation] for each in parameters if each.annotation in _PROVIDED}

        def run(*, as_json: bool, quiet: bool, **arguments: Any) -> None:
            with Output(name, json=as_json, quiet=quiet) as out:
                body(**arguments, **{each: provide(out) for each, provide in provided.items()})

        run.__doc__ = body.__doc__
        parsed = [each for each in parameters if each.name not in provided]
        run.__signature__ = inspect.Signature([*parsed, *_ADDED])  # type: ignore[attr-defined]
        app.command(name.rsplit(maxsplit=1)[-1], cls=FastCommand)(run)
        return body

    return register


class FastCommand(TyperCommand):
    """A command that does not check the defaults of its options.

    Typer checks them with pydantic, whose import would make `cav list` take 2.5 times as long as importing typer and
    rich instead of 1.5 times (`python -m tests.benchmarks.startup`: 100 assets; the limit is 1.5).
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the command line into `ctx.params`."""
        values, rest, given = self.make_parser(ctx).parse_args(args=args)
        _refuse_empty_paths(values, self.get_params(ctx))
        params = dict.fromkeys([*given, *self.get_params(ctx)])  # in the order of the line, then the others
        for param in sorted(params, key=lambda param: not param.is_eager):
            if values.get(param.name) not in (None, ()) or (param.required and not ctx.resilient_parsing):
                param.handle_parse_result(ctx, values, rest)
            elif param.expose_value:
                ctx.params[param.name] = param.get_default(ctx)
        if rest and not ctx.resilient_parsing:
            ctx.fail(f"Got unexpected extra argument(s) ({' '.join(rest)})")
        ctx.args = rest
        return rest


def _refuse_empty_paths(values: dict[str, Any], params: list[Any]) -> None:
    """Raise InvalidInput for an empty path, such as an unset shell variable gives: it would be the current folder."""
    for param in params:
        annotation = getattr(getattr(param, "type_descriptor", None), "annotation", None)
        if Path in {annotation, *get_args(annotation)}:
            given = values.get(param.name)
            if "" in (given if isinstance(given, list | tuple) else (given,)):
                named = param.opts[0] if param.param_type_name == "option" else param.name
                raise InvalidInput(f"the path for `{named}` is empty", hint="write `.` for the current folder")


class FastGroup(TyperGroup):
    """A group that shows its help if it is called without a command, and takes `ls` for `list`.

    Its `--help` is False by default, which typer accepts without pydantic; typer's own default is None.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the command line of the group; `help COMMAND` is `COMMAND --help`."""
        if args[:1] == ["help"]:
            args = [*args[1:], "--help"]
        if not (args or self.invoke_without_command or ctx.resilient_parsing):
            args = ["--help"]
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Find the command to run."""
        if args[0] == "ls" and "list" in self.list_commands(ctx):
            args = ["list", *args[1:]]
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """List the commands with the whole first line of their help."""
        found = {name: self.get_command(ctx, name) for name in self.list_commands(ctx)}
        with formatter.section("Commands"):
            formatter.write_dl([(name, (each.help or "").partition("\n")[0]) for name, each in found.items() if each])

    def get_help_option(self, ctx: Any) -> Any:
        """Return the option `--help`."""
        option = super().get_help_option(ctx)
        if option is not None:
            option.default = False
        return option


def new_app(help_text: str | None = None, *, cls: type[TyperGroup] = FastGroup, **options: Any) -> typer.Typer:
    """An app for one command, or for a group that `help_text` describes.

    The help is plain, because loading rich takes half of the start-up time. There is no `--install-completion`, because
    it edits the user's shell files.
    """
    return typer.Typer(
        cls=cls,
        help=help_text,
        rich_markup_mode=None,
        add_completion=False,
        pretty_exceptions_enable=False,
        **options,
    )
