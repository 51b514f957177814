// boxes.h on the GPU: a block per row, a thread per point. The row's points go through shared
// memory, and every thread sizes the row by itself: that is shorter than sharing it out.
#include <cstdint>

#include "boxes.h"
#include "cuda_launch.h"

namespace edgepose {
namespace {

constexpr int kThreads = 64;

struct Square {
  Rows rows;
  const Box* boxes;
  float margin;
  Box* out;
};

struct Update {
  Rows rows;
  const float* points;  // what is moved; null: the points are `offsets` alone
  const float* offsets;
  const Box* boxes;
  bool box_per_point;
  float* out;
  NextBoxes next;  // unless next.boxes is null
};

struct Shared {
  float x[kMaxPoints], y[kMaxPoints];
};

EDGEPOSE_HD bool in_use(const Rows& rows, std::int32_t row) {
  return rows.count == nullptr || row < *rows.count;
}

// As NumPy's maximum and minimum: NaN wins.
EDGEPOSE_HD float larger(float a, float b) { return a > b || a != a ? a : b; }
EDGEPOSE_HD float smaller(float a, float b) { return a < b || a != a ? a : b; }

EDGEPOSE_HD float root(float value) {
#ifdef __CUDA_ARCH__
  return sqrtf(value);
#else
  return __builtin_sqrtf(value);
#endif
}

EDGEPOSE_HD Box square(float x, float y, float side) {
  const float half = side / 2.0f;
  return {x - half, y - half, x + half, y + half};
}

// The size of a row, as of the contract.
EDGEPOSE_HD float size_of(const Update& update, const Shared& shared) {
  float most = 0.0f;
  for (const auto& pair : update.next.pairs) {
    const float x = shared.x[pair[0]] - shared.x[pair[1]];
    const float y = shared.y[pair[0]] - shared.y[pair[1]];
    most = larger(most, root(x * x + y * y));
  }
  float left = shared.x[0], right = left, top = shared.y[0], bottom = top;
  for (std::int32_t i = 1; i < update.rows.points; ++i) {
    left = smaller(left, shared.x[i]);
    right = larger(right, shared.x[i]);
    top = smaller(top, shared.y[i]);
    bottom = larger(bottom, shared.y[i]);
  }
  const float extent = larger(right - left, bottom - top);
  return larger(larger(most, update.next.floor * extent), 1.0f);
}

EDGEPOSE_KERNEL(kThreads, 1)
square_kernel(EDGEPOSE_PARAMETER Square task) {
  const std::int32_t first = kThreads * static_cast<std::int32_t>(EDGEPOSE_BLOCK().x);
  EDGEPOSE_THREADS(t, kThreads) {
    const std::int32_t row = first + t;
    if (row < task.rows.rows) {
      Box to = {0.0f, 0.0f, 0.0f, 0.0f};
      if (in_use(task.rows, row)) {
        const Box box = task.boxes[row];
        const float side = larger(box.x1 - box.x0, box.y1 - box.y0) * task.margin;
        to = square((box.x0 + box.x1) * 0.5f, (box.y0 + box.y1) * 0.5f, side);
      }
      task.out[row] = to;
    }
  }
}

EDGEPOSE_KERNEL(kThreads, 1)
update_kernel(EDGEPOSE_PARAMETER Update task) {
  EDGEPOSE_SHARED Shared shared;
  const std::int32_t row = static_cast<std::int32_t>(EDGEPOSE_BLOCK().x);
  const std::int32_t points = task.rows.points;
  const std::int64_t first = static_cast<std::int64_t>(row) * points;
  const bool used = in_use(task.rows, row);

  EDGEPOSE_THREADS(t, kThreads) {
    for (std::int32_t i = t; i < points; i += kThreads) {
      const std::int64_t at = first + i;
      float x = 0.0f, y = 0.0f;
      if (used) {
        const Box box = task.boxes[task.box_per_point ? at : row];
        const bool moved = task.points != nullptr;
        x = moved ? task.points[2 * at] : (box.x0 + box.x1) * 0.5f;
        y = moved ? task.points[2 * at + 1] : (box.y0 + box.y1) * 0.5f;
        x += task.offsets[2 * at] * (box.x1 - box.x0);
        y += task.offsets[2 * at + 1] * (box.y1 - box.y0);
      }
      task.out[2 * at] = shared.x[i] = x;
      task.out[2 * at + 1] = shared.y[i] = y;
    }
  }
  if (task.next.boxes == nullptr) return;
  EDGEPOSE_SYNC();

  EDGEPOSE_THREADS(t, kThreads) {
    const float side = used ? smaller(task.next.sigma * size_of(task, shared), kMaxSide) : 0.0f;
    const std::int64_t index =
        used && task.next.frame_index != nullptr ? task.next.frame_index[row] : 0;
    for (std::int32_t i = t; i < points; i += kThreads) {
      task.next.boxes[first + i] = square(shared.x[i], shared.y[i], side);
      if (task.next.indices != nullptr) task.next.indices[first + i] = index;
    }
  }
}

bool valid(const Rows& rows) {
  return rows.rows >= 0 && rows.points >= 1 && rows.points <= kMaxPoints;
}

bool valid(const Rows& rows, const NextBoxes& next) {
  for (const auto& pair : next.pairs)
    for (const std::int32_t point : pair)
      if (point < 0 || point >= rows.points) return false;
  return true;
}

cudaError_t update(const Rows& rows, const float* points, const float* offsets, const Box* boxes,
                   const NextBoxes* next, float* out, cudaStream_t stream) {
  if (!valid(rows) || (next != nullptr && !valid(rows, *next))) return cudaErrorInvalidValue;
  if (rows.rows == 0) return cudaSuccess;
  Update task = {};
  task.rows = rows;
  task.points = points;
  task.offsets = offsets;
  task.boxes = boxes;
  task.box_per_point = points != nullptr;
  task.out = out;
  if (next != nullptr) task.next = *next;
  return run_kernel(update_kernel, Grid{static_cast<unsigned>(rows.rows), 1, 1}, kThreads, stream,
                    task);
}

}  // namespace

cudaError_t square_boxes(const Rows& rows, const Box* boxes, float margin, Box* out,
                         cudaStream_t stream) {
  if (!valid(rows)) return cudaErrorInvalidValue;
  if (rows.rows == 0) return cudaSuccess;
  const auto blocks = static_cast<unsigned>((rows.rows + kThreads - 1) / kThreads);
  return run_kernel(square_kernel, Grid{blocks, 1, 1}, kThreads, stream,
                    Square{rows, boxes, margin, out});
}

cudaError_t denormalise(const Rows& rows, const float* points, const Box* boxes,
                        const NextBoxes* next, float* out, cudaStream_t stream) {
  return update(rows, nullptr, points, boxes, next, out, stream);
}

cudaError_t refine(const Rows& rows, const float* points, const float* displacements,
                   const Box* boxes, const NextBoxes* next, float* out, cudaStream_t stream) {
  return update(rows, points, displacements, boxes, next, out, stream);
}

}  // namespace edgepose
