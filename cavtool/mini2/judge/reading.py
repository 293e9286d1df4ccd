"""The judge at work: subject, colour, place and every channel of a clip."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from cavtool.mini2.judge.network import ATTRIBUTES, Network, TurnNetwork
from cavtool.mini2.training.architecture import to_model_range
from cavtool.mini2.world.motions import Tracks
from cavtool.mini2.world.scenes import CHANNELS, Frames
from cavtool.mini2.world.subjects import COLOURLESS

WEIGHTS = Path(__file__).parents[1] / "weights" / "judge.safetensors"
_GAPS = (1, 2, 3, 4)  # frames between those that are compared for the camera


@dataclass(frozen=True)
class Reading:
    """What a clip shows, and how it moves: every channel of the world, one number a frame."""

    subject: str
    colour: str  # "" for ironman
    place: str
    channels: Tracks


class Judge:
    """Reads clips of 64x64."""

    def __init__(self, network: Network, turn_network: TurnNetwork) -> None:
        self._network, self._turn_network = network.eval(), turn_network.eval()
        self.networks = nn.ModuleDict({"frames": network, "turns": turn_network})

    @torch.inference_mode()
    def read(self, frames: Frames) -> Reading:
        """Read a clip (F, 64, 64, 3) of bytes."""
        pixels = to_model_range(frames)
        background, features = self._network.features(pixels)
        seen = self._network.see(features)
        turn = self._turn_network(pixels, seen.placing)
        attributes = {name: _likeliest(name, logits) for name, logits in seen.attributes.items()}
        roll, yaw = (np.rad2deg(torch.atan2(turn[:, i + 1], turn[:, i]).numpy()) for i in (0, 2))
        rows = [*seen.placing.T.numpy(), np.unwrap(roll, period=360), np.unwrap(yaw, period=360)]
        rows += [*self._camera(background).T]
        channels = {name: row.astype(float) for name, row in zip(CHANNELS, rows, strict=True)}
        colour = "" if attributes["subject"] == COLOURLESS else attributes["colour"]
        return Reading(attributes["subject"], colour, attributes["place"], channels)

    def _camera(self, background_FCHW: Tensor) -> np.ndarray:
        """Camera x, y and log zoom (F, 3), 0 in the first frame: what agrees best with all pairs of near frames."""
        count = len(background_FCHW)
        pairs = np.array([(f, f + gap) for gap in _GAPS for f in range(count - gap)])
        moved_P3 = self._network.follow(background_FCHW[pairs[:, 0]], background_FCHW[pairs[:, 1]]).double().numpy()
        zoom_F1 = agree(pairs, np.ones(len(pairs)), moved_P3[:, 2:], count)
        place_F2 = agree(pairs, np.exp(moved_P3[:, 2]), moved_P3[:, :2], count)
        return np.concatenate([-place_F2, zoom_F1], axis=1)


def agree(pairs: np.ndarray, scale_P: np.ndarray, moved_PK: np.ndarray, count: int) -> np.ndarray:
    """Values (F, K), the first 0, with value[b] = scale * value[a] + moved for all pairs (a, b), in least squares."""
    rows = np.arange(len(pairs))
    matrix = np.zeros((len(pairs), count))
    matrix[rows, pairs[:, 1]] = 1
    matrix[rows, pairs[:, 0]] = -scale_P
    solved = np.linalg.lstsq(matrix[:, 1:], moved_PK, rcond=None)[0]
    return np.concatenate([np.zeros((1, moved_PK.shape[1])), solved])


def _likeliest(name: str, logits_FN: Tensor) -> str:
    return ATTRIBUTES[name][int(logits_FN.log_softmax(-1).mean(0).argmax())]


def load_judge(path: Path = WEIGHTS) -> Judge:
    """The judge that ships, or another's weights."""
    judge = Judge(Network(), TurnNetwork())
    judge.networks.load_state_dict({name: value.float() for name, value in load_file(path).items()})
    return judge
