"""How much work the stages of one model are; what the model cannot do is None."""

from __future__ import annotations

from minicpmo_cpp.bench.audio_work import AudioWork
from minicpmo_cpp.bench.decoder_work import DecoderWork
from minicpmo_cpp.bench.speech_work import CODE_HEAD, FLOW_INPUT, SpeechWork
from minicpmo_cpp.bench.vision_work import VisionWork
from minicpmo_cpp.bench.work import Matrices
from minicpmo_cpp.model import Model


class ModelWork:
    def __init__(self, model: Model) -> None:
        config = model.config
        matrices = Matrices(model._open().tensors())
        self.decoder = DecoderWork(matrices, config)
        self.vision = VisionWork(matrices, config) if "vision" in config else None
        self.audio = AudioWork(matrices, config) if "audio" in config else None
        is_known = CODE_HEAD in matrices and FLOW_INPUT in matrices  # another kind of voice has other parts
        self.speech = SpeechWork(matrices, config) if "speech" in config and is_known else None
