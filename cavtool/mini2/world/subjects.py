"""The toys of cav-mini's world, and their colours."""

from functools import cache

from cavtool.mini2.world.solids import MAIN, Colour, Solid, Toy, build

COLOURS: dict[str, Colour] = {
    "red": (214, 40, 40),
    "orange": (244, 132, 30),
    "yellow": (245, 212, 40),
    "green": (46, 150, 60),
    "blue": (38, 84, 214),
    "purple": (134, 58, 190),
    "pink": (244, 128, 180),
    "black": (42, 42, 50),
}
HELD_OUT_COLOURS: dict[str, Colour] = {"white": (240, 240, 240), "grey": (128, 130, 136)}
ALL_COLOURS = COLOURS | HELD_OUT_COLOURS
COLOURLESS = "ironman"  # has colours of its own

_FIXED: dict[str, Colour] = {
    "dark": (40, 40, 48),
    "light": (250, 250, 246),
    "glass": (150, 214, 240),
    "gold": (240, 190, 62),
    "metal": (170, 174, 182),
    "scarlet": (196, 30, 40),
    "amber": (250, 160, 40),
    "rose": (236, 120, 130),
    "wood": (150, 100, 56),
}


def _pair(solid: Solid) -> list[Solid]:
    """A solid and its mirror image in x."""
    x, y, z = solid.centre
    mirrored = Solid(solid.shape, solid.colour, (-x, y, z), solid.half, solid.taper, (solid.tilt[0], -solid.tilt[1]))
    return [solid, mirrored]


def _ironman() -> list[Solid]:
    return [
        Solid("tube", "scarlet", (0, 0.08, 0), (0.17, 0.17, 0.12), (1.15, 1.1)),
        Solid("tube", "gold", (0, -0.13, 0), (0.14, 0.05, 0.1)),
        Solid("ball", "glass", (0, 0.13, 0.14), (0.06, 0.06, 0.03)),
        Solid("ball", "scarlet", (0, 0.38, 0), (0.13, 0.15, 0.13)),
        Solid("box", "gold", (0, 0.36, 0.1), (0.08, 0.09, 0.04)),
        *_pair(Solid("box", "glass", (0.04, 0.39, 0.145), (0.025, 0.013, 0.01))),
        Solid("box", "gold", (0, 0.1, -0.14), (0.09, 0.03, 0.02)),
        *_pair(Solid("ball", "scarlet", (0.23, 0.2, 0), (0.07, 0.07, 0.07))),
        *_pair(Solid("tube", "gold", (0.27, 0.06, 0), (0.05, 0.1, 0.05), tilt=(0, 10))),
        *_pair(Solid("ball", "scarlet", (0.3, -0.08, 0.02), (0.07, 0.07, 0.07))),
        *_pair(Solid("tube", "scarlet", (0.09, -0.24, 0), (0.07, 0.09, 0.07))),
        *_pair(Solid("box", "gold", (0.1, -0.41, 0.02), (0.075, 0.09, 0.1), (0.8, 0.7))),
    ]


def _cat() -> list[Solid]:
    return [
        Solid("ball", MAIN, (0, -0.1, -0.08), (0.19, 0.19, 0.32)),
        Solid("ball", MAIN, (0, 0.2, 0.26), (0.23, 0.2, 0.19)),
        *_pair(Solid("tube", MAIN, (0.13, 0.4, 0.24), (0.08, 0.1, 0.05), (0, 0), (0, -12))),
        *_pair(Solid("ball", "light", (0.085, 0.24, 0.41), (0.06, 0.065, 0.03))),
        *_pair(Solid("ball", "dark", (0.085, 0.24, 0.44), (0.028, 0.05, 0.02))),
        Solid("ball", "light", (0, 0.11, 0.43), (0.1, 0.06, 0.05)),
        Solid("ball", "rose", (0, 0.15, 0.48), (0.03, 0.025, 0.02)),
        *_pair(Solid("tube", MAIN, (0.11, -0.32, 0.12), (0.055, 0.13, 0.055))),
        *_pair(Solid("tube", MAIN, (0.11, -0.32, -0.26), (0.055, 0.13, 0.055))),
        Solid("tube", MAIN, (0, 0.1, -0.42), (0.045, 0.24, 0.045), (0.6, 0.6), (-20, 0)),
        Solid("ball", "light", (0, 0.33, -0.5), (0.055, 0.07, 0.055)),
    ]


def _car() -> list[Solid]:
    return [
        Solid("box", MAIN, (0, -0.1, 0), (0.26, 0.13, 0.5)),
        Solid("box", MAIN, (0, 0.16, -0.06), (0.23, 0.14, 0.28), (0.8, 0.75)),
        *_pair(Solid("box", "glass", (0.215, 0.15, -0.06), (0.02, 0.085, 0.2), (1, 0.75))),
        Solid("box", "glass", (0, 0.15, 0.215), (0.16, 0.09, 0.02), (0.85, 1)),
        Solid("box", "dark", (0, 0.15, -0.33), (0.15, 0.08, 0.02), (0.85, 1)),
        *_pair(Solid("tube", "dark", (0.26, -0.22, 0.29), (0.13, 0.05, 0.13), tilt=(0, 90))),
        *_pair(Solid("tube", "dark", (0.26, -0.22, -0.29), (0.13, 0.05, 0.13), tilt=(0, 90))),
        *_pair(Solid("ball", "metal", (0.32, -0.22, 0.29), (0.01, 0.055, 0.055))),
        *_pair(Solid("ball", "metal", (0.32, -0.22, -0.29), (0.01, 0.055, 0.055))),
        *_pair(Solid("ball", "light", (0.17, -0.08, 0.51), (0.065, 0.06, 0.03))),
        *_pair(Solid("box", "scarlet", (0.18, -0.06, -0.51), (0.05, 0.04, 0.02))),
    ]


def _box() -> list[Solid]:
    return [
        Solid("box", MAIN, (0, -0.04, 0), (0.36, 0.34, 0.36)),
        Solid("box", MAIN, (0, 0.36, 0), (0.41, 0.07, 0.41)),
        Solid("box", "light", (0, -0.04, 0.37), (0.2, 0.17, 0.012)),
        Solid("box", "dark", (0, -0.04, 0.385), (0.1, 0.05, 0.01)),
        *_pair(Solid("box", "wood", (0.37, -0.04, 0), (0.012, 0.33, 0.08))),
        Solid("box", "wood", (0, 0.435, 0), (0.08, 0.012, 0.4)),
        Solid("box", "dark", (0, -0.04, -0.37), (0.36, 0.06, 0.012)),
    ]


def _bird() -> list[Solid]:
    return [
        Solid("ball", MAIN, (0, -0.08, -0.02), (0.24, 0.25, 0.3), tilt=(-15, 0)),
        Solid("ball", "light", (0, -0.13, 0.12), (0.16, 0.17, 0.17)),
        Solid("ball", MAIN, (0, 0.26, 0.18), (0.18, 0.18, 0.18)),
        Solid("tube", "amber", (0, 0.24, 0.41), (0.075, 0.11, 0.06), (0, 0), (90, 0)),
        *_pair(Solid("ball", "light", (0.11, 0.31, 0.29), (0.05, 0.06, 0.04))),
        *_pair(Solid("ball", "dark", (0.125, 0.31, 0.325), (0.028, 0.035, 0.02))),
        *_pair(Solid("ball", MAIN, (0.3, -0.04, -0.08), (0.07, 0.17, 0.25), tilt=(-25, 12))),
        Solid("box", MAIN, (0, -0.06, -0.42), (0.13, 0.03, 0.16), tilt=(20, 0)),
        *_pair(Solid("tube", "amber", (0.09, -0.4, 0.04), (0.03, 0.09, 0.03))),
    ]


def _rocket() -> list[Solid]:
    return [
        Solid("tube", MAIN, (0, -0.02, 0), (0.19, 0.26, 0.19)),
        Solid("tube", "light", (0, 0.36, 0), (0.19, 0.13, 0.19), (0, 0)),
        Solid("tube", "light", (0, -0.14, 0), (0.2, 0.04, 0.2)),
        Solid("tube", "metal", (0, 0.08, 0.18), (0.1, 0.02, 0.1), tilt=(90, 0)),
        Solid("tube", "glass", (0, 0.08, 0.205), (0.07, 0.02, 0.07), tilt=(90, 0)),
        *_pair(Solid("box", MAIN, (0.27, -0.24, 0), (0.1, 0.15, 0.03), (0.3, 1), (0, 22))),
        Solid("box", MAIN, (0, -0.24, -0.27), (0.03, 0.15, 0.1), (1, 0.3), (22, 0)),
        Solid("box", "dark", (0, 0.04, -0.19), (0.08, 0.12, 0.012)),
        Solid("tube", "metal", (0, -0.32, 0), (0.13, 0.05, 0.13), (1.1, 1.1)),
        Solid("tube", "amber", (0, -0.44, 0), (0.1, 0.09, 0.1), (0, 0), (180, 0)),
    ]


def _boat() -> list[Solid]:
    return [
        Solid("box", MAIN, (0, -0.28, -0.02), (0.17, 0.14, 0.36), (1.45, 1.35)),
        Solid("box", "wood", (0, -0.135, -0.02), (0.2, 0.012, 0.44)),
        Solid("tube", MAIN, (0, -0.2, 0.5), (0.19, 0.12, 0.06), (0, 0.3), (70, 0)),
        Solid("tube", "wood", (0, 0.16, 0.04), (0.03, 0.32, 0.03)),
        Solid("box", "light", (0, 0.18, -0.18), (0.015, 0.25, 0.2), (1, 0.05)),
        Solid("box", "light", (0, 0.08, 0.22), (0.015, 0.18, 0.14), (1, 0.05)),
        Solid("box", MAIN, (0, 0.45, -0.05), (0.02, 0.05, 0.1)),
        Solid("box", "light", (0, -0.06, -0.3), (0.13, 0.08, 0.11)),
        *_pair(Solid("ball", "glass", (0.22, -0.24, 0.14), (0.03, 0.05, 0.05))),
    ]


def _dinosaur() -> list[Solid]:
    return [
        Solid("ball", MAIN, (0, -0.08, -0.04), (0.2, 0.2, 0.3)),
        Solid("tube", MAIN, (0, 0.16, 0.26), (0.1, 0.22, 0.1), (0.7, 0.7), (18, 0)),
        Solid("ball", MAIN, (0, 0.37, 0.36), (0.13, 0.11, 0.18)),
        *_pair(Solid("ball", "light", (0.1, 0.42, 0.4), (0.04, 0.045, 0.045))),
        *_pair(Solid("ball", "dark", (0.12, 0.42, 0.425), (0.022, 0.025, 0.025))),
        Solid("ball", "light", (0, -0.14, 0.06), (0.15, 0.15, 0.24)),
        Solid("tube", MAIN, (0, -0.1, -0.42), (0.12, 0.24, 0.12), (0.1, 0.1), (-75, 0)),
        *_pair(Solid("tube", MAIN, (0.13, -0.34, 0.12), (0.07, 0.13, 0.07))),
        *_pair(Solid("tube", MAIN, (0.13, -0.34, -0.2), (0.07, 0.13, 0.07))),
        *(
            Solid("box", "amber", (0, y, z), (0.02, 0.075, 0.09), (1, 0.1))
            for y, z in ((0.2, 0.1), (0.18, -0.08), (0.12, -0.25))
        ),
    ]


def _lantern() -> list[Solid]:
    return [
        Solid("tube", MAIN, (0, -0.4, 0), (0.24, 0.07, 0.24), (0.8, 0.8)),
        Solid("tube", "gold", (0, -0.1, 0), (0.16, 0.24, 0.16)),
        Solid("ball", "light", (0, -0.1, 0.13), (0.06, 0.1, 0.05)),
        Solid("box", "dark", (0, -0.1, -0.16), (0.11, 0.2, 0.015)),
        *_pair(Solid("box", MAIN, (0.16, -0.1, 0.08), (0.025, 0.25, 0.025))),
        *_pair(Solid("box", MAIN, (0.16, -0.1, -0.08), (0.025, 0.25, 0.025))),
        Solid("tube", MAIN, (0, 0.22, 0), (0.25, 0.11, 0.25), (0.2, 0.2)),
        Solid("box", MAIN, (0, 0.42, 0), (0.1, 0.02, 0.02)),
        *_pair(Solid("box", MAIN, (0.09, 0.37, 0), (0.02, 0.06, 0.02))),
    ]


def _teapot() -> list[Solid]:
    return [
        Solid("ball", MAIN, (0, -0.08, 0), (0.3, 0.27, 0.3)),
        Solid("tube", MAIN, (0, -0.02, 0.38), (0.07, 0.18, 0.07), (0.6, 0.6), (40, 0)),
        Solid("box", MAIN, (0, 0.06, -0.38), (0.04, 0.03, 0.13)),
        Solid("box", MAIN, (0, -0.16, -0.36), (0.04, 0.03, 0.1)),
        Solid("box", MAIN, (0, -0.05, -0.48), (0.04, 0.13, 0.03)),
        Solid("tube", "dark", (0, 0.19, 0), (0.15, 0.03, 0.15), (0.8, 0.8)),
        Solid("ball", "dark", (0, 0.27, 0), (0.055, 0.055, 0.055)),
        *_pair(Solid("ball", "amber", (0.29, -0.08, 0), (0.03, 0.09, 0.09))),
        Solid("tube", "dark", (0, -0.36, 0), (0.17, 0.03, 0.17)),
    ]


def _duck() -> list[Solid]:
    return [
        Solid("ball", MAIN, (0, -0.14, -0.06), (0.27, 0.22, 0.36)),
        Solid("ball", MAIN, (0, 0.22, 0.18), (0.2, 0.2, 0.2)),
        Solid("box", "amber", (0, 0.18, 0.42), (0.1, 0.03, 0.09)),
        *_pair(Solid("ball", "dark", (0.12, 0.28, 0.31), (0.04, 0.05, 0.03))),
        *_pair(Solid("ball", MAIN, (0.26, -0.1, -0.1), (0.06, 0.13, 0.2))),
        Solid("tube", MAIN, (0, 0.02, -0.42), (0.1, 0.12, 0.06), (0, 0), (-35, 0)),
    ]


def _chair() -> list[Solid]:
    return [
        Solid("box", MAIN, (0, -0.04, 0), (0.28, 0.04, 0.28)),
        Solid("box", MAIN, (0, 0.26, -0.25), (0.28, 0.2, 0.035)),
        Solid("box", "light", (0, 0.02, 0.02), (0.22, 0.03, 0.2)),
        *_pair(Solid("box", "wood", (0.24, -0.28, 0.24), (0.035, 0.2, 0.035))),
        *_pair(Solid("box", "wood", (0.24, -0.28, -0.24), (0.035, 0.2, 0.035))),
    ]


# What a toy is made of, and the degrees its front is turned to the right when it just stands there: seen from straight
# ahead many toys are hard to tell apart.
_PLANS = {
    "ironman": (_ironman, 15.0),
    "cat": (_cat, 35.0),
    "car": (_car, 55.0),
    "box": (_box, 28.0),
    "bird": (_bird, 35.0),
    "rocket": (_rocket, 20.0),
    "boat": (_boat, 60.0),
    "dinosaur": (_dinosaur, 55.0),
    "lantern": (_lantern, 20.0),
    "teapot": (_teapot, 55.0),
    "duck": (_duck, 40.0),
    "chair": (_chair, 35.0),
}
HELD_OUT_SUBJECTS = ("lantern", "teapot", "duck", "chair")
SUBJECTS = tuple(name for name in _PLANS if name not in HELD_OUT_SUBJECTS)


def subject_names() -> tuple[str, ...]:
    """All subjects, held-out ones too."""
    return tuple(_PLANS)


@cache
def toy(subject: str) -> Toy:
    """A subject's toy. Raises KeyError for one that does not exist."""
    return build(_PLANS[subject][0]())


def rest_yaw(subject: str) -> float:
    """Degrees that the toy's front is turned to the right at yaw 0."""
    return _PLANS[subject][1]


def palette(colour: str) -> dict[str, Colour]:
    """The colours of a toy whose main colour has this name ("" for a toy with colours of its own)."""
    return _FIXED | {MAIN: ALL_COLOURS[colour] if colour else _FIXED["scarlet"]}
