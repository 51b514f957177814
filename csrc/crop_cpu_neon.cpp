// NEON on aarch64. Table look-ups pull the taps of four outputs out of 16, 32 or 64 bytes of the
// source row.
#if defined(__aarch64__)
#include <arm_neon.h>

#define EDGEPOSE_TARGET
#include "crop_area.h"
#include "crop_strips.h"

namespace edgepose::cpu {
namespace {

bool present() { return true; }

enum Mode { kOf16By2, kOf32By4, kOf64By6, kModes };
constexpr int kRegisters[kModes] = {1, 2, 4};
constexpr int kPairs[kModes] = {1, 2, 3};

struct Neon {
  using Vector = float32x4_t;
  static constexpr std::ptrdiff_t kLanes = 4;

  struct Rgb {
    float32x4_t r, g, b;
  };

  template <int kMode>
  struct Table {
    std::int32_t offset;
    uint8x16_t take;  // bytes 0 and 2 of a lane take two taps of B, 1 and 3 become zero
    int16x8_t weights[kPairs[kMode]];

    EDGEPOSE_INLINE Table(const Columns& columns, std::ptrdiff_t strip)
        : offset(columns.offsets[static_cast<std::size_t>(strip)]) {
      const std::uint8_t* from = columns.tables[static_cast<std::size_t>(strip)].bytes;
      take = vld1q_u8(from);
      for (int p = 0; p < kPairs[kMode]; ++p)
        weights[p] = vreinterpretq_s16_u8(vld1q_u8(from + 16 * (p + 1)));
    }

    EDGEPOSE_INLINE void prefetch(const std::uint8_t* row) const {
      __builtin_prefetch(row + offset);
    }
  };

  static EDGEPOSE_INLINE uint8x16_t look_up(const uint8x16_t (&source)[1], uint8x16_t take) {
    return vqtbl1q_u8(source[0], take);
  }
  static EDGEPOSE_INLINE uint8x16_t look_up(const uint8x16_t (&source)[2], uint8x16_t take) {
    return vqtbl2q_u8({{source[0], source[1]}}, take);
  }
  static EDGEPOSE_INLINE uint8x16_t look_up(const uint8x16_t (&source)[4], uint8x16_t take) {
    return vqtbl4q_u8({{source[0], source[1], source[2], source[3]}}, take);
  }

  template <int kMode>
  static EDGEPOSE_INLINE float32x4_t channel(const Table<kMode>& table,
                                             const uint8x16_t (&source)[kRegisters[kMode]],
                                             int byte) {
    int32x4_t sum = vdupq_n_s32(0);
    for (int p = 0; p < kPairs[kMode]; ++p) {
      // A lane's zeroing bytes stay out of range.
      const uint8x16_t take =
          vaddq_u8(table.take, vdupq_n_u8(static_cast<std::uint8_t>(byte + 6 * p)));
      const int16x8_t taps = vreinterpretq_s16_u8(look_up(source, take));
      const int32x4_t low = vmull_s16(vget_low_s16(taps), vget_low_s16(table.weights[p]));
      const int32x4_t high = vmull_high_s16(taps, table.weights[p]);
      sum = vaddq_s32(sum, vpaddq_s32(low, high));
    }
    return vcvtq_f32_s32(sum);
  }

  template <int kMode>
  static EDGEPOSE_INLINE Rgb resample(const Table<kMode>& table, const std::uint8_t* row) {
    uint8x16_t source[kRegisters[kMode]];
    for (int i = 0; i < kRegisters[kMode]; ++i) source[i] = vld1q_u8(row + table.offset + 16 * i);
    return {channel<kMode>(table, source, 2), channel<kMode>(table, source, 1),
            channel<kMode>(table, source, 0)};
  }

  static EDGEPOSE_INLINE float32x4_t set(const float* v) { return vld1q_dup_f32(v); }
  static EDGEPOSE_INLINE float32x4_t load(const float* v) { return vld1q_f32(v); }
  static EDGEPOSE_INLINE float32x4_t fma(float32x4_t a, float32x4_t b, float32x4_t c) {
    return vfmaq_f32(c, a, b);
  }
  static EDGEPOSE_INLINE float32x4_t fnma(float32x4_t a, float32x4_t b, float32x4_t c) {
    return vfmsq_f32(c, a, b);
  }
  static EDGEPOSE_INLINE void store(float* out, float32x4_t v) { vst1q_f32(out, v); }
  static EDGEPOSE_INLINE void store(std::uint16_t* out, float32x4_t v) {
    vst1_u16(out, vreinterpret_u16_f16(vcvt_f16_f32(v)));
  }
};

bool plan(const Windows& windows, Columns* columns) {
  int mode = 0;
  while (mode < kModes &&
         (windows.taps() > 2 * kPairs[mode] || 3 * windows.span(4) > 16 * kRegisters[mode]))
    ++mode;
  if (mode == kModes) return false;
  const int strips = (windows.size + 3) / 4;
  columns->mode = mode;
  columns->offsets.resize(static_cast<std::size_t>(strips));
  columns->tables.resize(static_cast<std::size_t>(strips));
  for (int strip = 0; strip < strips; ++strip) {
    const int first = std::max(0, std::min(4 * strip, windows.size - 4));
    std::uint8_t* take = columns->tables[static_cast<std::size_t>(strip)].bytes;
    std::int32_t base = 0;
    for (int lane = 0; lane < 4; ++lane, take += 4) {
      const std::int64_t half = std::int64_t{1} << (kPositionToTable - 1);
      const std::int64_t position = windows.edge + (first + lane) * windows.step + half;
      const auto at = static_cast<std::int32_t>(position >> kPositionToTable);
      const std::int32_t start = at / kOne;
      if (lane == 0) base = start;
      const auto byte = static_cast<std::uint8_t>(3 * (start - base));
      const std::uint8_t bytes[4] = {byte, 128, static_cast<std::uint8_t>(byte + 3), 128};
      std::memcpy(take, bytes, sizeof bytes);
      std::int32_t begin = at % kOne;
      std::int32_t end = begin + windows.length;
      for (int p = 0; p < kPairs[mode]; ++p) {
        std::int16_t weights[2];
        for (std::int16_t& weight : weights) {
          weight = static_cast<std::int16_t>(std::clamp(end, 0, kOne) - std::max(begin, 0));
          begin -= kOne;
          end -= kOne;
        }
        std::memcpy(take + 16 * (p + 1), weights, sizeof weights);
      }
    }
    columns->offsets[static_cast<std::size_t>(strip)] = 3 * base;
  }
  columns->reach = columns->offsets.back() + 16 * kRegisters[mode];
  return true;
}

void strips(const Tile& tile) {
  switch (tile.columns->mode) {
    case kOf16By2:
      return run_mode<Neon, kOf16By2>(tile);
    case kOf32By4:
      return run_mode<Neon, kOf32By4>(tile);
    default:
      return run_mode<Neon, kOf64By6>(tile);
  }
}

void to_half(const float* in, std::ptrdiff_t n, std::uint16_t* out) {
  std::ptrdiff_t i = 0;
  for (; i + 4 <= n; i += 4) Neon::store(out + i, vld1q_f32(in + i));
  for (; i < n; ++i) out[i] = half_from_float(in[i]);
}

void area(const AreaCrop& crop, void* out) { crop_area<to_half>(crop, out); }

}  // namespace

const InstructionSet kNeon = {"neon", present, area, Neon::kLanes, plan, strips};

}  // namespace edgepose::cpu
#endif
