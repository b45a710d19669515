// The kernel of spatial_basis_conv.cu as it stands, on the host: a thread of the host for every thread of a block, and
// a barrier where it has one. Built with ThreadSanitizer, it says where two of them need one more. The only argument
// leaves out one of the barriers, counted from 0 in the order of the text.

#include <pthread.h>

#include <cstdlib>
#include <thread>
#include <vector>

#define __CUDACC_RTC__  // the kernel without its launches
#define __global__
#define __shared__
#define __launch_bounds__(threads)
#define __syncthreads() \
    if (__COUNTER__ - kFirst != left_out) pthread_barrier_wait(&barrier)

struct Place {
    unsigned x, y, z;
};

enum { kFirst = __COUNTER__ + 1 };
static int left_out = -1;
static pthread_barrier_t barrier;
static thread_local Place threadIdx;
static Place blockIdx, blockDim;

#include "spatial_basis_conv.cu"

namespace sbc {

float shared[kSharedBytes / sizeof(float)];

}  // namespace sbc

namespace {

constexpr int kTemplates = 2;

void run_block(const sbc::Problem<float>& problem) {
    const unsigned count = blockDim.x * blockDim.y;
    std::vector<std::thread> threads;
    pthread_barrier_init(&barrier, nullptr, count);
    for (unsigned t = 0; t < count; ++t) {
        threads.emplace_back([t, &problem] {
            threadIdx = {t % blockDim.x, t / blockDim.x, 0};
            sbc::forward<float, kTemplates>(problem);
        });
    }
    for (std::thread& thread : threads) thread.join();
    pthread_barrier_destroy(&barrier);
}

}  // namespace

// Ones all over: C taps of every output position, or fewer at the border, is what comes out. Returns how many differ.
int main(int count, char** arguments) {
    if (count > 1) left_out = std::atoi(arguments[1]);
    const SbcShape shape{1, 40, 3, 3, 2, {1, 5, 12}, {1, 5, 12}, {1, 3, 3}, {1, 1, 1}, {0, 1, 1}, {1, 1, 1}};
    const int rows = sbc::rows_of(shape), positions = sbc::volume(shape.output);
    const std::vector<float> x(40 * positions, 1.0f), basis(3 * 40 * 9, 1.0f), transforms(3 * rows, 1.0f), bias(3, 0.5f);
    const std::vector<int32_t> choice{2, 0, 1};
    std::vector<float> y(3 * positions, -1.0f);
    const sbc::Problem<float> problem{shape,         x.data(),    basis.data(), transforms.data(),
                                      choice.data(), bias.data(), y.data()};
    blockDim = {sbc::kLanes, static_cast<unsigned>(sbc::warps_of(shape)), 1};
    for (int tile = 0; tile < sbc::divide_up(positions, sbc::kTile); ++tile) {
        for (int chunk = 0; chunk < sbc::divide_up(shape.templates, kTemplates); ++chunk) {
            blockIdx = {static_cast<unsigned>(tile), static_cast<unsigned>(chunk), 0};
            run_block(problem);
        }
    }
    int wrong = 0;
    for (int n = 0; n < 3; ++n) {
        for (int p = 0; p < positions; ++p) {
            const int row = p / 12, column = p % 12;
            const int taps = (3 - (row == 0) - (row == 4)) * (3 - (column == 0) - (column == 11));
            wrong += y[n * positions + p] != 40.0f * taps + 0.5f;
        }
    }
    return wrong == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
