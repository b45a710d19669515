// One thread block of spatial_basis_conv.cu on the host: every phase for all threads before the next phase, which is
// what the barriers ask for. Half precision is the compiler's own, where it has one.

#ifndef EMULATED_BLOCK_H
#define EMULATED_BLOCK_H

#include <vector>

#include "spatial_basis_block.h"

#ifdef __FLT16_MAX__
namespace sbc {

template <>
struct Scalar<_Float16> {
    static float widen(_Float16 value) { return static_cast<float>(value); }
    static _Float16 narrow(float value) { return static_cast<_Float16>(value); }
};

}  // namespace sbc
#endif

template <typename T, int M>
void run_block(const sbc::Block<T, M>& block, int warps) {
    using namespace sbc;
    const SbcShape& shape = block.problem.shape;
    const int threads = warps * kLanes;
    std::vector<float> staged(staged_floats(shape, M), 1e30f), parked(parked_floats(shape, M), 1e30f);
    for (int first_row = 0; first_row < rows_of(shape); first_row += warps) {
        std::vector<typename Block<T, M>::Thread> kept(threads);
        for (int t = 0; t < threads; ++t) block.begin(t % kLanes, first_row + t / kLanes, kept[t]);
        for (int depth = 0; depth < block.channels(); depth += kDepth) {
            for (int t = 0; t < threads; ++t) block.stage(t, threads, first_row, depth, staged.data());
            for (int t = 0; t < threads; ++t) {
                const int warp = t / kLanes;
                block.accumulate(warp, first_row + warp, depth, staged.data(), kept[t]);
            }
        }
        for (int t = 0; t < threads; ++t) block.park(t % kLanes, first_row + t / kLanes, kept[t], parked.data());
    }
    for (int t = 0; t < threads; ++t) block.finish(t % kLanes, t / kLanes, parked.data());
}

#endif
