/*
 * Threads of C++ produce lines, and wake whoever wants them.
 *
 *     c++ -std=c++11 -shared -fPIC -I"$(python -c 'import wakefd; print(wakefd.get_include())')" producer.cpp \
 *         -o libproducer.so -lpthread
 *     python producer.py ./libproducer.so
 */
#include <wakefd.h>

#include <atomic>
#include <cstring>
#include <deque>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

// A hold on the argument of a handle; any thread may have it.
class Event {
public:
    Event(const wakefd_api *api, void *argument) : api_(api), argument_(argument)
    {
        if (api->version < WAKEFD_API_VERSION || api->size < sizeof(wakefd_api)) {
            throw std::runtime_error("the installed wakefd is older than wakefd.h");
        }
        if (api->retain(argument) != 0) {
            throw std::runtime_error("the handle is closed");
        }
    }
    Event(const Event &) = delete;
    Event &operator=(const Event &) = delete;
    ~Event() { api_->release(argument_); }

    void notify() const { api_->notify(argument_); }

private:
    const wakefd_api *api_;
    void *argument_;
};

class Producer {
public:
    Producer(const wakefd_api *api, void *argument, unsigned threads) : event_(api, argument)
    {
        for (unsigned number = 0; number < threads; ++number) {
            threads_.emplace_back([this, number] { produce(number); });
        }
    }

    ~Producer()
    {
        stop_ = true;
        for (std::thread &thread : threads_) {
            thread.join();
        }
    }

    // The next line, if there is one.
    bool take(std::string &line)
    {
        const std::lock_guard<std::mutex> guard(mutex_);
        if (lines_.empty()) {
            return false;
        }
        line = std::move(lines_.front());
        lines_.pop_front();
        return true;
    }

private:
    void produce(unsigned number)
    {
        for (int n = 0; n < 1000 && !stop_; ++n) {
            {
                const std::lock_guard<std::mutex> guard(mutex_);
                lines_.push_back("thread " + std::to_string(number) + ", line " + std::to_string(n));
            }
            event_.notify(); // first the data, then the notification
        }
    }

    const Event event_;
    std::atomic<bool> stop_{false};
    std::mutex mutex_;
    std::deque<std::string> lines_;
    std::vector<std::thread> threads_; // last: they use all else
};

// For ctypes: no exception may leave.
extern "C" {

void *producer_new(const wakefd_api *api, void *argument, unsigned threads)
{
    try {
        return new Producer(api, argument, threads);
    } catch (const std::exception &) {
        return nullptr;
    }
}

int producer_take(void *producer, char *line, std::size_t size)
{
    std::string text;
    if (!static_cast<Producer *>(producer)->take(text)) {
        return 0;
    }
    std::strncpy(line, text.c_str(), size - 1);
    line[size - 1] = '\0';
    return 1;
}

void producer_delete(void *producer)
{
    delete static_cast<Producer *>(producer);
}

} // extern "C"
