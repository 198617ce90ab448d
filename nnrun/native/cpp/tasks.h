// Tasks shared out among threads.

#pragma once

#include <algorithm>
#include <atomic>
#include <system_error>
#include <thread>
#include <vector>

#include "job.h"

// do_task(k) for each k below `count`, by at most `threads` threads, of which the caller is one. Which of them does
// a task is left to chance: a task must neither read nor write what another one writes. No thread spins.
template <class Task>
inline void share_out(Index count, Index threads, Task do_task) {
    std::atomic<Index> next{0};
    const auto work = [&] {
        for (Index k = next++; k < count; k = next++) do_task(k);
    };
    std::vector<std::thread> others;
    try {
        for (Index k = 1; k < std::min(threads, count); ++k) others.emplace_back(work);
    } catch (const std::system_error&) {  // no more threads are to be had: those that there are do all
    }
    work();
    for (std::thread& other : others) other.join();
}
