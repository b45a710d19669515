// What one thread block computes: a tile of output positions of one sample, for the filters of a few templates.
//
// 1. The maps Z at these positions, in passes over the (group, tap) pairs, called rows. Warp w of a pass has row
//    first_row + w; its lanes have consecutive positions, so that loads of X coalesce. A thread multiplies every
//    value of X that it loads with the weights of all templates of the block, which the block has staged in shared
//    memory, `kDepth` channels at a time, and keeps the sums in registers.
// 2. The sums are parked in shared memory: the K M maps never reach global memory. Z is computed at output positions
//    only, so a strided layer costs no more than its output asks for.
// 3. Each warp takes every so many-th filter, skips those of other blocks' templates, and adds up its taps.
//
// Everything but barriers and launch is plain C++: tests run the same code on the host, thread after thread.

#ifndef ONNX_COMPRESS_SPATIAL_BASIS_BLOCK_H
#define ONNX_COMPRESS_SPATIAL_BASIS_BLOCK_H

#include "spatial_basis_conv.h"

#ifdef __CUDACC__
#define SBC_BOTH __host__ __device__ __forceinline__
#else
#define SBC_BOTH inline
#endif

namespace sbc {

constexpr int kLanes = 32;
constexpr int kSteps = 2;  // positions of a thread: lane and lane + 32
constexpr int kTile = kLanes * kSteps;
constexpr int kDepth = 16;    // channels staged at a time
constexpr int kMaxRows = 16;  // warps of a block
constexpr int kSharedBytes = 48 * 1024;

template <typename T>
struct Scalar {
    SBC_BOTH static float widen(T value) { return value; }
    SBC_BOTH static T narrow(float value) { return value; }
};

template <typename T>
struct Problem {
    SbcShape shape;
    const T *x, *basis, *transforms;
    const int32_t* choice;
    const T* bias;
    T* y;
};

SBC_BOTH int volume(const int32_t* sizes) { return sizes[0] * sizes[1] * sizes[2]; }
SBC_BOTH int divide_up(int value, int by) { return (value + by - 1) / by; }
SBC_BOTH int rows_of(const SbcShape& shape) { return shape.groups * volume(shape.kernel); }
SBC_BOTH int warps_of(const SbcShape& shape) { return rows_of(shape) < kMaxRows ? rows_of(shape) : kMaxRows; }

// Floats of shared memory for blocks of `count` templates: staged weights, then parked maps.
SBC_BOTH int staged_floats(const SbcShape& shape, int count) { return warps_of(shape) * kDepth * count; }
SBC_BOTH int parked_floats(const SbcShape& shape, int count) { return rows_of(shape) * count * kTile; }
SBC_BOTH int shared_bytes(const SbcShape& shape, int count) {
    return static_cast<int>(sizeof(float)) * (staged_floats(shape, count) + parked_floats(shape, count));
}

// Templates per block: 8, 4, 2 or 1, not twice as many as there are, as many as fit; 0 where not even one fits.
inline int templates_per_block(const SbcShape& shape) {
    int count = 8;
    while (count > 1 && count / 2 >= shape.templates) count /= 2;
    while (count > 0 && shared_bytes(shape, count) > kSharedBytes) count /= 2;
    return count;
}

// Where output position `p`, moved by tap `k`, lies in one channel of the input; -1 in the padding or beyond the end.
SBC_BOTH int locate(const SbcShape& shape, int p, int k) {
    if (p >= volume(shape.output)) return -1;
    int offset = 0, scale = 1;
    for (int axis = SBC_AXES - 1; axis >= 0; --axis) {
        const int at = p % shape.output[axis], tap = k % shape.kernel[axis];
        const int place = at * shape.stride[axis] + tap * shape.dilation[axis] - shape.pad[axis];
        if (place < 0 || place >= shape.input[axis]) return -1;
        offset += place * scale;
        scale *= shape.input[axis];
        p /= shape.output[axis];
        k /= shape.kernel[axis];
    }
    return offset;
}

// One block of `M` templates from template `first`, on tile `tile` of sample `sample`.
template <typename T, int M>
struct Block {
    const Problem<T>& problem;
    int tile, first, sample;

    // What a thread keeps in registers through a pass: where its positions lie in a channel of X, and its sums.
    struct Thread {
        int offset[kSteps];
        float sum[kSteps][M];
    };

    SBC_BOTH int channels() const { return problem.shape.channels / problem.shape.groups; }

    SBC_BOTH void begin(int lane, int row, Thread& thread) const {
        for (int step = 0; step < kSteps; ++step) {
            const int tap = row % volume(problem.shape.kernel);
            thread.offset[step] = locate(problem.shape, tile * kTile + step * kLanes + lane, tap);
            for (int m = 0; m < M; ++m) thread.sum[step][m] = 0.0f;
        }
    }

    // Stage the weights of channels [depth, depth + kDepth) for the rows of a pass: staged[warp][channel][template].
    SBC_BOTH void stage(int thread, int threads, int first_row, int depth, float* staged) const {
        const SbcShape& shape = problem.shape;
        const int taps = volume(shape.kernel), warps = warps_of(shape);
        for (int item = thread; item < warps * kDepth * M; item += threads) {
            const int warp = item % warps, c = item / warps % kDepth, m = item / warps / kDepth;
            const int row = first_row + warp, channel = depth + c;
            const bool inside = row < rows_of(shape) && channel < channels() && first + m < shape.templates;
            const int group = row / taps, tap = row % taps;
            const long long at =
                ((static_cast<long long>(first + m) * shape.groups + group) * channels() + channel) * taps + tap;
            staged[(warp * kDepth + c) * M + m] = inside ? Scalar<T>::widen(problem.basis[at]) : 0.0f;
        }
    }

    // Add the staged channels to the sums of one thread, whose row is `row`.
    SBC_BOTH void accumulate(int warp, int row, int depth, const float* staged, Thread& thread) const {
        const SbcShape& shape = problem.shape;
        if (row >= rows_of(shape)) return;
        const int taps = volume(shape.kernel), plane = volume(shape.input);
        const long long channel = static_cast<long long>(sample) * shape.channels + row / taps * channels() + depth;
        const T* const from = problem.x + channel * plane;
        const int count = channels() - depth < kDepth ? channels() - depth : kDepth;
        for (int c = 0; c < count; ++c) {
            const float* const weights = staged + (warp * kDepth + c) * M;
            for (int step = 0; step < kSteps; ++step) {
                if (thread.offset[step] < 0) continue;
                const float value = Scalar<T>::widen(from[static_cast<long long>(c) * plane + thread.offset[step]]);
                for (int m = 0; m < M; ++m) thread.sum[step][m] += value * weights[m];
            }
        }
    }

    // Put the sums of one thread where the filters read them: parked[row][template][position].
    SBC_BOTH void park(int lane, int row, const Thread& thread, float* parked) const {
        if (row >= rows_of(problem.shape)) return;
        for (int step = 0; step < kSteps; ++step) {
            for (int m = 0; m < M; ++m) parked[(row * M + m) * kTile + step * kLanes + lane] = thread.sum[step][m];
        }
    }

    // Write the outputs of one thread: its positions of the filters warp, warp + warps, ...
    SBC_BOTH void finish(int lane, int warp, const float* parked) const {
        const SbcShape& shape = problem.shape;
        const int rows = rows_of(shape), positions = volume(shape.output);
        for (int n = warp; n < shape.filters; n += warps_of(shape)) {
            const int m = problem.choice[n] - first;
            if (m < 0 || m >= M) continue;
            const T* const scales = problem.transforms + static_cast<long long>(n) * rows;
            for (int step = 0; step < kSteps; ++step) {
                const int p = tile * kTile + step * kLanes + lane;
                if (p >= positions) continue;
                float sum = Scalar<T>::widen(problem.bias[n]);
                for (int row = 0; row < rows; ++row) {
                    sum += Scalar<T>::widen(scales[row]) * parked[(row * M + m) * kTile + step * kLanes + lane];
                }
                const long long channel = static_cast<long long>(sample) * shape.filters + n;
                problem.y[channel * positions + p] = Scalar<T>::narrow(sum);
            }
        }
    }
};

}  // namespace sbc

#endif
