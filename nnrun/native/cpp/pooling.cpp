// Max pooling of images, by several threads.

#include "pooling.h"
#include "tasks.h"

extern "C" {

// y, (N, height, width, C), of images x; `places` takes the numbers of the places, or is null.
void pool(const Pooling* pooling, const float* x, float* y, std::uint8_t* places) {
    const Pooling& p = *pooling;
    share_out(p.images, p.threads, [&](Index image) {
        const Index first = image * p.out_size();
        pool_image(p, x + image * p.image_size(), y + first, places ? places + first : nullptr);
    });
}

// The gradient of images, dx, from that of y.
void pool_back(const Pooling* pooling, const float* d, const std::uint8_t* places, float* dx) {
    const Pooling& p = *pooling;
    share_out(p.images, p.threads, [&](Index image) {
        const Index first = image * p.out_size();
        pool_image_back(p, d + first, places + first, dx + image * p.image_size());
    });
}

}
