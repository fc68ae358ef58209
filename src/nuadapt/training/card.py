"""The model card of a run, in Markdown, from its record alone."""

from __future__ import annotations

from typing import Any

from nuadapt.events.tasks import titles_of


def model_card(record: dict[str, Any]) -> str:
    """What the model is, what it reads, what it learned from, and what to keep in mind."""
    events = record["data"]["events"]
    unlabelled = events["without_label"]
    titles = titles_of(record["classes"] or [record["task"].get("energy", "")], record["task"])
    lines = [
        f"# {record['preset']} for {', '.join(titles.values())}",
        "",
        f"Network `{record['preset']}` with {record['parameters']['total']:,} parameters, trained by nuadapt "
        f"{record['versions'].get('nuadapt', '')}.",
        "",
        "## Input",
        "",
        *_input(record["spec"], record["input"]),
        "",
        "## Training",
        "",
        *(f"- {name} events: {_counts(events[name], titles)}" for name in ("train", "val")),
        f"- left out because their answer is not known: {unlabelled['train']} train, {unlabelled['val']} val",
        f"- {_learned(record)}",
        *_began(record["config"]),
        f"- seed {record['seed']}, {'bfloat16 with float32 normalisation' if record['bf16'] else 'float32'}",
        f"- data fingerprint `{record['data']['fingerprint'][:16]}`",
        "",
        "## Keep in mind",
        "",
        "- Probabilities hold for events like those of training: same detector response, same class shares.",
        "- Validation figures chose this model; quote figures of the test split.",
        "- Equal settings give equal weights on the same machine with the same number of threads.",
        "",
        "Use: `nuadapt evaluate RUN --data EVENTS.h5 --out DIR`. All settings: `config.yaml`, `record.json`.",
    ]
    return "\n".join(lines) + "\n"


def _input(spec: dict[str, Any], reads: dict[str, Any]) -> list[str]:
    """What the model reads."""
    if "types" in reads:
        return [
            f"- particle clouds: tokens of the types {', '.join(reads['types'])}",
            f"- angles in the {reads['frame']} frame, pT and energy in {reads['unit']}",
            f"- event-level features {', '.join(reads['globals']) or 'none'}",
        ]
    factor, grey = reads["coarsen"], reads["grey"]
    pitch = " x ".join(f"{p * factor:g}" for p in spec["pitch"])
    return [
        f"- views {', '.join(reads['views'])}, pixels of {pitch} {spec['axis_unit']} "
        f"({factor} x {factor} stored pixels joined)",
        f"- grey levels 0 to 1 from {spec['value_unit']}: {grey['kind']}, full at {grey['full']:g}, "
        f"knee {grey['knee']:g}",
    ]


def _learned(record: dict[str, Any]) -> str:
    """How long it was trained, and how well it did; or that it was not."""
    best = record["best"]
    if best is None:
        return f"weights are frozen; {record['config']['language']['shots']} events per class are shown as examples"
    if "val_accuracy" in best:
        score = f"accuracy {best['val_accuracy']:.4f}"
    else:
        score = f"interquartile range of answer over truth {best['val_spread']:.4f}"
    return f"{record['epochs']:g} epochs, best validation loss {best['val_loss']:.4f} ({score}) after {best['epoch']:g}"


def _began(config: dict[str, Any]) -> list[str]:
    """What other runs gave to this one, by the folders that they had."""
    parts = {"weights at the start": config["start_from"], "vision tower": config["language"]["tower"]}
    return [f"- {what} from the run `{run}`" for what, run in parts.items() if run]


def _counts(by_class: dict[str, int], titles: dict[str, str]) -> str:
    parts = ", ".join(f"{n:,} {titles[name]}" for name, n in by_class.items())
    return f"{sum(by_class.values()):,} ({parts})"
