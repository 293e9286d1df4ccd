"""A simulated workflow that reports every kind of event: `python -m tests.cli.workflow [--json] [-q] [ENDING]`."""

import sys

from cavtool.cli.output import Output
from cavtool.errors import TrainingError
from cavtool.events import Interrupted, Note, Stage, Step, Warn

ENDINGS = {
    "--interrupt": Interrupted("twirl-1"),
    "--ctrl-c": KeyboardInterrupt(),
    "--nan": TrainingError("the loss is not finite at step 40", hint="try a lower `--lr`"),
    "--full": OSError(28, "No space left on device", "/somewhere"),
}


def run(arguments: list[str]) -> None:
    with Output("learn", json="--json" in arguments, quiet="-q" in arguments) as out:
        with out.progress() as on_event:
            on_event(Stage("read the clip", 1, 2))
            on_event(Note("the busiest part begins at 1.5 s"))
            on_event(Warn("no prompt"))
            on_event(Stage("motion", 2, 2))
            for step in range(1, 41):
                on_event(Step("motion", step, 40, 1.0 / step, step * 0.25))
            for argument in arguments:
                if argument in ENDINGS:
                    raise ENDINGS[argument]
        out.result({"name": "twirl"}, ["twirl"])


if __name__ == "__main__":
    run(sys.argv[1:])
