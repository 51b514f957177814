// The path of every machine: no intrinsics, the area way only.
#include "crop_area.h"

namespace edgepose::cpu {
namespace {

bool present() { return true; }

void to_half(const float* in, std::ptrdiff_t n, std::uint16_t* out) {
  for (std::ptrdiff_t i = 0; i < n; ++i) out[i] = half_from_float(in[i]);
}

void area(const AreaCrop& crop, void* out) { crop_area<to_half>(crop, out); }

}  // namespace

const InstructionSet kScalar = {"scalar", present, area, 0, nullptr, nullptr};

}  // namespace edgepose::cpu
