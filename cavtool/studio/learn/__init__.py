"""Learn a motion from one video: two training stages, as a run on disk that can be stopped at any step and resumed."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cavtool import runs
from cavtool.core.devices import explain_oom
from cavtool.errors import CavError, Incompatible, NotFound, TrainingError
from cavtool.events import Interrupted, Note, OnEvent
from cavtool.models import find_model
from cavtool.recipes import LearnRecipe
from cavtool.registry import Asset, Registry
from cavtool.runs import Run
from cavtool.studio.learn.prepare import prepare_run
from cavtool.studio.learn.save import check_still_free, save_results
from cavtool.studio.learn.train import RESTART_HINT, Training, read_latest, read_state
from cavtool.studio.session import Session, open_session
from cavtool.system import paths

__all__ = ["learn", "prepare_run", "resume"]


def learn(
    name: str,
    file: Path,
    recipe: LearnRecipe,
    *,
    replace: bool = False,
    registry: Registry | None = None,
    on_event: OnEvent = lambda _: None,
) -> Asset:
    """Learn the motion of a video and store it as `name`, its absorber as `name-look`.

    Raises Conflict if a name is taken and MediaError if the video cannot be used, both before any work; TrainingError
    if the loss is not finite, with the registry unchanged; Interrupted after Ctrl-C and a checkpoint.
    """
    registry = registry or _usual_registry(on_event)
    run, session = prepare_run(name, file, recipe, registry, on_event, replace=replace)
    return _drive(run, session, registry, on_event)


def resume(run_id: str, *, registry: Registry | None = None, on_event: OnEvent = lambda _: None) -> Asset:
    """Continue a run from its last checkpoint; on the CPU it ends with the same weights as an uninterrupted run.

    Raises NotFound, Conflict if another process works on the run or its name has been taken since, TrainingError if its
    files are damaged, Incompatible if the base model has been replaced since.
    """
    run = runs.open_run(run_id)
    registry = registry or _usual_registry(on_event)
    if run.status == "done":
        asset = registry.get(run.name, "motion")
        if asset.record.content_id != run.result:
            raise NotFound(f"run `{run_id}` is done, but `{run.name}` has been replaced since")
        on_event(Note(f"run `{run_id}` is already done"))
        return asset
    if not run.inputs.exists():
        raise TrainingError(f"run `{run_id}` was stopped before it began", hint=RESTART_HINT)
    recipe = LearnRecipe.from_dict(run.settings["recipe"])
    model = find_model(recipe.model, cache=paths.cache_dir())
    if model.revision != run.settings["revision"]:
        raise Incompatible(f"run `{run_id}` was started on different weights of `{model.name}`", hint=RESTART_HINT)
    if run.step < recipe.total_steps:  # after the last step it may have stored them itself
        for each in recipe.leaves(run.name):
            check_still_free(run, each, registry)
    with explain_oom():
        session = open_session(recipe.model, device=recipe.device, dtype=recipe.dtype, training=True)
    return _drive(run, session, registry, on_event)


def _usual_registry(on_event: OnEvent) -> Registry:
    return Registry(on_wait=lambda text: on_event(Note(text)))


# The run


@contextmanager
def _first_interrupt(run_id: str) -> Iterator[Callable[[], bool]]:
    """Yields a function that says whether Ctrl-C was pressed; the second one raises Interrupted at once."""
    pressed = threading.Event()

    def on_signal(*_: object) -> None:
        if pressed.is_set():
            raise Interrupted(run_id)
        pressed.set()

    if threading.current_thread() is not threading.main_thread():
        yield pressed.is_set
        return
    previous = signal.signal(signal.SIGINT, on_signal)
    try:
        yield pressed.is_set
    finally:
        signal.signal(signal.SIGINT, previous)


def _drive(run: Run, session: Session, registry: Registry, on_event: OnEvent) -> Asset:
    """Train the rest of a run and store the results in the registry."""
    recipe = LearnRecipe.from_dict(run.settings["recipe"])
    prompt = recipe.prompt_for(run.name)
    with run.lock(), _first_interrupt(run.id) as interrupted:

        def should_stop() -> bool:
            return interrupted() or run.is_asked_to_stop

        try:
            inputs, saved = read_state(run.inputs), read_latest(run, on_event)
            training = Training(run, session, recipe, inputs, saved, on_event, should_stop)
            session.backbone.release("vae")  # clip and crops are already encoded
            with explain_oom():
                absorber = training.train_absorber(recipe.appearance)
                motion, loss = training.train_motion(prompt, absorber)
                preview = training.preview(prompt, motion)
            asset = save_results(training, registry, absorber, motion, preview, loss)
        except CavError as error:
            run.fail(error.message)
            raise
        run.finish(asset.record.content_id)
    return asset
