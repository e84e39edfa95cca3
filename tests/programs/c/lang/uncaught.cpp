// An exception that nobody catches ends the program by abort: status 134.
#include <iostream>
#include <stdexcept>

int main() {
    std::cout << "before" << std::endl;
    throw std::logic_error("nobody catches this");
}
