"""What a folder holds: which of the layouts that training takes, and its pictures."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from data.files import find_folders, folder_options, list_images, names_below
from data.finding import HARMS, STOPS, Finding, examples, plural
from data.glance import are_side_by_side
from data.labels import Labels, read_labels
from errors import UserError

Kind = Literal["unpaired", "pairs", "side_by_side", "pictures", "classes"]
Wanted = Literal["auto", "unpaired", "pairs", "side_by_side", "pictures", "classes"]


class Group(NamedTuple):
    """Pictures that are compared with one another: one side of a training or test set."""

    name: str
    phase: Literal["train", "test"]
    side: Literal["A", "B", ""]
    files: list[Path]
    half: Literal["left", "right"] | None = None


class Layout(NamedTuple):
    """The pictures of a folder. They are numbered through all groups."""

    kind: Kind
    folder: Path | None  # None: two folders that were named
    groups: list[Group]
    pairs: list[tuple[int, int]]  # numbers of pictures whose names belong together
    labels: Labels
    findings: list[Finding]

    @property
    def starts(self) -> list[int]:
        """The number of the first picture of each group, and the number of all pictures."""
        starts = [0]
        for group in self.groups:
            starts.append(starts[-1] + len(group.files))
        return starts

    @property
    def files(self) -> list[Path]:
        """The file of each picture."""
        return [path for group in self.groups for path in group.files]


def find_layout(
    dataroot: Path | None,
    source_dir: Path | None = None,
    target_dir: Path | None = None,
    labels: str | None = None,
    wanted: Wanted = "auto",
) -> Layout:
    """Find the pictures of one `dataroot`, or of two folders.

    With `wanted` auto it is decided from what is there: trainA and trainB (or the two folders) are
    unpaired, and `pairs` lists the files of equal names, for the caller to decide; a folder train
    holds pictures side by side where all of a sample are wide and of even width, otherwise
    pictures; any other folder holds pictures, with classes where `labels` says so or where all lie
    in two or more sub-folders.

    Raises `UserError` for missing folders, folders without images, and options that do not go
    together.
    """
    if wanted not in get_args(Wanted):
        raise UserError(f"`layout` {wanted}: not known; give one of {', '.join(get_args(Wanted))}")
    two = source_dir is not None or target_dir is not None
    if dataroot is None and not two:
        raise UserError("`dataroot` is missing; give a folder of pictures")
    if dataroot is not None and not two and not dataroot.is_dir():
        raise UserError(f"`dataroot` {dataroot}: no such folder; give an existing folder of images")
    if wanted in ("unpaired", "pairs") or two:
        if wanted not in ("auto", "unpaired", "pairs"):
            raise UserError(
                f"`layout` {wanted}: is for `dataroot`; leave out `source_dir` and `target_dir`"
            )
        if labels is not None:
            raise UserError(f"`labels` {labels}: is for one folder of pictures; leave it out")
        return _two_folders(dataroot, source_dir, target_dir, wanted)
    if wanted == "auto" and any((dataroot / name).is_dir() for name in ("trainA", "trainB")):
        return _two_folders(dataroot, None, None, wanted)
    if (dataroot / "train").is_dir():
        return _phases(dataroot, labels, wanted)
    if wanted == "side_by_side":
        raise UserError(f"`dataroot` {dataroot}: no folder train in it; give `layout` auto")
    files = list_images(dataroot, "`dataroot`")
    group = Group("pictures", "train", "", files)
    return _of_pictures(dataroot, [group], dataroot, labels, wanted)


def _two_folders(
    dataroot: Path | None, source_dir: Path | None, target_dir: Path | None, wanted: Wanted
) -> Layout:
    folders = find_folders(dataroot, source_dir, target_dir)
    options = folder_options(dataroot)
    phases = [("train", folders[:2], options)]
    if folders.test_source != folders.source:
        phases.append(("test", folders[2:], ("`dataroot`", "`dataroot`")))
    groups = [
        Group(folder.name or str(folder), phase, side, list_images(folder, option))
        for phase, both, named in phases
        for side, folder, option in zip("AB", both, named, strict=True)
    ]
    if len({group.name for group in groups}) < len(groups):
        groups = [group._replace(name=f"{group.name} ({group.side})") for group in groups]
    kind = "pairs" if wanted == "pairs" else "unpaired"
    layout = Layout(kind, dataroot, groups, [], Labels([], []), [])
    starts = layout.starts
    for number, (_, both, _) in enumerate(phases):
        place = 2 * number
        pairs, findings = _partners(groups[place : place + 2], both, starts[place : place + 2])
        layout.pairs.extend(pairs)
        layout.findings.extend(findings)
    if kind == "unpaired":
        in_doubt = wanted == "auto" and not layout.findings
        return layout._replace(pairs=layout.pairs if in_doubt else [], findings=[])
    return layout


def _partners(
    groups: Sequence[Group], folders: Sequence[Path], starts: Sequence[int]
) -> tuple[list[tuple[int, int]], list[Finding]]:
    """Pairs by name, and what training would refuse."""
    named, findings = [], []
    for group, folder in zip(groups, folders, strict=True):
        by_name: dict[str, int] = {}
        twice = []
        for place, name in enumerate(names_below(group.files, folder)):
            if by_name.setdefault(name, place) != place:
                twice.append((group.files[by_name[name]], group.files[place]))
        if twice:
            words = (
                f"{group.name}: {plural(len(twice), 'file')} of a name that another file has too, "
                "but for the ending; training on pairs refuses that, so rename or remove one"
            )
            findings.append(Finding("same_name", STOPS, words, len(twice), examples(twice)))
        named.append(by_name)
    for own, other, group, partner in (
        (named[0], named[1], *groups),
        (named[1], named[0], *groups[::-1]),
    ):
        alone = [group.files[place] for name, place in own.items() if name not in other]
        if alone:
            words = (
                f"{group.name}: {len(alone):,} of {plural(len(group.files), 'file')} without a "
                f"partner of their name in {partner.name}; training on pairs refuses that, so add "
                "partners or remove these"
            )
            shown = examples((path,) for path in alone)
            findings.append(Finding("no_partner", STOPS, words, len(alone), shown))
    pairs = [
        (starts[0] + place, starts[1] + named[1][name])
        for name, place in named[0].items()
        if name in named[1]
    ]
    return pairs, findings


def _phases(dataroot: Path, labels: str | None, wanted: Wanted) -> Layout:
    """A folder train, and test or val where there is one."""
    found = [("train", "train")]
    found += [("test", name) for name in ("test", "val") if (dataroot / name).is_dir()][:1]
    groups = [
        Group(name, phase, "", list_images(dataroot / name, "`dataroot`")) for phase, name in found
    ]
    sides = wanted == "side_by_side" or (wanted == "auto" and are_side_by_side(groups[0].files))
    if not sides or labels is not None:
        return _of_pictures(dataroot, groups, dataroot / "train", labels, wanted)
    halves, pairs = [], []
    for group in groups:
        start, count = 2 * sum(len(half.files) for half in halves[::2]), len(group.files)
        halves += [
            Group(f"{group.name} {half}", group.phase, side, group.files, half)
            for side, half in (("A", "left"), ("B", "right"))
        ]
        pairs += [(start + place, start + count + place) for place in range(count)]
    return Layout("side_by_side", dataroot, halves, pairs, Labels([], []), [])


def _of_pictures(
    dataroot: Path, groups: list[Group], folder: Path, labels: str | None, wanted: Wanted
) -> Layout:
    """Pictures, with classes by `labels` or, where nothing else was wanted, by sub-folders."""
    files = groups[0].files
    below = {path.relative_to(folder).parts[0] for path in files}
    in_folders = all(len(path.relative_to(folder).parts) > 1 for path in files) and len(below) > 1
    if labels is None and (wanted == "classes" or (wanted == "auto" and in_folders)):
        labels = "folders"
    if labels is None:
        return Layout("pictures", dataroot, groups, [], Labels([], []), [])
    findings = []
    try:
        read = read_labels(labels, folder, files)
    except UserError as error:
        read = Labels([], [])
        findings = [Finding("labels", STOPS, str(error))]
    if read.names and 10 * min(read.counts) < max(read.counts):
        least, most = (read.counts.index(edge(read.counts)) for edge in (min, max))
        words = (
            f"classes: {read.names[most]} has {read.counts[most]:,} pictures and "
            f"{read.names[least]} {read.counts[least]:,}; a generator sees a class as often as it "
            "has pictures"
        )
        findings.append(Finding("class_balance", HARMS, words, read.counts[least]))
    return Layout("classes", dataroot, groups, [], read, findings)
