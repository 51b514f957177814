// AVX-512 with VBMI and VNNI. Byte permutes pull the taps of every lane out of the source row, so
// there are no gathers.
#if defined(__x86_64__)
#pragma GCC diagnostic push
#if !defined(__clang__)
// GCC 12 takes the intrinsics' own undefined vectors for ours (its bug 105593).
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>
#pragma GCC diagnostic pop

#define EDGEPOSE_TARGET                                                     \
  __attribute__((                                                           \
      target("avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi," \
             "avx512vnni")))
#include "crop_area.h"
#include "crop_strips.h"

namespace edgepose::cpu {
namespace {

bool present() {
  __builtin_cpu_init();
  return kAvx2.present() && __builtin_cpu_supports("avx512f") &&
         __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vbmi") &&
         __builtin_cpu_supports("avx512vnni");
}

// How many outputs share a piece of source, its bytes, and the taps of each.
enum Mode {
  kSixteenOf64By2,
  kSixteenOf128By2,
  kSixteenOf128By4,
  kEightOf128By4,
  kEightOf128By8,
  kModes,
};
constexpr int kPieces[kModes] = {1, 1, 1, 2, 2};   // per strip
constexpr int kWeights[kModes] = {1, 1, 2, 1, 2};  // registers of weights per piece

// Bytes 0 and 2 of a lane take two taps as int16; 1 and 3 become zero.
constexpr __mmask64 kTaps = 0x5555555555555555u;

struct Avx512 {
  using Vector = __m512;
  static constexpr std::ptrdiff_t kLanes = 16;

  struct Rgb {
    __m512 r, g, b;
  };

  template <int kMode>
  struct Table {
    std::int32_t offsets[kPieces[kMode]];
    __m512i take[kPieces[kMode]][3];  // B, G, R
    __m512i weights[kPieces[kMode]][kWeights[kMode]];

    EDGEPOSE_TARGET EDGEPOSE_INLINE Table(const Columns& columns, std::ptrdiff_t strip) {
      constexpr int kStep = 1 + kWeights[kMode];
      const Lanes* from = columns.tables.data() + strip * kPieces[kMode] * kStep;
      for (int p = 0; p < kPieces[kMode]; ++p, from += kStep) {
        offsets[p] = columns.offsets[static_cast<std::size_t>(strip * kPieces[kMode] + p)];
        for (int c = 0; c < 3; ++c)
          take[p][c] =
              _mm512_add_epi8(_mm512_load_si512(from), _mm512_set1_epi8(static_cast<char>(c)));
        for (int w = 0; w < kWeights[kMode]; ++w) weights[p][w] = _mm512_load_si512(from + 1 + w);
      }
    }

    EDGEPOSE_TARGET EDGEPOSE_INLINE void prefetch(const std::uint8_t* row) const {
      for (std::int32_t offset : offsets) {
        _mm_prefetch(row + offset, _MM_HINT_T0);
        if constexpr (kMode != kSixteenOf64By2) _mm_prefetch(row + offset + 64, _MM_HINT_T0);
      }
    }
  };

  template <int kMode>
  static EDGEPOSE_TARGET EDGEPOSE_INLINE __m512 channel(const Table<kMode>& table, int c,
                                                        const __m512i (*source)[2]) {
    if constexpr (kMode == kSixteenOf64By2) {
      const __m512i taps = _mm512_maskz_permutexvar_epi8(kTaps, table.take[0][c], source[0][0]);
      return _mm512_cvtepi32_ps(_mm512_madd_epi16(taps, table.weights[0][0]));
    } else {
      constexpr char kNext = kPieces[kMode] == 1 ? 6 : 12;  // two or four pixels on
      __m512i sums[kPieces[kMode]];
      for (int p = 0; p < kPieces[kMode]; ++p) {
        const __m512i take = table.take[p][c];
        const __m512i taps =
            _mm512_maskz_permutex2var_epi8(kTaps, source[p][0], take, source[p][1]);
        sums[p] = _mm512_madd_epi16(taps, table.weights[p][0]);
        if constexpr (kWeights[kMode] == 2) {
          const __m512i more = _mm512_maskz_permutex2var_epi8(
              kTaps, source[p][0], _mm512_add_epi8(take, _mm512_set1_epi8(kNext)), source[p][1]);
          sums[p] = _mm512_dpwssd_epi32(sums[p], more, table.weights[p][1]);
        }
      }
      if constexpr (kPieces[kMode] == 1) return _mm512_cvtepi32_ps(sums[0]);
      // Each piece has the outputs' first taps in one half and the others in the other.
      return _mm512_cvtepi32_ps(
          _mm512_add_epi32(_mm512_shuffle_i64x2(sums[0], sums[kPieces[kMode] - 1], 0x44),
                           _mm512_shuffle_i64x2(sums[0], sums[kPieces[kMode] - 1], 0xee)));
    }
  }

  template <int kMode>
  static EDGEPOSE_TARGET EDGEPOSE_INLINE Rgb resample(const Table<kMode>& table,
                                                      const std::uint8_t* row) {
    __m512i source[kPieces[kMode]][2];
    for (int p = 0; p < kPieces[kMode]; ++p) {
      // The empty statements keep GCC from loading again for each channel: most loads straddle two
      // cache lines.
      source[p][0] = _mm512_loadu_si512(row + table.offsets[p]);
      __asm__("" : "+v"(source[p][0]));
      if constexpr (kMode != kSixteenOf64By2) {
        source[p][1] = _mm512_loadu_si512(row + table.offsets[p] + 64);
        __asm__("" : "+v"(source[p][1]));
      }
    }
    return {channel<kMode>(table, 2, source), channel<kMode>(table, 1, source),
            channel<kMode>(table, 0, source)};
  }

  static EDGEPOSE_TARGET EDGEPOSE_INLINE __m512 set(const float* v) { return _mm512_set1_ps(*v); }
  static EDGEPOSE_TARGET EDGEPOSE_INLINE __m512 load(const float* v) { return _mm512_loadu_ps(v); }
  static EDGEPOSE_TARGET EDGEPOSE_INLINE __m512 fma(__m512 a, __m512 b, __m512 c) {
    return _mm512_fmadd_ps(a, b, c);
  }
  static EDGEPOSE_TARGET EDGEPOSE_INLINE __m512 fnma(__m512 a, __m512 b, __m512 c) {
    return _mm512_fnmadd_ps(a, b, c);
  }
  static EDGEPOSE_TARGET EDGEPOSE_INLINE void store(float* out, __m512 v) {
    _mm512_storeu_ps(out, v);
  }
  static EDGEPOSE_TARGET EDGEPOSE_INLINE void store(std::uint16_t* out, __m512 v) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out),
                        _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
  }
};

// Where 16 windows begin, in 1 / kOne pixels.
EDGEPOSE_TARGET EDGEPOSE_INLINE __m512i edges16(std::int64_t edge, __m512i steps,
                                                std::int64_t step) {
  const __m512i low = _mm512_add_epi64(
      steps, _mm512_set1_epi64(edge + (std::int64_t{1} << (kPositionToTable - 1))));
  const __m512i high = _mm512_add_epi64(low, _mm512_set1_epi64(8 * step));
  return _mm512_inserti64x4(
      _mm512_castsi256_si512(_mm512_cvtepi64_epi32(_mm512_srli_epi64(low, kPositionToTable))),
      _mm512_cvtepi64_epi32(_mm512_srli_epi64(high, kPositionToTable)), 1);
}

// Weights of the pixels `tap` and tap + 1 of windows that begin `fraction` into pixel 0.
EDGEPOSE_TARGET EDGEPOSE_INLINE __m512i weights16(__m512i fraction, __m512i tap,
                                                  std::int32_t length) {
  const __m512i zero = _mm512_setzero_si512();
  const __m512i one = _mm512_set1_epi32(kOne);
  const __m512i begin = _mm512_sub_epi32(fraction, _mm512_slli_epi32(tap, 14));
  const __m512i end = _mm512_add_epi32(begin, _mm512_set1_epi32(length));
  const __m512i first = _mm512_sub_epi32(_mm512_min_epi32(_mm512_max_epi32(end, zero), one),
                                         _mm512_max_epi32(begin, zero));
  const __m512i second = _mm512_min_epi32(_mm512_max_epi32(_mm512_sub_epi32(end, one), zero), one);
  return _mm512_or_si512(first, _mm512_slli_epi32(second, 16));
}

EDGEPOSE_TARGET bool plan(const Windows& windows, Columns* columns) {
  if (windows.step >> kPositionBits >= 8) return false;
  const int taps = windows.taps();
  int mode;
  if (taps <= 2 && 3 * windows.span(16) <= 64)
    mode = kSixteenOf64By2;
  else if (taps <= 4 && 3 * windows.span(16) <= 128)
    mode = taps <= 2 ? kSixteenOf128By2 : kSixteenOf128By4;
  else if (taps <= 8 && 3 * windows.span(8) <= 128)
    mode = taps <= 4 ? kEightOf128By4 : kEightOf128By8;
  else
    return false;
  const int pieces = kPieces[mode];
  const int outputs = 16 / pieces;
  const int strips = (windows.size + 15) / 16;
  columns->mode = mode;
  columns->offsets.resize(static_cast<std::size_t>(strips * pieces));
  columns->tables.resize(static_cast<std::size_t>(strips * pieces * (1 + kWeights[mode])));
  const __m512i twice = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7);
  const __m512i first_tap = pieces == 1
                                ? _mm512_setzero_si512()
                                : _mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0, 2, 2, 2, 2, 2, 2, 2, 2);
  const __m512i steps = _mm512_mullo_epi64(_mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7),
                                           _mm512_set1_epi64(windows.step));
  Lanes* table = columns->tables.data();
  std::int32_t* offset = columns->offsets.data();
  for (int strip = 0; strip < strips; ++strip) {
    const int first = std::max(0, std::min(16 * strip, windows.size - 16));
    for (int p = 0; p < pieces; ++p, ++offset) {
      __m512i at =
          edges16(windows.edge + (first + p * outputs) * windows.step, steps, windows.step);
      if (pieces == 2) at = _mm512_permutexvar_epi32(twice, at);
      const __m512i start = _mm512_srli_epi32(at, 14);
      const __m512i fraction = _mm512_and_si512(at, _mm512_set1_epi32(kOne - 1));
      const std::int32_t base = _mm_cvtsi128_si32(_mm512_castsi512_si128(start));
      const __m512i pixel =
          _mm512_add_epi32(_mm512_sub_epi32(start, _mm512_set1_epi32(base)), first_tap);
      const __m512i byte = _mm512_add_epi32(pixel, _mm512_slli_epi32(pixel, 1));
      *offset = 3 * base;
      _mm512_store_si512(table++,
                         _mm512_add_epi32(_mm512_or_si512(byte, _mm512_slli_epi32(byte, 16)),
                                          _mm512_set1_epi32(0x30000)));
      for (int w = 0; w < kWeights[mode]; ++w) {
        const __m512i tap = _mm512_add_epi32(first_tap, _mm512_set1_epi32(w * 2 * pieces));
        _mm512_store_si512(table++, weights16(fraction, tap, windows.length));
      }
    }
  }
  columns->reach = columns->offsets.back() + (mode == kSixteenOf64By2 ? 64 : 128);
  return true;
}

EDGEPOSE_TARGET void strips(const Tile& tile) {
  switch (tile.columns->mode) {
    case kSixteenOf64By2:
      return run_mode<Avx512, kSixteenOf64By2>(tile);
    case kSixteenOf128By2:
      return run_mode<Avx512, kSixteenOf128By2>(tile);
    case kSixteenOf128By4:
      return run_mode<Avx512, kSixteenOf128By4>(tile);
    case kEightOf128By4:
      return run_mode<Avx512, kEightOf128By4>(tile);
    default:
      return run_mode<Avx512, kEightOf128By8>(tile);
  }
}

EDGEPOSE_TARGET void to_half(const float* in, std::ptrdiff_t n, std::uint16_t* out) {
  for (std::ptrdiff_t i = 0; i < n; i += 16) {
    const auto mask = static_cast<__mmask16>(n - i >= 16 ? 0xffff : (1u << (n - i)) - 1u);
    const __m512 values = _mm512_maskz_loadu_ps(mask, in + i);
    _mm256_mask_storeu_epi16(out + i, mask, _mm512_cvtps_ph(values, _MM_FROUND_TO_NEAREST_INT));
  }
}

EDGEPOSE_TARGET void area(const AreaCrop& crop, void* out) { crop_area<to_half>(crop, out); }

}  // namespace

const InstructionSet kAvx512 = {"avx512", present, area, Avx512::kLanes, plan, strips};

}  // namespace edgepose::cpu
#endif
