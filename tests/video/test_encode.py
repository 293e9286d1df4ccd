import os
import struct
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from cavtool import video
from cavtool.errors import InvalidInput, MediaError, NotFound, RequirementError
from cavtool.video import Frames
from tests.video.films import FFMPEG, Make, clock, read_clock

RECIPE = {
    "prompt": "ein Löwe, 狮子 🦁; a = b # c \\ 'd' \"e\"\nnext line",
    "seed": 2**40,
    "motions": [{"name": "twirl", "weight": 0.7, "content_id": f"{number:064x}"} for number in range(20)],
}


def colourful(num_frames: int = 8, height: int = 32, width: int = 48) -> Frames:
    """A moving disc over a still gradient."""
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    frames = np.empty((num_frames, height, width, 3))
    for k, frame in enumerate(frames):
        frame[:] = np.stack([90 + 120 * y, 120 + 80 * x, 220 - 90 * y], axis=-1)
        frame[np.hypot(x - 0.3 - 0.05 * k, y - 0.3) < 0.2] = (215, 50, 40)
    return frames.round().astype(np.uint8)


@pytest.mark.parametrize("suffix", [".mp4", ".gif", ".webp"])
def test_a_written_video_is_read_with_the_same_frames(suffix: str, tmp_path: Path) -> None:
    frames, path = colourful(), tmp_path / f"out{suffix}"
    video.encode(frames, path, fps=8, scale=4)
    media = video.probe(path)
    assert (media.width, media.height) == (192, 128)
    assert media.fps == pytest.approx(8, abs=0.1)
    again = video.decode(path, start=0, duration=1, num_frames=8, width=192, height=128).astype(int)
    error = again - frames.repeat(4, axis=1).repeat(4, axis=2)
    assert np.abs(error).mean() < 3
    assert np.abs(error.mean(axis=(0, 1, 2))).max() < 1


def test_mp4_plays_everywhere(tmp_path: Path) -> None:
    path = tmp_path / "out.MP4"
    video.encode(colourful(), path, fps=7.5)
    described = subprocess.run([FFMPEG, "-i", str(path)], capture_output=True, text=True, check=False).stderr
    assert "h264 (High)" in described
    assert "yuv420p(tv, bt709, progressive)" in described  # matrix, primaries and transfer are the same
    assert "7.50 fps" in described
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


def test_the_metadata_of_a_webp_is_valid_exif(tmp_path: Path) -> None:
    video.encode(colourful(), tmp_path / "out.webp", fps=8, recipe=RECIPE)
    data = (tmp_path / "out.webp").read_bytes()
    start = data.index(b"EXIF") + 8  # after the name and the size of the chunk
    assert data[start : start + 4] in {b"MM\0*", b"II*\0"}  # TIFF 6.0, section 2
    assert video.read_recipe(tmp_path / "out.webp") == RECIPE


def test_odd_sizes_are_padded_with_the_edge(tmp_path: Path) -> None:
    frames = colourful(height=31, width=45)
    video.encode(frames, tmp_path / "odd.mp4", fps=8)
    again = video.decode(tmp_path / "odd.mp4", start=0, duration=1, num_frames=8, width=46, height=32)
    assert np.abs(again[:, :31, :45].astype(int) - frames).mean() < 4
    assert np.abs(again[:, 31, :45].astype(int) - frames[:, 30]).mean() < 8


def test_still_parts_of_a_gif_do_not_flicker(tmp_path: Path) -> None:
    video.encode(colourful(), tmp_path / "out.gif", fps=8, scale=2, recipe=RECIPE)
    with Image.open(tmp_path / "out.gif") as image:
        assert image.info["loop"] == 0
        assert getattr(image, "n_frames", 1) == 8
    again = video.decode(tmp_path / "out.gif", start=0, duration=1, num_frames=8, width=96, height=64)
    assert (again[:, 50:] == again[0, 50:]).all()


def test_animated_webp_keeps_time(tmp_path: Path) -> None:
    video.encode(clock(10, tick=20), tmp_path / "out.webp", fps=12)
    with Image.open(tmp_path / "out.webp") as image:
        durations = []
        for number in range(getattr(image, "n_frames", 1)):
            image.seek(number)
            image.load()
            durations.append(image.info["duration"])
    assert len(durations) == 10
    assert sum(durations) == 833
    assert set(durations) <= {83, 84}


@pytest.mark.parametrize("suffix", video.SUFFIXES)
def test_the_recipe_is_stored_in_the_file(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"out{suffix}"
    video.encode(colourful(), path, fps=8, recipe=RECIPE)
    assert video.read_recipe(path) == RECIPE
    path.rename(tmp_path / "renamed.bin")
    assert video.read_recipe(tmp_path / "renamed.bin") == RECIPE
    video.encode(colourful(), path, fps=8)
    assert video.read_recipe(path) is None


def test_comments_of_other_tools_are_not_recipes(film: Path, make: Make, tmp_path: Path) -> None:
    for name, comment in [("words.mp4", "shot on a phone"), ("theirs.mp4", '{"prompt": "x"}'), ("list.mp4", "[1, 2]")]:
        assert video.read_recipe(make(name, film, "-c", "copy", "-metadata", f"comment={comment}")) is None
    assert video.read_recipe(film) is None
    (tmp_path / "letter.txt").write_text("Dear reader")
    with pytest.raises(MediaError, match="cannot read"):
        video.read_recipe(tmp_path / "letter.txt")
    with pytest.raises(NotFound, match="no such file"):
        video.read_recipe(tmp_path / "missing.mp4")


@pytest.mark.parametrize(
    ("tag", "value"),
    [
        (ExifTags.Base.ImageDescription, '{"cav": {"prompt": "\\ud800"}}'),
        (ExifTags.Base.ImageDescription, "[" * 20_000),
        (ExifTags.Base.ImageDescription, b"\xff\xfe"),
        (ExifTags.Base.ImageDescription, '{"prompt": {"3": {"class_type": "KSampler"}}}'),
        (ExifTags.Base.ImageDescription, 7),
        (ExifTags.Base.XResolution, 1.5),
    ],
)
def test_exif_of_other_tools_is_no_recipe(tmp_path: Path, tag: int, value: object) -> None:
    exif = Image.Exif()
    exif[tag] = value
    Image.new("RGB", (8, 8)).save(tmp_path / "photo.jpg", exif=exif)
    assert video.read_recipe(tmp_path / "photo.jpg") is None


def test_a_number_in_place_of_the_description_is_no_recipe(tmp_path: Path) -> None:
    # TIFF 6.0: a directory of one entry (tag, type, count, value or offset), type 3 a short, 5 a fraction n / 0
    for kind, value in ((3, struct.pack("<I", 7)), (5, struct.pack("<III", 26, 1, 0))):
        entry = struct.pack("<HHI", ExifTags.Base.ImageDescription, kind, 1) + value[:4]
        tiff = b"II*\0" + struct.pack("<IH", 8, 1) + entry + struct.pack("<I", 0) + value[4:]
        Image.new("RGB", (8, 8)).save(tmp_path / "photo.jpg", exif=b"Exif\0\0" + tiff)
        assert video.read_recipe(tmp_path / "photo.jpg") is None


@pytest.mark.parametrize("suffix", video.SUFFIXES)
def test_a_damaged_file_never_ends_in_a_traceback(suffix: str, tmp_path: Path) -> None:
    video.encode(colourful(), tmp_path / f"whole{suffix}", fps=8, recipe=RECIPE)
    whole = (tmp_path / f"whole{suffix}").read_bytes()
    random = np.random.default_rng(0)
    path = tmp_path / f"damaged{suffix}"
    for begin in (0.01, 0.05, 0.3, 0.6):
        start, end = int(len(whole) * begin), int(len(whole) * 0.9)
        path.write_bytes(whole[:start] + random.bytes(end - start) + whole[end:])
        with suppress(MediaError):
            video.read_recipe(path)
        with suppress(MediaError):
            window = video.busiest_window(path, 0.5)
            video.decode(path, start=window.start, duration=window.duration, num_frames=4, width=32, height=32)


@pytest.mark.parametrize("suffix", video.SUFFIXES)
@pytest.mark.parametrize(
    "name", ["-dash", "a b  c", "Zwölf 狮子 🦁", "50%d %03d", "a'b", *([] if os.name == "nt" else ["a:b", 'a"b'])]
)
def test_any_file_name_works(name: str, suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path(name + suffix)
    video.encode(clock(4), path, fps=8, recipe={"seed": 1})
    assert video.read_recipe(path) == {"seed": 1}
    if suffix != ".png":
        assert read_clock(video.decode(path, start=0, duration=0.5, num_frames=4, width=96, height=64)) == [0, 1, 2, 3]
    assert list(Path().iterdir()) == [path]


def test_an_unknown_suffix_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    for name in ("out.mov", "out"):
        with pytest.raises(InvalidInput, match=name) as refused:
            video.encode(colourful(), tmp_path / name, fps=8)
        assert refused.value.hint == "use one of .mp4, .gif, .webp, .png"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", video.SUFFIXES)
def test_a_path_that_cannot_be_written_is_reported(suffix: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    taken = tmp_path / f"taken{suffix}"
    taken.mkdir()
    for path, reason in [
        (tmp_path / "nowhere" / f"out{suffix}", "No such file or directory"),
        (tmp_path / "file" / f"out{suffix}", "Not a directory"),
    ]:
        with pytest.raises(RequirementError) as refused:
            video.encode(colourful(), path, fps=8)
        assert refused.value.message == f"cannot write to `{path}`: {reason}"
    with pytest.raises(InvalidInput, match="is a folder, not a file"):
        video.encode(colourful(), taken, fps=8)
    assert sorted(tmp_path.iterdir()) == [tmp_path / "file", taken]


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_reported(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(RequirementError, match="Permission denied"):
        video.encode(colourful(), tmp_path / "out.mp4", fps=8)
    tmp_path.chmod(0o700)


FULL_DISK = """
import resource, sys
from pathlib import Path
import numpy as np
from cavtool import video
from cavtool.errors import MediaError, RequirementError

resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
frames = np.random.default_rng(0).integers(0, 256, (8, 64, 64, 3), np.uint8)
for path in map(Path, sys.argv[1:]):
    try:
        video.encode(frames, path, fps=8)
    except (MediaError, RequirementError) as error:
        assert error.message.startswith("cannot write "), error.message
        assert str(path) in error.message
    else:
        sys.exit(f"{path} was written")
"""


@pytest.mark.skipif(os.name == "nt", reason="limits the file size as POSIX does")
def test_a_full_disk_leaves_existing_files_unchanged(tmp_path: Path) -> None:
    paths = [tmp_path / f"out{suffix}" for suffix in video.SUFFIXES]
    for path in paths:
        path.write_text("before")
    subprocess.run([sys.executable, "-c", FULL_DISK, *map(str, paths)], check=True)
    assert sorted(tmp_path.iterdir()) == sorted(paths)
    assert {path.read_text() for path in paths} == {"before"}


def test_a_contact_sheet_shows_a_label_and_frames_from_first_to_last(tmp_path: Path) -> None:
    frames = clock(16, height=32, width=32, tick=10)
    rows = [("a lantern", frames), ("ironman that has a very long name indeed\ntwirl, dolly_zoom:0.7", frames[::-1])]
    video.contact_sheet(rows, tmp_path / "sheet.png", columns=4, scale=2, recipe=RECIPE)
    assert video.read_recipe(tmp_path / "sheet.png") == RECIPE
    with Image.open(tmp_path / "sheet.png") as image:
        pixels = np.asarray(image.convert("RGB"))
    left = pixels.shape[1] - 20 - 4 * 64 - 3 * 4
    cells = pixels[20:84, left:].astype(int)
    expected = frames[[0, 5, 10, 15]].repeat(2, axis=1).repeat(2, axis=2)
    for column, frame in enumerate(expected):
        assert (cells[:, column * 68 : column * 68 + 64] == frame).all()
    label = np.asarray((pixels[:, :left] < 100).any(axis=(0, 2)))
    assert label.any()
    assert not label[:15].any()
    assert not label[-15:].any()


def test_a_clip_as_png_shows_every_frame(tmp_path: Path) -> None:
    frames = colourful(num_frames=16, height=32, width=32)
    video.encode(frames, tmp_path / "out.png", fps=8, scale=2)
    with Image.open(tmp_path / "out.png") as image:
        pixels = np.asarray(image.convert("RGB"))
    left = pixels.shape[1] - 20 - 8 * 64 - 7 * 4
    assert (pixels[-20 - 64 : -20, left : left + 64] == frames[8].repeat(2, axis=0).repeat(2, axis=1)).all()


def test_a_link_stays_a_link_and_a_device_is_refused(tmp_path: Path) -> None:
    (tmp_path / "kept.mp4").write_text("before")
    (tmp_path / "link.mp4").symlink_to("kept.mp4")
    video.encode(colourful(), tmp_path / "link.mp4", fps=8)
    assert (tmp_path / "link.mp4").is_symlink()
    assert video.probe(tmp_path / "kept.mp4").codec == "h264"
    (tmp_path / "null.gif").symlink_to(os.devnull)
    with pytest.raises(InvalidInput, match="is a pipe or a device, not a file"):
        video.encode(colourful(), tmp_path / "null.gif", fps=8)
