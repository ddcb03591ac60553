"""`python -m demo.train understand --minutes 60`: trains what sees and hears; goes on where it stopped.
`vocoder` does so with what makes waves of spectra, `codec` with what makes codes of sound and spectra of
codes.

Everything a run needs lies in its folder: `vocabulary.json`, `latest.pt` (weights, state of the optimiser,
number of steps) and `log.jsonl`. A step's examples depend on its number alone.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections import defaultdict
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from demo import lessons
from demo.corpus import learn_vocabulary
from demo.network.batch import (
    N_FLAG,
    ctc_loss,
    look_loss,
    loss_of,
    sight_loss,
    sights_batch,
    sound_batch,
    sound_loss,
    talk_batch,
)
from demo.network.omni import Omni
from demo.optimiser import Optimiser
from demo.pictures.label import COLOUR, WHAT
from demo.pictures.slices import to_patches
from demo.sizes import Sizes
from demo.sounds.library import Library
from demo.speech.run import codec_run, vocoder_run
from demo.split import rng_for
from demo.vocabulary import Encoder, Vocabulary

SEED = 7
WARMUP, DECAY = 100, 0.4  # of the learning rate: steps, share of the run in which it falls to nothing
MEAN_STEPS = 300
SAVE_EACH, LOG_EACH = 50, 20  # steps
N_BEGIN = 10  # steps whose pages say what patches differ in
FRAMES = 6400  # of sound in a step, a hundred a second
CTC_SHARE, HINT_SHARE = 0.5, 0.5  # weights of second heads


class Run:
    """A folder of a training run, at the step it has come to."""

    def __init__(self, folder: Path, library: Library | None = None) -> None:
        """`library` is what it hears in training, if anything."""
        self.library = library
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        words = folder / "vocabulary.json"
        if not words.exists():
            learn_vocabulary().save(words)
        self.vocabulary = Vocabulary.load(words)
        self.encoder = Encoder(self.vocabulary)
        torch.manual_seed(SEED)
        self.omni = Omni(Sizes(len(self.vocabulary)))
        sizes = self.omni.sizes
        # Second heads, not exported: they name tokens moment by moment, and what lies in each patch.
        hearing = torch.nn.Linear(sizes.a_embd, len(self.vocabulary))
        naming = torch.nn.Linear(sizes.v_embd, len(WHAT) + len(COLOUR))
        finding = torch.nn.Linear(sizes.n_embd, N_FLAG)
        self.hints = torch.nn.ModuleDict({"hearing": hearing, "naming": naming, "finding": finding})
        self.optimiser = Optimiser(self.omni, self.hints)
        self.step = 0
        # The mean weight of the last steps, which is better than any step's: what is exported.
        self.mean = {name: values.clone() for name, values in self.omni.state_dict().items()}
        if (folder / "latest.pt").exists():
            state = torch.load(folder / "latest.pt", weights_only=True)
            self.omni.load_state_dict(state["omni"])
            self.hints.load_state_dict(state["hints"])
            self.optimiser.load(state["optimiser"])
            self.step = state["step"]
            self.mean = state["mean"]
        else:
            pages = [page for step in range(N_BEGIN) for page in lessons.pages(step)]
            patches = np.concatenate([to_patches(page.pictures[0]) for page in pages])
            self.omni.vpm.embeddings.look_at(torch.from_numpy(patches))

    def save(self) -> None:
        """Whole or not at all: a run that is killed has the checkpoint before."""
        state = {
            "omni": self.omni.state_dict(),
            "hints": self.hints.state_dict(),
            "optimiser": self.optimiser.state(),
            "mean": self.mean,
            "step": self.step,
        }
        torch.save(state, self.folder / "next.pt")
        os.replace(self.folder / "next.pt", self.folder / "latest.pt")

    def learn(self, until: int) -> dict[str, float]:
        """One step of a run that ends at step `until`; returns its losses by name."""
        with torch.autocast("cpu", torch.bfloat16):
            losses = self._losses()
        torch.stack(list(losses.values())).sum().backward()
        torch.nn.utils.clip_grad_norm_(self.omni.parameters(), 1.0)
        self.optimiser.step(min(1.0, (self.step + 1) / WARMUP, (until - self.step) / (DECAY * until)))
        self.step += 1
        weights = self.omni.state_dict()
        torch._foreach_lerp_(list(self.mean.values()), [weights[name] for name in self.mean], 1 / MEAN_STEPS)
        return {name: loss.item() for name, loss in losses.items()}

    def _losses(self) -> dict[str, torch.Tensor]:
        lesson = lessons.lesson_of(self.step, hears=self.library is not None)
        unk = self.encoder.special["<unk>"]
        if lesson in ("listen", "sound") and self.library is not None:
            chosen = self.library.draw(rng_for("train", "sounds", self.step), FRAMES)
            mels = [self.library.mels[i] for i in chosen]
            texts = [self.library.texts[i][0] for i in chosen]
            batch = sound_batch(self.encoder, mels, texts, self.library.texts[chosen[0]][1])
            states = self.omni.apm(batch.mel)
            ctc = ctc_loss(self.hints["hearing"], batch, states, self.encoder.special["<|endoftext|>"])
            if lesson == "listen":
                return {"listen": ctc}
            return {"sound": sound_loss(self.omni, batch, states, unk), "ctc": CTC_SHARE * ctc}
        if lesson == "talk":
            return {"talk": loss_of(self.omni, talk_batch(self.encoder, lessons.talk(self.step)), unk)}
        if lesson == "page":
            return {"page": look_loss(self.omni, self.hints["naming"], lessons.pages(self.step))}
        sights = (lessons.pairs if lesson == "pair" else lessons.sights)(self.step)
        shown = sights_batch(self.encoder, self.omni, sights)
        found = sight_loss(self.omni, self.hints, shown, unk)
        return {lesson: found["answer"], **{name: HINT_SHARE * found[name] for name in ("naming", "finding")}}


SPEECH = {"vocoder": vocoder_run, "codec": codec_run}


class Trainable(Protocol):
    step: int

    def learn(self, until: int) -> dict[str, float]: ...

    def save(self) -> None: ...


def go_on(run: Trainable, folder: Path, minutes: float, until: int) -> None:
    """Until the step `until`, or the time is over."""
    begin = time.monotonic()
    losses: dict[str, list[float]] = defaultdict(list)
    while run.step < until and time.monotonic() - begin < 60 * minutes:
        for name, loss in run.learn(until).items():
            losses[name].append(loss)
        if run.step % LOG_EACH == 0:
            means = {name: round(sum(each) / len(each), 4) for name, each in sorted(losses.items())}
            line = {"step": run.step, **means, "seconds": round(time.monotonic() - begin)}
            with (folder / "log.jsonl").open("a") as log:
                log.write(json.dumps(line) + "\n")
            print(line, flush=True)
            losses.clear()
        if run.step % SAVE_EACH == 0:
            run.save()
    run.save()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m demo.train", description=__doc__)
    parser.add_argument("part", choices=["understand", "vocoder", "codec"])
    parser.add_argument("--run", type=Path, default=Path("demo_run"), help="the run's folder")
    parser.add_argument(
        "--minutes", type=float, default=60.0, help="stops after so long; call again to go on"
    )
    parser.add_argument("--until", type=int, default=30000, help="steps of the whole run")
    parser.add_argument(
        "--sounds", type=Path, help="folder of demo.data sounds; without it, it learns no hearing"
    )
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    if given.part in SPEECH:
        folder = given.run / given.part
        go_on(SPEECH[given.part](folder), folder, given.minutes, given.until)
    else:
        library = Library(given.sounds) if given.sounds else None
        go_on(Run(given.run, library), given.run, given.minutes, given.until)


if __name__ == "__main__":
    main()
