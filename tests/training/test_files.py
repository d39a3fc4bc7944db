"""Files appear whole or not at all, with the rights of any new file."""

import pytest
import torch
from safetensors.torch import save_file

from training.files import write_atomically


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")

    def fail(temporary):
        temporary.write_text("half")
        raise OSError("no room")

    with pytest.raises(OSError, match="no room"):
        write_atomically(path, fail)
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_rights_are_those_of_a_new_file_whatever_the_writer_sets(tmp_path):
    (tmp_path / "plain").touch()
    tensors = {"weight": torch.zeros(2)}
    write_atomically(tmp_path / "tensors", lambda temporary: save_file(tensors, temporary))
    modes = [(tmp_path / name).stat().st_mode for name in ("plain", "tensors")]
    assert modes[0] == modes[1]
