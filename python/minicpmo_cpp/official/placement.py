"""Placement: the torch calls that move or convert a model, which a model file has no use for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import Self


class Placed:
    """Stays where and as it is: the file decides types, from_pretrained the device. Calls return self."""

    device = "cpu"  # for inputs.to(model.device), which stay numpy arrays wherever the model computes

    def to(self, *place: Any, **options: Any) -> Self:
        return self

    def cuda(self, device: Any = None) -> Self:
        return self

    def cpu(self) -> Self:
        return self

    def eval(self) -> Self:
        return self

    def float(self) -> Self:
        return self

    def half(self) -> Self:
        return self

    def bfloat16(self) -> Self:
        return self
