// The CUDA kernel's source as a host library, for ctypes.
#define EDGEPOSE_CUDA_ON_HOST
#include "crop_cuda.cu"

namespace {

void fill(float (&to)[3], const float* from) { std::memcpy(to, from, sizeof to); }

}  // namespace

extern "C" int crop_on_host(int source, const edgepose::DeviceFrame* frames, int frame_count,
                            const edgepose::Box* boxes, const std::int64_t* frame_index,
                            std::int64_t count, void* out, int height, int width, int half,
                            const float* gain, const float* border, const float* padding,
                            int antialias) {
  edgepose::CropSpec spec = {};
  spec.height = height;
  spec.width = width;
  spec.antialias = antialias != 0;
  spec.format = half ? edgepose::Format::kFloat16 : edgepose::Format::kFloat32;
  fill(spec.colour.gain, gain);
  fill(spec.colour.border, border);
  fill(spec.colour.padding, padding);
  return edgepose::crop_cuda(static_cast<edgepose::Source>(source), frames, frame_count, boxes,
                             frame_index, count, spec, out, nullptr);
}
