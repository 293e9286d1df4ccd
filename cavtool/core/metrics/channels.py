"""How well a clip moves as another does, from channels: name -> one number a frame (F,).

Angles (`roll`, `yaw`) are in degrees, everything else in the unit of its channel. Nothing here renders or judges.
The score of a channel follows Pearson's r and the ratio of amplitudes; see `channel_scores`.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from cavtool.errors import InvalidInput

Course = NDArray[np.float64]
Channels = Mapping[str, Course]

ANGLES = frozenset({"roll", "yaw"})
ACTIVE_SPREAD = 0.03
ACTIVE_SPREAD_DEGREES = 10.0


def _as_course(name: str, values: Course) -> Course:
    """The values, an angle made continuous so that a turn past 360 does not jump."""
    course = np.asarray(values, dtype=float)
    return np.asarray(np.unwrap(course, period=360.0)) if name in ANGLES else course


def spread(name: str, values: Course) -> float:
    """How far a channel goes: its range after a median over 3 frames, so that one misread frame is no motion."""
    course = np.pad(_as_course(name, values), 1, mode="edge")
    return float(np.ptp(np.median([course[:-2], course[1:-1], course[2:]], axis=0)))


def active_channels(reference: Channels) -> tuple[str, ...]:
    """The channels a motion is made of: those that spread over 0.03 (an angle: 10 degrees)."""
    limits = {name: ACTIVE_SPREAD_DEGREES if name in ANGLES else ACTIVE_SPREAD for name in reference}
    return tuple(name for name, values in reference.items() if spread(name, values) > limits[name])


def correlation(name: str, values: Course, reference: Course) -> float:
    """Pearson's r in [-1, 1] of two courses; 0 where one of them is constant.

    An angle is taken as the point z = (cos, sin) on the circle, against w of the reference. Unwrapping it would lose a
    whole turn to a single misread frame (a judge is least sure near yaw +-90), so both stay on the circle: z is turned
    by the constant offset that brings it closest to w, for where a turn starts does not count, and then the centred z
    and w are correlated as vectors. A full turn with any offset gives 1, one the other way about 0, and a small swing
    gives what Pearson's r gives for its degrees, sign included, because its offset is its middle.
    """
    a, b = np.asarray(values) + 0j, np.asarray(reference) + 0j
    if name in ANGLES:
        a, b = np.exp(1j * np.deg2rad(a.real)), np.exp(1j * np.deg2rad(b.real))
        offset = np.vdot(a, b)
        a = a * offset / abs(offset) if abs(offset) > 1e-9 else a
    a, b = a - a.mean(), b - b.mean()
    norm = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(np.vdot(a, b).real) / norm if norm > 1e-9 else 0.0


def amplitude_ratio(name: str, values: Course, reference: Course) -> float:
    """The standard deviation of a course over that of the reference's (angles unwrapped)."""
    a, b = (float(np.std(_as_course(name, course))) for course in (values, reference))
    return a / b if b > 0 else 0.0


def amplitude_weight(ratio: float) -> float:
    """g: 1 where the ratio is within [0.6, 1.6], falling linearly to 0 at 0.2 and at 3."""
    return float(np.interp(ratio, [0.2, 0.6, 1.6, 3.0], [0.0, 1.0, 1.0, 0.0]))


def channel_scores(clip: Channels, reference: Channels) -> dict[str, float]:
    """max(0, r) g(a) in [0, 1] of every active channel of the reference: a course may lie elsewhere, not come later.

    Raises InvalidInput when nothing moves in the reference.
    """
    names = active_channels(reference)
    if not names:
        raise InvalidInput("the reference does not move, so nothing can move like it")
    return {name: _score(name, clip[name], reference[name]) for name in names}


def _score(name: str, values: Course, reference: Course) -> float:
    weight = amplitude_weight(amplitude_ratio(name, values, reference))
    return max(0.0, correlation(name, values, reference)) * weight


def fidelity(clip: Channels, reference: Channels) -> float:
    """The mean of `channel_scores`: 1 moves as the reference, 0 does not, or moves the other way."""
    return float(np.mean(list(channel_scores(clip, reference).values())))


def spread_limits(still_clips: Sequence[Channels], quantile: float = 0.95) -> dict[str, float]:
    """How far each channel goes in clips that should stand still: the bar for `stillness`."""
    names = still_clips[0].keys()
    return {name: float(np.quantile([spread(name, clip[name]) for clip in still_clips], quantile)) for name in names}


def stillness(clip: Channels, active: Iterable[str], limits: Mapping[str, float]) -> float:
    """The share of the channels a motion leaves alone that stay within their limits; 1 where it moves them all."""
    inactive = limits.keys() - set(active)
    return float(np.mean([spread(name, clip[name]) <= limits[name] for name in inactive])) if inactive else 1.0


def leaked(asked: Mapping[str, str], seen: Mapping[str, str], reference: Mapping[str, str]) -> dict[str, bool]:
    """For every attribute asked for (an empty one is not): wrong in the clip, and the reference's there instead."""
    return {name: seen[name] != want and seen[name] == reference[name] for name, want in asked.items() if want}
