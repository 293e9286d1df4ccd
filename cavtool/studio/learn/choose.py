"""Which checkpoint of a training to keep, and when to stop.

The right number of steps depends on the video, and the loss does not tell it. So the T-LoRA is tried out now and then
on new subjects, with metrics that exist for every base model: how closely the videos follow the reference's motion,
which is in the same place of the frame there (`core.metrics.pattern`), and how much of its appearance has leaked into
them (`core.metrics.features`). Both curves are noisy, for a trial is only a few videos; the noise and the prompts of
every trial are the same, so that its checkpoints can be compared.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from cavtool.core.metrics.features import features, likeness
from cavtool.core.metrics.pattern import pattern_fidelity, read_pattern
from cavtool.errors import InvalidInput
from cavtool.studio.session import Motion, Session
from cavtool.video import Frames

EVERY = 50  # steps between trials
PROMPTS = ("a red car in the snow", "a blue box in the desert")
SAMPLING_STEPS = 10
PATIENCE = 2  # trials without a much better one
_GAIN = 0.1  # in score: how much better that is
_SEEN = 0.3  # fidelity that unrelated motions hardly have
_BEGUN = 0.5  # fidelity below which there is more to learn, whatever the last trials brought
_BARS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True)
class Trial:
    """A checkpoint after `step` steps on new subjects: means over its videos, each in [0, 1].

    Both are 0 if the videos are as unlike the reference as the base model's own. `fidelity` is 1 if they move as the
    reference does, `leakage` if they look like it.
    """

    step: int
    fidelity: float
    leakage: float

    @property
    def score(self) -> float:
        """What is gained less what has leaked."""
        return self.fidelity - self.leakage


class Trials:
    """The trials of one training, the best of which is kept."""

    def __init__(self, session: Session, reference: Frames, seed: int, noise_from: float) -> None:
        self._session, self._reference, self._seed, self._noise_from = session, reference, seed, noise_from
        self._pattern = read_pattern(reference)
        self._appearance: Tensor | None = None
        self._usual: tuple[float, float] | None = None  # what the base model's own videos have of both
        self.done: list[Trial] = []
        self.best_state: dict[str, Tensor] = {}

    @property
    def are_possible(self) -> bool:
        """Whether there is movement in the reference that the videos could follow."""
        return self._pattern.moves

    @property
    def best(self) -> Trial:
        """The trial with the best score; if the motion is seen in none, the last one that shows anything."""
        seen = [trial for trial in self.done if trial.fidelity >= _SEEN]
        if seen:
            return max(seen, key=lambda trial: trial.score)
        return next((trial for trial in reversed(self.done) if trial.leakage < 1), self.done[-1])

    @property
    def is_learned(self) -> bool:
        """Whether the motion is seen in the videos of the best trial."""
        return self.best.fidelity >= _SEEN

    @property
    def are_over(self) -> bool:
        """Whether something has been learned and the last few trials brought nothing much better."""
        before, last = self.done[:-PATIENCE], self.done[-PATIENCE:]
        if not before or self.best.fidelity < _BEGUN:
            return False
        return max(t.score for t in last) < max(t.score for t in before) + _GAIN

    def add(self, step: int, state: dict[str, Tensor]) -> Trial:
        """Try the T-LoRA out, and keep it if it is the best so far."""
        if self._usual is None:
            self._usual = self._watch([])
        try:
            followed, alike = self._watch([Motion(state, noise_from=self._noise_from)])
        except InvalidInput:  # the videos are not finite
            followed, alike = 0.0, 1.0
        pairs = zip((followed, alike), self._usual, strict=True)
        trial = Trial(step, *(max(0.0, found - usual) / max(1 - usual, 1e-6) for found, usual in pairs))
        self.done.append(trial)
        if self.best is trial:
            self.best_state = state
        return trial

    def _watch(self, motions: Sequence[Motion]) -> tuple[float, float]:
        """Fidelity to the reference's motion and likeness to its frames, averaged over the videos of the prompts."""
        backbone, seen = self._session.backbone, []
        if self._appearance is None:
            self._appearance = features(backbone, self._reference)
        for i, prompt in enumerate(PROMPTS):
            frames = self._session.generate(prompt, self._seed + 1 + i, motions, steps=SAMPLING_STEPS)
            alike = likeness(features(backbone, frames), self._appearance)
            seen.append((pattern_fidelity(read_pattern(frames), self._pattern), alike))
        self._session.make_room()
        return sum(f for f, _ in seen) / len(seen), sum(a for _, a in seen) / len(seen)

    def state(self) -> dict[str, Tensor]:
        """All that `load` needs, as tensors."""
        if not self.done:
            return {}
        rows = [(trial.step, trial.fidelity, trial.leakage) for trial in self.done]
        best = {f"best.{key}": value for key, value in self.best_state.items()}
        usual = torch.tensor(self._usual, dtype=torch.float64)
        return {"rows": torch.tensor(rows, dtype=torch.float64), "usual": usual, **best}

    def load(self, state: dict[str, Tensor]) -> None:
        """Continue from a `state()`."""
        if state:
            self.done = [Trial(int(step), float(f), float(a)) for step, f, a in state["rows"].tolist()]
            followed, alike = state["usual"].tolist()
            self._usual = (followed, alike)
            self.best_state = {key.removeprefix("best."): value for key, value in state.items() if "best." in key}

    def summary(self) -> str:
        """The best trial and both curves, in a line."""
        best = self.best
        curves = [_sparkline([getattr(trial, name) for trial in self.done]) for name in ("fidelity", "leakage")]
        return (
            f"kept the motion of step {best.step} of {self.done[-1].step}: "
            f"fidelity {curves[0]} {best.fidelity:.2f}, leakage {curves[1]} {best.leakage:.2f}"
        )


def _sparkline(values: Sequence[float]) -> str:
    return "".join(_BARS[min(len(_BARS) - 1, int(value * len(_BARS)))] for value in values)
