"""Video files in and out, through ffmpeg and Pillow.

Frames are uint8 RGB arrays. Shape suffixes: F frames, H height, W width, C colour. Times are in seconds from the
start of the file, as a player counts them; the frame "at" a time is the one a player shows then.
"""

from cavtool.video.program import ffmpeg_exe
from cavtool.video.reading import Frames, Media, Window, busiest_window, decode, probe
from cavtool.video.writing import SUFFIXES, contact_sheet, encode, read_recipe

__all__ = [
    "SUFFIXES",
    "Frames",
    "Media",
    "Window",
    "busiest_window",
    "contact_sheet",
    "decode",
    "encode",
    "ffmpeg_exe",
    "probe",
    "read_recipe",
]
