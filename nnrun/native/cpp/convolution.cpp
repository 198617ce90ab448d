// Convolution of images, forward and backward, for R replicas that each have a kernel of their own.
//
// R: replicas, B: images of each, H and W: their height and width, C: their channels, O: filters.
// Images are (R, B, H, W, C), kernels (R, O, C, h, w) as in PyTorch.
//
// No window is copied. The number of an image that place k of the window at pixel p meets lies at
// pixels[p] + places[k]: the matrix of all windows, (pixels, places), need not exist to be multiplied with.
//
// Where the largest number of each of other windows is all that is asked for (pooling.h), an image's sums are pooled
// while they are in the caches, and so are their gradients made of those of the pooled.

#include <algorithm>
#include <vector>

#include "pooling.h"
#include "sums.h"
#include "tasks.h"

namespace {

// nnrun/model/kernels/convolution.py has the same structure.
struct Convolution {
    Index replicas, images, height, width, channels, filters;
    Index window_height, window_width, stride_y, stride_x, dilation_y, dilation_x;
    Index top, left, bottom, right;  // the padding
    Index relu;                      // whether negative sums become 0
    Index threads;

    Index padded_height() const { return top + height + bottom; }
    Index padded_width() const { return left + width + right; }
    Index padded_size() const { return padded_height() * padded_width() * channels; }
    bool pads() const { return top + left + bottom + right > 0; }
    Index image_size() const { return height * width * channels; }
    Index out_height() const { return (padded_height() - (window_height - 1) * dilation_y - 1) / stride_y + 1; }
    Index out_width() const { return (padded_width() - (window_width - 1) * dilation_x - 1) / stride_x + 1; }
    Index pixels() const { return out_height() * out_width(); }  // of what an image becomes
    Index places() const { return window_height * window_width * channels; }
    Index kernel_size() const { return places() * filters; }
};

// --- products with windows ---------------------------------------------------------------------------------

// y[i, j] = start[i, j] + sum over k of x[rows[i] + steps[k]] * b[k, j], for R rows and the columns of a strip. With
// `relu` negative sums become 0. Not inlined: the loop has the registers for itself.
template <int R, class T, int C>
__attribute__((noinline)) void gathered_tile(Strip<T, C>, float* y, Start start, const float* x, const Index* rows, const Index* steps,
                          Index count, const float* b, Index units, bool relu) {
    const float* a[R];
    T sum[R][C];
#pragma GCC unroll 12
    for (int i = 0; i < R; ++i) {
        a[i] = x + rows[i];
#pragma GCC unroll 4
        for (int c = 0; c < C; ++c) sum[i][c] = load<T>(start.values + i * start.row_step + c * width<T>);
    }
    for (Index k = 0; k < count; ++k, b += units) {
        const Index step = steps[k];
#pragma GCC unroll 12
        for (int i = 0; i < R; ++i)
#pragma GCC unroll 4
            for (int c = 0; c < C; ++c) sum[i][c] += a[i][step] * load<T>(b + c * width<T>);
    }
#pragma GCC unroll 12
    for (int i = 0; i < R; ++i)
#pragma GCC unroll 4
        for (int c = 0; c < C; ++c)
            store<T>(y + i * units + c * width<T>, relu ? (sum[i][c] < 0 ? T{} : sum[i][c]) : sum[i][c]);
}

// x[rows[i] + j] += sum over o of d[i, o] * b[o, j], for R rows and the columns of a strip. Rows may overlap in x.
template <int R, class T, int C>
inline void scattered_tile(Strip<T, C>, float* x, const Index* rows, const float* d, Index units, const float* b,
                           Index b_step) {
    T sum[R][C] = {};
    for (Index o = 0; o < units; ++o, b += b_step)
        for (int i = 0; i < R; ++i)
            for (int c = 0; c < C; ++c) sum[i][c] += d[i * units + o] * load<T>(b + c * width<T>);
    for (int i = 0; i < R; ++i) {
        float* place = x + rows[i];
        for (int c = 0; c < C; ++c) store<T>(place + c * width<T>, load<T>(place + c * width<T>) + sum[i][c]);
    }
}

// y[i, j] = start[i, j] + sum over k of x[rows[i] + steps[k]] * b[k, j]: y is (n, units), b (count, units).
inline void gathered_product(float* y, Start start, const float* x, const Index* rows, Index n, const Index* steps,
                             Index count, const float* b, Index units, bool relu = false) {
    strips(units, [=](auto strip, Index j) {
        row_tiles(strip, n, [=](auto R, Index i) {
            gathered_tile<R>(strip, y + i * units + j, start.from(i, j), x, rows + i, steps, count, b + j, units, relu);
        });
    });
}

// --- what is the same for all images -----------------------------------------------------------------------

constexpr Index pixels_at_once = 120;  // whose gradients stay in the first cache for all places
constexpr Index places_at_once = 128;  // whose kernels stay there for all these pixels
constexpr Index most_blocks = 8;       // each block of images has a gradient of the kernel of its own

// Where numbers lie from the first one of an image with its padding.
struct Layout {
    Index group;                        // images that are computed at a time
    std::vector<Index> pixels, places;  // (group * pixels), (places)
    Index run, runs;                    // so many places lie side by side, so often

    explicit Layout(const Convolution& c, Index images) {
        group = std::min(images, (pixels_at_once + c.pixels() - 1) / c.pixels());
        for (Index b = 0; b < group; ++b)
            for (Index y = 0; y < c.out_height(); ++y)
                for (Index x = 0; x < c.out_width(); ++x)
                    pixels.push_back(b * c.padded_size() +
                                     (y * c.stride_y * c.padded_width() + x * c.stride_x) * c.channels);
        for (Index y = 0; y < c.window_height; ++y)
            for (Index x = 0; x < c.window_width; ++x)
                for (Index k = 0; k < c.channels; ++k)
                    places.push_back((y * c.dilation_y * c.padded_width() + x * c.dilation_x) * c.channels + k);
        run = c.dilation_x == 1 ? c.window_width * c.channels : c.channels;
        runs = c.places() / run;
    }
};

// Some images of a replica. Blocks are cut by the shape alone, so that no result depends on the number of threads.
struct Block {
    Index replica, first, end, number;

    Block(const Convolution& c, Index blocks, Index task)
        : replica(task / blocks), first(task % blocks * c.images / blocks),
          end((task % blocks + 1) * c.images / blocks), number(task) {}
};

inline Index blocks_of(const Convolution& c) { return std::min(most_blocks, c.images); }

// Images with their padding, or where they lie if there is none. `padded` has zeros where the padding is.
inline const float* with_padding(const Convolution& c, const float* x, Index images, std::vector<float>& padded) {
    if (!c.pads()) return x;
    const Index row = c.width * c.channels;
    for (Index b = 0; b < images; ++b)
        for (Index y = 0; y < c.height; ++y, x += row)
            std::copy(x, x + row,
                      &padded[b * c.padded_size() + ((y + c.top) * c.padded_width() + c.left) * c.channels]);
    return padded.data();
}

inline void without_padding(const Convolution& c, const std::vector<float>& padded, Index images, float* x) {
    const Index row = c.width * c.channels;
    for (Index b = 0; b < images; ++b)
        for (Index y = 0; y < c.height; ++y, x += row) {
            const float* from = &padded[b * c.padded_size() + ((y + c.top) * c.padded_width() + c.left) * c.channels];
            std::copy(from, from + row, x);
        }
}

// PyTorch's kernel of a replica, (O, C, h, w), as (O, places), and back.
inline void to_places(const Convolution& c, const float* __restrict kernel, float* __restrict turned) {
    const Index window = c.window_height * c.window_width;
    for (Index o = 0; o < c.filters; ++o, kernel += c.places(), turned += c.places())
        for (Index w = 0; w < window; ++w)
            for (Index k = 0; k < c.channels; ++k) turned[w * c.channels + k] = kernel[k * window + w];
}

inline void from_places(const Convolution& c, const float* __restrict turned, float* __restrict kernel) {
    const Index window = c.window_height * c.window_width;
    for (Index o = 0; o < c.filters; ++o, kernel += c.places(), turned += c.places())
        for (Index k = 0; k < c.channels; ++k)
            for (Index w = 0; w < window; ++w) kernel[k * window + w] = turned[w * c.channels + k];
}

// y = x turned: (rows, columns) to (columns, rows), by blocks that stay in the cache.
inline void turn(float* __restrict y, const float* __restrict x, Index rows, Index columns) {
    constexpr Index side = 16;
    for (Index i = 0; i < rows; i += side)
        for (Index j = 0; j < columns; j += side)
            for (Index u = i; u < std::min(i + side, rows); ++u)
                for (Index v = j; v < std::min(j + side, columns); ++v) y[v * rows + u] = x[u * columns + v];
}

// --- forward and backward ----------------------------------------------------------------------------------

// y = the sums of `images` images, (images * pixels, O).
void forward_of_group(const Convolution& c, const Layout& at, const float* x, Index images, const float* kernel,
                      const float* bias, float* y) {
    const Index O = c.filters, all = images * c.pixels();
    for (Index p = 0; p < all; p += pixels_at_once) {
        const Index n = std::min(pixels_at_once, all - p);
        float* part = y + p * O;
        Start start = same_row(bias);
        for (Index k = 0; k < c.places(); k += places_at_once, start = {part, O, 1}) {
            const bool last = k + places_at_once >= c.places();
            gathered_product(part, start, x, &at.pixels[p], n, &at.places[k],
                             std::min(places_at_once, c.places() - k), kernel + k * O, O, c.relu && last);
        }
    }
}

// Add what the gradient d of `images` images, (images * pixels, O), adds to that of the kernel, (places, O), and
// of the bias; with `begins` there is nothing yet that it could be added to.
void add_gradient_of_kernel(const Convolution& c, const Layout& at, const float* x, Index images, const float* d,
                            float* kernel, float* bias, bool begins) {
    const Index O = c.filters, all = images * c.pixels();
    for (Index p = 0; p < all; p += pixels_at_once, begins = false) {
        const Index n = std::min(pixels_at_once, all - p);
        const Start of_kernel = begins ? same_row(nullptr) : Start{kernel, O, 1};
        gathered_product(kernel, of_kernel, x, at.places.data(), c.places(), &at.pixels[p], n, d + p * O, O);
        const float one = 1;
        product(bias, 1, O, begins ? same_row(nullptr) : Start{bias, O, 1}, &one, 0, 0, d + p * O, n);
    }
}

// Add the gradient of the images, with their padding; `turned` is the kernel, (O, places).
void add_gradient_of_images(const Convolution& c, const Layout& at, float* x, Index images, const float* d,
                            const float* turned) {
    const Index O = c.filters, all = images * c.pixels();
    for (Index p = 0; p < all; p += pixels_at_once) {
        const Index n = std::min(pixels_at_once, all - p);
        for (Index r = 0; r < at.runs; ++r) {
            const Index k = r * at.run;
            float* from = x + at.places[k];
            strips(at.run, [&, from, k](auto strip, Index j) {
                row_tiles(strip, n, [&, from, k](auto R, Index i) {
                    scattered_tile<R>(strip, from + j, &at.pixels[p + i], d + (p + i) * O, O, turned + k + j,
                                      c.places());
                });
            });
        }
    }
}

}  // namespace

extern "C" {

// y = convolution + bias, (R, B, height, width, O), of images x. `bias` is (R, O) or null. With `pooling`, which else is
// null, y is what is pooled of that, and `places` takes the numbers of the places that it stood at, or is null.
void convolve(const Convolution* convolution, const Pooling* pooling, const float* x, const float* kernel,
              const float* bias, float* y, std::uint8_t* places) {
    const Convolution& c = *convolution;
    const Index blocks = blocks_of(c), O = c.filters;
    const Layout at(c, (c.images + blocks - 1) / blocks);
    Buffer kernels(c.replicas * c.kernel_size()), turned(c.kernel_size());
    for (Index r = 0; r < c.replicas; ++r) {
        to_places(c, kernel + r * c.kernel_size(), turned.data());
        turn(kernels.data() + r * c.kernel_size(), turned.data(), O, c.places());
    }
    const Index of_image = c.pixels() * O, given = pooling ? pooling->out_size() : of_image;
    share_out(c.replicas * blocks, c.threads, [&](Index task) {
        const Block block(c, blocks, task);
        std::vector<float> padded(c.pads() ? at.group * c.padded_size() : 0);
        Buffer sums(pooling ? at.group * of_image : 0);
        for (Index b = block.first; b < block.end; b += at.group) {
            const Index images = std::min(at.group, block.end - b), image = block.replica * c.images + b;
            forward_of_group(c, at, with_padding(c, x + image * c.image_size(), images, padded), images,
                             kernels.data() + block.replica * c.kernel_size(), bias ? bias + block.replica * O : nullptr,
                             pooling ? sums.data() : y + image * given);
            for (Index i = 0; pooling && i < images; ++i) {
                const Index first = (image + i) * given;
                pool_image(*pooling, sums.data() + i * of_image, y + first, places ? places + first : nullptr);
            }
        }
    });
}

// From d, the gradient of y = convolve(x), that of the kernel, of the bias, (R, O), and of the images; that of the
// images is left out where dx is null. `pooling` and `places` are those of `convolve`.
void convolve_back(const Convolution* convolution, const Pooling* pooling, const float* x, const float* kernel,
                   const float* y, const std::uint8_t* places, const float* d, float* dkernel, float* dbias,
                   float* dx) {
    const Convolution& c = *convolution;
    const Index blocks = blocks_of(c), O = c.filters, size = c.kernel_size();
    const Layout at(c, (c.images + blocks - 1) / blocks);
    Buffer kernels(dx ? c.replicas * size : 0), turned(size);
    for (Index r = 0; r < c.replicas && dx; ++r) to_places(c, kernel + r * size, kernels.data() + r * size);
    // Of each block (places, O), and then the bias's (O).
    Buffer gradients(c.replicas * blocks * (size + O));
    const Index of_image = c.pixels() * O, given = pooling ? pooling->out_size() : of_image;
    share_out(c.replicas * blocks, c.threads, [&](Index task) {
        const Block block(c, blocks, task);
        float* of_kernel = gradients.data() + task * (size + O);
        std::vector<float> padded(c.pads() ? at.group * c.padded_size() : 0), spread(dx ? padded.size() : 0);
        Buffer masked(c.relu ? at.group * given : 0), unpooled(pooling ? at.group * of_image : 0);
        for (Index b = block.first; b < block.end; b += at.group) {
            const Index images = std::min(at.group, block.end - b), image = block.replica * c.images + b;
            const Index n = images * given, first = image * given;
            const float* own = d + first;
            if (c.relu) {
                float* kept = masked.data();
                for (Index i = 0; i < n; ++i) kept[i] = y[first + i] <= 0 ? 0 : own[i];
                own = kept;
            }
            for (Index i = 0; pooling && i < images; ++i)
                pool_image_back(*pooling, own + i * given, places + first + i * given, unpooled.data() + i * of_image);
            if (pooling) own = unpooled.data();
            const float* from = with_padding(c, x + image * c.image_size(), images, padded);
            add_gradient_of_kernel(c, at, from, images, own, of_kernel, of_kernel + size, b == block.first);
            if (!dx) continue;
            float* to = dx + image * c.image_size();
            float* sums = c.pads() ? spread.data() : to;
            std::fill(sums, sums + images * c.padded_size(), 0.0f);
            add_gradient_of_images(c, at, sums, images, own, kernels.data() + block.replica * size);
            if (c.pads()) without_padding(c, spread, images, to);
        }
    });
    for (Index r = 0; r < c.replicas; ++r) {
        float* sum = gradients.data() + r * blocks * (size + O);
        for (Index b = 1; b < blocks; ++b)
            for (Index i = 0; i < size + O; ++i) sum[i] += sum[b * (size + O) + i];
        turn(turned.data(), sum, c.places(), O);
        from_places(c, turned.data(), dkernel + r * size);
        std::copy(sum + size, sum + size + O, dbias + r * O);
    }
}

}
