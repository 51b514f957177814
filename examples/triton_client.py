"""Ask a Triton server for the poses in a picture; see docs/triton.md for the server's side.

pip install "tritonclient[grpc]"
python examples/triton_client.py picture.jpg --server localhost:8001
"""

from __future__ import annotations

import argparse

import cv2
import numpy as np
import tritonclient.grpc as triton


def request(
    frame: np.ndarray, boxes: np.ndarray | None = None
) -> tuple[list[triton.InferInput], list[triton.InferRequestedOutput]]:
    """What to send: a frame (H, W, 3) uint8 BGR, and (P, 4) float32 boxes if they are known."""
    inputs = [triton.InferInput("frame", list(frame.shape), "UINT8")]
    inputs[0].set_data_from_numpy(frame)
    if boxes is not None:
        inputs.append(triton.InferInput("boxes", list(boxes.shape), "FP32"))
        inputs[1].set_data_from_numpy(boxes)
    return inputs, [triton.InferRequestedOutput(n) for n in ("boxes", "joints", "scores")]


def main(arguments: list[str] | None = None) -> None:
    """Read the command line, ask, print."""
    parser = argparse.ArgumentParser(description="Ask a Triton server for poses.")
    parser.add_argument("picture")
    parser.add_argument("--server", default="localhost:8001")
    given = parser.parse_args(arguments)
    frame = cv2.imread(given.picture)
    if frame is None:
        parser.error(f"{given.picture} is no picture that can be read")
    inputs, outputs = request(frame)
    answer = triton.InferenceServerClient(given.server).infer("edgepose", inputs, outputs=outputs)
    found = (answer.as_numpy(name) for name in ("boxes", "joints", "scores"))
    for box, joints, scores in zip(*found, strict=True):
        print(box.round(1).tolist(), joints.round(1).tolist(), scores.round(2).tolist())


if __name__ == "__main__":
    main()
