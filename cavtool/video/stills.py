"""Single pictures as frames."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from cavtool.errors import MediaError
from cavtool.video.decode import Frames
from cavtool.video.ffmpeg import input_path


def read_still(path: Path, aspect: float) -> Frames | None:
    """A picture (H, W, 3) at its own size, rotated as a viewer shows it and cropped to the centre of this aspect.

    Returns None if the file is not a single picture, for example a video or an animation. Raises MediaError for a file
    that is missing, damaged or too large.
    """
    input_path(path)
    try:
        with Image.open(path) as image:
            if getattr(image, "n_frames", 1) > 1:
                return None
            shown = _to_rgb(ImageOps.exif_transpose(image))
    except UnidentifiedImageError:
        return None
    except (OSError, SyntaxError, ValueError, TypeError, ArithmeticError, Image.DecompressionBombError) as error:
        raise MediaError(f"cannot read `{path}`: {error}") from error
    width, height = min(shown.width, round(shown.height * aspect)), min(shown.height, round(shown.width / aspect))
    return np.asarray(ImageOps.fit(shown, (max(1, width), max(1, height))))


def _to_rgb(image: Image.Image) -> Image.Image:
    """The picture in 8 bits a colour. 16 bits are scaled: `convert` clips them. Transparent pixels become black."""
    if image.mode.startswith("I"):
        return Image.fromarray((np.asarray(image).clip(0, 65535) // 257).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        shown = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", shown.size, "black"), shown)
    return image.convert("RGB")
