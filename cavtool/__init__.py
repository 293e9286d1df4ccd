"""Learn a motion from one video and put it on new subjects."""

__version__ = "0.1.0"
