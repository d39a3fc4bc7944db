"""What a run is, in sentences."""

from pathlib import Path

from commands import cli
from commands.pages.record import Record, numbers, seconds_of

METHODS = {  # by preset
    "cut": "CUT",
    "fastcut": "FastCUT",
    "sincut": "SinCUT",
    "simgan": "SimGAN",
    "cut_monce": "CUT with MoNCE",
    "cut_hneg": "CUT with hard negatives",
    "cut_qs": "CUT with QS-Attn",
    "cyclegan": "CycleGAN",
    "dclgan": "DCLGAN",
    "pix2pix": "pix2pix",
    "colorization": "pix2pix",
    "vanilla": "a GAN",
    "vanilla_conv": "a convolutional GAN",
    "dcgan": "DCGAN",
    "dcgan_tiny": "a small DCGAN",
    "wgan_gp": "WGAN-GP",
    "sngan": "SNGAN",
    "progressive": "Progressive GAN",
    "progressive_paper": "Progressive GAN",
    "progressive_cifar10": "Progressive GAN",
    "r3gan": "R3GAN",
    "r3gan_32": "R3GAN",
    "r3gan_tiny": "a small R3GAN",
    "simclr": "SimCLR",
    "moco": "MoCo",
    "nnclr": "NNCLR",
    "supcon": "SupCon",
    "supervised": "a classifier",
}


def duration(seconds: float) -> str:
    """Return a time in words: 50 seconds, 3.2 hours, 12 days."""
    for unit, size, least in (("days", 86400, 2), ("hours", 3600, 2), ("minutes", 60, 2)):
        if seconds >= least * size:
            number = seconds / size
            return f"{number:.1f} {unit}" if number < 10 else f"{number:,.0f} {unit}"
    return f"{seconds:.0f} second{'' if f'{seconds:.0f}' == '1' else 's'}"


def method(record: Record) -> str:
    """Return the name of the run's method."""
    preset = str(record.options.get("preset", ""))
    return METHODS.get(preset) or preset or record.command


def subject(record: Record) -> str:
    """Return one sentence: what learns what, from which pictures."""
    name = method(record)
    name = name[0].upper() + name[1:] if name.startswith("a ") else name
    if record.command in ("train_gan.py", "train_features.py"):
        classes = record.data.get("classes", "none").split(",")[0]
        of_classes = "" if classes == "none" else f", of {classes}"
        pictures = f"{_count(record, 'images')} in {_place(record, '')}{of_classes}"
        if record.command == "train_gan.py":
            return f"{name} learns to make pictures like the {pictures}, from noise."
        return f"{name} learns features of the {pictures}."
    source, target = (
        f"{_place(record, side)} ({_count(record, key)})"
        for key, side in (("source", "A"), ("target", "B"))
    )
    if record.command == "train_cyclegan.py":
        return f"{name} learns to translate {source} into {target} and back, without pairs."
    if record.command != "train_pix2pix.py":
        return f"{name} learns to translate {source} into {target}, without pairs."
    pairs = f"the {_count(record, 'source')} in {_place(record, '')}"
    if record.options.get("lab"):
        return f"{name} learns to colour grey pictures from {pairs}."
    if str(record.options.get("direction", "")).lower() in ("b2a", "btoa"):
        return f"{name} learns to translate B into A from pairs: {pairs}."
    return f"{name} learns to translate A into B from pairs: {pairs}."


def pictures_title(record: Record) -> str:
    """Return what the previews of a run show."""
    if record.command == "train_gan.py":
        return f"Generated, trained on {_place(record, '')}"
    if record.command == "train_features.py":
        return f"Views of pictures of {_place(record, '')}"
    return f"Test pictures of {_place(record, 'A')}"


def settings(record: Record) -> str:
    """Return one line: sizes, batch, machine."""
    options = record.options
    size, device = options.get("crop_size"), options.get("device")
    parts = [
        f"{size} x {size} px" if size else "",
        f"batches of {options['batch_size']}" if "batch_size" in options else "",
        "on a GPU" if device == "cuda" else f"on the {str(device).upper()}" if device else "",
        str(options.get("precision", "")),
    ]
    return ", ".join(part for part in parts if part)


def speed(record: Record) -> float | None:
    """Return images per second over the last ten lines of the log."""
    lines = record.lines[-10:]
    seconds = seconds_of(record.lines)[-10:]
    if len(lines) > 1 and seconds[-1] > seconds[0]:
        return (lines[-1]["images"] - lines[0]["images"]) / (seconds[-1] - seconds[0])
    return numbers(lines[-1]).get("images_per_second") if lines else None


def health(record: Record) -> list[dict[str, str]]:
    """Return the warnings of the log: what, and from when to when.

    A warning that is repeated on consecutive lines, even with other numbers, is listed once.
    """
    found: list[dict] = []
    going_on: dict[str, dict] = {}
    for line, seconds in zip(record.lines, seconds_of(record.lines), strict=True):
        now: dict[str, dict] = {}
        for words in _warnings(line):
            kind = words.split(":")[0].split(" of the updates")[-1]
            warning = going_on.get(kind)
            if warning is None:
                warning = {"words": words, "first": line["images"], "seconds": seconds}
                found.append(warning)
            warning["last"] = line["images"]
            now[kind] = warning
        going_on = now
    return [
        {
            "when": _when(one["first"], one["last"], one["seconds"]),
            "words": sentence(cli.named_as_options(one["words"])),
        }
        for one in found
    ]


def notes(record: Record, unreadable_previews: int) -> list[str]:
    """Return what was left out of a page because it cannot be read, in sentences."""
    found = [
        f"{count:,} line{'' if count == 1 else 's'} of {name} cannot be read and "
        f"{'is' if count == 1 else 'are'} left out."
        for name, count in record.damaged.items()
    ]
    if unreadable_previews:
        found.append(f"{unreadable_previews} of the previews cannot be read and are left out.")
    return found


def sentence(words: str) -> str:
    """Return the words with a capital letter at their beginning and a full stop at their end."""
    return words[:1].upper() + words[1:] + ("" if words.endswith(".") else ".")


def _warnings(line: dict) -> list[str]:
    logged = line.get("warnings", [])
    words = [str(one) for one in logged] if isinstance(logged, list) else []
    missing = [name for name, value in line.items() if value is None]
    if missing:
        words.append(f"not finite: {', '.join(missing)} had no finite value since the line before")
    return words


def _when(first: int, last: int, seconds: float) -> str:
    span = f"{first:,} images" if first == last else f"{first:,} to {last:,} images"
    return f"At {span}, {duration(seconds)} into the training"


def _count(record: Record, key: str) -> str:
    return record.data.get(key, "pictures").split(", names")[0].replace(" images", " pictures")


def _place(record: Record, side: str) -> str:
    """Return where the pictures of a side are: the last two parts of their folder's name."""
    options = record.options
    own = options.get({"A": "source_dir", "B": "target_dir"}.get(side, "source_dir"))
    folder = own or options.get("dataroot") or "?"
    path = Path(str(folder)) / (f"train{side}" if side and not own else "")
    return "/".join(path.parts[-2:])
