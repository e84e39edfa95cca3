// Ends by a panic, with a function to be found in its core.
package main

import "os"

//go:noinline
func inner(values []int) int {
	return values[len(os.Args)+6]
}

func main() {
	println(inner([]int{1, 2, 3}))
}
