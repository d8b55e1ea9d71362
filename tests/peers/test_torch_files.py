"""What torch.save writes is read as torch reads it, bit for bit, without torch and without running a pickle."""

import numpy as np
import pytest

import quantlib as ql

pytestmark = pytest.mark.peer


@pytest.fixture(scope="module")
def torch(peer):
    return peer("torch")


def model(torch):
    return torch.nn.Sequential(torch.nn.Linear(70, 30), torch.nn.LSTM(30, 8), torch.nn.Conv2d(3, 4, 5))


def training(torch):
    """A checkpoint as a training loop saves it, with what its optimizer holds."""
    net = model(torch)
    optimizer = torch.optim.Adam(net.parameters())
    for parameter in net.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    return {"state_dict": net.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3, "best": np.float64(0.5)}


def matrix(torch):
    return torch.linspace(-3, 3, 2100).reshape(30, 70)


def views(torch):
    x = matrix(torch)
    return [x.t(), x[3:7, ::2], x[:, 5], x[:1].expand(5, 70)]


SAVED = {
    "a model's weights": lambda torch: model(torch).state_dict(),
    "a training loop": training,
    "a tensor": matrix,
    "a parameter": lambda torch: torch.nn.Parameter(matrix(torch)),
    "views": views,
    "channels last": lambda torch: {"c": torch.randn(8, 6, 3, 3).to(memory_format=torch.channels_last)},
    "numbers": lambda torch: [torch.tensor(3.0), torch.zeros(0, 4)],
    "types": lambda torch: [matrix(torch).to(getattr(torch, name)) for name in (
        "float64", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2", "int64", "int32", "int16", "int8", "uint8",
        "uint16", "uint32", "bool", "complex64",
    )],
}  # fmt: skip


def flat(torch, value, at=""):
    if isinstance(value, torch.Tensor):
        yield at or "tensor", value.detach()
    elif isinstance(value, dict | list | tuple):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from flat(torch, inner, f"{at}.{key}" if at else str(key))


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("name", SAVED)
def test_tensors_are_those_of_torch(name, protocol, torch, tmp_path):
    torch.save(SAVED[name](torch), tmp_path / "x.pt", pickle_protocol=protocol)
    wanted = dict(flat(torch, torch.load(tmp_path / "x.pt", weights_only=False)))
    with ql.open_checkpoint(tmp_path / "x.pt") as checkpoint:
        assert list(checkpoint.tensors) == list(wanted)
        for key, value in wanted.items():
            found = checkpoint.tensors[key]
            assert found.shape == tuple(value.shape)
            assert found.raw().tobytes() == value.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
            if found.decodable and value.numel():
                assert np.array_equal(found.rows(), value.float().reshape(found.nrows, found.n).numpy())


@pytest.mark.parametrize("what", ["a whole model", "a program", "the form before 1.6"])
def test_what_would_run_code_is_refused(what, torch, tmp_path):
    path = tmp_path / "x.pt"
    match what:
        case "a whole model":
            torch.save(model(torch), path)
        case "a program":
            torch.jit.script(torch.nn.Linear(3, 4)).save(path)
        case _:
            torch.save(model(torch).state_dict(), path, _use_new_zipfile_serialization=False)
    with pytest.raises(ql.CheckpointError, match=r"Sequential|TorchScript|before version 1\.6"):
        ql.open_checkpoint(path)
