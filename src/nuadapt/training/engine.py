"""The one training engine: ``transformers.Trainer`` with exact resumption, weighted losses and a quiet console.

Best weights, early stopping and the log are kept by one callback whose state travels in every checkpoint.
"""

from __future__ import annotations

import inspect
import math
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn
from torch.distributed.tensor import DTensor
from transformers import EvalPrediction, PrinterCallback, Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_callback import ExportableState

from nuadapt.errors import ConfigError, StoppedEarly
from nuadapt.models.run import use_bf16
from nuadapt.training.config import TrainingConfig
from nuadapt.training.data import BlockShuffle, EventDataset, InOrder, as_batch
from nuadapt.training.folder import RunFolder

Progress = Callable[[int, int], None]


def arguments(config: TrainingConfig, folder: RunFolder, steps_per_epoch: int, answer: str) -> TrainingArguments:
    """Settings of the Trainer for a run whose batches hold the true answers as ``answer``: labels or targets."""
    optimizer = config.optimizer
    return TrainingArguments(
        output_dir=str(folder.checkpoints),
        use_cpu=not torch.cuda.is_available(),
        bf16=use_bf16(config.precision),
        num_train_epochs=config.epochs,
        per_device_train_batch_size=config.batch_size,
        per_device_eval_batch_size=config.batch_size,
        gradient_accumulation_steps=config.accumulate,
        optim="adamw_torch",  # without decay this is Adam
        learning_rate=optimizer.lr,
        weight_decay=optimizer.weight_decay if optimizer.name == "adamw" else 0.0,
        adam_beta1=optimizer.betas[0],
        adam_beta2=optimizer.betas[1],
        max_grad_norm=optimizer.max_grad_norm,
        lr_scheduler_type="cosine" if optimizer.schedule == "cosine" else "constant_with_warmup",
        warmup_steps=round(optimizer.warmup_epochs * steps_per_epoch),
        eval_strategy="steps" if config.evaluate_steps else "epoch",
        eval_steps=min(config.evaluate_steps, config.epochs * steps_per_epoch) or None,
        save_strategy="no",  # Keeper decides when
        logging_steps=config.log_every,
        logging_nan_inf_filter=False,  # Keeper stops the run instead of hiding it
        label_names=[answer, "weight"],
        remove_unused_columns=False,
        dataloader_pin_memory=torch.cuda.is_available(),
        ddp_find_unused_parameters=True,  # a ViT that learns classes alone never asks its auxiliary head
        report_to="none",
        disable_tqdm=True,
        seed=config.seed,
        dataloader_num_workers=config.workers,
        # Starting an epoch's readers draws from the random state that dropout uses; persistent ones would not.
        dataloader_persistent_workers=False,
    )


def validation_metrics(prediction: EvalPrediction) -> dict[str, float]:
    """Weighted cross-entropy and accuracy of class scores (N, C), in float64, independent of batches.

    A model that also learns something else gives further terms of the loss (N,) beside the scores; their mean is
    ``val_further``, and part of the loss.
    """
    labels, weight = (np.asarray(part) for part in prediction.label_ids)
    given: Any = prediction.predictions
    answers, *further = given if isinstance(given, tuple) else (given,)
    scores = torch.from_numpy(np.asarray(answers, dtype=np.float64))
    ce = F.cross_entropy(scores, torch.from_numpy(labels).long(), reduction="none").numpy()
    right = scores.argmax(1).numpy() == labels
    weight = weight.astype(np.float64)
    total = weight.sum()
    beside = float((weight * np.sum(further, axis=0, dtype=np.float64)).sum() / total)
    found = {
        "val_loss": float((weight * ce).sum() / total) + beside,
        "val_accuracy": float((weight * right).sum() / total),
    }
    return found | ({"val_further": beside} if further else {})


def energy_metrics(prediction: EvalPrediction) -> dict[str, float]:
    """Weighted smooth L1 distance of ln(1 + E / GeV), and the interquartile range of answer over truth, in float64."""
    targets, weight = (np.asarray(part, dtype=np.float64) for part in prediction.label_ids)
    energy = np.asarray(prediction.predictions, dtype=np.float64)
    off = F.smooth_l1_loss(
        torch.from_numpy(energy).log1p(), torch.from_numpy(targets).log1p(), reduction="none"
    ).numpy()
    ratio = energy[targets > 0] / targets[targets > 0]
    low, high = np.quantile(ratio, [0.25, 0.75]) if len(ratio) else (math.nan, math.nan)
    return {"val_loss": float((weight * off).sum() / weight.sum()), "val_spread": float(high - low)}


#: By what stands in a batch as the true answer: how validation is measured, and the name of what is shown beside loss.
MEASURES = {"labels": (validation_metrics, "val_accuracy"), "targets": (energy_metrics, "val_spread")}


def save_weights(model: nn.Module | Mapping[str, torch.Tensor], folder: Path) -> None:
    """``model.safetensors`` in ``folder``, of a model or its state, which appears complete or not at all."""
    beside = folder.with_name(f".{folder.name}")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    state: Mapping[str, torch.Tensor] = model.state_dict() if isinstance(model, nn.Module) else model
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    save_file(tensors, beside / "model.safetensors", metadata={"format": "pt"})
    shutil.rmtree(folder, ignore_errors=True)
    beside.rename(folder)


def is_spread(model: nn.Module) -> bool:
    """Whether processes hold only their parts of the weights (FSDP): then none has a model to load, merge or save."""
    return any(isinstance(parameter, DTensor) for parameter in model.parameters())


class Keeper(TrainerCallback, ExportableState):
    """Keeps the best weights, stops early, decides when to save, writes the log and reports progress."""

    def __init__(
        self, config: TrainingConfig, folder: RunFolder, progress: Progress | None = None, answer: str = "labels"
    ) -> None:
        self.config, self.folder, self.progress = config, folder, progress
        self.score = MEASURES[answer][1]
        self.gather: Callable[[nn.Module], Mapping[str, torch.Tensor]] = nn.Module.state_dict  # Engine knows of shards
        self.best_loss, self.best_score = math.inf, math.nan
        self.best_step: int | None = None
        self.best_epoch = 0.0
        self.worse, self.epochs = 0, 0.0  # validations without improvement; epochs seen at the last one
        self.asked_to_stop = self.stopping = False
        self.seconds = 0.0  # of training in earlier processes of this run
        self._since = self._saved = self._logged = time.monotonic()
        self._logged_step = self._saved_step = 0

    def state(self) -> dict[str, Any]:
        """What a checkpoint remembers."""
        names = ("best_loss", "best_score", "best_step", "best_epoch", "worse", "epochs")
        attributes = {name: getattr(self, name) for name in names}
        return {"args": {}, "attributes": {**attributes, "seconds": self.wall_time()}}

    def restore(self, attributes: dict[str, Any]) -> None:
        """Inverse of :meth:`state`."""
        for name, value in attributes.items():
            setattr(self, name, value)

    def wall_time(self) -> float:
        """Seconds of training that led here, over all restarts."""
        return self.seconds + time.monotonic() - self._since

    @property
    def done(self) -> bool:
        """No epoch is left, or enough validations brought nothing."""
        return self.epochs >= self.config.epochs or self.worse >= self.config.patience

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Start the clocks."""
        self._since = self._saved = self._logged = time.monotonic()
        self._logged_step = state.global_step

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Save now and then within an epoch. Not at its last step, behind which that of the whole epoch follows."""
        if self.progress is not None:
            self.progress(state.global_step, state.max_steps)
        at_end = state.global_step % (state.max_steps // self.config.epochs) == 0
        self.stopping = _anyone(self.asked_to_stop, args)
        due = _agreed(time.monotonic() - self._saved >= 60 * self.config.checkpoint_minutes, args)
        every = self.config.checkpoint_steps
        if not at_end and (due or self.stopping or (every and state.global_step % every == 0)):
            control.should_save = True

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Save after every epoch, behind its validation; not twice, a complete checkpoint is never written over."""
        control.should_save = state.global_step != self._saved_step

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Compare with the best so far."""
        metrics: dict[str, float] = kwargs["metrics"]
        loss = metrics["eval_val_loss"]
        if not math.isfinite(loss):
            raise _diverged(state.global_step)
        self.epochs = round(float(state.epoch), 4)
        if loss < self.best_loss:
            self.best_loss, self.best_score = loss, metrics[f"eval_{self.score}"]
            self.best_step, self.best_epoch, self.worse = state.global_step, self.epochs, 0
            whole = self.gather(kwargs["model"])  # by all processes: each may hold a part
            if state.is_world_process_zero:
                save_weights(whole, self.folder.best(state.global_step))
        else:
            self.worse += 1
        control.should_training_stop = control.should_training_stop or self.done

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """The checkpoint's files are written: declare it complete, then drop older ones."""
        self._saved, self._saved_step = time.monotonic(), state.global_step
        if state.is_world_process_zero:
            self.folder.mark(state.global_step)
            self.folder.tidy(self.best_step)
        if self.stopping or _anyone(self.asked_to_stop, args):  # asked during this epoch's validation, even the last
            raise StoppedEarly(
                f"training was asked to stop and did after {state.global_step} updates, which are saved",
                where=self.folder.path,
                next_step="Give the same command again to go on",
            )

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """One line of log.jsonl."""
        logs: dict[str, float] = kwargs["logs"]
        if "loss" in logs and not math.isfinite(logs["loss"]):
            raise _diverged(state.global_step)
        line: dict[str, Any] = {"step": state.global_step, "epoch": round(logs.get("epoch", 0.0), 4)}
        if "loss" in logs:
            now, steps = time.monotonic(), state.global_step - self._logged_step
            events = steps * self.config.batch_size * self.config.accumulate * args.world_size
            rate = events / max(now - self._logged, 1e-9)
            line |= {"loss": logs["loss"], "lr": logs["learning_rate"], "events_per_s": round(rate, 1)}
            self._logged, self._logged_step = now, state.global_step
        elif "eval_val_loss" in logs:
            line |= {name.removeprefix("eval_"): value for name, value in logs.items() if name.startswith("eval_val_")}
            self._logged = time.monotonic()
        else:
            return
        if state.is_world_process_zero:
            self.folder.add_log(line)


def _agreed(mine: bool, args: TrainingArguments) -> bool:
    """The first process's answer: clocks differ between processes, and all must save together."""
    if args.world_size <= 1:
        return mine
    answer = torch.tensor(float(mine), device=args.device)
    torch.distributed.broadcast(answer, src=0)
    return bool(answer.item())


def _anyone(mine: bool, args: TrainingArguments) -> bool:
    """Whether any process answers yes: a scheduler may signal only some of them, and all must stop together."""
    if args.world_size <= 1:
        return mine
    answer = torch.tensor(float(mine), device=args.device)
    torch.distributed.all_reduce(answer, op=torch.distributed.ReduceOp.MAX)
    return bool(answer.item())


def _diverged(step: int) -> ConfigError:
    return ConfigError(
        f"the loss is not a finite number after {step} updates",
        next_step="Use a smaller optimizer.lr, or precision=float32, in a new run folder",
    )


def _check_takes(model: nn.Module, train: EventDataset) -> None:
    """Raise if the batches hold what the model cannot learn."""
    if getattr(train, "auxiliary", False) and "targets" not in inspect.signature(model.forward).parameters:
        raise ConfigError("this model learns no visible truth beside the class", expected="auxiliary=false")


def rate_of(name: str, factors: Mapping[str, float]) -> float:
    """Learning rate of a parameter relative to that of the settings: of the first part of names that is in its name.

    >>> rate_of("body.embed.weight", {"body.embed": 1.0, "body.": 0.1}), rate_of("head.weight", {"body.": 0.1})
    (1.0, 1.0)
    """
    return next((factor for part, factor in factors.items() if part in name), 1.0)


class Engine(Trainer):
    """``transformers.Trainer`` with the order of events, the weighted loss and whole checkpoints of nuadapt."""

    def __init__(
        self,
        model: nn.Module,
        train: EventDataset,
        val: EventDataset,
        keeper: Keeper,
        args: TrainingArguments,
        rates: Mapping[str, float],
    ) -> None:
        _check_takes(model, train)
        self._train_rows, self._rates = train.sample.rows, dict(rates)
        super().__init__(
            model=model,
            args=args,
            data_collator=as_batch,
            train_dataset=train,
            eval_dataset=val,
            compute_metrics=MEASURES[str(args.label_names[0] if args.label_names else "labels")][0],
            callbacks=[keeper],
        )
        keeper.gather = self.accelerator.get_state_dict
        self.model_accepts_loss_kwargs = True  # the loss is divided by the weight of all accumulated batches
        self.remove_callback(PrinterCallback)

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """The optimizer, with the factors of learning rates by part of name: the first that fits counts."""
        if self.optimizer is None:
            of: Any = model if model is not None else self.model
            decayed = set(self.get_decay_parameter_names(of))
            groups: dict[tuple[float, float], list[nn.Parameter]] = {}
            for name, parameter in of.named_parameters():
                if parameter.requires_grad:
                    decay = self.args.weight_decay if name in decayed else 0.0
                    groups.setdefault((rate_of(name, self._rates), decay), []).append(parameter)
            kind, settings = self.get_optimizer_cls_and_kwargs(self.args, of)
            self.optimizer = kind(
                [{"params": p, "weight_decay": d, "lr": f * self.args.learning_rate} for (f, d), p in groups.items()],
                **settings,
            )
        return self.optimizer

    def _get_train_sampler(self, train_dataset: Any = None) -> BlockShuffle:
        return BlockShuffle(self._train_rows, self.args.seed)

    def _get_eval_sampler(self, eval_dataset: Any) -> InOrder:
        return InOrder(len(eval_dataset))

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: torch.device) -> torch.Tensor | None:
        """Total weight of all batches of one update, over all processes."""
        if not batch_samples:
            return None
        total = torch.stack([batch["weight"].sum() for batch in batch_samples]).sum().to(device)
        if self.args.world_size > 1:
            total = self.accelerator.gather(total).sum()
        return total

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The model's own loss; in training divided by the weight of the whole update."""
        outputs = model(**inputs, total=num_items_in_batch)
        loss = outputs["loss"]
        if num_items_in_batch is not None:
            loss = loss * self.accelerator.num_processes  # gradients are averaged over processes
        return (loss, outputs) if return_outputs else loss

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        super()._save_checkpoint(model, trial)
        self.accelerator.wait_for_everyone()  # Keeper declares the checkpoint complete only after all have written

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        super()._save(output_dir, state_dict)
        # The pickled arguments that Trainer leaves are never read; the run folder has its settings as YAML.
        if output_dir is not None:
            (Path(output_dir) / "training_args.bin").unlink(missing_ok=True)
