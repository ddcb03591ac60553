"""OpenModel: how a model is found, opened and closed again."""

from __future__ import annotations

import os
import time
from collections.abc import Collection
from types import TracebackType
from typing import TYPE_CHECKING

from minicpmo_cpp import _core
from minicpmo_cpp.answer import END_OF_SPEECH
from minicpmo_cpp.config import Config
from minicpmo_cpp.kept_session import KeptSession
from minicpmo_cpp.memory_plan import MemoryOptions, engine_options
from minicpmo_cpp.model_files import part_paths
from minicpmo_cpp.mouth import Mouth
from minicpmo_cpp.options import flag, integer

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from minicpmo_cpp.hub import Fetched


MEDIA_CACHE_BYTES = 128 << 20  # 128 slices of a model with 4096 features


class OpenModel(Mouth):
    """The part of Model that knows files."""

    def __init__(
        self,
        engine: _core.Model,
        *,
        load_s: float = 0.0,
        allow_remote: bool = False,
        keep_conversation: bool = False,
    ) -> None:
        """Wraps an engine model; users call load() or from_pretrained()."""
        super().__init__(engine, allow_remote=allow_remote)
        self.load_s = load_s
        self._kept = KeptSession(is_on=keep_conversation)
        self.allow_remote = allow_remote  # whether http(s) URLs of media are fetched
        self.config = Config(engine.describe())
        ids = engine.tokenize(END_OF_SPEECH)
        self.end_of_speech = ids[0] if len(ids) == 1 else None

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        *,
        mmproj: str | os.PathLike[str] | None = None,
        audio_model: str | os.PathLike[str] | None = None,
        tts_model: str | os.PathLike[str] | None = None,
        projector: str | os.PathLike[str] | None = None,
        token2wav: str | os.PathLike[str] | None = None,
        device: str = "auto",
        n_threads: int = 0,
        allow_remote: bool = False,
        max_sessions: int = 0,
        batch_sessions: bool = False,
        keep_conversation: bool = True,
        media_cache_bytes: int = MEDIA_CACHE_BYTES,
        modules: Collection[str] | None = None,
        **memory: Unpack[MemoryOptions],
    ) -> Self:
        """Opens a GGUF file, or several that make a model.

        Args:
            path: the file, as minicpmo-convert writes it; or a folder of published files, or any file in one,
                beside which the others are found by what is in them.
            mmproj: the file that sees. Where this or one of the next is given, nothing else is looked for.
            audio_model: the file that hears.
            tts_model: the file that says codes.
            projector: the file with that one's projector, where it has none inside.
            token2wav: the folder of what turns codes into sound.
            device: "auto", "cpu" or a name of devices().
            n_threads: of the CPU; 0 means all cores.
            allow_remote: whether messages may name media by http(s) URL.
            max_sessions: conversations at a time, beyond which SessionLimitError is raised; 0 for any.
            batch_sessions: whether tokens of conversations that answer at the same time are computed
                together: faster, but rounding then depends on who else answers.
            keep_conversation: whether the last conversation of chat() stays in memory, at most n_ctx tokens
                of it, so that a call which begins with the same messages only reads what is new.
            media_cache_bytes: most memory for embeddings of pictures and sounds, so that the same ones are
                not encoded again, in whatever conversation; 0 keeps none. Those unused longest go.
            modules: of "vision", "audio" and "speech", what is needed beside the language model; None is
                all that there is.
            memory: `n_ctx` and `kv_type` of the conversations to come, and more; see MemoryOptions.

        Raises:
            MemoryError: what has to be allocated does not fit; the message has a table.
            ModelFileError: a file is missing, damaged or no model, or several files do not fit.
            UnsupportedModelError: the file is sound and this build cannot run it.
        """
        parts = part_paths(
            mmproj=mmproj,
            audio_model=audio_model,
            tts_model=tts_model,
            projector=projector,
            token2wav=token2wav,
        )
        return cls._open_files(
            os.fsdecode(path),
            parts,
            looks_around=not parts,
            device=device,
            n_threads=n_threads,
            allow_remote=allow_remote,
            max_sessions=max_sessions,
            batch_sessions=batch_sessions,
            keep_conversation=keep_conversation,
            media_cache_bytes=media_cache_bytes,
            modules=modules,
            **memory,
        )

    @classmethod
    def from_pretrained(
        cls,
        repository: str,
        *,
        quant: str | None = None,
        revision: str | None = None,
        modules: Collection[str] | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        token: str | bool | None = None,
        offline: bool = False,
        device: str = "auto",
        n_threads: int = 0,
        allow_remote: bool = False,
        max_sessions: int = 0,
        batch_sessions: bool = False,
        keep_conversation: bool = True,
        media_cache_bytes: int = MEDIA_CACHE_BYTES,
        **memory: Unpack[MemoryOptions],
    ) -> Self:
        """Opens a model of Hugging Face or ModelScope, fetching what the cache has not of it.

        Needs the extra `hub`. HF_HOME, HF_HUB_CACHE, HF_ENDPOINT, HF_TOKEN and HF_HUB_OFFLINE count;
        docs/cli.md says more.

        Args:
            repository: "owner/name" or "owner/name:QUANTISATION"; "ms://owner/name" on ModelScope.
            quant: quantisation of the language model, in any case, as "Q4_K_M". None takes that or else the
                only one there is.
            revision: branch, tag or commit; None is the default branch.
            modules: of "vision", "audio" and "speech", what is needed beside the language model; None is
                all that there is.
            cache_dir: instead of the hub's own cache.
            token: for private repositories; None takes HF_TOKEN or that of a login, False none.
            offline: sends no request: the model is in the cache.
            device: as in load(), as is all that follows.

        Raises:
            HubError: it cannot be had; a ModelFileError.
            ModelFileError: a file is no model, or several do not fit.
            UnsupportedModelError: the file is sound and this build cannot run it.
        """
        from minicpmo_cpp.hub import fetch_model  # it needs an extra

        fetched = fetch_model(
            repository,
            quant=quant,
            revision=revision,
            modules=modules,
            cache_dir=cache_dir,
            token=token,
            offline=flag("offline", offline),
        )
        return cls.load_fetched(
            fetched,
            device=device,
            n_threads=n_threads,
            allow_remote=allow_remote,
            max_sessions=max_sessions,
            batch_sessions=batch_sessions,
            keep_conversation=keep_conversation,
            media_cache_bytes=media_cache_bytes,
            modules=modules,
            **memory,
        )

    @classmethod
    def load_fetched(
        cls,
        fetched: Fetched,
        *,
        device: str = "auto",
        n_threads: int = 0,
        allow_remote: bool = False,
        max_sessions: int = 0,
        batch_sessions: bool = False,
        keep_conversation: bool = True,
        media_cache_bytes: int = MEDIA_CACHE_BYTES,
        modules: Collection[str] | None = None,
        **memory: Unpack[MemoryOptions],
    ) -> Self:
        """Opens just the files of hub.fetch_model(); arguments and errors as in load()."""
        return cls._open_files(
            os.fsdecode(fetched.path),
            [os.fsdecode(part) for part in fetched.parts],
            looks_around=False,
            device=device,
            n_threads=n_threads,
            allow_remote=allow_remote,
            max_sessions=max_sessions,
            batch_sessions=batch_sessions,
            keep_conversation=keep_conversation,
            media_cache_bytes=media_cache_bytes,
            modules=modules,
            **memory,
        )

    @classmethod
    def _open_files(
        cls,
        path: str,
        parts: list[str],
        *,
        looks_around: bool,
        device: str,
        n_threads: int,
        allow_remote: bool,
        max_sessions: int,
        batch_sessions: bool,
        keep_conversation: bool,
        media_cache_bytes: int,
        modules: Collection[str] | None,
        **memory: Unpack[MemoryOptions],
    ) -> Self:
        if not isinstance(device, str):
            raise TypeError(f"[model] expected the name of a device, got {device!r} (device)")
        n_threads, allow_remote = integer("n_threads", n_threads), flag("allow_remote", allow_remote)
        begin = time.perf_counter()
        engine = _core.Model.load(
            path,
            parts=parts,
            looks_around=looks_around,
            device=device,
            n_threads=n_threads,
            max_sessions=integer("max_sessions", max_sessions, 0),
            batches_sessions=flag("batch_sessions", batch_sessions),
            media_cache_bytes=integer("media_cache_bytes", media_cache_bytes, 0, 2**63 - 1),
            **engine_options(modules, memory),
        )
        keeps = flag("keep_conversation", keep_conversation)
        load_s = time.perf_counter() - begin
        return cls(engine, load_s=load_s, allow_remote=allow_remote, keep_conversation=keeps)

    def close(self) -> None:
        """Lets go of the file; its memory is freed when the last session on it is."""
        self._engine = self._voices = None
        self._kept.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Model {self.config['name']} on {self.config['device']}>"
