"""Which image processor an encoder's images go through, with which values, and where each came from.

What the config's ``image_processor`` sets wins. Then comes the checkpoint's own processor config, then the
defaults of the processor's class. A checkpoint without a processor config has its images made to fit the
encoder. Loads neither torch nor transformers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from ..errors import ConfigError, InputError, Problem, WeightsError
from ..files import read_json
from ..schemas import PROCESSOR_CLASSES, ImageProcessorConfig, ProcessorClass
from ..schemas.processor_class import RESAMPLE, Values, plain_name, square
from ..text import did_you_mean
from .arguments import canonical, from_config
from .rules import rule_of

PROCESSOR_FILES = ("processor_config.json", "preprocessor_config.json")
"""The files of a checkpoint that may hold its processor config, the first that has one counts."""

_CONFIG_BYTES = 1 << 20

_CONFIG, _ENCODER, _CLASS = "config", "encoder", "class"


@dataclass(frozen=True)
class ProcessorSettings:
    """An image processor with its values.

    Attributes:
        type: Name of transformers' class, without ``Fast`` and ``Pil``.
        values: The values of its arguments, as JSON holds them: also those of tiling, as the checkpoint says.
        origin: Argument, or ``type`` -> where its value came from: ``config`` (the config's
            ``image_processor``), the name of the checkpoint's file, ``encoder`` (what its architecture
            needs), or ``class`` (the class's default).
        file: The checkpoint's processor config; None if there is none.
    """

    type: str
    values: Values
    origin: Mapping[str, str]
    file: Path | None = field(default=None, compare=False, repr=False)

    @property
    def processor_class(self) -> ProcessorClass:
        """What is known of the class."""
        return PROCESSOR_CLASSES[self.type]

    @property
    def name(self) -> str:
        """What to call the settings in errors: the file, or the class."""
        return self.type if self.file is None else str(self.file)

    def to_text(self) -> str:
        """Return the settings as text, for another process; :meth:`of_text` reads it back."""
        return json.dumps([self.type, dict(self.values), dict(self.origin)])

    @classmethod
    def of_text(cls, text: str) -> Self:
        """Read the settings of another process."""
        return cls(*json.loads(text))

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as JSON-ready values, with the place that each came from."""
        return {"type": self.type, "values": dict(self.values), "origin": dict(self.origin)}

    def to_json(self) -> dict[str, Any]:
        """Return what transformers reads back from ``preprocessor_config.json``."""
        return {**self.values, "image_processor_type": self.type}


@dataclass(frozen=True)
class Needs:
    """What an encoder needs of its image processor.

    Attributes:
        own: The class for a checkpoint that names none.
        fitting: Arguments of ``own`` for a checkpoint without a processor config.
        side: Side in pixels of the images that the encoder was trained on.
        dictated: Arguments that hold whatever the checkpoint says, of any class that knows them.
    """

    own: ProcessorClass
    fitting: Values
    side: int
    dictated: Values


def resolve_settings(block: ImageProcessorConfig, folder: Path | None, needs: Needs) -> ProcessorSettings:
    """Resolve an encoder's image processor.

    Args:
        block: The config's ``image_processor``.
        folder: The checkpoint's folder; None if there is none at hand.
        needs: What the encoder needs.

    Raises:
        ConfigError: If the config sets what the processor does not know, or what does not work.
        WeightsError: If the checkpoint's processor config is broken, names a class that is not known or makes
            other inputs than the encoder's, or has values that do not work.
    """
    saved = SavedProcessor.read(folder)
    name, origin = _type(block, saved, needs.own)
    chosen = PROCESSOR_CLASSES[name]
    values, origins = dict(chosen.defaults), dict.fromkeys(chosen.defaults, _CLASS)

    def take(layer: Values, where: str) -> None:
        known = {key: value for key, value in layer.items() if key in chosen.arguments}
        values.update(known)
        origins.update(dict.fromkeys(known, where))

    if saved.file is not None:
        try:
            take(canonical(chosen, saved.values), saved.file.name)
        except ValueError as error:
            raise WeightsError(_unusable(saved.file, error)) from error
    elif name == needs.own.name:
        take(canonical(chosen, needs.fitting), _ENCODER)
    elif chosen.fit is not None:
        take(chosen.fit(needs.side), _ENCODER)
    if name == "PixtralImageProcessor" and saved.patch_size is not None:
        take({"patch_size": saved.patch_size}, PROCESSOR_FILES[0])
    take(needs.dictated, _ENCODER)
    take(_from_config(chosen, block, values), _CONFIG)
    settings = ProcessorSettings(name, values, {"type": origin, **origins}, saved.file)
    _check(settings)
    return settings


def overlaid(settings: ProcessorSettings, block: ImageProcessorConfig) -> ProcessorSettings:
    """Lay a config's ``image_processor`` over settings that were resolved before.

    Args:
        settings: Of an encoder.
        block: What wins over them. Of another class, values that it knows are kept.

    Raises:
        ConfigError: If the config sets what the processor does not know, or what does not work.
    """
    chosen = PROCESSOR_CLASSES[block.type or settings.type]
    if chosen.inputs != settings.processor_class.inputs:
        message = f"{chosen.name} does not make what {settings.type} makes"
        raise ConfigError(Problem("VC212", message, "image_processor.type"))
    values, origin = dict(chosen.defaults), dict.fromkeys(chosen.defaults, _CLASS)
    known = {key: value for key, value in settings.values.items() if key in chosen.arguments}
    own = _from_config(chosen, block, values | known)
    origin |= {key: settings.origin[key] for key in known} | dict.fromkeys(own, _CONFIG)
    origin["type"] = _CONFIG if block.type else settings.origin["type"]
    merged = ProcessorSettings(chosen.name, values | known | dict(own), origin, settings.file)
    _check(merged)
    return merged


def _from_config(chosen: ProcessorClass, block: ImageProcessorConfig, values: Values) -> Values:
    if unknown := block.unknown_keys(chosen.name):
        raise ConfigError([Problem("VC212", text, f"image_processor.{key}") for key, text in unknown])
    return from_config(chosen, block, values)


def _type(block: ImageProcessorConfig, saved: SavedProcessor, own: ProcessorClass) -> tuple[str, str]:
    """Return the class's name, and where it came from."""
    fitting = ", ".join(cls.name for cls in PROCESSOR_CLASSES.values() if cls.inputs == own.inputs)
    if block.type is not None:
        if PROCESSOR_CLASSES[block.type].inputs != own.inputs:
            message = f"{block.type} does not make what this encoder takes; take {fitting}"
            raise ConfigError(Problem("VC212", message, "image_processor.type"))
        return block.type, _CONFIG
    if saved.file is None or saved.type is None:
        return own.name, _CLASS
    name = plain_name(saved.type)
    if name in PROCESSOR_CLASSES and PROCESSOR_CLASSES[name].inputs == own.inputs:
        return name, saved.file.name
    if name in PROCESSOR_CLASSES:
        what = f"{saved.type!r} does not make what this encoder takes"
    else:
        what = f"the image processor {saved.type[:80]!r} is not known{did_you_mean(name, PROCESSOR_CLASSES)}"
    raise WeightsError(f"{saved.file}: {what}; set image_processor.type in the config to one of {fitting}")


def _check(settings: ProcessorSettings) -> None:
    """Try the settings on a size, because a checkpoint's values are of any type.

    Raises:
        ConfigError: If they do not work, and some are of the config.
        WeightsError: If they do not work.
    """
    try:
        rule_of(settings.type, settings.values)(64, 48)
    except InputError:  # that size is refused, and others may not be
        return
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        if _CONFIG in settings.origin.values() and settings.origin["type"] != _CONFIG:
            raise ConfigError(Problem("VC212", f"does not work: {error}", "image_processor")) from error
        raise WeightsError(_unusable(settings.name, error)) from error


def _unusable(where: object, error: Exception) -> str:
    return f"{where}: not a usable image processor config: {error}"


def to_config(settings: ProcessorSettings) -> dict[str, Any]:
    """Return the keys of a config for values of the checkpoint's that are not their class's defaults."""
    known, defaults = settings.processor_class.keys, settings.processor_class.defaults
    differ = {
        key: value
        for key, value in settings.values.items()
        if settings.origin[key] in PROCESSOR_FILES and value != defaults.get(key) and value is not None
    }
    names = {number: name for name, number in RESAMPLE.items()}
    block: dict[str, Any] = {}
    if "size" in differ and "size" in known:
        block["size"] = differ["size"]
    if "patch_size" in differ and "patch_size" in known:
        block["patch_size"] = differ["patch_size"]["height"]
    if differ.get("resample") in names:
        block["resample"] = names[differ["resample"]]
    for key, argument in (("mean", "image_mean"), ("std", "image_std")):
        if isinstance(differ.get(argument), list) and key in known:
            block[key] = differ[argument]
    if "crop" in known and differ.keys() & {"do_center_crop", "crop_size"}:
        crops = settings.values.get("do_center_crop")
        block["crop"] = settings.values["crop_size"] if crops else False
    if "do_pad" in differ and "pad" in known:
        block["pad"] = bool(differ["do_pad"])
    return block


@dataclass(frozen=True)
class SavedProcessor:
    """A checkpoint's processor config.

    Attributes:
        file: The file that has the image processor's values; None if none has.
        values: Those values.
        patch_size: What Pixtral's processor has its image processor round sides to.
    """

    file: Path | None
    values: Values
    patch_size: dict[str, int] | None = None

    @property
    def type(self) -> str | None:
        """The class that it names; None if it names none."""
        named = [self.values.get(key) for key in ("image_processor_type", "feature_extractor_type")]
        return next((name for name in named if isinstance(name, str)), None)

    @classmethod
    def read(cls, folder: Path | None) -> SavedProcessor:
        """Read it from a checkpoint's folder.

        Raises:
            WeightsError: If a file is broken.
        """
        whole = {name: _content(folder / name) if folder is not None else None for name in PROCESSOR_FILES}
        whole_processor, alone = (whole[name] for name in PROCESSOR_FILES)
        nested = (whole_processor or {}).get("image_processor")
        if folder is None or (nested is None and alone is None):
            return cls(None, {})
        file = folder / PROCESSOR_FILES[1 if nested is None else 0]
        values = alone if nested is None else nested
        if not isinstance(values, dict):
            raise WeightsError(f"{file}: expected the image processor's values as a JSON object")
        return cls(file, values, _rounding(whole_processor or {}))


def _content(file: Path) -> dict[str, Any] | None:
    if not file.exists():
        return None
    try:
        return read_json(file, limit=_CONFIG_BYTES)
    except OSError as error:
        raise WeightsError(f"{file}: cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise WeightsError(f"{file}: not readable as a JSON object: {error}") from error


def _rounding(processor: Values) -> dict[str, int] | None:
    """Return what Pixtral's processor, Mistral 3's too, sets in place of the image processor's value."""
    if processor.get("processor_class") != "PixtralProcessor":
        return None
    patch, merge = processor.get("patch_size", 16), processor.get("spatial_merge_size", 1)
    if not (type(patch) is int and type(merge) is int and patch > 0 and merge > 0):
        return None
    return square(patch * merge)
