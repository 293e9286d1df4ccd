from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from cavtool import video
from cavtool.errors import MediaError, NotFound
from tests.video.films import CORNERS, FORMATS, H264, LOSSY, Make, clock, corners, read_clock, shown_at


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_read_upright_in_colour_and_in_time(name: str, make: Make) -> None:
    codec, options = FORMATS[name]
    path = make(name, clock(16), *options)
    media = video.probe(path)
    assert (media.width, media.height, media.codec) == (96, 64, codec)
    assert media.fps == pytest.approx(8, abs=0.1)
    assert media.duration == pytest.approx(2, abs=0.02)
    frames = video.decode(path, start=0, duration=2, num_frames=16, width=96, height=64)
    assert frames.shape == (16, 64, 96, 3)
    assert frames.dtype == np.uint8
    assert frames.flags.writeable
    assert read_clock(frames) == list(range(16))
    assert np.abs(corners(frames[3]) - CORNERS).max() <= 2 * LOSSY


@pytest.mark.parametrize("name", ["steady.mp4", "steady.webm", "steady.gif"])
@pytest.mark.parametrize(("rate", "start"), [(30, 0.0), (12.5, 0.25), (24, 0.1), (5, 0.4)])
def test_frames_are_those_a_player_shows(name: str, rate: float, start: float, make: Make) -> None:
    path = make(f"{rate}-{name}", clock(40, tick=5), *(H264 if name.endswith("mp4") else ()), fps=rate)
    frames = video.decode(path, start=start, duration=0.8, num_frames=7, width=96, height=64)
    times = np.arange(40) / rate
    unit = 0.01 if name.endswith("gif") else 0.001  # the file's own rounding
    times = np.rint(times / unit) * unit - unit / 2
    assert read_clock(frames, tick=5) == shown_at(times.tolist(), start, 0.8 / 7, 7)


@pytest.mark.parametrize("name", ["vfr.mp4", "vfr.mkv"])
@pytest.mark.parametrize("start", [0.0, 0.33])
def test_a_variable_frame_rate_is_resampled_by_time(name: str, start: float, make: Make) -> None:
    times = [0, 0.05, 0.1, 0.3, 0.35, 0.9, 1.0, 1.05, 1.6, 1.65, 1.7, 2.2]
    steps = "+".join(f"gte(N,{n})*{b - a:.3f}" for n, (a, b) in enumerate(pairwise(times), 1))
    timing = ("-vf", f"settb=1/1000,setpts='({steps})/TB'", "-fps_mode", "passthrough", "-enc_time_base", "1/1000")
    path = make(name, clock(12), *timing, *H264)
    frames = video.decode(path, start=start, duration=2, num_frames=16, width=96, height=64)
    assert read_clock(frames) == shown_at(times, start, 0.125, 16)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("one-keyframe.mp4", H264),
        ("one-keyframe.ts", H264),
        *[(f"keyframes.{suffix}", (*H264, "-g", "6")) for suffix in ("mp4", "ts", "mkv", "flv")],
        ("keyframes.avi", (*H264, "-g", "6", "-bf", "0")),
        ("keyframes.h264", (*H264, "-g", "6", "-bf", "0")),
        ("keyframes.mov", ("-c:v", "prores_ks")),
        ("keyframes.webm", ("-c:v", "libvpx-vp9", "-g", "6", "-crf", "4", "-b:v", "0")),
        ("long.webp", ("-c:v", "libwebp_anim", "-lossless", "1")),
        ("long.gif", ()),
    ],
)
def test_a_clip_far_into_a_file_is_exact(name: str, options: Sequence[str], make: Make) -> None:
    path = make(name, clock(40, tick=5), *options, fps=1)
    frames = video.decode(path, start=33.3, duration=4, num_frames=8, width=96, height=64)
    assert read_clock(frames, tick=5) == [33, 33, 34, 34, 35, 35, 36, 36]


def test_a_longer_part_is_played_faster_and_a_shorter_one_slower(film: Path) -> None:
    assert read_clock(video.decode(film, start=0, duration=2, num_frames=4, width=96, height=64)) == [0, 4, 8, 12]
    assert read_clock(video.decode(film, start=1, duration=0.5, num_frames=8, width=96, height=64)) == [
        *[8, 8, 9, 9],
        *[10, 10, 11, 11],
    ]


def test_one_frame_can_be_decoded(film: Path) -> None:
    assert read_clock(video.decode(film, start=1, duration=1, num_frames=1, width=96, height=64)) == [8]


def test_the_rotation_flag_is_applied(film: Path, make: Make) -> None:
    turned = make("turned.mp4", film, "-c", "copy", before=("-display_rotation", "90"))
    media = video.probe(turned)
    assert (media.width, media.height) == (64, 96)
    frames = video.decode(turned, start=0, duration=2, num_frames=16, width=64, height=96)
    assert np.abs(corners(frames[0]) - np.rot90(CORNERS)).max() <= 2 * LOSSY


def test_pixels_that_are_not_square_are_stretched(make: Make) -> None:
    media = video.probe(make("wide-pixels.mp4", clock(4), "-vf", "setsar=2", *H264))
    assert (media.width, media.height) == (192, 64)


@pytest.mark.parametrize(("height", "width"), [(64, 192), (192, 64), (65, 195), (22, 66)])
def test_the_centre_is_kept_whatever_the_shape(height: int, width: int, make: Make) -> None:
    thirds = np.zeros((4, height, width, 3), np.uint8)
    side = min(height, width)
    for third, colour in enumerate([(255, 0, 0), (0, 200, 0), (0, 0, 255)]):
        part = slice(third * side, (third + 1) * side)
        thirds[(slice(None), slice(None), part) if width > height else (slice(None), part)] = colour
    thirds[1::2] //= 2
    path = make(f"thirds-{width}x{height}.mp4", thirds, "-c:v", "libx264", "-pix_fmt", "yuv444p", "-crf", "5")
    frames = video.decode(path, start=0, duration=0.5, num_frames=4, width=48, height=48)
    inner = frames[0, 4:-4, 4:-4].astype(int)
    assert np.abs(inner - (0, 200, 0)).max() <= LOSSY


def test_the_length_is_that_of_the_video_not_of_the_sound(film: Path, make: Make) -> None:
    sound = ("-f", "lavfi", "-i", "sine=duration=5", "-map", "0:v", "-map", "1:a", "-c:v", "copy", "-c:a", "aac")
    assert video.probe(make("sound.mp4", film, *sound)).duration == pytest.approx(2, abs=0.02)


def test_hidden_frames_before_the_start_are_skipped(film: Path, make: Make) -> None:
    path = make("trimmed.mp4", film, "-c", "copy", before=("-ss", "1"))
    assert video.probe(path).duration == pytest.approx(1, abs=0.02)
    assert read_clock(video.decode(path, start=0, duration=1, num_frames=4, width=96, height=64)) == [8, 10, 12, 14]


def broken_files(make: Make, folder: Path) -> Iterator[tuple[Path, str]]:
    film = make("h264.mp4", clock(16), *H264)
    whole = film.read_bytes()
    start, end = whole.index(b"mdat") + 4, whole.index(b"moov") - 4
    scrambled = whole[:start] + np.random.default_rng(0).bytes(end - start) + whole[end:]
    for name, data, reason in [
        ("empty.mp4", b"", "cannot read"),
        ("truncated.mp4", whole[: len(whole) // 2], "cannot read"),
        ("scrambled.mp4", scrambled, "cannot read"),
        ("noise.mp4", np.random.default_rng(0).bytes(5000), "cannot read"),
        ("letter.mp4", b"Dear reader,\n" * 50, "cannot read"),
        ("letter.txt", b"Dear reader,\n" * 50, "is a text"),
        ("art.ans", b"\x1b[31mDear\x1b[0m reader\r\n" * 200, "is a text"),
    ]:
        (folder / name).write_bytes(data)
        yield folder / name, reason
    sound = make("sound.m4a", film, "-f", "lavfi", "-i", "sine=duration=1", "-map", "1:a")
    yield sound, "holds no video"
    cover = make("cover.png", film, "-frames:v", "1")
    yield cover, "fewer than two"
    covered = ("-i", str(cover), "-map", "0:a", "-map", "1:v", "-c:v", "copy", "-disposition:v", "attached_pic")
    yield make("covered.mp3", sound, *covered), "holds no video"
    for name in ("single.mp4", "single.gif", "single.webp", "single.jpg"):
        yield (
            make(name, film, "-frames:v", "1", *(H264 if name.endswith("mp4") else ())),
            "fewer than two",
        )
    yield folder, "is a folder"


def test_an_unusable_file_is_refused_in_one_line(make: Make, tmp_path: Path) -> None:
    for path, reason in broken_files(make, tmp_path):
        with pytest.raises(MediaError, match=reason) as refused:
            video.probe(path)
        assert f"`{path}`" in refused.value.message
        assert "\n" not in refused.value.message
        with pytest.raises(MediaError, match=reason):
            video.busiest_window(path, 1)
        with pytest.raises(MediaError, match=reason):
            video.decode(path, start=0, duration=1, num_frames=8, width=32, height=32)


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no such file"):
        video.probe(tmp_path / "missing.mp4")


@pytest.mark.parametrize(
    ("start", "duration", "reason"),
    [(1.5, 2, "lasts 2.00 s"), (-1, 2, "lasts 2.00 s"), (9, 1, "lasts 2.00 s"), (0.02, 0.05, "a single frame")],
)
def test_a_part_outside_the_video_or_of_a_single_frame_is_refused(
    start: float, duration: float, reason: str, film: Path
) -> None:
    with pytest.raises(MediaError, match=reason):
        video.decode(film, start=start, duration=duration, num_frames=16, width=32, height=32)
