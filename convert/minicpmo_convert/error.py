"""The one exception for input that cannot be converted; its message is shown to the user as a single line."""


class ConvertError(Exception):
    """Messages read "[component] expected X, got Y (file, tensor or argument)"."""


def check(holds: bool, message: str) -> None:
    if not holds:
        raise ConvertError(message)
