"""MiniCPM-o 2.6: the pictures of a video, which the official example takes with decord."""

from minicpmo.utils import get_video_frame_audio_segments
from minicpmo_cpp.official import MiniCPMO

model = MiniCPMO.from_pretrained("model.gguf")
processor = model.processor
frames, _, _ = get_video_frame_audio_segments("clip.mp4")
print("num frames:", len(frames))
msgs = [{"role": "user", "content": [*frames, "Describe the video"]}]
inputs = processor.apply_chat_template(msgs=msgs).to(model.device)
res = model.generate(
    **inputs, processor=processor, sampling=True, max_new_tokens=1024, use_image_id=False, max_slice_nums=2
)
print(res)
