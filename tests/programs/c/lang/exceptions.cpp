// C++: exceptions through many frames, destructors, threads, strings and streams.
#include <iostream>
#include <map>
#include <memory>
#include <mutex>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

struct Noisy {
    const char *name;
    ~Noisy() { std::cout << "~" << name << "\n"; }
};

static int deep(int n) {
    Noisy noisy{"frame"};
    if (n == 0)
        throw std::runtime_error("from the bottom");
    return deep(n - 1) + 1;
}

int main() {
    try {
        deep(3);
    } catch (const std::exception &e) {
        std::cout << "caught " << e.what() << "\n";
    }
    try {
        std::vector<int>().at(5);
    } catch (const std::out_of_range &) {
        std::cout << "out of range\n";
    }
    std::map<std::string, int> words;
    std::istringstream text("to be or not to be");
    for (std::string w; text >> w;)
        words[w]++;
    for (auto &[w, n] : words)
        std::cout << w << " " << n << "\n";
    std::mutex m;
    long sum = 0;
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; i++)
        threads.emplace_back([&, i] {
            for (int k = 0; k < 1000; k++) {
                try {
                    if (k % 100 == 0)
                        throw i;
                    std::lock_guard lock(m);
                    sum += 1;
                } catch (int) {
                    std::lock_guard lock(m);
                    sum += 10;
                }
            }
        });
    for (auto &t : threads)
        t.join();
    std::cout << sum << "\n";
    auto shared = std::make_shared<Noisy>(Noisy{"shared"});
    thread_local std::string local = "thread local";
    std::cout << local << std::endl;
    return 0;
}
