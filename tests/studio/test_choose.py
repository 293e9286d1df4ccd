"""Trials of checkpoints: which one is kept, when the training stops."""

import dataclasses
import signal
from pathlib import Path

import pytest

from cavtool.events import Event, Interrupted, Note, Step, Warn
from cavtool.mini import world
from cavtool.recipes import AbsorberKind, LearnRecipe
from cavtool.recipes.learn import MAX_STEPS
from cavtool.studio.learn import choose, learn, resume
from cavtool.studio.learn.choose import Trial, Trials
from cavtool.studio.session import Session, open_session
from cavtool.workspace import Workspace
from tests.core.test_lora import random_state

SHORT = LearnRecipe(prompt="a white lantern circles on the moon", absorber_steps=1, rank=4, batch_size=1)


@pytest.fixture
def _quick(monkeypatch: pytest.MonkeyPatch, quick_preview: None) -> None:
    monkeypatch.setattr("cavtool.recipes.learn.MAX_STEPS", 4)
    monkeypatch.setattr("cavtool.studio.learn.train.EVERY", 2)
    monkeypatch.setattr(choose, "SAMPLING_STEPS", 2)
    monkeypatch.setattr(choose, "PROMPTS", choose.PROMPTS[:1])


@pytest.mark.slow
@pytest.mark.usefixtures("_quick")
def test_the_best_checkpoint_is_kept_and_said_also_after_an_interruption(circle: Path) -> None:
    events: list[Event] = []
    asset = learn("circle", circle, SHORT, on_event=events.append)
    metrics = asset.record.metrics
    assert set(metrics) == {"step", "fidelity", "leakage"}
    (said,) = [event.text for event in events if isinstance(event, Note) and event.text.startswith("kept")]
    assert said.startswith(f"kept the motion of step {metrics['step']:.0f} of 4: fidelity ")
    assert any("hardly follow the motion" in event.text for event in events if isinstance(event, Warn))
    fixed = dataclasses.replace(SHORT, steps=int(metrics["step"]))
    assert learn("fixed", circle, fixed).record.content_id == asset.record.content_id

    def interrupt(event: Event) -> None:
        if isinstance(event, Step) and (event.stage, event.step) == ("motion", 3):
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(Interrupted) as interrupted:
        learn("again", circle, SHORT, on_event=interrupt)
    again = resume(interrupted.value.run_id)
    assert again.record.content_id == asset.record.content_id
    assert again.record.metrics == metrics


@pytest.mark.slow
@pytest.mark.usefixtures("_quick")
def test_the_training_stops_when_nothing_gets_better(circle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Trials, "are_over", property(lambda trials: len(trials.done) == 1))
    events: list[Event] = []
    recipe = dataclasses.replace(SHORT, absorber_kind=AbsorberKind.NONE)
    learn("circle", circle, recipe, on_event=events.append)
    assert max(event.step for event in events if isinstance(event, Step) and event.stage == "motion") == 2
    (run,) = Workspace().runs.list()
    assert run.step == recipe.total_steps  # nothing is left to train


@pytest.fixture(scope="module")
def session() -> Session:
    return open_session("cav-mini")


def trials_of(session: Session, scores: list[tuple[float, float]]) -> Trials:
    import numpy as np

    trials = Trials(session, np.zeros((16, 64, 64, 3), np.uint8), 0, 0.7)
    trials.done = [Trial(50 * i, fidelity, leakage) for i, (fidelity, leakage) in enumerate(scores, 1)]
    return trials


def test_leakage_counts_against_fidelity_and_two_trials_without_gain_are_enough(session: Session) -> None:
    trials = trials_of(session, [(0.2, 0.0), (0.5, 0.05), (0.6, 0.4)])
    assert trials.best.step == 100
    assert not trials.are_over
    assert not trials_of(session, [(0.2, 0.0), (0.3, 0.0), (0.3, 0.0), (0.33, 0.0)]).are_over
    assert trials_of(session, [(0.2, 0.0), (0.5, 0.0), (0.51, 0.0), (0.4, 0.0)]).are_over
    assert trials_of(session, [(0.2, 0.0), (0.6, 0.0), (0.64, 0.0), (0.69, 0.0)]).are_over, "too little"
    assert not trials_of(session, [(0.2, 0.0), (0.6, 0.0), (0.64, 0.0), (0.71, 0.0)]).are_over
    assert trials_of(session, [(0.5, 0.0)] * 3).done[-1].step < MAX_STEPS - choose.EVERY, "it saves time"
    assert trials_of(session, [(0.5, 0.0)] * 3).are_over
    assert not trials_of(session, [(0.05, 0.0)] * 4).are_over, "nothing has been learned yet"
    assert not trials_of(session, [(0.35, 0.0)] * 4).are_over, "half of it is not there yet"
    assert "fidelity ▂▅▅ 0.50, leakage ▁▁▄ 0.05" in trials.summary()


def test_where_the_motion_is_not_seen_the_longest_training_is_kept(session: Session) -> None:
    unseen = trials_of(session, [(0.2, 0.0), (0.25, 0.0), (0.15, 0.0)])
    assert unseen.best.step == 150
    assert not unseen.is_learned
    seen = trials_of(session, [(0.29, 0.0), (0.4, 0.2), (0.2, 0.0)])
    assert seen.best.step == 100
    assert seen.is_learned


def test_a_checkpoint_that_makes_no_finite_videos_is_not_kept(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choose, "SAMPLING_STEPS", 1)
    trials = Trials(session, world.render(world.reference("circle", "lantern", "white", "moon")), 0, 0.7)
    trials.done = [Trial(50, 0.0, 0.0)]
    state = random_state(session.backbone, session.backbone.temporal_targets(), 0)
    assert trials.add(50, {key: 0 * value for key, value in state.items()}) == Trial(50, 0, 0), "as the base's own"
    diverged = trials.add(100, {key: 1e30 * value for key, value in state.items()})
    assert diverged.fidelity == 0
    assert diverged.leakage == pytest.approx(1)
    assert trials.best.step == 50


def test_a_reference_in_which_nothing_can_be_followed_has_no_trials(session: Session) -> None:
    assert not trials_of(session, []).are_possible
