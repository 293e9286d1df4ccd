"""Learn a motion from one video: the paper's two stages, as a run on disk that can be interrupted and resumed."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace as with_changes
from pathlib import Path

from cavtool.core.devices import explain_oom
from cavtool.core.distributed import from_main, in_main
from cavtool.errors import CavError, Incompatible, NotFound, RequirementError, TrainingError
from cavtool.events import Interrupted, Note, OnEvent
from cavtool.recipes import LearnRecipe, MemoryOptions
from cavtool.registry import Asset, Registry
from cavtool.registry.store import KINDS
from cavtool.runs import Run
from cavtool.studio.learn.prepare import open_for_training, prepare_run
from cavtool.studio.learn.save import check_still_free, save_results
from cavtool.studio.learn.train import RESTART_HINT, Training, read_latest, read_state
from cavtool.studio.retry import retrying
from cavtool.studio.session import Session
from cavtool.system.processes import ending_signals, is_main
from cavtool.video import Frames, is_black
from cavtool.workspace import Workspace

__all__ = ["learn", "prepare_run", "resume"]


def learn(
    name: str,
    file: Path,
    recipe: LearnRecipe,
    *,
    replace: bool = False,
    workspace: Workspace | None = None,
    on_event: OnEvent = lambda _: None,
) -> Asset:
    """Learn the motion of a video and save it as `name`, its absorber as `name-look`.

    Raises Conflict for a taken name and MediaError for a bad video, both before any work; TrainingError when the loss
    is not finite, the registry untouched; Interrupted at the first Ctrl-C, after a checkpoint.
    """
    on_event = in_main(on_event)
    workspace = workspace or _default_workspace(on_event)
    run, session = prepare_run(name, file, recipe, workspace, on_event, replace=replace)
    return _drive(run, session, workspace.registry, on_event)


def resume(
    run_id: str,
    *,
    memory: MemoryOptions | None = None,
    workspace: Workspace | None = None,
    on_event: OnEvent = lambda _: None,
) -> Asset:
    """Resume a run from its last checkpoint; on the CPU the weights are those of an uninterrupted run.

    `memory` replaces that of its recipe. Raises NotFound, Conflict if another process drives it or its name has been
    taken, TrainingError or IntegrityFailure if its files are damaged, Incompatible if the base model has been replaced
    since.
    """
    on_event = in_main(on_event)
    workspace = workspace or _default_workspace(on_event)
    run, registry = workspace.runs.open(run_id), workspace.registry
    record = run.record
    if record.outcome and record.outcome.result is not None:
        asset = registry.get(record.name, "motion")
        if asset.record.content_id != record.outcome.result:
            raise NotFound(f"run `{run_id}` is done, and `{record.name}` has been replaced since")
        on_event(Note(f"run `{run_id}` is already done"))
        return asset
    if not run.inputs.exists():
        raise TrainingError(f"run `{run_id}` was stopped before it began", hint=RESTART_HINT)
    recipe, model = record.recipe, workspace.models.find(record.recipe.model)
    if model.revision != record.revision:
        raise Incompatible(f"run `{run_id}` was begun on other weights of `{model.name}`", hint=RESTART_HINT)
    if run.step < recipe.total_steps:  # after the last step, its results may already be in the registry
        for name, kind in zip(recipe.leaves(record.name), KINDS, strict=False):
            check_still_free(registry, name, kind, run, replace=record.replace)
    with explain_oom():
        session = open_for_training(model, with_changes(recipe, memory=memory or recipe.memory))
    return _drive(run, session, registry, on_event)


def _default_workspace(on_event: OnEvent) -> Workspace:
    return Workspace(on_wait=lambda text: on_event(Note(text)))


@contextmanager
def _first_interrupt(run_id: str) -> Iterator[Callable[[], bool]]:
    """Yield a function that returns whether a signal asked to end: Ctrl-C, SIGTERM or SIGHUP.

    A second signal stops at once, without a checkpoint. The number of the signal is that of the Interrupted raised.
    """
    asked: list[int] = []

    def on_signal(number: int, _frame: object) -> None:
        asked.append(number)
        if len(asked) > 1:
            raise Interrupted(run_id, number)

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    former = {number: signal.getsignal(number) for number in ending_signals()}
    heard = {number: handler for number, handler in former.items() if handler != signal.SIG_IGN}  # as nohup sets
    try:
        for number in heard:
            signal.signal(number, on_signal)
        yield lambda: bool(asked)
    except Interrupted as interrupted:
        interrupted.number = asked[0] if asked else interrupted.number
        raise
    finally:
        for number, handler in heard.items():
            signal.signal(number, handler)


def _drive(run: Run, session: Session, registry: Registry, on_event: OnEvent) -> Asset:
    """Run the rest of a training and put the results into the registry.

    If there are several processes, only the main one holds the lock of the run and writes its files.
    """
    with run.lock() if is_main() else nullcontext(), _first_interrupt(run.id) as interrupted:

        def should_stop() -> bool:
            return interrupted() or (is_main() and run.is_asked_to_stop)

        def attempt(session: Session) -> Asset:
            return _attempt(run, session, registry, on_event, should_stop)

        try:
            _, asset = retrying(session, attempt, on_event, run=run.id)
        except RequirementError as error:  # such as a full disk, which may refuse this too
            if is_main():
                with suppress(RequirementError):
                    run.fail(error.message)
            raise RequirementError(error.message, hint=_with_resume(error.hint, run.id)) from error
        except CavError as error:
            if is_main():
                run.fail(error.message)
            raise
        if is_main():
            run.finish(asset.record.content_id)
    return asset


def _with_resume(hint: str | None, run_id: str) -> str:
    """The hint, and the command that resumes the run if it does not name it."""
    resume = f"`cav runs resume {run_id}`"
    if not hint:
        return resume
    return hint if resume in hint else f"{hint}; then {resume}"


def _attempt(
    run: Run, session: Session, registry: Registry, on_event: OnEvent, should_stop: Callable[[], bool]
) -> Asset:
    """Train from the last checkpoint on, and save the results."""
    record = run.record
    prompt, inputs, saved = record.recipe.prompt_for(record.name), read_state(run.inputs), read_latest(run, on_event)
    training = Training(run, session, record.recipe, inputs, saved, on_event, should_stop)
    absorber = training.train_absorber(record.recipe.appearance)
    motion, metrics = training.train_motion(prompt, absorber)

    def finish() -> Asset:
        preview = training.preview(prompt, motion)
        _check_preview(preview)
        return save_results(training, record, registry, absorber, motion, preview, metrics)

    return from_main(finish)


def _check_preview(preview: Frames) -> None:
    """Raise TrainingError if the preview of the new motion is black, so that it is not saved."""
    if is_black(preview):
        hint = "learn it again with a lower `--lr`, or a small `--steps`"
        raise TrainingError("the motion is not saved: its preview is black", hint=hint)
