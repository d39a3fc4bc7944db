"""Programs in files: written by PyTorch's exporters, and opened by what runs them."""

import io
import json
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor
from torch.fx.experimental import _config as symbolic

from commands.exporting.programs import Program
from errors import UserError

ENDINGS = {"onnx": ".onnx", "torch_export": ".pt2", "official": ".pth"}
OPSET = 20
PACKAGES = ("onnx", "onnxscript", "onnxruntime")
KEY = "pairless"
MOST_ONNX_BYTES = 2_000_000_000  # of weights in one ONNX file, a message of at most 2**31 - 1


def check_packages(form: str) -> None:
    """Raise UserError if a package that this format needs is not installed."""
    missing = [name for name in PACKAGES if form == "onnx" and not find_spec(name)]
    if missing:
        raise UserError(
            f"--format onnx: needs {', '.join(missing)}; install the extra export: pip install "
            "-c constraints.txt -e '.[export]'"
        )


def write_program(path: Path, program: Program, form: str) -> None:
    """Write a program as ONNX with everything in one file, or as PyTorch's exported program.

    Raises UserError for weights that do not fit into one ONNX file.
    """
    if form == "onnx":
        _check_size(program)
    with torch.no_grad(), symbolic.patch(backed_size_oblivious=True), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the exporters' own code
        exported = torch.export.export(
            program.module.eval(), program.example, dynamic_shapes=program.dynamic
        )
        about = json.dumps(program.about)
        if form == "torch_export":
            exported.example_inputs = None  # not to be stored
            content = io.BytesIO()
            torch.export.save(exported, content, extra_files={f"{KEY}.json": about})
            path.write_bytes(content.getbuffer())
            return
        made = torch.onnx.export(
            exported,
            dynamo=True,
            opset_version=OPSET,
            input_names=list(program.inputs),
            output_names=[program.output],
            dynamic_shapes=program.dynamic,
            verbose=False,
        )
    made.model.metadata_props[KEY] = about
    path.write_bytes(made.model_proto.SerializeToString())


def _check_size(program: Program) -> None:
    weights = sum(tensor.nbytes for tensor in program.module.state_dict().values())
    if weights > MOST_ONNX_BYTES:
        raise UserError(
            f"--format onnx: {weights / 1e9:.1f} GB of weights, and one ONNX file holds "
            f"{MOST_ONNX_BYTES / 1e9:.0f} GB; use --format torch_export"
        )


def open_program(path: Path, form: str) -> Callable[..., Tensor]:
    """Return what runs a file: onnxruntime, with as many threads as PyTorch, or PyTorch."""
    if form == "torch_export":
        run = torch.export.load(io.BytesIO(path.read_bytes())).module()
        return torch.no_grad()(run)
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = torch.get_num_threads()
    settings.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(path, settings, providers=["CPUExecutionProvider"])
    names = [given.name for given in session.get_inputs()]

    def run(*arguments: Tensor) -> Tensor:
        given = {name: value.numpy() for name, value in zip(names, arguments, strict=True)}
        return torch.from_numpy(session.run(None, given)[0])

    return run
