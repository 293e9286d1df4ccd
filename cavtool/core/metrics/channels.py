"""How closely the motion of a clip follows that of another, measured on their channels.

A channel is one quantity of the scene, such as the subject's x; its track has one number for each frame (F,). Angles
(`roll`, `yaw`) are in degrees, everything else in the unit of its channel. A channel's score combines Pearson's r and
the ratio of amplitudes; see `channel_scores`.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from cavtool.errors import InvalidInput

Track = NDArray[np.float64]
Channels = Mapping[str, Track]

ANGLES = frozenset({"roll", "yaw"})
ACTIVE_SPREAD = 0.03
ACTIVE_SPREAD_DEGREES = 10.0


def _continuous(name: str, values: Track) -> Track:
    """The track; an angle is unwrapped so that a turn past 360 degrees does not jump."""
    track = np.asarray(values, dtype=float)
    return np.asarray(np.unwrap(track, period=360.0)) if name in ANGLES else track


def spread(name: str, values: Track) -> float:
    """The range of a track after a median over 3 frames, so that one misread frame does not count as motion."""
    track = np.pad(_continuous(name, values), 1, mode="edge")
    return float(np.ptp(np.median([track[:-2], track[1:-1], track[2:]], axis=0)))


def active_channels(reference: Channels) -> tuple[str, ...]:
    """The channels in which the reference moves: those with a spread above 0.03, or 10 degrees for an angle."""
    limits = {name: ACTIVE_SPREAD_DEGREES if name in ANGLES else ACTIVE_SPREAD for name in reference}
    return tuple(name for name, values in reference.items() if spread(name, values) > limits[name])


def correlation(name: str, values: Track, reference: Track) -> float:
    """Pearson's r in [-1, 1] of two tracks; 0 if one of them is constant.

    An angle is taken as the point z = (cos, sin) on the unit circle, the reference's as w. Unwrapped angles would be a
    whole turn off after a single misread frame (the judge is least certain near yaw ±90 degrees). The angle at which a
    turn starts does not count, so z is first rotated by the constant offset that brings it closest to w; then the
    centred z and w are correlated as vectors. A full turn gives 1 from any start and about 0 in the other direction. A
    small swing gives Pearson's r of its degrees, sign included.
    """
    a, b = np.asarray(values) + 0j, np.asarray(reference) + 0j
    if name in ANGLES:
        a, b = np.exp(1j * np.deg2rad(a.real)), np.exp(1j * np.deg2rad(b.real))
        offset = np.vdot(a, b)
        a = a * offset / abs(offset) if abs(offset) > 1e-9 else a
    a, b = a - a.mean(), b - b.mean()
    norm = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(np.vdot(a, b).real) / norm if norm > 1e-9 else 0.0


def amplitude_ratio(name: str, values: Track, reference: Track) -> float:
    """The standard deviation of a track divided by that of the reference, angles unwrapped; 0 if that is constant."""
    a, b = (float(np.std(_continuous(name, track))) for track in (values, reference))
    return a / b if b > 0 else 0.0


def amplitude_weight(ratio: float) -> float:
    """g: 1 if the ratio is within [0.6, 1.6], falling linearly to 0 at 0.2 and at 3."""
    return float(np.interp(ratio, [0.2, 0.6, 1.6, 3.0], [0.0, 1.0, 1.0, 0.0]))


def channel_scores(clip: Channels, reference: Channels) -> dict[str, float]:
    """max(0, r) g(a) in [0, 1] of every active channel of the reference.

    A track with an offset in value scores 1, one with an offset in time less.
    Raises InvalidInput if nothing moves in the reference.
    """
    names = active_channels(reference)
    if not names:
        raise InvalidInput("the reference does not move, so fidelity to it is not defined")
    return {name: _score(name, clip[name], reference[name]) for name in names}


def _score(name: str, values: Track, reference: Track) -> float:
    weight = amplitude_weight(amplitude_ratio(name, values, reference))
    return max(0.0, correlation(name, values, reference)) * weight


def fidelity(clip: Channels, reference: Channels) -> float:
    """The mean of `channel_scores`: 1 if the clip moves as the reference does, 0 if it does not or moves opposite."""
    return float(np.mean(list(channel_scores(clip, reference).values())))


def spread_limits(still_clips: Sequence[Channels], quantile: float = 0.95) -> dict[str, float]:
    """The spread of each channel that clips of still scenes rarely exceed: the limits for `stillness`."""
    names = still_clips[0].keys()
    return {name: float(np.quantile([spread(name, clip[name]) for clip in still_clips], quantile)) for name in names}


def stillness(clip: Channels, active: Iterable[str], limits: Mapping[str, float]) -> float:
    """The share of inactive channels that stay within their limits; 1 if every channel is active."""
    inactive = limits.keys() - set(active)
    return float(np.mean([spread(name, clip[name]) <= limits[name] for name in inactive])) if inactive else 1.0


def leaked(requested: Mapping[str, str], seen: Mapping[str, str], reference: Mapping[str, str]) -> dict[str, bool]:
    """For every non-empty requested attribute, whether the clip shows the reference's in its place."""
    return {name: seen[name] != value and seen[name] == reference[name] for name, value in requested.items() if value}
