"""Model: what is left after training. One file with the weights, and a header that says how to build and use them."""

import math
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, SupportsIndex

import torch
from torch.nn.modules.module import register_module_parameter_registration_hook

from limner.core import catalog
from limner.core.errors import LimnerError, ModelError, UsageError, nearest
from limner.core.method import Method
from limner.core.random import normal
from limner.core.signal import Signal
from limner.core.tensorfile import load_into, read_header, read_tensors, refuse_misfits, write_tensors
from limner.features import minilm
from limner.features.captions import caption_vector
from limner.models.ensemble import NAME as ENSEMBLE
from limner.models.ensemble import Ensemble, EnsembleConfig
from limner.models.pictures import Pictures
from limner.tasks.generate import Captioned, Generate

KIND = "model"
_HEADER = {"method": str, "config": dict, "signal": dict, "data": dict, "training": dict, "card": str, "sha256": str}
"""What stands in a model's header."""
_NOISE = 1 << 31  # numbers; 8 GB
_REGISTERED = 4
"""How many weights may be registered for each that a file holds: a method may build parts that it does not keep."""

Draw = Callable[[torch.Tensor, torch.Tensor | None], torch.Tensor]
"""Noise (N, latent), and labels (N,) or None, to samples (N, C, *size) on the CPU; see `Generate.draw`."""


class Model:
    """A trained method, ready to use.

    path    the file it came from
    header  method name, config, signal, data, training and card
    method  the networks, in evaluation mode
    draw    what computes samples, where that is not the method itself
    """

    def __init__(self, path: Path, header: Mapping[str, Any], method: Method, draw: Draw | None = None) -> None:
        self.path, self.header, self.method, self.draw = path, header, method, draw

    @property
    def name(self) -> str:
        """The method's name."""
        return str(self.header["method"])

    @property
    def sha256(self) -> str:
        """Of weights and header together, as hex."""
        return str(self.header["sha256"])

    def generate(
        self,
        count: int = 16,
        *,
        seed: int = 0,
        label: int | str | None = None,
        text: str | None = None,
        truncation: float = 1.0,
    ) -> Pictures:
        """Make pictures out of noise.

        count       how many
        seed        the same seed gives the same pictures
        label       the class to make, by number or name, for models that learned classes; each in turn if not given
        text        what to make, for models that learned captions
        truncation  scales the noise: below 1 gives more typical and less varied pictures
        raises      UsageError   if this model does not generate, or has no such class, or reads no text, or its noise
                                 is no measure of how typical a picture is; or if a value is out of its range
                    DataError    if the text's encoder can't be fetched
        """
        z = self.noise(count, seed, truncation)
        recipe: dict[str, Any] = {"seed": seed, "count": count, "truncation": truncation}
        recipe |= {name: value for name, value in (("label", label), ("text", text)) if value is not None}
        return self.decode(z, self.labels(count, label, text), recipe)

    def noise(self, count: int, seed: int, truncation: float = 1.0) -> torch.Tensor:
        """The (count, latent) noise of a seed times a factor; the first rows do not depend on the count.

        raises UsageError   if this model does not generate, or its noise may not be scaled, or a value is out of range
        """
        method = self._generating()
        for name, value, least in (("count", count, 1), ("seed", seed, 0)):
            if not isinstance(value, SupportsIndex) or value.__index__() < least:
                raise UsageError(f"{name} is a whole number of {least} or more, not {value!r}", f"give {name}={least}")
        if not isinstance(truncation, int | float) or not 0 < truncation < math.inf:
            raise UsageError(f"truncation is a factor above 0, not {truncation!r}", "give truncation=1")
        if truncation != 1 and not method.truncates:
            raise UsageError(
                f"{self.path} is a model of {self.name}, which begins with noise of one size and takes it away; there "
                "is nothing to truncate",
                "leave out --truncation",
            )
        if count * method.latent > _NOISE:
            raise UsageError(
                f"noise for {count:,} samples takes {count * method.latent * 4 / 1e9:,.0f} GB: this sampler reads "
                f"{method.latent:,} numbers for each",
                f"ask for fewer, {method.at_once} or so",
            )
        return normal(seed, count, method.latent, "sample") * truncation

    def labels(self, count: int, label: int | str | None = None, text: str | None = None) -> torch.Tensor | None:
        """What to make: (count,) classes, or (count, 384) vectors of a text.

        label    a number or a name; each class in turn where it is not given
        text     for models that learned captions
        returns  None where the model learned neither, or learned captions and no text is given
        raises   UsageError   if it has no such class, or reads no text
                 DataError    if the text's encoder can't be fetched
        """
        method = self._generating()
        captioned = isinstance(method, Captioned)
        if text is not None and (not isinstance(text, str) or not text.strip()):
            raise UsageError(f"a text says what to make, and {text!r} says nothing", 'give words, say "a red apple"')
        if text is not None and not captioned:
            raise UsageError(
                f"{self.path} does not make what a text says: {self.name} learns no captions",
                "leave out --text, or train a method that does: limner train gan_cls --data emoji",
            )
        if captioned or not method.conditional:
            if label is not None:
                raise UsageError(
                    f"{self.path} makes no classes on request: {self.name} learned none", "leave out --class"
                )
            return None if text is None else self._told(text).expand(count, -1)
        classes = method.signal.classes
        if label is None:
            return torch.arange(count) % classes
        names = list(map(str, (self.header.get("data") or {}).get("classes") or ()))
        if str(label).isdecimal() and str(label) not in names and _are_other_numbers(names):
            raise UsageError(
                f"{self.path} has classes that are called by numbers, and none is called {label}",
                f"give one of {', '.join(names[:20])}{' …' if len(names) > 20 else ''}",
            )
        number = names.index(str(label)) if str(label) in names else str(label)
        if not str(number).isdecimal() or int(number) >= classes:
            hint = (
                nearest(str(label), names) if names and not str(label).lstrip("-").isdecimal() else "give one of them"
            )
            raise UsageError(f"{self.path} has classes 0 to {classes - 1}, not class {label}", hint)
        return torch.full((count,), int(number))

    def decode(
        self, z: torch.Tensor, labels: torch.Tensor | None = None, recipe: Mapping[str, Any] | None = None
    ) -> Pictures:
        """Make pictures of given noise.

        z       (N, latent)
        labels  (N,) or (N, 384)  as of `labels`
        recipe  what else the pictures should remember about how they were made
        """
        method = self._generating()
        origin = {"method": self.name, "model": self.sha256, **(recipe or {}), "settings": self.header["config"]}
        return Pictures.of((self.draw or method.draw)(z, labels), origin)

    def _told(self, text: str) -> torch.Tensor:
        """(signal.text,)  a caption, as the encoder that the model learned with reads it."""
        learned = self.header.get("text_encoder")
        learned = learned if isinstance(learned, dict) else {}
        if learned.get("sha256") != minilm.SHA256:
            raise ModelError(
                f"{self.path} learned captions through {learned.get('name', 'an encoder that it does not name')}, and "
                f"this limner has {minilm.PACKAGE} {minilm.VERSION}",
                "use the limner that it was trained with",
            )
        return caption_vector(text)

    def to(self, device: str | torch.device) -> "Model":
        """The same model on another device.

        raises UsageError   if torch has no such device here
        """
        try:
            self.method.to(device)
        except (AssertionError, RuntimeError) as error:
            why = str(error).partition("\n")[0]
            raise UsageError(f"{self.path} cannot be moved to {device}: {why}", "leave it on the CPU") from None
        return self

    def _generating(self) -> Generate:
        if not isinstance(self.method, Generate):
            raise UsageError(f"{self.path} is a model of {self.name}, which does not make pictures out of noise")
        return self.method


def _are_other_numbers(names: Sequence[str]) -> bool:
    """Whether classes are called by numbers other than their own, so that a number alone could mean either."""
    return any(name.isdecimal() and (name.lstrip("0") or "0") != str(i) for i, name in enumerate(names))


def build(method: str, config: Mapping[str, Any], signal: Signal, where: str = "") -> Method:
    """A method with fresh weights from plain settings.

    config  values of its Config; what depends on the data is filled in
    raises  UsageError   for an unknown method or setting, or a signal that does not suit
    """
    if method == ENSEMBLE:
        chosen = EnsembleConfig.read(config, where)
        members = [build(member.method, member.config, signal, where) for member in chosen.members]
        return Ensemble(chosen, signal, [member for member in members if isinstance(member, Generate)])
    settings = catalog.settings(method).read(config, where)
    with torch.random.fork_rng([]):  # Fresh weights are drawn from torch's own generator, which goes on as it was.
        return catalog.method(method)(settings.settle(signal), signal)


def save_model(path: Path, method: Method, name: str, facts: Mapping[str, Any]) -> str:
    """Write a model file.

    method  with the weights to keep, i.e. the averaged ones in place
    facts   JSON values for the header: "data", "training", "card"
    returns its SHA-256
    """
    header = {
        "kind": KIND,
        "method": name,
        "config": method.config.model_dump(mode="json"),
        "signal": method.signal.model_dump(mode="json"),
        **facts,
    }
    return write_tensors(path, method.state_dict(), header)


def load(path: str | Path) -> Model:
    """Read a model file. Nothing in it is executed.

    raises ModelError, UsageError   if it is no limner model, is damaged, from a newer limner, or of a method that
                                    is not installed
    """
    if not isinstance(path, str | os.PathLike):
        raise UsageError(
            f"a model is loaded from the path of its file, not from {path!r}", "give RUN/model.safetensors"
        )
    path = Path(path)
    header, tensors = read_tensors(path, KIND)
    _check(header, path)
    signal = Signal.read(header["signal"], str(path))
    _try_on(header, signal, tensors, path)
    method = build(header["method"], header["config"], signal, where=str(path))
    load_into(method, tensors, path)
    return Model(path, header, method.eval())


def _check(header: Mapping[str, Any], path: Path) -> None:
    """A header may hold anything; what is used of it must be of the right kind."""
    for name, kind in _HEADER.items():
        if not isinstance(header.get(name), kind):
            raise ModelError(f"{path} is damaged: its header has no {name}", "copy or download it again")


def _try_on(header: Mapping[str, Any], signal: Signal, tensors: Mapping[str, torch.Tensor], path: Path) -> None:
    """Build the network without its memory and hold it against the file, so that no file makes limner allocate more
    than it holds itself.

    raises ModelError   if settings and weights do not fit
    """
    count, here = 0, threading.get_ident()

    def limit(*_: object) -> None:
        nonlocal count
        count += threading.get_ident() == here
        if count > _REGISTERED * len(tensors):
            raise ModelError(f"{path} does not fit its own settings: they ask for more weights than it has")

    hook = register_module_parameter_registration_hook(limit)
    try:
        with torch.device("meta"):
            empty = build(header["method"], header["config"], signal, where=str(path))
    except LimnerError:
        raise
    except Exception as error:  # whatever a network makes of absurd sizes
        why = str(error).partition("\n")[0]
        raise ModelError(f"{path} does not fit its own settings: they make no network ({why})") from error
    finally:
        hook.remove()
    refuse_misfits(empty, tensors, path)


def describe(path: Path) -> dict[str, Any]:
    """A model file's header without its tensors: quick, and not verified.

    raises ModelError   if it is no limner model
    """
    header = read_header(path, KIND)
    _check(header, path)
    return header
