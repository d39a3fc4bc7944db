"""Weights in every published form, files that are none, and where they are looked for."""

import hashlib
import http.server
import io
import logging
import os
import pickle
import shutil
import threading
import zipfile
from collections import OrderedDict

import pooch
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from errors import UserError
from metrics import torchscript, weights
from metrics.inception import LOGITS, LOGITS_WITHOUT_BIAS, FidInception
from metrics.weights import (
    PUBLISHED,
    STATE_DICT_NAMES,
    Source,
    cache_folder,
    find_or_download,
    load_inception_weights,
)

# ---- The network's file ----


def random_values(network):
    """Fill every tensor so that features keep their size from layer to layer."""
    generator = torch.Generator().manual_seed(0)
    for name, value in network.state_dict().items():
        last = name.rsplit(".", 1)[1]
        if value.dim() > 1:
            value.normal_(0, (2 / value[0].numel()) ** 0.5, generator=generator)
        elif last in ("running_var", "var") or name.endswith("bn.weight"):
            value.uniform_(0.5, 1.5, generator=generator)
        elif value.is_floating_point():
            value.normal_(0, 0.2, generator=generator)
    return network


@pytest.fixture(scope="module")
def network():
    return random_values(FidInception())


@pytest.fixture(scope="module")
def state(network):
    return network.state_dict()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def saved(state, folder):
    torch.save(state, folder / "saved.pth")
    return folder / "saved.pth"


def refusal(path, **options):
    with pytest.raises(UserError) as caught:
        load_inception_weights(path, **options)
    message = str(caught.value)
    assert "\n" not in message and message.startswith("`weights`")
    return message


def assert_same(found, state):
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], state[name]) for name in state)
    with torch.device("meta"):  # no weights are drawn
        network = FidInception()
    network.load_state_dict(found, strict=True, assign=True)


def test_a_state_dict_comes_back_with_its_checksum(saved, state):
    found = load_inception_weights(saved)
    assert_same(found.state, state)
    assert len(found.state) == 566 and not found.published
    assert found.sha256 == hashlib.sha256(saved.read_bytes()).hexdigest()


@pytest.mark.parametrize("form", ["plain", "with metadata", "wrapped", "legacy", "parameters"])
def test_every_way_to_save_it_is_read(form, state, tmp_path):
    assert state._metadata["Conv2d_1a_3x3.bn"]["version"] == 2
    short = state.copy() if form == "with metadata" else dict(state)
    if form != "wrapped":
        for name in [name for name in short if name.endswith("num_batches_tracked")]:
            del short[name]
        assert len(short) == 472
    if form == "with metadata":
        short._metadata = state._metadata
    if form == "wrapped":
        short = {f"module.{name}": value for name, value in short.items()}
    if form == "parameters":
        short = {name: nn.Parameter(value) for name, value in short.items()}
    torch.save(short, tmp_path / "w.pth", _use_new_zipfile_serialization=form != "legacy")
    found = load_inception_weights(tmp_path / "w.pth")
    assert_same(found.state, state)
    assert not any(value.requires_grad for value in found.state.values())


def test_half_precision_becomes_single(state, tmp_path):
    torch.save({name: value.half() for name, value in state.items() if value.dim()}, tmp_path / "w")
    found = load_inception_weights(tmp_path / "w").state
    assert found["fc.weight"].dtype == torch.float32
    assert torch.equal(found["fc.weight"], state["fc.weight"].half().float())


# ---- The TorchScript archive ----


class ScriptConvolution(nn.Module):
    def __init__(self, inputs: int, outputs: int, size: tuple[int, int], stride: int, same: bool):
        super().__init__()
        self.stride = stride
        self.padding = [side // 2 if same else 0 for side in size]
        self.label, self.scale, self.shapes = "relu", 0.5, {"size": list(size)}
        self.weight = nn.Parameter(torch.empty(outputs, inputs, *size))
        self.beta = nn.Parameter(torch.empty(outputs))
        self.register_buffer("mean", torch.empty(outputs))
        self.register_buffer("var", torch.empty(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert self.label == "relu" and self.scale > 0 and len(self.shapes["size"]) == 2
        x = F.conv2d(x, self.weight, stride=self.stride, padding=self.padding)
        return F.relu(F.batch_norm(x, self.mean, self.var, None, self.beta, eps=1e-3))


def conv(inputs, outputs, size=1, stride=1, same=True):
    size = (size, size) if isinstance(size, int) else size
    return ScriptConvolution(inputs, outputs, size, stride, same)


class Branches(nn.Module):
    def __init__(self, **branches):
        super().__init__()
        for name, branch in branches.items():
            self.add_module(name, branch)

    def forward(self, x):
        return torch.cat([branch(x) for branch in self.children()], 1)


def tower(*convolutions):
    names = ["conv", *(f"conv_{k}" for k in range(1, len(convolutions)))]
    return nn.Sequential(OrderedDict(zip(names, convolutions, strict=True)))


def pooled(inputs, outputs):
    pool = nn.AvgPool2d(3, 1, 1, count_include_pad=False)
    return nn.Sequential(OrderedDict(pool=pool, conv=conv(inputs, outputs)))


def block_a(inputs, last):
    return Branches(
        conv=conv(inputs, 64),
        tower=tower(conv(inputs, 48), conv(48, 64, 5)),
        tower_1=tower(conv(inputs, 64), conv(64, 96, 3), conv(96, 96, 3)),
        tower_2=pooled(inputs, last),
    )


def block_b():
    return Branches(
        conv=conv(288, 384, 3, 2, same=False),
        tower=tower(conv(288, 64), conv(64, 96, 3), conv(96, 96, 3, 2, same=False)),
        pool=nn.MaxPool2d(3, 2),
    )


def block_c(inner):
    flat, high = (1, 7), (7, 1)
    double = [conv(inner, inner, high), conv(inner, inner, flat), conv(inner, inner, high)]
    return Branches(
        conv=conv(768, 192),
        tower=tower(conv(768, inner), conv(inner, inner, flat), conv(inner, 192, high)),
        tower_1=tower(conv(768, inner), *double, conv(inner, 192, flat)),
        tower_2=pooled(768, 192),
    )


def block_d():
    seven = [conv(192, 192, (1, 7)), conv(192, 192, (7, 1)), conv(192, 192, 3, 2, same=False)]
    return Branches(
        tower=tower(conv(768, 192), conv(192, 320, 3, 2, same=False)),
        tower_1=tower(conv(768, 192), *seven),
        pool=nn.MaxPool2d(3, 2),
    )


class BlockE(nn.Module):
    def __init__(self, inputs, pool):
        super().__init__()
        self.conv = conv(inputs, 320)
        self.tower_conv = conv(inputs, 384)
        self.tower_mixed_conv = conv(384, 384, (1, 3))
        self.tower_mixed_conv_1 = conv(384, 384, (3, 1))
        self.tower_1_conv = conv(inputs, 448)
        self.tower_1_conv_1 = conv(448, 384, 3)
        self.tower_1_mixed_conv = conv(384, 384, (1, 3))
        self.tower_1_mixed_conv_1 = conv(384, 384, (3, 1))
        self.tower_2_pool, self.tower_2_conv = pool, conv(inputs, 192)

    def forward(self, x):
        single, double = self.tower_conv(x), self.tower_1_conv_1(self.tower_1_conv(x))
        parts = [self.conv(x), self.tower_mixed_conv(single), self.tower_mixed_conv_1(single)]
        parts += [self.tower_1_mixed_conv(double), self.tower_1_mixed_conv_1(double)]
        return torch.cat([*parts, self.tower_2_conv(self.tower_2_pool(x))], 1)


class ScriptInception(nn.Module):
    """The published archive's names, shapes and arithmetic from the resized picture on."""

    def __init__(self):
        super().__init__()
        stem = [conv(3, 32, 3, 2, same=False), conv(32, 32, 3, same=False), conv(32, 64, 3)]
        average = nn.AvgPool2d(3, 1, 1, count_include_pad=False)
        blocks = [block_a(192, 32), block_a(256, 64), block_a(288, 64), block_b()]
        blocks += [block_c(inner) for inner in (128, 160, 160, 192)]
        blocks += [block_d(), BlockE(1280, average), BlockE(2048, nn.MaxPool2d(3, 1, 1))]
        layers = OrderedDict(zip(("conv", "conv_1", "conv_2"), stem, strict=True))
        layers |= {"pool0": nn.MaxPool2d(3, 2), "conv_3": conv(64, 80)}
        layers |= {"conv_4": conv(80, 192, 3, same=False), "pool1": nn.MaxPool2d(3, 2)}
        layers |= {f"mixed_{k}" if k else "mixed": block for k, block in enumerate(blocks)}
        self.layers = nn.Sequential(layers | {"pool2": nn.AvgPool2d(8)})
        self.output = nn.Linear(2048, 1008)

    def forward(self, x):
        features = self.layers(x).flatten(1)
        return features, self.output(features)


def script(network, path):
    """Write a network with the convolutions scripted, attributes and all, the rest traced."""
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, ScriptConvolution):
                module._modules[name] = torch.jit.script(child)
    torch.jit.trace(network, torch.zeros(1, 3, 299, 299), check_trace=False).save(path)


@pytest.fixture(scope="module")
def script_network():
    return random_values(ScriptInception()).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def archive(script_network, folder):
    script(script_network, folder / "archive.bin")  # known by content, not by name
    return folder / "archive.bin"


def test_an_archive_gives_the_features_that_it_computes_itself(archive, script_network, tmp_path):
    found = load_inception_weights(archive)
    assert not found.published
    pictures = torch.rand(1, 3, 299, 299, generator=torch.Generator().manual_seed(1)) * 2 - 1
    network = FidInception()
    network.load_state_dict(found.state, strict=True)
    got = network(pictures, [2048, LOGITS, LOGITS_WITHOUT_BIAS])
    features, logits = script_network(pictures)
    assert features.std() > 0.1 and logits.std() > 0.1
    assert torch.allclose(got[2048], features, rtol=1e-4, atol=1e-4)
    assert torch.allclose(got[LOGITS], logits, rtol=1e-4, atol=1e-4)
    bias = got[LOGITS] - got[LOGITS_WITHOUT_BIAS]
    assert torch.allclose(bias[0], script_network.output.bias, atol=1e-5)

    torch.save(found.state, tmp_path / "same.pth")
    assert_same(load_inception_weights(tmp_path / "same.pth").state, found.state)


def test_what_the_archive_lacks_is_the_scale_of_one(archive):
    found = load_inception_weights(archive).state
    scales = [value for name, value in found.items() if name.endswith("bn.weight")]
    assert len(scales) == 94 and all((scale == 1).all() for scale in scales)


def test_each_tensor_of_the_archive_is_used_once(script_network):
    tensors = {
        name: torch.full(value.shape, k)
        for k, (name, value) in enumerate(script_network.state_dict().items())
    }
    renamed = torchscript.rename(tensors)
    used = [int(v.flatten()[0]) for name, v in renamed.items() if not name.endswith("bn.weight")]
    assert len(used) == 94 * 4 + 2 and sorted(used) == list(range(len(tensors)))


def test_a_head_that_lies_the_other_way_is_turned(script_network):
    tensors = dict(script_network.state_dict())
    upright = torchscript.rename(tensors)["fc.weight"]
    tensors["output.weight"] = tensors["output.weight"].T.contiguous()
    assert torch.equal(torchscript.rename(tensors)["fc.weight"], upright)


def test_an_archive_of_another_network_is_refused(tmp_path):
    script(nn.Conv2d(3, 4, 1).eval(), tmp_path / "other.pt")
    assert "layers.conv.weight is missing" in refusal(tmp_path / "other.pt")


def records_of(path):
    with zipfile.ZipFile(path) as file:
        return {name: file.read(name) for name in file.namelist()}


def test_an_archive_of_an_older_pytorch_is_read(archive, tmp_path):
    with zipfile.ZipFile(tmp_path / "old.pt", "w") as file:
        for name, data in records_of(archive).items():
            inside = name.partition("/")[2]
            if inside != "byteorder" and not inside.startswith((".data/", "traced_inputs")):
                file.writestr(f"inception-2015-12-05/{inside}", data)
    state = load_inception_weights(archive).state
    assert_same(load_inception_weights(tmp_path / "old.pt").state, state)


# ---- Files that are none ----


class Touch:
    """Unpickled, it creates a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("write", [pickle.dump, torch.save], ids=["pickle", "torch.save"])
def test_code_in_a_pickle_is_not_run(write, tmp_path):
    with open(tmp_path / "w.pth", "wb") as file:
        write({"fc.bias": Touch(tmp_path / "made")}, file)
    assert "code, which is not run" in refusal(tmp_path / "w.pth")
    assert not (tmp_path / "made").exists()


class Writing(nn.Module):
    """Its archive writes a file when torch.jit.load reads it."""

    def __init__(self, path):
        super().__init__()
        self.path = path

    @torch.jit.export
    def __getstate__(self) -> tuple[str, bool]:
        return self.path, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[str, bool]) -> None:
        self.path, self.training = state
        torch.save(torch.zeros(1), self.path)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def test_code_in_an_archive_is_not_run(tmp_path):
    made = tmp_path / "made"
    torch.jit.script(Writing(str(made))).save(tmp_path / "w.pt")
    torch.jit.load(tmp_path / "w.pt")
    assert made.exists()
    made.unlink()
    assert "not the weights" in refusal(tmp_path / "w.pt")
    assert not made.exists()


def test_code_in_the_pickle_of_an_archive_is_not_run(tmp_path):
    with zipfile.ZipFile(tmp_path / "w.pt", "w") as file:
        file.writestr("w/constants.pkl", b"")
        file.writestr("w/version", b"3\n")
        file.writestr("w/data.pkl", pickle.dumps(Touch(tmp_path / "made"), protocol=2))
    assert "code, which is not run" in refusal(tmp_path / "w.pt")
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("kind", ["saved", "archive"])
@pytest.mark.parametrize("share", [1e-5, 0.5, 0.999, 1 - 1e-7])
def test_a_truncated_file_is_refused(kind, share, saved, archive, tmp_path):
    content = (saved if kind == "saved" else archive).read_bytes()
    (tmp_path / "w.pth").write_bytes(content[: int(share * len(content))])
    assert "damaged" in refusal(tmp_path / "w.pth")


@pytest.mark.parametrize("kind", ["saved", "archive"])
def test_a_broken_index_ends_in_one_line(kind, saved, archive, tmp_path):
    content = records_of(saved if kind == "saved" else archive)
    index = next(name for name in content if name.endswith("/data.pkl"))
    generator = torch.Generator().manual_seed(0)
    for _ in range(60):
        broken = bytearray(content[index])
        for place in torch.randint(400, (3,), generator=generator).tolist():
            broken[place] ^= 1 << (place % 8)
        with zipfile.ZipFile(tmp_path / "w", "w") as file:
            for name, data in content.items():  # the tensors' own bytes are left out
                if "/data/" not in name:
                    file.writestr(name, bytes(broken) if name == index else data)
        refusal(tmp_path / "w")


@pytest.mark.parametrize("content", [b"", b"no weights\n", b"\x80\x02.", b"PK\x05\x06" + bytes(18)])
def test_other_content_is_refused(content, tmp_path):
    (tmp_path / "w.pth").write_bytes(content)
    assert "no weights can be read" in refusal(tmp_path / "w.pth")


def test_a_folder_and_nothing_are_told_as_such(tmp_path):
    assert "no such file" in refusal(tmp_path)
    assert "no such file" in refusal(tmp_path / "absent.pth")


def changed(name, value):
    def change(state):
        state[name] = value

    return change


CHANGES = {
    "fc.bias is [1000], not [1008]": changed("fc.bias", torch.zeros(1000)),
    "fc.weight is missing": lambda state: state.pop("fc.weight"),
    "AuxLogits.fc.bias is not part of it": changed("AuxLogits.fc.bias", torch.zeros(1)),
    "fc.bias has values that are not finite": changed("fc.bias", torch.full((1008,), torch.nan)),
    "fc.bias is torch.int64, not torch.float32": changed("fc.bias", torch.zeros(1008).long()),
    "fc.bias is not a plain tensor": changed("fc.bias", [0.0] * 1008),
    "fc.weight is not a plain tensor": changed("fc.weight", torch.zeros(1008, 2048).to_sparse()),
}


@pytest.mark.parametrize("reason", CHANGES)
def test_the_first_misfit_is_named(reason, state, tmp_path):
    # Stored by a stride of 0, so that the file is small and quick.
    other = {name: torch.zeros(()).expand(value.shape) for name, value in state.items()}
    other = {name: value for name, value in other.items() if "num_batches" not in name}
    CHANGES[reason](other)
    torch.save(other, tmp_path / "w.pth")
    assert reason in refusal(tmp_path / "w.pth")


@pytest.mark.parametrize("content", [[1, 2], torch.zeros(3), {1: torch.zeros(3)}, {}], ids=str)
def test_anything_but_a_state_dict_is_refused(content, tmp_path):
    torch.save(content, tmp_path / "w.pth")
    assert "not the weights of FID's Inception network" in refusal(tmp_path / "w.pth")


# ---- Published names ----


@pytest.mark.parametrize("name", [*STATE_DICT_NAMES, "inception-2015-12-05.pt"])
def test_a_published_name_with_another_size_is_refused(name, tmp_path):
    expected = weights.PUBLISHED_NAMES[name].size_bytes
    (tmp_path / name).write_bytes(bytes(818_371))
    message = refusal(tmp_path / name)
    assert f"holds 818,371 of {expected:,} bytes: an interrupted download; delete it" in message
    os.truncate(tmp_path / name, expected + 1)
    assert f"holds {expected + 1:,} bytes, the published file {expected:,}" in refusal(
        tmp_path / name
    )


def test_a_published_name_with_other_content_is_refused(tmp_path):
    path = tmp_path / STATE_DICT_NAMES[0]
    path.touch()
    os.truncate(path, PUBLISHED.size_bytes)
    message = refusal(path)
    assert "has the sha256" in message and "the published file 6726825d..." in message


def source_of(content, url="http://localhost/none.pth"):
    return Source(url, len(content), hashlib.sha256(content).hexdigest())


def test_a_published_file_is_told_from_others(saved, monkeypatch, tmp_path):
    expected = source_of(saved.read_bytes())
    monkeypatch.setattr(weights, "PUBLISHED_SHA256", {expected.sha256})
    monkeypatch.setitem(weights.PUBLISHED_NAMES, STATE_DICT_NAMES[1], expected)
    (tmp_path / STATE_DICT_NAMES[1]).symlink_to(saved)
    for path in (tmp_path / STATE_DICT_NAMES[1], saved):
        found = load_inception_weights(path)
        assert found.published and found.sha256 == expected.sha256


def test_the_published_files_are_the_ones_that_everybody_names():
    assert PUBLISHED.url.rsplit("/", 1)[1] == STATE_DICT_NAMES[0]
    assert all(name.endswith(f"-{PUBLISHED.sha256[:8]}.pth") for name in STATE_DICT_NAMES)
    assert len({len(source.sha256) for source in weights.PUBLISHED_NAMES.values()} - {64}) == 0


# ---- Finding and downloading ----

CONTENT = bytes(range(256)) * 4096  # 1 MiB: several chunks


class Server:
    """Serves `content` under any address; `cut`: closes after half of it; keeps the requests."""

    def __init__(self, content=CONTENT, cut=False, status=200):
        self.content, self.cut, self.status, self.requests = content, cut, status, []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):  # noqa: N802
                outer.requests.append(self.path)
                self.send_response(outer.status)
                self.send_header("Content-Length", str(len(outer.content)))
                self.end_headers()
                half = len(outer.content) // 2
                self.wfile.write(outer.content[:half] if outer.cut else outer.content)

            def log_message(self, *_):
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.01,))

    @property
    def url(self):
        return f"http://127.0.0.1:{self.http.server_port}/weights.pth"

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch):
    """Give each test its own cache and torch.hub folder, and no proxy; clear up after it."""
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PAIRLESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    hub = tmp_path / "torch" / "hub" / "checkpoints"
    hub.mkdir(parents=True)
    yield tmp_path / "cache", hub
    shutil.rmtree(tmp_path)  # pytest would keep gigabytes of weights


def download_refusal(source):
    with pytest.raises(UserError) as caught:
        find_or_download(source)
    message = str(caught.value)
    assert "\n" not in message and "`weights` FILE" in message
    assert source.url in message and source.sha256[:8] in message
    assert str(cache_folder()) in message
    return message


def test_the_cache_has_a_place_of_its_own(monkeypatch):
    monkeypatch.delenv("PAIRLESS_CACHE")
    assert "pairless" in cache_folder().parts
    monkeypatch.setenv("PAIRLESS_CACHE", "~/elsewhere")
    assert cache_folder().is_absolute() and cache_folder().name == "elsewhere"


def test_a_download_is_done_once(places, capfd):
    cache, _ = places
    with Server() as server:
        source = source_of(CONTENT, server.url)
        file = find_or_download(source)
        assert file == cache / STATE_DICT_NAMES[0] and file.read_bytes() == CONTENT
        assert file.stat().st_mode & 0o777 == 0o644
        output = capfd.readouterr()
        assert output.out == "" and f"downloading {source.url} to {cache}\n" in output.err
        assert "100%" in output.err and len(output.err.strip().split("\n")) == 2
        assert find_or_download(source) == file
        assert capfd.readouterr() == ("", "") and len(server.requests) == 1
    assert os.listdir(cache) == [STATE_DICT_NAMES[0]]


def test_nothing_but_the_bar_is_told_by_the_library(places, monkeypatch):
    told, logger = [], pooch.get_logger()
    monkeypatch.setattr(logger, "level", logging.INFO)
    monkeypatch.setattr(logger, "handlers", [logging.StreamHandler(io.StringIO())])
    logger.handlers[0].emit = told.append
    with Server() as server:
        find_or_download(source_of(CONTENT, server.url))
    assert told == []


def test_the_whole_way_from_the_server_to_the_network(saved, state, places):
    with Server(saved.read_bytes()) as server:
        source = source_of(server.content, server.url)
        for _ in range(2):
            found = load_inception_weights(None, source=source)
            assert_same(found.state, state)
            assert found.sha256 == source.sha256 and not found.published
        assert len(server.requests) == 1


def test_the_checksum_is_enforced(places):
    cache, _ = places
    with Server(CONTENT[::-1]) as server:
        assert "another checksum" in download_refusal(source_of(CONTENT, server.url))
    assert os.listdir(cache) == []


def test_an_interrupted_transfer_leaves_nothing(places, capfd):
    cache, _ = places
    with Server(cut=True) as server:
        source = source_of(CONTENT, server.url)
        assert "cannot be downloaded (IncompleteRead" in download_refusal(source)
        assert os.listdir(cache) == []
        assert capfd.readouterr().err.endswith("\n")  # the progress bar has ended its line
        server.cut = False
        assert find_or_download(source).read_bytes() == CONTENT


def test_a_refused_request_is_told(places):
    with Server(status=404) as server:
        assert "404" in download_refusal(source_of(CONTENT, server.url))


def test_without_a_network_the_file_and_its_place_are_told(places):
    with Server() as server:
        source = source_of(CONTENT, server.url)  # nobody listens there any more
    message = download_refusal(source)
    assert "cannot be downloaded (ConnectionRefusedError" in message
    assert "PAIRLESS_CACHE" in message and refusal(None, source=source) == message


def test_a_cache_that_cannot_be_made_is_told(places, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("PAIRLESS_CACHE", str(tmp_path / "file" / "cache"))
    with Server() as server:
        assert "cannot be downloaded" in download_refusal(source_of(CONTENT, server.url))
        assert server.requests == []


def test_a_proxy_of_the_environment_is_used(places, monkeypatch):
    with Server() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url.rsplit("/", 1)[0])
        source = source_of(CONTENT, "http://weights.invalid/weights.pth")
        assert find_or_download(source).read_bytes() == CONTENT
        assert proxy.requests == [source.url]


@pytest.mark.parametrize("name", STATE_DICT_NAMES)
@pytest.mark.parametrize("place", [0, 1], ids=["cache", "hub"])
def test_a_good_file_is_used_where_it_lies(place, name, places, capfd):
    places[place].mkdir(exist_ok=True)
    (places[place] / name).write_bytes(CONTENT)
    assert find_or_download(source_of(CONTENT)) == places[place] / name
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("wrong", [CONTENT[:1000], CONTENT[::-1]], ids=["short", "other"])
def test_a_wrong_file_of_other_tools_is_passed_over_and_left(wrong, places, capfd):
    cache, hub = places
    (hub / STATE_DICT_NAMES[0]).write_bytes(wrong)
    (hub / STATE_DICT_NAMES[1]).write_bytes(CONTENT)
    assert find_or_download(source_of(CONTENT)) == hub / STATE_DICT_NAMES[1]
    line = capfd.readouterr().err
    assert line.count("\n") == 1 and str(hub / STATE_DICT_NAMES[0]) in line
    assert (hub / STATE_DICT_NAMES[0]).read_bytes() == wrong and not cache.exists()


def test_a_damaged_file_in_the_cache_is_downloaded_anew(places, capfd):
    cache, _ = places
    cache.mkdir()
    (cache / STATE_DICT_NAMES[0]).write_bytes(CONTENT[:1000])
    with Server() as server:
        file = find_or_download(source_of(CONTENT, server.url))
    assert file.read_bytes() == CONTENT
    assert f"holds 1,000 of {len(CONTENT):,} bytes" in capfd.readouterr().err


def test_nothing_is_asked_of_the_network_for_a_named_file(saved, places):
    with Server() as server:
        load_inception_weights(saved, source=source_of(CONTENT, server.url))
        assert server.requests == []


def test_a_file_in_memory_is_left_as_it_was(archive):
    before = archive.read_bytes()
    assert isinstance(torchscript._without_code(archive), io.BytesIO)
    assert archive.read_bytes() == before
