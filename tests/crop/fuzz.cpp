// Fuzzes the C++ entry point: any boxes, small frames in exact buffers with any row stride, every
// instruction set held to the scalar one. Built with libFuzzer and sanitizers by `make fuzz`.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "crop.h"

namespace {

using edgepose::Box;
using edgepose::CropSpec;
using edgepose::Format;
using edgepose::Frame;

// Takes values off the input; zeros when it has run out.
struct Input {
  const std::uint8_t* data;
  std::size_t size;

  template <class T>
  T take() {
    T value{};
    const std::size_t bytes = std::min(size, sizeof value);
    std::memcpy(&value, data, bytes);
    data += bytes;
    size -= bytes;
    return value;
  }
  int below(int limit) { return take<std::uint16_t>() % limit; }
};

// Either any four floats, or a box near the frame with a side in sixteenths.
Box take_box(Input& in, int size) {
  if (in.below(2)) return in.take<Box>();
  const auto x = static_cast<float>(in.take<std::int16_t>()) / 256.0f;
  const auto y = static_cast<float>(in.take<std::int16_t>()) / 256.0f;
  const auto scale = static_cast<float>(in.below(128) + 1) / 16.0f;
  const auto side = static_cast<float>(size) * scale;
  return {x, y, x + side, y + (in.below(4) ? side : static_cast<float>(in.below(300)))};
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Input in{data, size};
  std::vector<std::vector<std::uint8_t>> buffers;
  std::vector<Frame> frames;
  for (int f = 1 + in.below(2); f > 0; --f) {
    const int height = 1 + in.below(70);
    const int width = 1 + in.below(200);
    const int padding = in.below(3) * in.below(40);
    const int kind = in.below(4);  // the same row again, upwards, downwards
    const std::ptrdiff_t stride = kind == 0 ? 0 : 3 * width + padding;
    const std::ptrdiff_t span = stride * (height - 1);
    std::vector<std::uint8_t> pixels(static_cast<std::size_t>(span + 3 * width));
    std::uint32_t seed = in.take<std::uint32_t>();
    for (std::uint8_t& pixel : pixels) {
      seed = seed * 1664525u + 1013904223u;
      pixel = static_cast<std::uint8_t>(seed >> 24);
    }
    buffers.push_back(std::move(pixels));
    const std::uint8_t* first = buffers.back().data();
    if (kind == 1)
      frames.push_back({first + span, height, width, -stride});
    else
      frames.push_back({first, height, width, stride});
  }

  CropSpec spec{};
  spec.height = 1 + in.below(40);
  spec.width = 1 + in.below(90);
  spec.antialias = in.below(2) != 0;
  const bool wild = in.below(8) == 0;
  for (int c = 0; c < 3; ++c) {
    spec.colour.gain[c] = wild ? in.take<float>() : 1.0f / static_cast<float>(1 + in.below(255));
    spec.colour.border[c] = wild ? in.take<float>() : static_cast<float>(in.below(256));
    spec.colour.padding[c] = wild ? in.take<float>() : static_cast<float>(in.below(5));
  }
  std::vector<Box> boxes(static_cast<std::size_t>(in.below(5)));
  std::vector<std::int64_t> index(boxes.size());
  for (std::size_t i = 0; i < boxes.size(); ++i) {
    boxes[i] = take_box(in, spec.width);
    index[i] = in.below(static_cast<int>(frames.size()));
  }
  const std::size_t threads = in.below(50) == 0 ? 2 : 1;

  const std::size_t plane = static_cast<std::size_t>(spec.height * spec.width);
  const std::size_t count = 3 * plane * boxes.size();
  const std::size_t isas = edgepose::cpu_isas().size();
  std::vector<float> scalar(count);
  crop_cpu(frames.data(), boxes.data(), index.data(), boxes.size(), spec, scalar.data(), isas - 1);
  for (std::size_t isa = 0; isa < isas; ++isa) {
    spec.format = Format::kFloat16;
    std::vector<std::uint16_t> half(count);
    crop_cpu(frames.data(), boxes.data(), index.data(), boxes.size(), spec, half.data(), isa,
             threads);
    spec.format = Format::kFloat32;
    std::vector<float> out(count);
    crop_cpu(frames.data(), boxes.data(), index.data(), boxes.size(), spec, out.data(), isa,
             threads);
    for (std::size_t i = 0; i < count && !wild; ++i) {
      const float allowed = 0.02f * spec.colour.gain[i / plane % 3];
      if (!(std::abs(out[i] - scalar[i]) <= allowed)) {
        std::fprintf(stderr, "%s: %g, scalar %g\n", edgepose::cpu_isas()[isa].c_str(), out[i],
                     scalar[i]);
        std::abort();
      }
    }
  }
  return 0;
}
