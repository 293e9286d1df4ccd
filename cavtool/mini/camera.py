"""How the camera moved, by geometry: every frame of a clip is registered to an earlier one, the subject left out.

The backdrop is a far and a near layer; both scale with the zoom, the far one moves half as much.
A pixel goes with the layer that explains it better. Gauss-Newton on robust colour differences (Baker & Matthews 2004),
each frame starting from what was found for the one before. It is compared with the first frame, or, where that is too
far away, with one in between. Where a subject that keeps its size hides the middle, what is left says too little of the
zoom: there what a net tells of it decides (a maximum a posteriori estimate, its prior normal).

Shapes: K starts tried at once, P pixels, C colour channels, and 3 for a move: right, down (frame widths), log zoom.
"""

import torch
from torch import Tensor
from torch.nn import functional

_PARALLAX = (1.0, 0.5)  # of the near and the far layer, as the world renders them
_KEEP = 0.12  # a frame further away than this becomes the one to compare with
_MOST = 0.2  # from one frame to the next; more is a mistake
_NUM_STEPS = 12
_TOLERANCE = 0.12  # a colour difference beyond this, of 2, hardly counts
_TOLD_ERROR, _TOLD_PIXELS = 0.1, 3.0  # an error of the zoom told counts as much as so many unexplained pixels
_MARGIN = 0.65  # half the side of what is left out, in sides of the subject's square


def track(frames_FCHW: Tensor, places_F3: Tensor, zooms_F: Tensor) -> Tensor:
    """(F, 3): how the camera moved since the first frame: right, down, log zoom, at the first frame's scale.

    Frames are in [-1, 1]; places are the subject's x, y and side, in frame widths; zooms what is told of the log zoom.
    """
    small_FCHW = functional.avg_pool2d(_soften(frames_FCHW), 2)
    hidden_F = [_hidden(place, small_FCHW.shape[-1]) for place in places_F3]
    still = torch.zeros(3)
    key, key_move, since, pace, moves = 0, still, still, still, [still]
    for f in range(1, len(small_FCHW)):
        told = zooms_F[f] - zooms_F[key]
        starts_K3 = torch.stack([since + pace, since, still, torch.stack([since[0], since[1], told])])
        found = _register(small_FCHW[key], small_FCHW[f], hidden_F[key], hidden_F[f], starts_K3, told)
        found = found if bool((found - since).abs().amax() < _MOST) else since
        since, pace = found, found - since
        moves.append(_after(key_move, since))
        if float(since.abs().amax()) > _KEEP:
            key, key_move, since = f, moves[-1], still
    return torch.stack(moves)


def _after(first_3: Tensor, then_3: Tensor) -> Tensor:
    """Two moves as one."""
    shift_2 = first_3[:2] + then_3[:2] * (-first_3[2]).exp()
    return torch.cat([shift_2, first_3[2:] + then_3[2:]])


def _soften(frames_FCHW: Tensor) -> Tensor:
    return functional.avg_pool2d(functional.pad(frames_FCHW, (1, 1, 1, 1), mode="replicate"), 3, stride=1)


def _grid(side: int) -> Tensor:
    """(H, W, 2): pixel centres from the frame's middle, in frame widths."""
    line = (torch.arange(side) + 0.5) / side - 0.5
    y, x = torch.meshgrid(line, line, indexing="ij")
    return torch.stack([x, y], dim=-1)


def _hidden(place_3: Tensor, side: int) -> Tensor:
    """(H, W): 1 where the subject may be."""
    away = (_grid(side) - place_3[:2]).abs().amax(dim=-1)
    return (away < _MARGIN * place_3[2]).float()


def _register(
    first_CHW: Tensor, frame_CHW: Tensor, hidden_first: Tensor, hidden_HW: Tensor, starts_K3: Tensor, told: Tensor
) -> Tensor:
    """The move that best takes the first frame to this one, of those reached from several starts."""
    down, right = torch.gradient(first_CHW, dim=(1, 2))
    side = first_CHW.shape[-1]
    stack = torch.cat([first_CHW, right * side, down * side, hidden_first[None]])
    moves_K3 = starts_K3
    for _ in range(_NUM_STEPS):
        cost_K, step_K3 = _step(stack, frame_CHW, hidden_HW, moves_K3, told)
        moves_K3 = moves_K3 - step_K3.clamp(-0.08, 0.08)
    cost_K, _ = _step(stack, frame_CHW, hidden_HW, moves_K3, told)
    return moves_K3[cost_K.argmin()]


def _step(stack: Tensor, frame_CHW: Tensor, hidden_HW: Tensor, moves_K3: Tensor, told: Tensor) -> tuple[Tensor, Tensor]:
    """Robust cost (K,) and Gauss-Newton step (K, 3) of moves."""
    residuals, jacobians, shown = zip(
        *(_explain(stack, frame_CHW, moves_K3, parallax) for parallax in _PARALLAX), strict=True
    )
    residual_LKCP, jacobian_LKCP3 = torch.stack(residuals), torch.stack(jacobians)
    shown_LKP = torch.stack(shown) * (1 - hidden_HW.flatten())
    error_LKP = residual_LKCP.square().mean(dim=2) / _TOLERANCE**2
    nearer_LKP = functional.one_hot(error_LKP.argmin(dim=0), 2).movedim(-1, 0)
    weight_LKP = shown_LKP * nearer_LKP / (1 + error_LKP).square()  # Geman-McClure
    hessian_K33 = torch.einsum("lkp,lkcpi,lkcpj->kij", weight_LKP, jacobian_LKCP3, jacobian_LKCP3)
    slope_K3 = torch.einsum("lkp,lkcpi,lkcp->ki", weight_LKP, jacobian_LKCP3, residual_LKCP)
    away_K, pull = moves_K3[:, 2] - told, _TOLD_PIXELS * (_TOLERANCE / _TOLD_ERROR) ** 2 * len(frame_CHW)
    hessian_K33[:, 2, 2] += pull
    slope_K3[:, 2] += pull * away_K
    counted_LKP = shown_LKP * nearer_LKP
    unexplained_K = (counted_LKP * error_LKP / (1 + error_LKP)).sum((0, 2))
    unlikely_K = _TOLD_PIXELS * (away_K / _TOLD_ERROR).square()
    cost_K = (unexplained_K + unlikely_K) / counted_LKP.sum((0, 2)).clamp(min=1)
    damping = 1e-3 * torch.eye(3) * hessian_K33.diagonal(dim1=1, dim2=2).mean(1).view(-1, 1, 1) + 1e-6 * torch.eye(3)
    return cost_K, torch.linalg.solve(hessian_K33 + damping, slope_K3)


def _explain(stack: Tensor, frame_CHW: Tensor, moves_K3: Tensor, parallax: float) -> tuple[Tensor, Tensor, Tensor]:
    """How a layer explains a frame: residual (K, C, P), jacobian (K, C, P, 3), and where both show it (K, P)."""
    num_colours, side = len(frame_CHW), frame_CHW.shape[-1]
    scale_K = (-moves_K3[:, 2]).exp().view(-1, 1, 1, 1)
    from_middle = _grid(side) * scale_K  # (K, H, W, 2)
    origin = from_middle + parallax * moves_K3[:, None, None, :2]
    warped = functional.grid_sample(stack.expand(len(moves_K3), -1, -1, -1), 2 * origin, align_corners=False).flatten(2)
    colours, right, down, hidden = torch.split(warped, [num_colours, num_colours, num_colours, 1], dim=1)
    x, y = from_middle.flatten(1, 2).unbind(-1)
    zoomed = -(right * x.unsqueeze(1) + down * y.unsqueeze(1))
    inside = (origin.abs() < 0.5 - 0.5 / side).all(dim=-1).flatten(1)
    jacobian = torch.stack([parallax * right, parallax * down, zoomed], dim=-1)
    return colours - frame_CHW.flatten(1), jacobian, inside * (1 - hidden[:, 0])
