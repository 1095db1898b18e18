"""Image classifiers and encoders of transformers, from a folder or by name."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from kmex_core.base.errors import InputError
from kmex_core.base.jsontext import read_json
from kmex_core.data.preprocessing import Preprocessing
from kmex_core.networks.architecture_source import ArchitectureSource, Plan, Proposal, missing
from kmex_core.networks.hub import offline_if_unreachable

WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
SHARDS = "model-*.safetensors"
MOST_JSON = 16 * 2**20
CLASSIFIER = "ForImageClassification"
RESAMPLE = {0: "nearest", 2: "bilinear", 3: "bicubic"}  # Pillow's numbers
OPTIONAL = ("pooler.", "vit.pooler.")  # new in encoders that were saved as parts of classifiers
QUANTISED = "quantization_config"


class HuggingFace(ArchitectureSource):
    """Classifiers and encoders of the library transformers. Code that a repository brings along is never run."""

    name = "hf"
    title = "Hugging Face"
    about = "a folder with config.json and weights, or a name on the Hugging Face Hub, such as hf:facebook/dinov2-small"
    reads = "folder"
    needs = ("transformers",)
    extra = "hf"

    def propose(self, name: str, outputs: int | None, own_weights: bool = False) -> Proposal:
        """See `ArchitectureSource.propose`. Image size and channels are those of the configuration."""
        folder = _folder(name)
        config = _json(folder / "config.json")
        if config is None:
            raise InputError(f"{folder} has no config.json: it is no folder of the library transformers.")
        if "auto_map" in config:
            raise InputError(
                f"{name} needs Python code that its repository brings along, which is never run. If you trust it, "
                "build the network in a function of your own and pass it as module:function."
            )
        if QUANTISED in config:
            raise InputError(f"{name} is quantised. Save it with weights of 16 or 32 bits, and import that.")
        if (folder / "adapter_config.json").is_file():
            raise InputError(
                f"{name} holds a LoRA adapter. Merge it (`model.merge_and_unload()`) and save the network."
            )
        classifier = _is_classifier(config)
        classes = (_labels(config) if outputs is None else outputs) if classifier else 0
        details: dict[str, Any] = {"config": config, "classifier": classifier, **input_of(config)}
        if classifier and classes != _labels(config):
            details["labels"] = classes
        weights = not own_weights and any((folder / file).is_file() for file in WEIGHTS)
        module = _made(details, folder if weights else None)
        names = config.get("id2label") if classifier and "labels" not in details else None
        return Proposal(
            module,
            details,
            classes,
            preprocessing_of(_json(folder / "preprocessor_config.json"), config),
            tuple(str(names[key]) for key in sorted(names, key=int)) if isinstance(names, dict) else (),
            weights,
            notes=()
            if weights or own_weights
            else (f"{folder} has no weights ({WEIGHTS[0]}): save them with save_pretrained().",),
        )

    def build(self, plan: Plan, arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """See `ArchitectureSource.build`."""
        return _made(plan.details)


def _transformers() -> Any:
    try:
        library = importlib.import_module("transformers")
    except ImportError:
        raise missing("transformers", "hf") from None
    for quiet in (library.logging.set_verbosity_error, library.logging.disable_progress_bar):
        quiet()
    return library


def input_of(config: Mapping[str, Any]) -> dict[str, int]:
    """Channels and sides of the input, where the configuration has them."""
    given = config.get("vision_config") if isinstance(config.get("vision_config"), dict) else config
    assert isinstance(given, Mapping)
    size = given.get("image_size")
    height, width = size if isinstance(size, list | tuple) and len(size) == 2 else (size, size)
    found = {"channels": given.get("num_channels"), "height": height, "width": width}
    return {name: value for name, value in found.items() if isinstance(value, int)}


def _folder(name: str) -> Path:
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    try:
        hub = importlib.import_module("huggingface_hub")
    except ImportError:
        raise missing("transformers", "hf") from None
    try:
        with offline_if_unreachable():
            return Path(hub.snapshot_download(name, allow_patterns=["*.json", WEIGHTS[0], SHARDS]))
    except Exception as error:  # it raises errors of several libraries
        raise InputError(
            f"There is no folder {name}, and no such network could be had from the Hugging Face Hub "
            f"({type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]})."
        ) from error


def _json(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    if path.stat().st_size > MOST_JSON:
        raise InputError(f"{path} has more than {MOST_JSON // 2**20} MB.")
    try:
        value = read_json(path.read_bytes())
    except ValueError as error:
        raise InputError(f"{path} is not valid JSON ({error}).") from error
    if not isinstance(value, dict):
        raise InputError(f"{path} is not the description of a network.")
    return value


def _is_classifier(config: Mapping[str, Any]) -> bool:
    names = config.get("architectures") or []
    return any(isinstance(name, str) and CLASSIFIER in name for name in names)


def _labels(config: Mapping[str, Any]) -> int:
    return len(config.get("id2label") or {0: "", 1: ""})  # two are the library's default


def _made(details: Mapping[str, Any], folder: Path | None = None) -> nn.Module:
    """The network of a configuration: of a model for pictures and texts that of the pictures.

    Args:
        details: the configuration, whether it is a classifier, and its number of classes if that is another.
        folder: where its weights are, in safetensors files alone (the library knows their earlier names); new weights
            when None.
    """
    transformers = _transformers()
    given = dict(details["config"])
    if isinstance(given.get("vision_config"), dict):
        given = given["vision_config"]
    try:
        config = transformers.AutoConfig.for_model(**given)
        if "labels" in details:
            config.num_labels = int(details["labels"])
        kind = transformers.AutoModelForImageClassification if details["classifier"] else transformers.AutoModel
        if folder is None:
            module: nn.Module = kind.from_config(config, trust_remote_code=False)
        else:
            module, report = kind.from_pretrained(
                folder,
                config=config,
                use_safetensors=True,
                trust_remote_code=False,
                local_files_only=True,
                ignore_mismatched_sizes="labels" in details,
                output_loading_info=True,
                dtype=torch.float32,
            )
            missing = [name for name in report["missing_keys"] if not name.startswith(OPTIONAL)]
            if missing:
                raise InputError(f"The weights in {folder} lack {len(missing)} tensors ({', '.join(missing[:3])}).")
    except (ValueError, KeyError, TypeError, ImportError, RuntimeError, OSError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"transformers {transformers.__version__} cannot build this network "
            f"({(str(error).splitlines() or [''])[0][:300]})."
        ) from error
    return module


def preprocessing_of(given: Mapping[str, Any] | None, config: Mapping[str, Any]) -> Preprocessing | None:
    """What preprocessor_config.json says, in any of the ways in which it has been said."""
    if given is None:
        return None
    if isinstance(config.get("vision_config"), dict):
        config = config["vision_config"]
    size, crop = _sides(given.get("size")), _sides(given.get("crop_size"))
    asked = config.get("image_size", 224)
    side = tuple(asked) if isinstance(asked, list | tuple) else (asked, asked)
    channels = int(config.get("num_channels", 3))
    mean = given.get("image_mean", [0.5] * channels) if given.get("do_normalize", True) else [0.0] * channels
    std = given.get("image_std", [0.5] * channels) if given.get("do_normalize", True) else [1.0] * channels
    white = 255 * float(given.get("rescale_factor", 1 / 255)) if given.get("do_rescale", True) else 255.0
    height, width, resize, shorter = *side, "squeeze", 0
    if given.get("do_center_crop") and crop and len(crop) == 2:
        height, width = crop
        resize, shorter = "shorter", size[0] if size else min(crop)
    elif size and len(size) == 2:
        height, width = size
    elif size:  # the shorter side alone; ConvNeXt's says what share of it is cut out
        share = float(given.get("crop_pct") or 1.0)
        height = width = size[0]
        resize, shorter = "shorter", int(size[0] / share)
    return Preprocessing(
        int(height),
        int(width),
        channels,
        tuple(map(float, mean)),
        tuple(map(float, std)),
        resize,
        shorter,
        RESAMPLE.get(given.get("resample", 2), "bicubic"),
        white=round(white, 6),
        inputs=channels,
    )


def _sides(value: Any) -> tuple[int, ...]:
    """(H, W), or one number for the shorter side, or nothing."""
    if isinstance(value, dict):
        if "height" in value:
            return int(value["height"]), int(value["width"])
        return (int(value["shortest_edge"]),) if "shortest_edge" in value else ()
    if isinstance(value, int):
        return value, value
    return tuple(map(int, value)) if isinstance(value, list | tuple) and len(value) == 2 else ()
