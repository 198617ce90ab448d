// Tasks shared out among threads.

#pragma once

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
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

// Threads that share tasks out many times, as the steps of training do. Between two times they sleep. Whoever has
// not woken up when all tasks are begun is not waited for, so that a busy machine costs nothing.
class Crew {
  public:
    // `threads` threads at most, of which the caller of `run` is one.
    explicit Crew(Index threads) {
        try {
            for (Index k = 1; k < threads; ++k) others_.emplace_back([this, k] { serve(k); });
        } catch (const std::system_error&) {  // no more threads are to be had
        }
    }

    ~Crew() {
        {
            const std::lock_guard<std::mutex> lock(mutex_);
            ended_ = true;
        }
        called_.notify_all();
        for (std::thread& other : others_) other.join();
    }

    Crew(const Crew&) = delete;
    Crew& operator=(const Crew&) = delete;

    Index size() const { return Index(others_.size()) + 1; }

    // do_task(k, number of the thread) for each k below `count`. Which thread does a task is left to chance.
    template <class Task>
    void run(Index count, Task do_task) {
        if (others_.empty() || count < 2) {
            for (Index k = 0; k < count; ++k) do_task(k, Index(0));
            return;
        }
        {
            const std::lock_guard<std::mutex> lock(mutex_);
            task_ = do_task, count_ = count, next_ = 0, open_ = true, ++round_;
        }
        called_.notify_all();
        work(0);
        std::unique_lock<std::mutex> lock(mutex_);
        open_ = false;
        done_.wait(lock, [this] { return at_work_ == 0; });
    }

  private:
    void work(Index thread) {
        for (Index k = next_++; k < count_; k = next_++) task_(k, thread);
    }

    void serve(Index thread) {
        Index served = 0;
        std::unique_lock<std::mutex> lock(mutex_);
        while (true) {
            called_.wait(lock, [&] { return ended_ || (open_ && round_ != served); });
            if (ended_) return;
            served = round_, ++at_work_;
            lock.unlock();
            work(thread);
            lock.lock();
            if (--at_work_ == 0) done_.notify_one();
        }
    }

    std::mutex mutex_;  // guards all below but `next_`, and `task_` and `count_` while a round is open
    std::condition_variable called_, done_;
    std::function<void(Index, Index)> task_;
    std::atomic<Index> next_{0};
    Index count_ = 0, round_ = 0, at_work_ = 0;
    bool open_ = false, ended_ = false;
    std::vector<std::thread> others_;  // the last member, since they use the others
};
