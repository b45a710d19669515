// The launch of spatial_basis_conv.cu on the host: blocks one after another, and within a block every phase for all
// threads before the next phase, which is what the barriers ask for.

#include <vector>

#include "spatial_basis_block.h"

namespace {

template <int M>
void run_block(const sbc::Block<float, M>& block, int warps) {
    using namespace sbc;
    const SbcShape& shape = block.problem.shape;
    const int threads = warps * kLanes;
    std::vector<float> staged(staged_floats(shape, M), 1e30f), parked(parked_floats(shape, M), 1e30f);
    for (int first_row = 0; first_row < rows_of(shape); first_row += warps) {
        std::vector<typename Block<float, M>::Thread> kept(threads);
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

template <int M>
int run(const sbc::Problem<float>& problem) {
    const SbcShape& shape = problem.shape;
    for (int sample = 0; sample < shape.samples; ++sample) {
        for (int first = 0; first < shape.templates; first += M) {
            for (int tile = 0; tile < sbc::divide_up(sbc::volume(shape.output), sbc::kTile); ++tile) {
                run_block(sbc::Block<float, M>{problem, tile, first, sample}, sbc::warps_of(shape));
            }
        }
    }
    return 0;
}

}  // namespace

extern "C" int sbc_forward_float(const SbcShape* shape, const float* x, const float* basis, const float* transforms,
                                 const int32_t* choice, const float* bias, float* y, void*) {
    const sbc::Problem<float> problem{*shape, x, basis, transforms, choice, bias, y};
    switch (sbc::templates_per_block(*shape)) {
        case 8: return run<8>(problem);
        case 4: return run<4>(problem);
        case 2: return run<2>(problem);
        case 1: return run<1>(problem);
        default: return 1;
    }
}

extern "C" int sbc_forward_half(const SbcShape*, const void*, const void*, const void*, const int32_t*, const void*,
                                void*, void*) {
    return 99;  // FP16 is for the device
}
