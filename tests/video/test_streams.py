"""Films in which the first stream, its colours or its time stamps are not the plain case."""

import os
import shlex
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cavtool import video
from cavtool.errors import MediaError
from cavtool.events import Event, Note, Warn
from cavtool.video import Frames
from tests.video.films import FFMPEG, H264, LOSSY, Make, clock, corners, read_clock, shown_at

GREEN, RED, WHITE = (90, 110, 100), (220, 30, 30), (235, 235, 235)
WHOLE: dict[str, Any] = {"start": 0.0, "duration": 2.0, "num_frames": 16}


def flag(num_frames: int = 16) -> Frames:
    """A red and a white square on green; the red one moves."""
    frames = np.full((num_frames, 64, 96, 3), GREEN, np.uint8)
    for k, frame in enumerate(frames):
        frame[8:24, 8 + 2 * k : 24 + 2 * k] = RED
        frame[40:56, 40:56] = WHITE
    return frames


@pytest.mark.parametrize(("name", "transfer"), [("HLG", "arib-std-b67"), ("PQ", "smpte2084")])
def test_hdr_is_tone_mapped(name: str, transfer: str, make: Make) -> None:
    to_hdr = (
        "scale=out_color_matrix=bt709:out_range=tv,format=yuv444p,"
        "setparams=color_primaries=bt709:color_trc=bt709:colorspace=bt709:range=tv,"
        "zscale=t=linear:npl=203,format=gbrpf32le,"
        f"zscale=p=2020:t={transfer}:m=2020_ncl:r=tv:npl=203,format=yuv444p10le"
    )
    path = make(f"{name}.mkv", flag(), "-vf", to_hdr, "-c:v", "ffv1")
    events: list[Event] = []
    frames = video.decode(path, **WHOLE, width=96, height=64, on_event=events.append)
    for (y, x), colour in [((16, 16), RED), ((48, 48), WHITE), ((48, 80), GREEN)]:
        assert np.abs(frames[0, y, x].astype(int) - colour).max() <= 4
    assert [type(event) for event in events] == [Note]
    assert name in str(events[0])


@pytest.mark.skipif(os.name == "nt", reason="makes shell scripts")
@pytest.mark.usefixtures("fresh_choice")
def test_without_zscale_a_warning_says_that_hdr_colours_are_wrong(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make("tagged.mkv", flag(), "-vf", "setparams=color_trc=smpte2084", "-c:v", "ffv1")
    (tmp_path / "ffmpeg").write_text(f'#!/bin/sh\nif [ "$2" = -filters ]; then exit; fi\nexec "{FFMPEG}" "$@"\n')
    (tmp_path / "ffmpeg").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    events: list[Event] = []
    assert len(video.decode(path, **WHOLE, width=96, height=64, on_event=events.append)) == 16
    assert [type(event) for event in events] == [Warn]
    assert "no `zscale`" in str(events[0])


@pytest.mark.parametrize(
    ("name", "num_frames", "options"),
    [
        ("thumbnail.mov", 1, ("-disposition:v:0", "default")),
        ("second-default.mkv", 16, ("-disposition:v:0", "0", "-disposition:v:1", "default")),
        ("fewer-frames.mkv", 8, ("-disposition:v:0", "0", "-disposition:v:1", "0")),
    ],
)
def test_the_main_stream_is_read(name: str, num_frames: int, options: tuple[str, ...], make: Make) -> None:
    first = make(f"first-{num_frames}.mp4", clock(num_frames, height=32, width=48, tick=2), *H264)
    main = make("h264.mp4", clock(16), *H264)
    path = make(name, first, "-i", str(main), "-map", "0", "-map", "1", "-c", "copy", *options)
    media = video.probe(path)
    assert (media.width, media.height) == (96, 64)
    assert read_clock(video.decode(path, **WHOLE, width=96, height=64)) == list(range(16))


def test_an_animated_avif_is_a_video_although_its_still_comes_first(make: Make) -> None:
    path = make("moving.avif", clock(8), "-c:v", "libaom-av1", "-cpu-used", "8", "-usage", "realtime")
    frames = video.decode(path, start=0, duration=1, num_frames=8, width=96, height=64)
    assert read_clock(frames) == list(range(8))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("alpha.webm", ("-c:v", "libvpx-vp9", "-pix_fmt", "yuva420p", "-crf", "4", "-b:v", "0")),
        ("alpha.mov", ("-c:v", "qtrle")),
        ("alpha.webp", ("-c:v", "libwebp_anim", "-lossless", "1")),
    ],
)
def test_transparent_pixels_are_composited_on_black(name: str, options: tuple[str, ...], make: Make) -> None:
    frames = np.full((8, 64, 96, 3), (255, 0, 255), np.uint8)
    for k, frame in enumerate(frames):
        frame[16:48, 16 + k : 48 + k] = (200, 180, 40)
    path = make(name, frames, "-vf", "format=rgba,colorkey=0xFF00FF:0.1:0", *options)
    events: list[Event] = []
    shown = video.decode(path, start=0, duration=1, num_frames=8, width=48, height=32, on_event=events.append)
    assert shown.shape == (8, 32, 48, 3)
    assert np.abs(shown[:, 16, 16].astype(int) - (200, 180, 40)).max() <= LOSSY
    assert shown[:, :, 30:].max() <= LOSSY
    edge = shown[:, 16, 20:30].astype(int)
    assert (edge[..., 2] - edge[..., 1]).max() <= LOSSY  # no magenta
    assert [event for event in events if "black" in str(event)] == events != []


def test_an_opaque_film_of_a_format_with_alpha_is_read_without_a_note(make: Make) -> None:
    events: list[Event] = []
    video.decode(make("anim.gif", clock(16)), **WHOLE, width=96, height=64, on_event=events.append)
    assert events == []


@pytest.mark.parametrize(
    ("name", "second", "options"),
    [
        ("size", clock(16, height=32, width=48), ()),
        ("pixel-aspect", clock(16, height=64, width=48), ("-vf", "setsar=2")),
        ("matrix", clock(16), ("-vf", "scale=out_color_matrix=bt709,setparams=colorspace=bt709")),
    ],
)
def test_frames_are_on_time_and_upright_after_a_change(
    name: str, second: Frames, options: tuple[str, ...], make: Make, tmp_path: Path
) -> None:
    bare = (*H264, "-bf", "0")
    halves = [make(f"{name}-1.h264", clock(16), *bare), make(f"{name}-2.h264", second, *options, *bare)]
    (tmp_path / "both.h264").write_bytes(b"".join(half.read_bytes() for half in halves))
    path = make(f"{name}.ts", tmp_path / "both.h264", "-c", "copy", before=("-r", "8"))
    frames = video.decode(path, start=1.3, duration=2, num_frames=16, width=96, height=64)
    times = [k / 8 for k in range(32)]
    assert read_clock(frames) == [number % 16 for number in shown_at(times, 1.3, 0.125, 16)]
    for frame in (frames[0], frames[-1]):
        assert np.abs(corners(frame) - corners(clock(1)[0])).max() <= 2 * LOSSY
    after = video.decode(path, start=3, duration=0.5, num_frames=4, width=96, height=64)
    assert np.abs(corners(after[0]) - corners(clock(1)[0])).max() <= 2 * LOSSY
    assert video.busiest_window(path, 2).duration == 2


def test_times_are_exact_if_the_unit_of_time_is_a_frame(make: Make) -> None:
    path = make("theora.ogv", clock(16), "-c:v", "libtheora", "-q:v", "10", fps=15)
    frames = video.decode(path, start=0.197, duration=0.4, num_frames=6, width=96, height=64)
    assert read_clock(frames) == [2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize("name", ["late.ts", "late.mkv", "late.mp4"])
def test_time_0_is_the_start_of_the_file_if_the_picture_begins_later(name: str, make: Make) -> None:
    film = make("short-keyframes.mp4", clock(16), *H264, "-g", "4")
    sound = ("-f", "lavfi", "-i", "sine=duration=3.5", "-map", "0:v", "-map", "1:a", "-c:v", "copy")
    path = make(name, film, *sound, before=("-itsoffset", "1.5"))
    assert video.probe(path).duration == pytest.approx(3.5, abs=0.05)
    frames = video.decode(path, start=1.02, duration=1, num_frames=8, width=96, height=64)
    assert read_clock(frames) == [0, 0, 0, 0, 0, 1, 2, 3]
    frames = video.decode(path, start=2.53, duration=1, num_frames=8, width=96, height=64)
    assert read_clock(frames) == [8, 9, 10, 11, 12, 13, 14, 15]


def test_interlaced_frames_are_deinterlaced(make: Make) -> None:
    frames = np.full((32, 64, 96, 3), 40, np.uint8)
    for k, frame in enumerate(frames):
        frame[:, 2 * k : 2 * k + 16] = 220
    path = make(*("interlaced.mp4", frames, "-vf", "tinterlace=interleave_top", "-flags", "+ildct+ilme", *H264), fps=16)
    events: list[Event] = []
    shown = video.decode(path, **WHOLE, width=96, height=64, on_event=events.append).astype(int)
    assert np.abs(np.diff(shown[4, 8:-8, :, 0], axis=0)).mean() < 1  # combed rows differ by 20 on average
    assert "interlaced" in str(events)


@pytest.mark.parametrize("matrix", ["ycgco", "bt2020c"])
def test_a_matrix_that_cannot_be_converted_is_named_with_a_command_that_converts_it(
    matrix: str, make: Make, tmp_path: Path
) -> None:
    path = make(f"of {matrix}.mkv", flag(), "-vf", f"format=yuv420p,setparams=colorspace={matrix}")
    with pytest.raises(MediaError, match=f"its matrix is `{matrix}`") as refused:
        video.probe(path)
    assert "\n" not in refused.value.message
    command = str(refused.value.hint).split("`")[1]
    subprocess.run(
        [FFMPEG, "-v", "error", *shlex.split(command)[1:-1], tmp_path / "new.mp4"], cwd=path.parent, check=True
    )
    assert len(video.decode(tmp_path / "new.mp4", **WHOLE, width=96, height=64)) == 16


def test_a_file_that_is_cut_short_is_named_so(make: Make, tmp_path: Path) -> None:
    at_end = make("h264.mp4", clock(16), *H264).read_bytes()
    for kept in (len(at_end) // 2, len(at_end) - 300):  # without an index, with a part of it
        (tmp_path / "short.mp4").write_bytes(at_end[:kept])
        with pytest.raises(MediaError, match="is truncated"):
            video.probe(tmp_path / "short.mp4")


@pytest.mark.parametrize(("name", "options"), [("whole.mp4", ("-movflags", "+faststart")), ("whole.mkv", ())])
def test_the_beginning_of_a_file_that_is_cut_short_is_read_with_a_warning(
    name: str, options: tuple[str, ...], make: Make, tmp_path: Path
) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (32, 64, 96, 3), np.uint8)
    whole = make(name, noise, *H264, *options).read_bytes()
    short = tmp_path / name
    short.write_bytes(whole[: len(whole) * 3 // 4])
    events: list[Event] = []
    assert len(video.decode(short, **WHOLE, width=96, height=64, on_event=events.append)) == 16
    assert [type(event) for event in events] == [Warn]
    assert "is truncated" in str(events[0])


def test_a_film_that_is_too_slow_for_a_motion_is_refused(make: Make) -> None:
    path = make("slow.mp4", clock(5), *H264, fps=0.1)
    with pytest.raises(MediaError, match=r"only every 10 s: 2 s of it hold no motion") as refused:
        video.busiest_window(path, 2)
    assert refused.value.hint == "choose a longer part, of at least 40 s"
    assert video.busiest_window(path, 40).duration == 40


def test_a_motion_needs_four_different_frames(make: Make) -> None:
    path = make("h264.mp4", clock(16), *H264)
    with pytest.raises(MediaError, match=r"shows 3 different frames .* a motion needs at least four"):
        video.decode(path, start=0, duration=0.37, num_frames=16, width=32, height=32, moving=True)
    video.decode(path, start=0, duration=0.5, num_frames=16, width=32, height=32, moving=True)


@pytest.mark.skipif(os.name == "nt", reason="makes a named pipe")
def test_a_url_and_a_pipe_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, reason in [(Path("https://example.com/a.mp4"), "`https://example.com/a.mp4`: it is a URL")] + [
        (pipe, "is a pipe") for pipe in (Path("-"), tmp_path / "pipe")
    ]:
        with pytest.raises(MediaError, match=reason) as refused:
            video.probe(path)
        assert refused.value.hint
