"""A model card: a README with a YAML header, in the format of Hugging Face's hub."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence

from kmex_core.analysis import published
from kmex_core.analysis.comparison import chance_sentences
from kmex_core.analysis.tables.metric_lines import metric_lines
from kmex_core.base.plain_text import markdown, plain, yaml
from kmex_core.base.provenance import __version__
from kmex_core.data import registry
from kmex_core.data.dataset import ImageDataset
from kmex_core.metrics.catalogue import METRICS
from kmex_core.metrics.types import Evaluation
from kmex_core.models.info import ModelInfo
from kmex_core.models.kinds import MODEL_KINDS
from kmex_core.prototypes.metric import AUTO
from kmex_core.prototypes.operations import words
from kmex_core.prototypes.source import KMeans, PrototypeSource, Version, edited_note, per_class_words
from kmex_core.prototypes.types import Conversion, fewer_prototypes

TAGS = ("image-classification", "explainable-ai", "prototypes", "kmex")
# metrics of ours that the hub knows by these names
KNOWN = {"accuracy": "accuracy"}
BIBTEX = """@article{gautam2024prototypical,
  title   = {Prototypical Self-Explainable Models Without Re-training},
  author  = {Gautam, Srishti and Boubekki, Ahcene and Höhne, Marina M. C. and Kampffmeyer, Michael C.},
  journal = {Transactions on Machine Learning Research},
  year    = {2024}
}"""


def model_card(
    info: ModelInfo,
    data: ImageDataset,
    source: PrototypeSource,
    conversion: Conversion,
    evaluation: Evaluation,
    notes: Sequence[str],
) -> str:
    """The card of a model with its prototypes. Every limitation in it is computed; names are escaped.

    Args:
        info, data: the model and its data.
        source, conversion: its prototypes.
        evaluation: of them.
        notes: what to know about results on the data.
    """
    title = source.title(MODEL_KINDS[info.kind].title)
    return "\n".join(
        [
            *_header(info, data, title, evaluation),
            f"# {markdown(info.name)}",
            "",
            *_about(info, data, source),
            *_edits(info, source),
            *_section("Classes", [", ".join(markdown(name) for name in info.class_names) + "."]),
            *_section("Preprocessing", _preprocessing(info)),
            *_section("Evaluation", _evaluation(data, title, evaluation)),
            *_section("Limitations", _list(_limitations(info, data, source, conversion, evaluation, notes))),
            *_section("How to use it", _use(info, source)),
            *_section("Citation", ["```bibtex", BIBTEX, "```"]),
        ]
    )


def _section(title: str, lines: Iterable[str]) -> list[str]:
    return [f"## {title}", "", *lines, ""]


def _list(sentences: Iterable[str]) -> list[str]:
    return [f"- {sentence}" for sentence in sentences]


def _header(info: ModelInfo, data: ImageDataset, title: str, evaluation: Evaluation) -> list[str]:
    """The YAML header; texts are quoted, and a data set is named as the hub allows."""
    name = registry.title(info.dataset)
    slug = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.").lower() or "images"
    lines = [
        "---",
        f"library_name: {yaml('kmex-explorer')}",
        f"pipeline_tag: {yaml('image-classification')}",
        "tags:",
        *(f"- {yaml(tag)}" for tag in TAGS),
        "datasets:",
        f"- {yaml(slug)}",
        "metrics:",
        *(f"- {yaml(known)}" for known in KNOWN.values()),
        "model-index:",
        f"- name: {yaml(info.name)}",
        "  results:",
        "  - task:",
        f"      type: {yaml('image-classification')}",
        "    dataset:",
        f"      name: {yaml(name)}",
        f"      type: {yaml(slug)}",
        f"      split: {yaml(data.test_from)}",
        "    metrics:",
    ]
    for metric, kind in METRICS.items():
        for key, whose in ((metric, title), (kind.black_box, "black box")):
            value = evaluation.metrics.get(key)
            if value is not None and value.mean is not None and not kind.chance_of:
                lines += [
                    f"    - type: {yaml(KNOWN.get(metric, metric))}",
                    f"      name: {yaml(f'{kind.title}, {whose}')}",
                    f"      value: {value.mean:.6g}",
                ]
    return [*lines, "---", ""]


def _about(info: ModelInfo, data: ImageDataset, source: PrototypeSource) -> list[str]:
    column = f" (class column {markdown(info.class_column)})" if info.class_column else ""
    does = "that classifies" if info.predicts else "with prototypes that classify"
    sentences = [
        f"A {markdown(info.backbone)} {does} {markdown(registry.title(info.dataset))}{column} into "
        f"{len(info.class_names):,} classes.",
        *filter(None, [info.role]),
    ]
    if not source.built_in:
        k = source.base.k if isinstance(source, Version) else source.per_class(info.k)
        then = ", which people then edited" if isinstance(source, Version) else ""
        sentences.append(
            "KMEx makes it self-explainable without retraining: k-means finds "
            f"{per_class_words(k)} among the training images in the network's embedding{then}, and a new image gets "
            "the class of its nearest prototype."
        )
    else:
        sentences.append(MODEL_KINDS[info.kind].about)
    train, test = len(data.split("train")), len(data.split("test"))
    sentences.append(f"Its prototypes come from {train:,} training images; it was measured on {test:,} test images.")
    return [" ".join(sentences), ""]


def _edits(info: ModelInfo, source: PrototypeSource) -> list[str]:
    """The history of a version."""
    if not isinstance(source, Version):
        return []
    head = f"People edited these prototypes; this is the version '{source.name}'. They are numbered as k-means "
    return _section(
        "Edits",
        [
            f"{markdown(head)} found them, from 0, and new ones follow:",
            "",
            *(f"{n}. {markdown(words(each, info.class_names))}" for n, each in enumerate(source.operations, 1)),
        ],
    )


def _preprocessing(info: ModelInfo) -> list[str]:
    return [f"From a picture to the network's input: {info.preprocessing.words()}."]


def _evaluation(data: ImageDataset, title: str, evaluation: Evaluation) -> list[str]:
    lines = metric_lines(evaluation, len(data.class_names))
    both = any(line.black_box for line in lines)
    origin = {"held out": "held out from the training images"}.get(data.test_from, f"the {data.test_from} split")
    head = ["Metric", title, *(["Black box"] if both else []), "To compare with"]
    rows = []
    for line in lines:
        value = f"{line.value} {line.interval}".strip()
        rows.append([line.metric.heading, value, *([line.black_box] if both else []), "; ".join(line.chance)])
    table = [head, ["---"] * len(head), *rows]
    maps = f", those on relevance maps on {evaluation.images:,}" if evaluation.images else ""
    return [
        f"On {evaluation.test_images:,} test images ({origin}){maps}. ↑ higher is better, ↓ lower is better. Ranges in "
        "parentheses are 95% Wilson intervals; what a ± is over follows it.",
        "",
        *(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in table),
        "",
        *_list(markdown(sentence) for sentence in chance_sentences(evaluation)),
    ]


def _limitations(
    info: ModelInfo,
    data: ImageDataset,
    source: PrototypeSource,
    conversion: Conversion,
    evaluation: Evaluation,
    notes: Sequence[str],
) -> list[str]:
    """What to know before relying on it, all of it computed."""
    prototypes, summary = conversion.prototypes, conversion.summary
    sentences = list(notes)
    if isinstance(source, Version):
        sentences.append(edited_note(source, prototypes, info.class_names))
    elif isinstance(source, KMeans):
        sentences.append(fewer_prototypes(prototypes, info.class_names, source.k))
    if not source.built_in:
        if summary.accuracy_black_box is not None and summary.accuracy_black_box > summary.accuracy_kmex:
            lost = 100 * (summary.accuracy_black_box - summary.accuracy_kmex)
            sentences.append(f"KMEx is {lost:.1f} points less accurate than the black box on the test images.")
        if summary.agreement is not None:
            differ = round((1 - summary.agreement) * summary.images)
            sentences.append(f"KMEx and the black box differ on {differ:,} of {summary.images:,} test images.")
    else:
        sentences.append(info.prototype_caveat)
    if ghosts := int(prototypes.ghost.sum()):
        sentences.append(
            f"{ghosts:,} of {len(prototypes):,} prototypes are ghosts: nearest to no training image of their class."
        )
    reasons = dict.fromkeys(value.reason for value in evaluation.metrics.values() if value.reason)
    sentences += [f"Not every metric can be computed. {reason}" for reason in reasons]
    if not evaluation.images:
        sentences.append("Whether its relevance maps are faithful was not measured.")
    sentences.append(f"It knows {len(data.class_names):,} classes and names one of them for any image.")
    return [markdown(sentence) for sentence in sentences if sentence]


def _use(info: ModelInfo, source: PrototypeSource) -> list[str]:
    name = plain(info.name)
    convert = ""
    if isinstance(source, KMeans):
        convert = f"kmex convert --model {name} --k {source.slug}"
        convert += f" --metric {source.metric}" if source.metric != AUTO else ""
    alone = []
    if not source.built_in:
        file = f"{name}.kmex"
        chosen = f" --version {shlex.quote(plain(source.name))}" if isinstance(source, Version) else ""
        alone = [
            "",
            "In Python, from one file:",
            "",
            "```sh",
            f"kmex export --model {name}{chosen} --kmex {file} --weights",
            "```",
            "",
            "```python",
        ]
        alone += [f'KMEx.load("{file}").explain("photo.jpg")', "```"]
    made = str(info.made_by.get("command") or info.made_by.get("imported", {}).get("command", ""))
    return [
        f"With KMEx Explorer {__version__}, the weights as "
        f"`{name}.safetensors` (`kmex export --model {name} --out {name}.safetensors`) and the data set in place:",
        "",
        "```sh",
        f"kmex import --checkpoint {name}.safetensors --name {name}",
        *filter(None, [convert]),
        "kmex app",
        "```",
        *alone,
        *(["", "It was made with:", "", f"    {plain(made)}"] if made else []),
        "",
        f"The method: {markdown(published.source()[0])}",
    ]
