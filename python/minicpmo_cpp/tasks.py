"""The prompts that the official README gives for understanding sound; the sound follows them."""

from __future__ import annotations

# Messages join their parts with a newline; the official example ends the prompt with one more.
TASKS: dict[str, str] = {
    "asr-zh": "请仔细听这段音频片段，并将其内容逐字记录。\n",
    "asr-en": "Please listen to the audio snippet carefully and transcribe the content.\n",
    "speaker": "Based on the speaker's content, speculate on their gender, condition, age range, "
    "and health status.\n",
    "caption": "Summarize the main content of the audio.\n",
    "scene": "Utilize one keyword to convey the audio's content or the associated scene.\n",
}

# "Mimick" of the official README: the model says again what it hears, in the voice that it hears.
MIMICK_SYSTEM = (
    "You are a helpful assistant. You can accept video, audio, and text input and output voice and text. "
    "Respond with just the answer, no redundancy."
)
MIMICK_PROMPT = "Please repeat the following speech in the appropriate language."
