// Holds every instruction set of this machine to the reference: parity FILE, the file as written by
// cases.py. For machines without Python, such as an emulated one.
#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "crop.h"

namespace {

using edgepose::CropSpec;
using edgepose::Format;

template <class T>
std::vector<T> read(std::istream& in, std::size_t count) {
  std::vector<T> values(count);
  in.read(reinterpret_cast<char*>(values.data()), static_cast<std::streamsize>(count * sizeof(T)));
  return values;
}

float to_float(std::uint16_t half) {
  const int exponent = half >> 10 & 31;
  const auto mantissa = static_cast<float>(half & 1023);
  const float magnitude = exponent == 31  ? INFINITY
                          : exponent == 0 ? std::ldexp(mantissa, -24)
                                          : std::ldexp(mantissa + 1024.0f, exponent - 25);
  return half >> 15 ? -magnitude : magnitude;
}

// The largest error, as a multiple of what is allowed; NaN counts as infinite.
double worst(const CropSpec& spec, const std::vector<float>& expected, const float* single,
             const std::uint16_t* half) {
  const std::size_t plane = static_cast<std::size_t>(spec.height * spec.width);
  double most = 0.0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const double want = expected[i];
    const double got = half ? to_float(half[i]) : single[i];
    double allowed = 0.02 * std::abs(spec.colour.gain[i / plane % 3]);
    if (half) allowed += 1e-3 * std::abs(want);
    const double error = std::abs(got - want) / allowed;
    if (!(error <= most)) most = std::isnan(error) ? INFINITY : error;
  }
  return most;
}

}  // namespace

int main(int argc, char** argv) {
  std::ifstream in(argc == 2 ? argv[1] : "", std::ios::binary);
  const std::vector<std::int32_t> counts = read<std::int32_t>(in, 2);
  std::vector<std::vector<std::uint8_t>> pixels;
  std::vector<edgepose::Frame> frames;
  for (int i = 0; i < counts[0]; ++i) {
    const auto shape = read<std::int32_t>(in, 2);
    pixels.push_back(read<std::uint8_t>(in, 3 * static_cast<std::size_t>(shape[0] * shape[1])));
    frames.push_back({pixels.back().data(), shape[0], shape[1], 3 * shape[1]});
  }
  const std::vector<std::string>& names = edgepose::cpu_isas();
  std::vector<double> most(names.size(), 0.0), most_half(names.size(), 0.0);
  int boxes_read = 0;
  for (int b = 0; b < counts[1]; ++b) {
    const auto shape = read<std::int32_t>(in, 4);
    const auto count = static_cast<std::size_t>(shape[0]);
    CropSpec spec{shape[1], shape[2], shape[3] != 0, Format::kFloat32, {}};
    const auto colour = read<float>(in, 9);
    std::memcpy(&spec.colour, colour.data(), sizeof spec.colour);
    const auto boxes = read<edgepose::Box>(in, count);
    const auto index = read<std::int64_t>(in, count);
    const auto expected =
        read<float>(in, 3 * count * static_cast<std::size_t>(spec.height * spec.width));
    if (!in) break;
    for (std::size_t isa = 0; isa < names.size(); ++isa) {
      std::vector<float> single(expected.size());
      spec.format = Format::kFloat32;
      crop_cpu(frames.data(), boxes.data(), index.data(), count, spec, single.data(), isa);
      most[isa] = std::max(most[isa], worst(spec, expected, single.data(), nullptr));
      std::vector<std::uint16_t> half(expected.size());
      spec.format = Format::kFloat16;
      crop_cpu(frames.data(), boxes.data(), index.data(), count, spec, half.data(), isa);
      most_half[isa] = std::max(most_half[isa], worst(spec, expected, nullptr, half.data()));
    }
    boxes_read += shape[0];
  }
  bool good = in && boxes_read > 0;
  for (std::size_t isa = 0; isa < names.size(); ++isa) {
    std::printf("%s: %d boxes, error at most %.3f (float32), %.3f (float16) of what is allowed\n",
                names[isa].c_str(), boxes_read, most[isa], most_half[isa]);
    good = good && most[isa] <= 1.0 && most_half[isa] <= 1.0;
  }
  return good ? 0 : 1;
}
