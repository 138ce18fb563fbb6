"""The file format: whole files load, and each kind of damage has its own sentence."""

import errno
import json
import os
import zipfile

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from safetensors.torch import save_file

from limner.core.errors import LimnerError, ModelError
from limner.core.tensorfile import load_into, read_header, read_tensors, write_tensors

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=9,
)
"""Any JSON, with the numbers that only Python's reader takes: NaN, the infinities, integers of any length."""


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


def crafted(path, table, rest=b""):
    raw = table if isinstance(table, bytes) else json.dumps(table).encode()
    path.write_bytes(len(raw).to_bytes(8, "little") + raw + rest)
    return path


ENTRY = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
STAMP = {"limner": json.dumps({"format": 1, "kind": "model"})}


TABLES = st.fixed_dictionaries(
    {
        "__metadata__": st.just(STAMP) | JSON | st.fixed_dictionaries({"limner": st.text() | JSON}),
        "w": st.just(ENTRY) | JSON | st.fixed_dictionaries(dict.fromkeys(ENTRY, JSON)),
    }
)


@given(table=JSON | st.dictionaries(st.text(max_size=9), JSON) | TABLES, rest=st.binary(max_size=8))
@example(table={"w": {**ENTRY, "data_offsets": [0, float("inf")]}}, rest=b"")
@example(table={"w": {**ENTRY, "dtype": []}, "__metadata__": STAMP}, rest=b"0000")
@example(table={"w": ENTRY, "__metadata__": {"limner": "[" * 5000}}, rest=b"0000")
@example(table={"w": ENTRY, "__metadata__": {"limner": '{"format": %s}' % ("9" * 4000)}}, rest=b"0000")
@example(table=b'{"a":' + b"[" * 200_000, rest=b"")
@example(table=b'{"w":' + b"9" * 5000 + b"}", rest=b"")
def test_whatever_a_header_holds_there_is_one_clear_error(tmp_path_factory, table, rest):
    path = crafted(tmp_path_factory.getbasetemp() / "crafted.safetensors", table, rest)
    for read in (read_header, read_tensors):
        with pytest.raises(ModelError) as caught:
            read(path, "model")
        assert len(caught.value.message) < 500


def test_what_is_written_can_be_read_again(tmp_path):
    """The writer keeps the reader's limits; what is refused leaves the file that was there."""
    path, kind = tmp_path / "a.safetensors", {"kind": "model"}
    write_tensors(path, {"w": torch.ones(1)}, kind)
    before = path.read_bytes()
    deep = []
    for _ in range(60):
        deep = [deep]
    for tensors, header in (
        ({"w": torch.ones(1)}, {**kind, "card": "x" * (1 << 20)}),
        ({"w": torch.ones(1)}, {**kind, "card": deep}),
        ({str(i): torch.ones(1) for i in range(10_001)}, kind),
        ({"w": torch.ones(1, dtype=torch.complex64)}, kind),
    ):
        with pytest.raises(LimnerError, match=f"cannot write {path}"):
            write_tensors(path, tensors, header)
        assert path.read_bytes() == before
    read_tensors(path, "model")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(whole):
    whole.chmod(0)
    assert refused(whole) == f"cannot read {whole}: permission denied"


def test_an_error_of_the_system_is_a_sentence(whole, monkeypatch):
    def denied(self, *more):
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    for name in ("open", "is_dir", "is_file", "read_bytes"):
        with monkeypatch.context() as patch:
            patch.setattr(type(whole), name, denied)
            assert refused(whole) == f"cannot read {whole}: permission denied"
