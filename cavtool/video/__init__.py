"""Video files in and out, through ffmpeg and Pillow.

Frames are uint8 RGB arrays. Shape suffixes: F frames, H height, W width, C colour. Times are in seconds from the
start of the file, as a player counts them; the frame "at" a time is the one a player shows then.
"""

from cavtool.video.decode import Frames, decode, decode_whole, is_black, shows_nothing
from cavtool.video.encode import SUFFIXES, contact_sheet, encode, encode_like
from cavtool.video.ffmpeg import check_ffmpeg, ffmpeg_exe
from cavtool.video.metadata import read_recipe
from cavtool.video.probe import Media, probe
from cavtool.video.stills import read_still
from cavtool.video.window import Window, busiest_window

__all__ = [
    "SUFFIXES",
    "Frames",
    "Media",
    "Window",
    "busiest_window",
    "check_ffmpeg",
    "contact_sheet",
    "decode",
    "decode_whole",
    "encode",
    "encode_like",
    "ffmpeg_exe",
    "is_black",
    "probe",
    "read_recipe",
    "read_still",
    "shows_nothing",
]
