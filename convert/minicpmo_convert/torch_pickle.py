"""The pickle inside a file of torch.save, read without executing it.

A small machine knows the few instructions that dictionaries of tensors consist of. It builds nothing but
plain values and descriptions of tensors. Everything else is refused.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

from minicpmo_convert.error import ConvertError

_STORAGES = tuple(
    f"{kind}Storage"
    for kind in ("Float", "Half", "BFloat16", "Double", "Long", "Int", "Short", "Char", "Byte", "Bool")
)


@dataclass(frozen=True)
class Storage:
    type: str  # as torch names its class
    key: str
    n_item: int


@dataclass(frozen=True)
class Placed:
    """A tensor: where it lies in a storage."""

    storage: Storage
    offset: int  # in items
    shape: tuple[int, ...]
    stride: tuple[int, ...]


def read_pickle(code: bytes, file: str) -> Any:
    """The value that the pickle describes; `file` is for messages."""
    return _Machine(code, file).run()


class _Mark:
    """The place on the stack where the items of a collection begin."""


class _Machine:
    """Runs instructions from the first to the end; one that it does not know is an error."""

    def __init__(self, code: bytes, file: str) -> None:
        self._code = code
        self._at = 0
        self._file = file
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def run(self) -> Any:
        try:
            while (code := self._bytes(1)) != b".":
                if code not in _INSTRUCTIONS:
                    self._refuse(f"the instruction {code!r}")
                _INSTRUCTIONS[code](self)
            return self.pop()
        except (IndexError, KeyError, UnicodeDecodeError) as error:
            self._refuse(f"{type(error).__name__} at byte {self._at}")

    def _refuse(self, got: str) -> NoReturn:
        raise ConvertError(f"[torch] expected a pickle of tensors, got {got} ({self._file})")

    def _bytes(self, count: int) -> bytes:
        data = self._code[self._at : self._at + count]
        if len(data) != count:
            self._refuse("its end")
        self._at += count
        return data

    def skip(self, count: int) -> None:
        self._bytes(count)

    def number(self, layout: str) -> int:
        return int(struct.unpack(layout, self._bytes(struct.calcsize(layout)))[0])

    def _line(self) -> str:
        end = self._code.find(b"\n", self._at)
        if end < 0:
            self._refuse("its end")
        return self._bytes(end + 1 - self._at)[:-1].decode()

    def push(self, value: Any) -> None:
        self._stack.append(value)

    def pop(self) -> Any:
        return self._stack.pop()

    def _items(self) -> list[Any]:
        """What was pushed since the last mark."""
        items: list[Any] = []
        while not isinstance(value := self.pop(), _Mark):
            items.append(value)
        return items[::-1]

    def remember(self, index: int) -> None:
        self._memo[index] = self._stack[-1]

    def remember_next(self) -> None:
        self.remember(len(self._memo))

    def recall(self, index: int) -> None:
        self.push(self._memo[index])

    def tuple_of(self, count: int) -> None:
        items = [self.pop() for _ in range(count)][::-1]
        self.push(tuple(items))

    def tuple_since_mark(self) -> None:
        self.push(tuple(self._items()))

    def text(self, length: int) -> None:
        self.push(self._bytes(length).decode())

    def long(self) -> None:
        self.push(int.from_bytes(self._bytes(self.number("<B")), "little", signed=True))

    def double(self) -> None:
        self.push(struct.unpack(">d", self._bytes(8))[0])

    def name(self) -> None:
        self._push_name(self._line(), self._line())

    def name_on_stack(self) -> None:
        name, module = self.pop(), self.pop()
        self._push_name(str(module), str(name))

    def _push_name(self, module: str, name: str) -> None:
        """Stands for a class or a function, which is never looked up."""
        known = (module, name) in _FUNCTIONS or (module == "torch" and name in _STORAGES)
        if not known:
            self._refuse(f"the name {module}.{name}")
        self.push(_Name(module, name))

    def reduce(self) -> None:
        arguments, function = self.pop(), self.pop()
        if not isinstance(function, _Name) or not isinstance(arguments, tuple):
            self._refuse("the call of a value")
        self.push(_FUNCTIONS[function.module, function.name](self, arguments))  # storages are not called

    def build(self) -> None:
        """The state of an OrderedDict: versions of modules, of no use here."""
        self.pop()
        if not isinstance(self._stack[-1], dict):
            self._refuse("a state of something else than a dictionary")

    def persistent(self) -> None:
        match self.pop():
            case ("storage", _Name(name=kind), str(key), str(), int(count)) if count >= 0:
                self.push(Storage(kind, key, count))
            case _:
                self._refuse("a reference to something else than a storage")

    def set_items(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if not isinstance(target, dict) or len(items) % 2 != 0:
            self._refuse("items outside a dictionary")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not isinstance(key, str | int):
                self._refuse(f"a key that is a {type(key).__name__}")
            target[key] = value

    def set_item(self) -> None:
        value, key = self.pop(), self.pop()
        self.set_items([key, value])

    def set_items_since_mark(self) -> None:
        self.set_items(self._items())

    def append(self, items: list[Any]) -> None:
        if not isinstance(self._stack[-1], list):
            self._refuse("items outside a list")
        self._stack[-1].extend(items)

    def append_since_mark(self) -> None:
        self.append(self._items())

    def ordered_dict(self, arguments: tuple[Any, ...]) -> dict[Any, Any]:
        if arguments != ():
            self._refuse("a dictionary with arguments")
        return {}

    def tensor(self, arguments: tuple[Any, ...]) -> Placed:
        match arguments:
            case (Storage() as storage, int(offset), tuple(shape), tuple(stride), *_):
                counts = (offset, *shape, *stride)
                good = all(isinstance(n, int) and 0 <= n < 2**60 for n in counts)
                if good and len(shape) == len(stride) <= 8:
                    return Placed(storage, offset, shape, stride)
        self._refuse("a tensor without a place")

    def parameter(self, arguments: tuple[Any, ...]) -> Placed:
        if not arguments or not isinstance(arguments[0], Placed):
            self._refuse("a parameter without a tensor")
        placed: Placed = arguments[0]
        return placed


@dataclass(frozen=True)
class _Name:
    module: str
    name: str


_FUNCTIONS: dict[tuple[str, str], Callable[[_Machine, tuple[Any, ...]], Any]] = {
    ("collections", "OrderedDict"): _Machine.ordered_dict,
    ("torch._utils", "_rebuild_tensor_v2"): _Machine.tensor,
    ("torch._utils", "_rebuild_parameter"): _Machine.parameter,
}

_INSTRUCTIONS: dict[bytes, Callable[[_Machine], None]] = {
    b"\x80": lambda m: m.skip(1),  # the protocol
    b"\x95": lambda m: m.skip(8),  # the length of a frame
    b"(": lambda m: m.push(_Mark()),
    b")": lambda m: m.push(()),
    b"t": _Machine.tuple_since_mark,
    b"\x85": lambda m: m.tuple_of(1),
    b"\x86": lambda m: m.tuple_of(2),
    b"\x87": lambda m: m.tuple_of(3),
    b"}": lambda m: m.push({}),
    b"]": lambda m: m.push([]),
    b"a": lambda m: m.append([m.pop()]),
    b"e": _Machine.append_since_mark,
    b"s": _Machine.set_item,
    b"u": _Machine.set_items_since_mark,
    b"N": lambda m: m.push(None),
    b"\x88": lambda m: m.push(True),
    b"\x89": lambda m: m.push(False),
    b"J": lambda m: m.push(m.number("<i")),
    b"K": lambda m: m.push(m.number("<B")),
    b"M": lambda m: m.push(m.number("<H")),
    b"\x8a": _Machine.long,
    b"G": _Machine.double,
    b"X": lambda m: m.text(m.number("<I")),
    b"\x8c": lambda m: m.text(m.number("<B")),
    b"q": lambda m: m.remember(m.number("<B")),
    b"r": lambda m: m.remember(m.number("<I")),
    b"\x94": _Machine.remember_next,
    b"h": lambda m: m.recall(m.number("<B")),
    b"j": lambda m: m.recall(m.number("<I")),
    b"c": _Machine.name,
    b"\x93": _Machine.name_on_stack,
    b"R": _Machine.reduce,
    b"b": _Machine.build,
    b"Q": _Machine.persistent,
}
