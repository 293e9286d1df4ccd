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
            shown = ImageOps.exif_transpose(image).convert("RGB")
    except UnidentifiedImageError:
        return None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise MediaError(f"cannot read `{path}`: {error}") from error
    width, height = min(shown.width, round(shown.height * aspect)), min(shown.height, round(shown.width / aspect))
    return np.asarray(ImageOps.fit(shown, (max(1, width), max(1, height))))
