"""MiniCPM-o 4.5: an answer to a video, spoken."""

from minicpmo.utils import get_video_frame_audio_segments
from minicpmo_cpp.official import MiniCPMO

model = MiniCPMO.from_pretrained("model.gguf")
model.init_tts(streaming=False)

sys_msg = model.get_sys_prompt(ref_audio="voice.wav", mode="omni", language="en")
video_frames, audio_segments, stacked_frames = get_video_frame_audio_segments("clip.mp4", stack_frames=2)
omni_contents = []
for i in range(len(video_frames)):
    omni_contents.append(video_frames[i])
    omni_contents.append(audio_segments[i])
    if stacked_frames is not None and stacked_frames[i] is not None:
        omni_contents.append(stacked_frames[i])

res = model.chat(
    msgs=[sys_msg, {"role": "user", "content": omni_contents}],
    max_new_tokens=4096,
    do_sample=True,
    temperature=0.7,
    use_tts_template=True,
    enable_thinking=False,
    omni_mode=True,
    generate_audio=True,
    output_audio_path="out.wav",
    max_slice_nums=1,
)
print(res)
