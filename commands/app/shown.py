"""Shared by translators and samplers: pictures for the browser, values received from it."""

import io
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from PIL import Image

from commands.pages import pictures
from errors import UserError

MOST_DIGITS = 20  # of a number from the page
ONE_AT_A_TIME = threading.Lock()  # the server has a thread for each request, the models have none


def address(image: Image.Image, frames: Sequence[Image.Image] = (), **options: object) -> str:
    """Return a picture as a data: address, a PNG or, with further `frames`, an animated GIF."""
    file = io.BytesIO()
    kind = "GIF" if frames else "PNG"
    more = {"save_all": True, "append_images": frames, "loop": 0} if frames else {}
    image.save(file, kind, **more, **options)
    return pictures.address(file.getvalue(), kind)


def whole_number(values: Mapping[str, str], name: str, least: int, most: int) -> int:
    """Return a whole number that the page sent; raises UserError for anything else."""
    text = values.get(name, "")
    is_short = text.isascii() and text.isdecimal() and len(text) <= MOST_DIGITS
    if not (is_short and least <= int(text) <= most):
        shown = text[:MOST_DIGITS]
        raise UserError(f"{name} {shown}: give a whole number from {least} to {most}")
    return int(text)


@contextmanager
def inference() -> Iterator[None]:
    """Run one inference at a time; raises UserError if the GPU's memory does not suffice."""
    try:
        with ONE_AT_A_TIME:
            yield
    except torch.OutOfMemoryError as error:
        raise UserError(
            "too large for the memory of the GPU; start app.py with a smaller `longest_side`, or "
            "with `device` cpu"
        ) from error
