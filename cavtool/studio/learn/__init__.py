"""Learn a motion from one video: the paper's two stages, as a run on disk that can be interrupted and resumed."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cavtool.core.devices import explain_oom
from cavtool.errors import CavError, Incompatible, NotFound, RequirementError, TrainingError
from cavtool.events import Interrupted, Note, OnEvent
from cavtool.recipes import LearnRecipe
from cavtool.registry import Asset, Registry
from cavtool.registry.store import KINDS
from cavtool.runs import Run
from cavtool.studio.learn.prepare import prepare_run
from cavtool.studio.learn.save import check_still_free, save_results
from cavtool.studio.learn.train import RESTART_HINT, Training, read_latest, read_state
from cavtool.studio.session import Session, open_session
from cavtool.video import Frames, is_black
from cavtool.workspace import Workspace

_ENDING = ("SIGINT", "SIGTERM", "SIGHUP")
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
    workspace = workspace or _default_workspace(on_event)
    run, session = prepare_run(name, file, recipe, workspace, on_event, replace=replace)
    return _drive(run, session, workspace.registry, on_event)


def resume(run_id: str, *, workspace: Workspace | None = None, on_event: OnEvent = lambda _: None) -> Asset:
    """Resume a run from its last checkpoint; on the CPU the weights are those of an uninterrupted run.

    Raises NotFound, Conflict if another process drives it or its name has been taken, TrainingError or IntegrityFailure
    if its files are damaged, Incompatible if the base model has been replaced since.
    """
    workspace = workspace or _default_workspace(on_event)
    run, registry = workspace.runs.open(run_id), workspace.registry
    record = run.record
    if record.outcome and record.outcome.result is not None:
        asset = registry.get(record.name, "motion")
        if asset.record.content_id != record.outcome.result:
            raise NotFound(f"run `{run_id}` is done, and `{record.name}` has been replaced since")
        on_event(Note(f"run `{run_id}` is done already"))
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
        session = open_session(model, device=recipe.device, dtype=recipe.dtype, training=True)
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
    numbers = [getattr(signal, name) for name in _ENDING if hasattr(signal, name)]
    former = {number: signal.getsignal(number) for number in numbers}
    heard = {number: handler for number, handler in former.items() if handler != signal.SIG_IGN}  # not by nohup
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
    """Run the rest of a training and put the results into the registry."""
    record = run.record
    recipe, prompt = record.recipe, record.recipe.prompt_for(record.name)
    with run.lock(), _first_interrupt(run.id) as interrupted:

        def should_stop() -> bool:
            return interrupted() or run.is_asked_to_stop

        try:
            inputs, saved = read_state(run.inputs), read_latest(run, on_event)
            training = Training(run, session, recipe, inputs, saved, on_event, should_stop)
            with explain_oom():
                absorber = training.train_absorber(recipe.appearance)
                motion, metrics = training.train_motion(prompt, absorber)
                preview = training.preview(prompt, motion)
            _check_preview(preview)
            asset = save_results(training, record, registry, absorber, motion, preview, metrics)
        except RequirementError as error:  # such as a full disk, which may refuse this too
            with suppress(RequirementError):
                run.fail(error.message)
            hint = f"{error.hint}; then `cav runs resume {run.id}`" if error.hint else f"`cav runs resume {run.id}`"
            raise RequirementError(error.message, hint=hint) from error
        except CavError as error:
            run.fail(error.message)
            raise
        run.finish(asset.record.content_id)
    return asset


def _check_preview(preview: Frames) -> None:
    """Raise TrainingError if the new motion makes every video black, so that it is not saved."""
    if is_black(preview):
        hint = "learn it again with a lower `--lr` or fewer `--steps`"
        raise TrainingError("the motion makes every video black, and is not saved", hint=hint)
