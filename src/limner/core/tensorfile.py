"""The one file format: safetensors with a JSON header that carries a checksum of every byte that matters.

A flipped bit in a plain safetensors file loads silently with wrong weights; here each kind of damage has its own
sentence. Nothing is ever unpickled.
"""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as parse
from safetensors.torch import save as serialise
from torch import Tensor

from limner.core.errors import LimnerError, ModelError, command
from limner.core.files import atomic

FORMAT = 1
"""Version of the header. A file with a higher one is from a newer limner."""
_KEY = "limner"
_HEADER_LIMIT = 1 << 20
_ENTRY_LIMIT = 10_000
_DEPTH_LIMIT = 50
_DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64,
    "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip


def write_tensors(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> str:
    """Write tensors and a header atomically; the same content gives the same bytes.

    header  JSON values; "kind" says what the file is
    returns the SHA-256 that the header carries, as hex
    raises  LimnerError   if the file cannot be written, or could not be read again
    """
    dense = {name: tensor.detach().contiguous().cpu() for name, tensor in sorted(tensors.items())}
    body = {"format": FORMAT, **header}
    digest = _digest(dense, body)
    text = json.dumps({**body, "sha256": digest}, sort_keys=True, separators=(",", ":"))
    content = serialise(dense, metadata={_KEY: text})
    length = int.from_bytes(content[:8], "little")
    if length > _HEADER_LIMIT or len(dense) > _ENTRY_LIMIT or _depth(body) > _DEPTH_LIMIT:
        raise LimnerError(
            f"cannot write {path}: its header ({length:,} bytes, {len(dense):,} tensors) is more than limner would "
            f"read ({_HEADER_LIMIT:,} bytes, {_ENTRY_LIMIT:,} tensors)"
        )
    if foreign := sorted({str(tensor.dtype) for tensor in dense.values() if tensor.dtype not in _DTYPES.values()}):
        raise LimnerError(f"cannot write {path}: limner reads no tensors of {', '.join(foreign)}")
    with atomic(path) as file:
        file.write(content)
    return digest


def read_header(path: Path, kind: str) -> dict[str, Any]:
    """The header alone, unverified against the tensors: for showing, not for loading.

    raises ModelError   if the file is no limner file of that kind
    """
    return _header(path, kind)


def read_tensors(path: Path, kind: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Header and tensors of a file that is whole: size, header, checksum and finiteness are all checked.

    raises ModelError   a sentence for each kind of damage
    """
    header = _header(path, kind)
    try:
        tensors = parse(path.read_bytes())
    except OSError as error:
        raise _unreadable(path, error) from None
    except Exception as error:  # the parser's errors are of its own classes
        raise ModelError(f"{path} is damaged: {error}", "copy or download it again") from error
    stated = header.pop("sha256", "")
    if _digest(tensors, header) != stated:
        raise ModelError(f"{path} is damaged: its content does not match its checksum", "copy or download it again")
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise ModelError(f"{path} holds values that are not finite in '{name}'", "use an earlier checkpoint")
    return {**header, "sha256": stated}, tensors


def load_into(module: torch.nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Load a state dict whose keys, shapes and dtypes all equal the module's.

    raises ModelError   naming the first difference
    """
    refuse_misfits(module, tensors, path)
    module.load_state_dict(dict(tensors))


def refuse_misfits(module: torch.nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Make sure that a file's keys, shapes and dtypes all equal the module's, which may be without memory.

    raises ModelError   naming the first difference
    """
    own = module.state_dict()
    for name in sorted(own.keys() | tensors.keys()):
        if name not in tensors or name not in own:
            where = "is missing" if name in own else "is not part of the network"
            raise ModelError(f"{path} does not fit its own settings: '{name}' {where}")
        if own[name].shape != tensors[name].shape or own[name].dtype != tensors[name].dtype:
            saw, needed = tensors[name], own[name]
            raise ModelError(
                f"{path} does not fit its own settings: '{name}' is {tuple(saw.shape)} {saw.dtype}, "
                f"needed {tuple(needed.shape)} {needed.dtype}"
            )


def _header(path: Path, kind: str) -> dict[str, Any]:
    """The limner header of a file that has the size which it must have."""
    try:
        if path.is_dir():
            hint = f"a run's {kind} is {path / 'model.safetensors'}"
            raise ModelError(f"{path} is a folder, not a {kind} file", hint)
        if not path.is_file():
            raise ModelError(f"there is no file {path}", "a run ends with RUN/model.safetensors")
        with path.open("rb") as file:
            start = file.read(8)
            length = int.from_bytes(start, "little")
            raw = file.read(length) if len(start) == 8 and 2 <= length <= _HEADER_LIMIT else b""
            size = os.fstat(file.fileno()).st_size
    except OSError as error:
        raise _unreadable(path, error) from None
    if not start:
        raise ModelError(f"{path} is empty", "copy or download it again")
    if not raw.startswith(b"{"):
        looks = "text or a web page" if start.isascii() and start.lstrip()[:1] in b"<#{%" else "something else"
        looks = "a pickled PyTorch file" if start[:2] in (b"PK", b"\x80\x02") else looks
        raise ModelError(f"{path} is not a limner {kind}: it looks like {looks}", "limner reads its own .safetensors")
    if len(raw) < length:
        raise ModelError(f"{path} was cut short inside its header", "copy or download it again")
    try:
        table = json.loads(raw)
        text = table.pop("__metadata__", {}).get(_KEY, "")
        header = json.loads(text) if text else {}
        end = max((int(entry["data_offsets"][1]) for entry in table.values()), default=0)
        dtypes = {entry["dtype"] for entry in table.values()}
        if not 0 <= end < 1 << 63 or _depth(header) > _DEPTH_LIMIT:
            raise ValueError
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError):
        raise ModelError(f"{path} is damaged: its header cannot be read", "copy or download it again") from None
    if not isinstance(header, dict) or not header:
        raise ModelError(f"{path} holds weights, but limner did not write it", "train a model, or use one of limner's")
    if type(header.get("format")) is not int or not 1 <= header["format"] < 1 << 31:
        raise ModelError(f"{path} is damaged: its header has no format", "copy or download it again")
    if header["format"] > FORMAT:
        raise ModelError(
            f"{path} is from a newer limner (format {header['format']}, this one reads up to {FORMAT})",
            "update limner",
        )
    if header.get("kind") != kind:
        raise ModelError(
            f"{path} is a limner {str(header.get('kind'))[:40]}, not a {kind}",
            f"make a model of it: {command('ensemble', path, '--out', 'FOLDER')}"
            if (header.get("kind"), kind) == ("checkpoint", "model")
            else f"give the file of a {kind}",
        )
    if not re.fullmatch("[0-9a-f]{64}", str(header.get("sha256"))):
        raise ModelError(f"{path} is damaged: its header has no checksum", "copy or download it again")
    if len(table) > _ENTRY_LIMIT or not dtypes <= _DTYPES.keys():
        raise ModelError(f"{path} holds tensors that no limner {kind} has", "use only files that you trust")
    if size != 8 + length + end:
        raise ModelError(
            f"{path} was cut short: it has {size:,} bytes and its header promises {8 + length + end:,}",
            "copy or download it again",
        )
    return header


def _depth(value: Any) -> int:
    """How deeply lists and mappings are nested."""
    level, depth = [value], 0
    while level:
        level = [inner for outer in level if isinstance(outer, dict | list)
                 for inner in (outer.values() if isinstance(outer, dict) else outer)]  # fmt: skip
        depth += 1
    return depth


def _unreadable(path: Path, error: OSError) -> ModelError:
    return ModelError(f"cannot read {path}: {(error.strerror or str(error)).lower()}")


def _digest(tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> str:
    total = hashlib.sha256(json.dumps(header, sort_keys=True, separators=(",", ":")).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        total.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()
