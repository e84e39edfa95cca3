// Go: the interfaces and their addresses, by netlink.
package main

import (
	"fmt"
	"net"
)

func main() {
	interfaces, err := net.Interfaces()
	loopbacks := 0
	for _, one := range interfaces {
		if one.Flags&net.FlagLoopback != 0 && one.Flags&net.FlagUp != 0 {
			loopbacks++
		}
	}
	fmt.Println("loopbacks:", loopbacks, err)
	addresses, err := net.InterfaceAddrs()
	local := 0
	for _, one := range addresses {
		if one.String() == "127.0.0.1/8" {
			local++
		}
	}
	fmt.Println("local addresses:", local, err)
}
