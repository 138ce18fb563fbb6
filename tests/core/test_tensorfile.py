"""The file format: whole files load, and each kind of damage has its own sentence."""

import json
import zipfile

import pytest
import torch
from safetensors.torch import save_file

from limner.core.errors import ModelError
from limner.core.tensorfile import load_into, read_tensors, write_tensors


@pytest.fixture
def whole(tmp_path):
    path = tmp_path / "a.safetensors"
    write_tensors(path, {"w": torch.arange(6.0).reshape(2, 3), "n": torch.tensor(3)}, {"kind": "model", "method": "x"})
    return path


def refused(path, kind="model"):
    with pytest.raises(ModelError) as caught:
        read_tensors(path, kind)
    return caught.value.message


def test_what_is_written_is_read(whole):
    header, tensors = read_tensors(whole, "model")
    assert header["method"] == "x"
    assert torch.equal(tensors["w"], torch.arange(6.0).reshape(2, 3))
    assert tensors["n"].dtype == torch.int64


def test_the_same_content_gives_the_same_bytes(whole, tmp_path):
    other = tmp_path / "b.safetensors"
    write_tensors(other, {"n": torch.tensor(3), "w": torch.arange(6.0).reshape(2, 3)}, {"method": "x", "kind": "model"})
    assert other.read_bytes() == whole.read_bytes()


def test_no_single_flipped_bit_goes_unseen(whole):
    """Plain safetensors loads nearly all of these silently."""
    raw = whole.read_bytes()
    for i in range(0, len(raw) * 8, 5):
        damaged = bytearray(raw)
        damaged[i // 8] ^= 1 << (i % 8)
        whole.write_bytes(damaged)
        try:
            header, tensors = read_tensors(whole, "model")
        except ModelError:
            continue
        whole.write_bytes(raw)
        intact = read_tensors(whole, "model")
        assert header == intact[0], f"bit {i}"
        assert all(torch.equal(value, intact[1][name]) for name, value in tensors.items()), f"bit {i}"


def test_no_truncation_goes_unseen(whole):
    raw = whole.read_bytes()
    for length in range(0, len(raw), 3):
        whole.write_bytes(raw[:length])
        refused(whole)


def test_each_damage_has_its_sentence(whole, tmp_path):
    raw = whole.read_bytes()
    cases = {
        "empty": b"",
        "text": b"<!DOCTYPE html><html>Not found</html>",
        "short": raw[:-4],
        "flipped": raw[:-1] + bytes([raw[-1] ^ 1]),
    }
    said = {}
    for name, content in cases.items():
        path = tmp_path / f"{name}.safetensors"
        path.write_bytes(content)
        said[name] = refused(path).removeprefix(f"{path} ")
    assert said["empty"] == "is empty"
    assert said["text"] == "is not a limner model: it looks like text or a web page"
    assert said["short"] == f"was cut short: it has {len(raw) - 4} bytes and its header promises {len(raw)}"
    assert said["flipped"] == "is damaged: its content does not match its checksum"


def test_foreign_newer_and_other_kinds_are_refused(whole, tmp_path):
    foreign = tmp_path / "foreign.safetensors"
    save_file({"w": torch.ones(2)}, str(foreign))
    assert "limner did not write it" in refused(foreign)
    newer = tmp_path / "newer.safetensors"
    save_file({"w": torch.ones(2)}, str(newer), metadata={"limner": json.dumps({"format": 99, "kind": "model"})})
    assert "is from a newer limner (format 99" in refused(newer)
    assert "is a limner model, not a checkpoint" in refused(whole, "checkpoint")
    pickled = tmp_path / "model.pth"
    with zipfile.ZipFile(pickled, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02.")
    assert "it looks like a pickled PyTorch file" in refused(pickled)
    assert "there is no file" in refused(tmp_path / "none.safetensors")
    assert "is a folder" in refused(tmp_path)


def test_values_that_are_not_finite_are_refused(tmp_path):
    path = tmp_path / "a.safetensors"
    write_tensors(path, {"w": torch.tensor([1.0, float("nan")])}, {"kind": "model"})
    assert "not finite in 'w'" in refused(path)


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ({"weight": torch.ones(2, 3)}, "'bias' is missing"),
        ({"weight": torch.ones(2, 3), "bias": torch.ones(2), "more": torch.ones(1)}, "'more' is not part of"),
        ({"weight": torch.ones(3, 3), "bias": torch.ones(2)}, r"'weight' is \(3, 3\) torch.float32, needed \(2, 3\)"),
        ({"weight": torch.ones(2, 3).double(), "bias": torch.ones(2)}, "torch.float64, needed"),
    ],
)
def test_weights_must_fit_the_network(tmp_path, tensors, said):
    with pytest.raises(ModelError, match=said):
        load_into(torch.nn.Linear(3, 2), tensors, tmp_path / "a")
