// Kernel and launch of SpatialBasisConv; what a block does is in spatial_basis_block.h.

#include <cuda_fp16.h>
#ifndef __CUDACC_RTC__
#include <cuda_runtime.h>
#endif

#include "spatial_basis_block.h"

namespace sbc {

template <>
struct Scalar<__half> {
    SBC_BOTH static float widen(__half value) { return __half2float(value); }
    SBC_BOTH static __half narrow(float value) { return __float2half(value); }
};

// Block (32 lanes, warps); grid (tiles of positions, chunks of M templates, samples).
template <typename T, int M>
__global__ void __launch_bounds__(kLanes* kMaxRows) forward(Problem<T> problem) {
    extern __shared__ float shared[];
    const SbcShape& shape = problem.shape;
    const Block<T, M> block{problem, static_cast<int>(blockIdx.x), static_cast<int>(blockIdx.y) * M,
                            static_cast<int>(blockIdx.z)};
    float* const staged = shared;
    float* const parked = shared + staged_floats(shape, M);
    const int lane = threadIdx.x, warp = threadIdx.y;
    const int thread = warp * kLanes + lane, threads = kLanes * blockDim.y;

    for (int first_row = 0; first_row < rows_of(shape); first_row += blockDim.y) {
        typename Block<T, M>::Thread kept;
        block.begin(lane, first_row + warp, kept);
        for (int depth = 0; depth < block.channels(); depth += kDepth) {
            block.stage(thread, threads, first_row, depth, staged);
            __syncthreads();
            block.accumulate(warp, first_row + warp, depth, staged, kept);
            __syncthreads();
        }
        block.park(lane, first_row + warp, kept, parked);
    }
    __syncthreads();
    block.finish(lane, warp, parked);
}

#ifndef __CUDACC_RTC__

template <typename T, int M>
int launch(const Problem<T>& problem, cudaStream_t stream) {
    const SbcShape& shape = problem.shape;
    const dim3 grid(divide_up(volume(shape.output), kTile), divide_up(shape.templates, M), shape.samples);
    const dim3 block(kLanes, warps_of(shape));
    forward<T, M><<<grid, block, shared_bytes(shape, M), stream>>>(problem);
    return cudaGetLastError();
}

template <typename T>
int dispatch(const Problem<T>& problem, void* stream) {
    cudaStream_t const queue = static_cast<cudaStream_t>(stream);
    if (volume(problem.shape.output) == 0 || problem.shape.samples == 0) return cudaSuccess;
    switch (templates_per_block(problem.shape)) {
        case 8: return launch<T, 8>(problem, queue);
        case 4: return launch<T, 4>(problem, queue);
        case 2: return launch<T, 2>(problem, queue);
        case 1: return launch<T, 1>(problem, queue);
        default: return cudaErrorInvalidValue;
    }
}

#endif

}  // namespace sbc

#ifndef __CUDACC_RTC__

extern "C" int sbc_forward_float(const SbcShape* shape, const float* x, const float* basis, const float* transforms,
                                 const int32_t* choice, const float* bias, float* y, void* stream) {
    return sbc::dispatch(sbc::Problem<float>{*shape, x, basis, transforms, choice, bias, y}, stream);
}

extern "C" int sbc_forward_half(const SbcShape* shape, const void* x, const void* basis, const void* transforms,
                                const int32_t* choice, const void* bias, void* y, void* stream) {
    using Half = const __half*;
    return sbc::dispatch(
        sbc::Problem<__half>{*shape, static_cast<Half>(x), static_cast<Half>(basis), static_cast<Half>(transforms),
                             choice, static_cast<Half>(bias), static_cast<__half*>(y)},
        stream);
}

#endif
