"""Checkpoints: whole or not at all, the last two, damaged ones named, no code run."""

import os
import pickle
import subprocess
import sys

import pytest
import torch
from torch import nn

from errors import UserError
from training.checkpoint import (
    DamagedCheckpointError,
    checkpoint_path,
    list_checkpoints,
    read_checkpoint,
    read_newest_checkpoint,
    read_weights,
    restore,
    save_checkpoint,
)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    return tmp_path / "checkpoints"


def save(folder, images_seen, value=0.0):
    return save_checkpoint(folder, images_seen, {"part": {"weight": torch.full((3,), value)}})


def test_a_checkpoint_comes_back_and_the_last_two_are_kept(folder):
    for images_seen in (4, 8, 12):
        save(folder, images_seen, float(images_seen))
    assert [path.name for path in list_checkpoints(folder)] == [
        "000000000012.pt",
        "000000000008.pt",
    ]
    images_seen, states = read_newest_checkpoint(folder)
    assert images_seen == 12 and states["part"]["weight"].tolist() == [12.0] * 3
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


class RunsCode:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def truncate(path, _):
    path.write_bytes(path.read_bytes()[:-100])


def scramble(path, _):
    path.write_bytes(b"not a checkpoint" * 100)


def empty(path, _):
    path.write_bytes(b"")


def flip_a_byte(path, _):
    content = bytearray(path.read_bytes())
    place = content.rindex(torch.full((3,), 2.0).numpy().tobytes())
    content[place] ^= 255
    path.write_bytes(content)


def plain_pickle(path, marker):
    path.write_bytes(pickle.dumps(RunsCode(marker)))


def torch_pickle(path, marker):
    torch.save({"format": 1, "images_seen": 9, "states": RunsCode(marker)}, path)


def other_content(path, _):
    torch.save({"weights": torch.zeros(2)}, path)


DAMAGES = [truncate, scramble, empty, flip_a_byte, plain_pickle, torch_pickle, other_content]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(damage, folder, tmp_path, capsys):
    save(folder, 4, 1.0)
    newest = save(folder, 8, 2.0)
    damage(newest, tmp_path / "code-was-run")
    assert read_newest_checkpoint(folder).images_seen == 4
    assert str(newest) in capsys.readouterr().err
    assert not (tmp_path / "code-was-run").exists()
    with pytest.raises(DamagedCheckpointError, match=newest.name):
        read_checkpoint(newest)
    scramble(checkpoint_path(folder, 4), None)
    with pytest.raises(UserError, match="none of its 2 checkpoints can be read"):
        read_newest_checkpoint(folder)


def test_the_code_in_those_pickles_would_have_run(tmp_path):
    """Otherwise the test above shows nothing."""
    plain_pickle(tmp_path / "file", tmp_path / "code-was-run")
    pickle.loads((tmp_path / "file").read_bytes())
    assert (tmp_path / "code-was-run").exists()


def test_no_checkpoint_is_none(folder):
    assert read_newest_checkpoint(folder) is None


def test_restoring_names_what_does_not_fit():
    states = {"net": nn.Linear(2, 3).state_dict()}
    with pytest.raises(UserError, match="FILE: the saved parts differ.*other"):
        restore({"net": nn.Linear(2, 3), "other": nn.Linear(1, 1)}, states, "FILE")
    with pytest.raises(UserError, match="FILE: net differs in size"):
        restore({"net": nn.Linear(2, 4)}, states, "FILE")


def test_weights_to_start_from_are_named_when_missing(folder, tmp_path):
    for path, words in ((tmp_path / "nothing", "no such file"), (tmp_path, "holds no checkpoint")):
        with pytest.raises(UserError, match=f"`init_from` .*{words}"):
            read_weights(path, "`init_from`")
    path = save(folder, 4)
    assert read_weights(path, "`init_from`").images_seen == 4
    assert read_weights(tmp_path, "`init_from`").images_seen == 4


SAVE_WITH_LITTLE_ROOM = """
import resource, signal, sys
from pathlib import Path
import torch
from training.checkpoint import save_checkpoint
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
save_checkpoint(Path(sys.argv[1]), 8, {"part": {"weight": torch.zeros(100_000)}})
"""


def test_a_disk_that_takes_no_more_leaves_the_older_checkpoint_good(folder):
    save(folder, 4, 1.0)
    finished = subprocess.run(
        [sys.executable, "-c", SAVE_WITH_LITTLE_ROOM, str(folder)], capture_output=True, text=True
    )
    assert finished.returncode != 0
    assert [path.name for path in folder.iterdir()] == ["000000000004.pt"]
    assert read_newest_checkpoint(folder).images_seen == 4
