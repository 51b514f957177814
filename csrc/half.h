// float16 without hardware or compiler support.
#pragma once

#include <cstdint>
#include <cstring>

namespace edgepose {

// IEEE float to half, round to nearest even.
inline std::uint16_t half_from_float(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  const std::uint32_t sign = (bits >> 16) & 0x8000u;
  bits &= 0x7fffffffu;
  if (bits > 0x7f800000u) return static_cast<std::uint16_t>(sign | 0x7e00u);
  if (bits >= 0x47800000u) return static_cast<std::uint16_t>(sign | 0x7c00u);
  if (bits < 0x38800000u) {
    // Subnormal: adding 0.5 puts the bits in place and lets the FPU round them.
    std::memcpy(&value, &bits, sizeof value);
    value += 0.5f;
    std::memcpy(&bits, &value, sizeof bits);
    return static_cast<std::uint16_t>(sign | (bits - 0x3f000000u));
  }
  bits += 0xc8000fffu + ((bits >> 13) & 1u);  // rebias the exponent, round half to even
  return static_cast<std::uint16_t>(sign | (bits >> 13));
}

}  // namespace edgepose
