// AVX2 with FMA and F16C. A 128-bit half shuffles the taps of one, two or four outputs out of 16
// bytes of the source row, so there are no gathers.
#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>

#define EDGEPOSE_TARGET __attribute__((target("avx2,fma,f16c")))
#include "crop_area.h"
#include "crop_strips.h"

namespace edgepose::cpu {
namespace {

bool present() {
  __builtin_cpu_init();
  unsigned a, b, c, d;  // not every compiler's __builtin_cpu_supports knows F16C
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
         __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_F16C) != 0;
}

// How many outputs share 16 bytes, and the taps of each.
enum Mode { kFourBy2, kTwoBy4, kOneBy4, kModes };
constexpr int kPieces[kModes] = {2, 4, 8};  // per strip
constexpr int kTables[kModes] = {1, 3, 2};  // Lanes per strip

EDGEPOSE_TARGET EDGEPOSE_INLINE __m256i load_table(const Lanes* table, int half) {
  return _mm256_load_si256(reinterpret_cast<const __m256i*>(table->bytes + 32 * half));
}

EDGEPOSE_TARGET EDGEPOSE_INLINE void store_table(Lanes* table, int half, __m256i v) {
  _mm256_store_si256(reinterpret_cast<__m256i*>(table->bytes + 32 * half), v);
}

// 16 bytes each.
EDGEPOSE_TARGET EDGEPOSE_INLINE __m256i load_halves(const std::uint8_t* low,
                                                    const std::uint8_t* high) {
  const __m128i first = _mm_loadu_si128(reinterpret_cast<const __m128i*>(low));
  return _mm256_inserti128_si256(_mm256_castsi128_si256(first),
                                 _mm_loadu_si128(reinterpret_cast<const __m128i*>(high)), 1);
}

// The same pixels' next bytes: a zeroing lane stays one.
EDGEPOSE_TARGET EDGEPOSE_INLINE __m256i further(__m256i take, int bytes) {
  return _mm256_add_epi32(take, _mm256_set1_epi32(bytes * 0x10001));
}

struct Avx2 {
  using Vector = __m256;
  static constexpr std::ptrdiff_t kLanes = 8;

  struct Rgb {
    __m256 r, g, b;
  };

  // kFourBy2: one `take`, one `weights`; halves at offsets 0 and 1.
  // kTwoBy4: `take` of outputs (0, 1; 4, 5) from offsets 0 and 2 and of (2, 3; 6, 7) from 1 and 3,
  // repeated for two channels; `weights` of their first and next two taps.
  // kOneBy4: `weights` of outputs (0; 4), (1; 5), (2; 6) and (3; 7), four taps, repeated.
  template <int kMode>
  struct Table {
    const std::int32_t* offsets;
    const Lanes* lanes;

    EDGEPOSE_TARGET EDGEPOSE_INLINE Table(const Columns& columns, std::ptrdiff_t strip)
        : offsets(columns.offsets.data() + strip * kPieces[kMode]),
          lanes(columns.tables.data() + strip * kTables[kMode]) {}

    EDGEPOSE_TARGET EDGEPOSE_INLINE void prefetch(const std::uint8_t* row) const {
      _mm_prefetch(row + offsets[0], _MM_HINT_T0);
    }
  };

  static EDGEPOSE_TARGET EDGEPOSE_INLINE __m256 channel(__m256i source, __m256i take,
                                                        __m256i weights) {
    return _mm256_cvtepi32_ps(_mm256_madd_epi16(_mm256_shuffle_epi8(source, take), weights));
  }

  static EDGEPOSE_TARGET EDGEPOSE_INLINE Rgb resample(const Table<kFourBy2>& table,
                                                      const std::uint8_t* row) {
    const __m256i source = load_halves(row + table.offsets[0], row + table.offsets[1]);
    const __m256i take = load_table(table.lanes, 0);
    const __m256i weights = load_table(table.lanes, 1);
    return {channel(source, further(take, 2), weights), channel(source, further(take, 1), weights),
            channel(source, take, weights)};
  }

  // Two outputs of each half: B, B, G, G, and R, R of the first two and of the other two taps.
  struct Pair {
    __m256i bg, r;
  };
  static EDGEPOSE_TARGET EDGEPOSE_INLINE Pair resample_pair(__m256i source, __m256i take,
                                                            __m256i first, __m256i next) {
    const __m256i bg =
        _mm256_add_epi32(_mm256_madd_epi16(_mm256_shuffle_epi8(source, take), first),
                         _mm256_madd_epi16(_mm256_shuffle_epi8(source, further(take, 6)), next));
    // From B B G G to R R and, two pixels on, R R.
    const __m256i r_step =
        _mm256_setr_epi32(0x20002, 0x20002, 0x70007, 0x70007, 0x20002, 0x20002, 0x70007, 0x70007);
    return {bg, _mm256_madd_epi16(_mm256_shuffle_epi8(source, _mm256_add_epi32(take, r_step)),
                                  _mm256_blend_epi32(first, next, 0xcc))};
  }

  static EDGEPOSE_TARGET EDGEPOSE_INLINE Rgb resample(const Table<kTwoBy4>& table,
                                                      const std::uint8_t* row) {
    const std::int32_t* at = table.offsets;
    const Lanes* lanes = table.lanes;
    const Pair x = resample_pair(load_halves(row + at[0], row + at[2]), load_table(lanes, 0),
                                 load_table(lanes, 1), load_table(lanes + 1, 0));
    const Pair y = resample_pair(load_halves(row + at[1], row + at[3]), load_table(lanes + 1, 1),
                                 load_table(lanes + 2, 0), load_table(lanes + 2, 1));
    return {_mm256_cvtepi32_ps(
                _mm256_add_epi32(_mm256_unpacklo_epi64(x.r, y.r), _mm256_unpackhi_epi64(x.r, y.r))),
            _mm256_cvtepi32_ps(_mm256_unpackhi_epi64(x.bg, y.bg)),
            _mm256_cvtepi32_ps(_mm256_unpacklo_epi64(x.bg, y.bg))};
  }

  static EDGEPOSE_TARGET EDGEPOSE_INLINE Rgb resample(const Table<kOneBy4>& table,
                                                      const std::uint8_t* row) {
    // Bytes of the pixels 0, 1 and 2, 3: B, B, G, G and R, R.
    constexpr char o = static_cast<char>(0x80);
    const __m256i take_bg = _mm256_setr_epi8(0, o, 3, o, 6, o, 9, o, 1, o, 4, o, 7, o, 10, o,  //
                                             0, o, 3, o, 6, o, 9, o, 1, o, 4, o, 7, o, 10, o);
    const __m256i take_r = _mm256_setr_epi8(2, o, 5, o, 8, o, 11, o, o, o, o, o, o, o, o, o,  //
                                            2, o, 5, o, 8, o, 11, o, o, o, o, o, o, o, o, o);
    __m256i bg[4], r[4];
    for (int i = 0; i < 4; ++i) {
      const __m256i source = load_halves(row + table.offsets[i], row + table.offsets[i + 4]);
      const __m256i weights = load_table(table.lanes + i / 2, i % 2);
      bg[i] = _mm256_madd_epi16(_mm256_shuffle_epi8(source, take_bg), weights);
      r[i] = _mm256_madd_epi16(_mm256_shuffle_epi8(source, take_r), weights);
    }
    const __m256 low = _mm256_castsi256_ps(_mm256_hadd_epi32(bg[0], bg[1]));  // B, G, B, G
    const __m256 high = _mm256_castsi256_ps(_mm256_hadd_epi32(bg[2], bg[3]));
    const __m256i red =
        _mm256_hadd_epi32(_mm256_unpacklo_epi64(r[0], r[1]), _mm256_unpacklo_epi64(r[2], r[3]));
    return {_mm256_cvtepi32_ps(red),
            _mm256_cvtepi32_ps(_mm256_castps_si256(_mm256_shuffle_ps(low, high, 0xdd))),
            _mm256_cvtepi32_ps(_mm256_castps_si256(_mm256_shuffle_ps(low, high, 0x88)))};
  }

  static EDGEPOSE_TARGET EDGEPOSE_INLINE __m256 set(const float* v) { return _mm256_set1_ps(*v); }
  static EDGEPOSE_TARGET EDGEPOSE_INLINE __m256 load(const float* v) { return _mm256_loadu_ps(v); }
  static EDGEPOSE_TARGET EDGEPOSE_INLINE __m256 fma(__m256 a, __m256 b, __m256 c) {
    return _mm256_fmadd_ps(a, b, c);
  }
  static EDGEPOSE_TARGET EDGEPOSE_INLINE __m256 fnma(__m256 a, __m256 b, __m256 c) {
    return _mm256_fnmadd_ps(a, b, c);
  }
  static EDGEPOSE_TARGET EDGEPOSE_INLINE void store(float* out, __m256 v) {
    _mm256_storeu_ps(out, v);
  }
  static EDGEPOSE_TARGET EDGEPOSE_INLINE void store(std::uint16_t* out, __m256 v) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out),
                     _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
  }
};

// Where 8 windows begin, in 1 / kOne pixels.
EDGEPOSE_TARGET EDGEPOSE_INLINE __m256i edges8(std::int64_t edge, std::int64_t step) {
  const __m256i steps = _mm256_setr_epi64x(0, step, 2 * step, 3 * step);
  const __m256i low = _mm256_add_epi64(
      steps, _mm256_set1_epi64x(edge + (std::int64_t{1} << (kPositionToTable - 1))));
  const __m256i high = _mm256_add_epi64(low, _mm256_set1_epi64x(4 * step));
  const __m256i even = _mm256_setr_epi32(0, 2, 4, 6, 0, 2, 4, 6);
  return _mm256_blend_epi32(
      _mm256_permutevar8x32_epi32(_mm256_srli_epi64(low, kPositionToTable), even),
      _mm256_permutevar8x32_epi32(_mm256_srli_epi64(high, kPositionToTable), even), 0xf0);
}

// Weights of the pixels `tap` and tap + 1 of windows that begin `fraction` into pixel 0.
EDGEPOSE_TARGET EDGEPOSE_INLINE __m256i weights8(__m256i fraction, int tap, std::int32_t length) {
  const __m256i zero = _mm256_setzero_si256();
  const __m256i one = _mm256_set1_epi32(kOne);
  const __m256i begin = _mm256_sub_epi32(fraction, _mm256_set1_epi32(tap * kOne));
  const __m256i end = _mm256_add_epi32(begin, _mm256_set1_epi32(length));
  const __m256i first = _mm256_sub_epi32(_mm256_min_epi32(_mm256_max_epi32(end, zero), one),
                                         _mm256_max_epi32(begin, zero));
  const __m256i second = _mm256_min_epi32(_mm256_max_epi32(_mm256_sub_epi32(end, one), zero), one);
  return _mm256_or_si256(first, _mm256_slli_epi32(second, 16));
}

// Bytes 0 and 2 of a lane take a pixel and the next one, 1 and 3 become zero.
EDGEPOSE_TARGET EDGEPOSE_INLINE __m256i take8(__m256i pixel) {
  const __m256i byte = _mm256_add_epi32(pixel, _mm256_slli_epi32(pixel, 1));
  return _mm256_add_epi32(_mm256_or_si256(byte, _mm256_slli_epi32(byte, 16)),
                          _mm256_set1_epi32(static_cast<int>(0x80038000)));
}

EDGEPOSE_TARGET bool plan(const Windows& windows, Columns* columns) {
  const int taps = windows.taps();
  int mode;
  if (taps <= 2 && 3 * windows.span(4) <= 16)
    mode = kFourBy2;
  else if (taps <= 4 && 3 * windows.span(2) <= 16)
    mode = kTwoBy4;
  else if (taps <= 4)
    mode = kOneBy4;
  else
    return false;
  const int strips = (windows.size + 7) / 8;
  const int pieces = kPieces[mode];
  columns->mode = mode;
  columns->offsets.resize(static_cast<std::size_t>(strips * pieces));
  columns->tables.resize(static_cast<std::size_t>(strips * kTables[mode]));
  Lanes* table = columns->tables.data();
  std::int32_t* offset = columns->offsets.data();
  for (int strip = 0; strip < strips; ++strip, offset += pieces, table += kTables[mode]) {
    const int first = std::max(0, std::min(8 * strip, windows.size - 8));
    const __m256i at = edges8(windows.edge + first * windows.step, windows.step);
    const __m256i start = _mm256_srli_epi32(at, 14);
    const __m256i fraction = _mm256_and_si256(at, _mm256_set1_epi32(kOne - 1));
    const __m256i weights = weights8(fraction, 0, windows.length);
    alignas(32) std::int32_t starts[8];
    _mm256_store_si256(reinterpret_cast<__m256i*>(starts), start);
    for (int p = 0; p < pieces; ++p) offset[p] = 3 * starts[p * 8 / pieces];
    if (mode == kFourBy2) {
      store_table(table, 0, take8(_mm256_sub_epi32(start, _mm256_shuffle_epi32(start, 0))));
      store_table(table, 1, weights);
    } else if (mode == kTwoBy4) {
      constexpr int kFirst = 0x44;   // lanes 0, 1, 0, 1
      constexpr int kSecond = 0xee;  // lanes 2, 3, 2, 3
      // From B, B to B, B, G, G.
      const __m256i green = _mm256_setr_epi32(0, 0, 0x10001, 0x10001, 0, 0, 0x10001, 0x10001);
      const __m256i next = weights8(fraction, 2, windows.length);
      const __m256i x = _mm256_sub_epi32(start, _mm256_shuffle_epi32(start, 0x00));
      const __m256i y = _mm256_sub_epi32(start, _mm256_shuffle_epi32(start, 0xaa));
      store_table(table, 0, _mm256_add_epi32(take8(_mm256_shuffle_epi32(x, kFirst)), green));
      store_table(table, 1, _mm256_shuffle_epi32(weights, kFirst));
      store_table(table + 1, 0, _mm256_shuffle_epi32(next, kFirst));
      store_table(table + 1, 1, _mm256_add_epi32(take8(_mm256_shuffle_epi32(y, kSecond)), green));
      store_table(table + 2, 0, _mm256_shuffle_epi32(weights, kSecond));
      store_table(table + 2, 1, _mm256_shuffle_epi32(next, kSecond));
    } else {
      const __m256i next = weights8(fraction, 2, windows.length);
      const __m256i low = _mm256_unpacklo_epi32(weights, next);  // outputs 0, 1; 4, 5
      const __m256i high = _mm256_unpackhi_epi32(weights, next);
      store_table(table, 0, _mm256_unpacklo_epi64(low, low));
      store_table(table, 1, _mm256_unpackhi_epi64(low, low));
      store_table(table + 1, 0, _mm256_unpacklo_epi64(high, high));
      store_table(table + 1, 1, _mm256_unpackhi_epi64(high, high));
    }
  }
  columns->reach = columns->offsets.back() + 16;
  return true;
}

EDGEPOSE_TARGET void strips(const Tile& tile) {
  switch (tile.columns->mode) {
    case kFourBy2:
      return run_mode<Avx2, kFourBy2>(tile);
    case kTwoBy4:
      return run_mode<Avx2, kTwoBy4>(tile);
    default:
      return run_mode<Avx2, kOneBy4>(tile);
  }
}

EDGEPOSE_TARGET void to_half(const float* in, std::ptrdiff_t n, std::uint16_t* out) {
  std::ptrdiff_t i = 0;
  for (; i + 8 <= n; i += 8) Avx2::store(out + i, _mm256_loadu_ps(in + i));
  for (; i < n; ++i) out[i] = half_from_float(in[i]);
}

EDGEPOSE_TARGET void area(const AreaCrop& crop, void* out) { crop_area<to_half>(crop, out); }

}  // namespace

const InstructionSet kAvx2 = {"avx2", present, area, Avx2::kLanes, plan, strips};

}  // namespace edgepose::cpu
#endif
