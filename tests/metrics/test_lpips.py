"""LPIPS against the lpips package with its own linear weights and a random trunk."""

import lpips
import pytest
import torch

from errors import UserError
from metrics.lpips import Lpips, load_lpips


@pytest.fixture(scope="module")
def package():
    with pytest.warns(UserWarning), torch.random.fork_rng():  # torchvision's, on old arguments
        torch.manual_seed(0)
        return lpips.LPIPS(net="alex", pnet_rand=True, pretrained=True, verbose=False)


@pytest.fixture
def save(tmp_path):
    """Return a function that writes a content to a file and returns its path."""

    def write(content):
        path = tmp_path / "weights.pth"
        torch.save(content, path)
        return path

    return write


def pictures(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)


def torchvision_names(state):
    renamed = {}
    for name, value in state.items():
        if name.startswith("net.slice"):
            renamed["features." + name.split(".", 2)[2]] = value
        elif name.startswith("lin") and not name.startswith("lins"):
            renamed[name] = value
    return {**renamed, "classifier.1.bias": torch.zeros(4096)}


@pytest.mark.parametrize("shape", [(3, 3, 64, 64), (2, 3, 70, 131), (1, 3, 31, 31)])
@pytest.mark.parametrize("names", ["lpips", "torchvision"])
def test_equals_the_package(package, save, shape, names):
    state = package.state_dict()
    ours = load_lpips(save(state if names == "lpips" else torchvision_names(state)), "`weights`")
    a, b = pictures(*shape), pictures(*shape, seed=1)
    with torch.no_grad():
        theirs = package(a.float() / 127.5 - 1, b.float() / 127.5 - 1).flatten()
    assert theirs.min() > 0.01
    values = ours(a, b)
    assert values.dtype == torch.float32
    assert torch.allclose(values, theirs, rtol=0, atol=1e-6)


def test_linear_layers_without_dropout_are_read(package, save):
    state = {
        name.replace("model.1", "model.0"): value for name, value in package.state_dict().items()
    }
    network = load_lpips(save(state), "`weights`")
    assert torch.equal(network.linear[2].weight, package.lin2.model[1].weight)


def test_equal_pictures_and_order(package, save):
    network = load_lpips(save(package.state_dict()), "`weights`")
    a, b = pictures(2, 3, 40, 40), pictures(2, 3, 40, 40, seed=1)
    assert network(a, a).tolist() == [0, 0]
    assert torch.allclose(network(a, b), network(b, a))
    with torch.autocast("cpu", torch.bfloat16):
        under = network(a, b)
    assert torch.equal(under, network(a, b))
    assert not under.requires_grad


def test_the_number_of_parameters_is_the_papers(package):
    ours = sum(parameter.numel() for parameter in Lpips().parameters())
    linear = sum(layer.model[1].weight.numel() for layer in package.lins)
    assert ours == 2_470_848
    assert ours == sum(parameter.numel() for parameter in package.net.parameters()) + linear


def test_other_pictures_are_refused():
    a, network = pictures(2, 3, 40, 40), Lpips()
    for first, second in ((a, a[:1]), (a.float(), a.float()), (a[:, :1], a[:, :1]), (a[0], a[0])):
        with pytest.raises(ValueError, match="uint8"):
            network(first, second)
    with pytest.raises(UserError, match="`metrics` lpips.* 40x30 "):
        network(a[:, :, :30], a[:, :, :30])


def assert_refused(path, reason):
    with pytest.raises(UserError, match=reason) as caught:
        load_lpips(path, "`lpips_weights`")
    message = str(caught.value)
    assert message.startswith(f"`lpips_weights` {path}: ")
    assert "lpips.LPIPS(net='alex').state_dict()" in message
    assert "\n" not in message


def test_a_missing_file_is_refused(tmp_path):
    assert_refused(tmp_path / "none.pth", "no such file")
    assert_refused(tmp_path, "no such file")


def test_files_that_hold_something_else_are_refused(package, save):
    state = package.state_dict()
    assert_refused(save([1, 2]), "not a state dict")
    assert_refused(save({"epoch": 3}), "not a state dict")
    assert_refused(save({}), "not LPIPS on AlexNet")
    assert_refused(save(package), "no state dict can be read")
    linear_alone = {name: value for name, value in state.items() if name.startswith("lin")}
    assert_refused(save(linear_alone), "features.0.weight")
    other_shape = {**state, "net.slice1.0.weight": torch.zeros(64, 3, 3, 3)}
    assert_refused(save(other_shape), "features.0.weight")
    assert_refused(save({**state, "more": torch.zeros(1)}), "more")


def test_weights_that_no_lpips_has_are_refused(package, save):
    state = package.state_dict()
    assert_refused(save({**state, "lin3.model.1.weight": -torch.ones(1, 256, 1, 1)}), "negative")
    assert_refused(save({**state, "net.slice1.0.bias": torch.full((64,), torch.nan)}), "finite")


def test_damaged_files_are_refused(package, save):
    path = save(package.state_dict())
    whole = path.read_bytes()
    middle = len(whole) // 2
    flipped = bytes([whole[middle] ^ 1])
    changed = whole[:middle] + flipped + whole[middle + 1 :]
    for content in (b"", b"no pickle", whole[:middle], changed):
        path.write_bytes(content)
        assert_refused(path, "no state dict can be read")
