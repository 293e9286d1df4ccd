"""`cav mix`."""

from functools import partial
from typing import Annotated

import typer

from cavtool.cli.command import command, new_app
from cavtool.cli.commands.learn import report
from cavtool.cli.completion.offers import weighted_motion_names
from cavtool.cli.output import Output
from cavtool.cli.params import Replace
from cavtool.events import Event, Note
from cavtool.recipes import MixRecipe, parse_blend
from cavtool.workspace import Workspace

app = new_app()


@command(app, "mix")
def mix(
    out: Output,
    workspace: Workspace,
    name: Annotated[str, typer.Argument(help="Name for the mix.")],
    motions: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME[:WEIGHT]", help="Motions to combine, two or more.", autocompletion=weighted_motion_names
        ),
    ],
    *,
    rank: Annotated[int | None, typer.Option(help="Rank of the mix (default: the sum of the ranks, exact).")] = None,
    replace: Replace = False,
) -> None:
    """Save a weighted combination of motions as one motion.

    Example: `cav mix twirl-zoom twirl dolly_zoom:0.7`
    """
    recipe = MixRecipe(tuple(map(parse_blend, motions)), rank)
    workspace.registry.check_free(name, "motion", replace=replace)
    for motion in recipe.motions:  # before torch loads
        workspace.registry.get(motion.name, "motion")
    from cavtool.studio.mix import mix as save

    report(out, save(name, recipe, replace=replace, workspace=workspace, on_event=partial(_show, out)))


def _show(out: Output, event: Event) -> None:
    if isinstance(event, Note):
        out.note(event.text)
