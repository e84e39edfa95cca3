// An uncaught panic of Go: status 2.
package main

import "fmt"

func main() {
	fmt.Println("before")
	defer fmt.Println("deferred")
	var m map[string]int
	defer func() {
		r := recover()
		fmt.Println(r)
		var index = 5
		fmt.Println([]int{1, 2}[index%len("four!")*0+1])
	}()
	m["x"] = 1
}
