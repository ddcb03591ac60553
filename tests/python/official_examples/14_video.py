"""MiniCPM-o 4.5: the pictures of a video."""

from minicpmo.utils import get_video_frame_audio_segments
from minicpmo_cpp.official import MiniCPMO

model = MiniCPMO.from_pretrained("model.gguf")
video_frames, _, _ = get_video_frame_audio_segments("clip.mp4")
print("num frames:", len(video_frames))
answer = model.chat(
    msgs=[{"role": "user", "content": [*video_frames, "Describe the video"]}],
    max_new_tokens=128,
    use_image_id=False,
    max_slice_nums=1,
    use_tts_template=False,
    enable_thinking=False,
)
print(answer)
